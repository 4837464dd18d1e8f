"""What a call costs over every transport that is installed: calls a second, and CPU of the client a call.

    python -m tests.benchmarks.transports
    python -m tests.benchmarks.transports lean aiohttp --loop uvloop

1 KB out, 600 B in, over loopback; the gateway and every measurement in a process of its own, connections
opened beforehand. A library that is not installed is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opper_batch.client.lean import LeanTransport
from opper_batch.client.over_httpx import HttpxTransport
from opper_batch.client.transport import Request

Call = Callable[[], Awaitable[bytes]]
Close = Callable[[], Awaitable[object]]
HEADERS = {
    "Authorization": "Bearer key-for-loopback",
    "Content-Type": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": "opper-batch",
}
BODY = b'{"text": "' + b"a" * 1012 + b'"}'
ANSWER = b'{"data": "' + b"b" * 588 + b'"}'
REPLY = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER
)
SECONDS = 6.0  # what is slow is not waited for longer


@dataclass(frozen=True, slots=True)
class Work:
    in_flight: int
    latency: float
    calls: int


WORKS = [Work(256, 0.3, 5120), Work(1024, 0.3, 10240), Work(64, 0.0, 10000)]


class Gateway(asyncio.Protocol):
    """Answers every POST after ``latency`` seconds, and looks at nothing but its length."""

    def __init__(self, latency: float) -> None:
        self._latency, self._read = latency, b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, ended, rest = self._read.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
        if ended and len(rest) >= length:
            self._read = rest[length:]
            asyncio.get_running_loop().call_later(self._latency, self._answer)

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(REPLY)


async def serve(latency: float) -> None:
    server = await asyncio.get_running_loop().create_server(
        lambda: Gateway(latency), "127.0.0.1", 0, backlog=4096
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# Each opens a way to call ``url``, and to close all.


def through(transport: Any, url: str) -> tuple[Call, Close]:
    async def call() -> bytes:
        body: bytes = (await transport.send(Request("POST", url, HEADERS, BODY))).body
        return body

    return call, transport.close


def lean(url: str) -> tuple[Call, Close]:
    return through(LeanTransport(direct=True), url)


def httpx_each(url: str) -> tuple[Call, Close]:
    return through(HttpxTransport(direct=True), url)


def pooled(library: str, url: str, **settings: Any) -> tuple[Call, Close]:
    httpx = importlib.import_module(library)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    client = httpx.AsyncClient(limits=limits, timeout=600, trust_env=False, headers=HEADERS, **settings)

    async def call() -> bytes:
        body: bytes = (await client.post(url, content=BODY)).content
        return body

    return call, client.aclose


def handled(transport: Any, url: str) -> tuple[Call, Close]:
    """httpx's request objects over another's connections, without httpx's client."""
    httpx = importlib.import_module("httpx")
    place, timeouts = httpx.URL(url), {"timeout": {"connect": 10, "read": 600, "write": 600, "pool": None}}

    async def call() -> bytes:
        request = httpx.Request("POST", place, headers=HEADERS, content=BODY, extensions=timeouts)
        response = await transport.handle_async_request(request)
        body = b"".join([chunk async for chunk in response.aiter_raw()])
        await response.aclose()
        return body

    return call, transport.aclose


def aiohttp_session() -> Any:
    aiohttp = importlib.import_module("aiohttp")
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None, connect=10),
    )


def over_aiohttp(url: str) -> tuple[Call, Close]:
    session = aiohttp_session()

    async def call() -> bytes:
        async with (
            asyncio.timeout(600),
            session.post(url, data=BODY, headers=HEADERS, allow_redirects=False) as response,
        ):
            body: bytes = await response.read()
            return body

    return call, session.close


def over_pyreqwest(url: str) -> tuple[Call, Close]:
    client = importlib.import_module("pyreqwest.client").ClientBuilder().follow_redirects(False).build()

    async def call() -> bytes:
        response = await client.post(url).headers(HEADERS).body_bytes(BODY).build().send()
        return bytes(await response.bytes())

    return call, client.close


def httpx_aiohttp(url: str) -> tuple[Call, Close]:
    return handled(importlib.import_module("httpx_aiohttp").AiohttpTransport(client=aiohttp_session), url)


def httpx_pyreqwest(url: str) -> tuple[Call, Close]:
    return handled(importlib.import_module("pyreqwest.compatibility.httpx").HttpxTransport(), url)


WAYS: dict[str, tuple[tuple[str, ...], Callable[[str], tuple[Call, Close]]]] = {
    "httpx's own pool": (("httpx",), lambda url: pooled("httpx", url)),
    "httpx2's own pool": (("httpx2",), lambda url: pooled("httpx2", url)),
    "httpx, one each": (("httpx",), httpx_each),
    "httpx-aiohttp": (("httpx_aiohttp",), httpx_aiohttp),
    "httpx over pyreqwest": (("pyreqwest",), httpx_pyreqwest),
    "aiohttp": (("aiohttp",), over_aiohttp),
    "pyreqwest": (("pyreqwest",), over_pyreqwest),
    "lean": (("httptools",), lean),
}


async def measure(name: str, url: str, work: Work) -> dict[str, float]:
    call, close = WAYS[name][1](url)
    await asked(call, work.in_flight, work.in_flight)
    cpu, began = time.process_time(), time.monotonic()
    done = await asked(call, work.calls, work.in_flight)
    cpu, seconds = time.process_time() - cpu, time.monotonic() - began
    await close()
    return {"rate": done / seconds, "cpu": 1000 * cpu / done}


async def asked(call: Call, calls: int, in_flight: int) -> int:
    """How many of ``calls`` were answered in the time there is."""
    left, done, end = calls, 0, time.monotonic() + SECONDS

    async def asking() -> None:
        nonlocal left, done
        while left > 0 and time.monotonic() < end:
            left -= 1
            assert await call() == ANSWER
            done += 1

    await asyncio.gather(*(asking() for _ in range(in_flight)))
    return done


def run(main: Any, loop: str) -> Any:
    return importlib.import_module("uvloop").run(main) if loop == "uvloop" else asyncio.run(main)


def compared(names: list[str], loop: str) -> None:
    print(f"{'':22}" + "".join(f"{f'{w.in_flight} at {1000 * w.latency:.0f} ms':>22}" for w in WORKS))
    rows: dict[str, list[str]] = {name: [] for name in names}
    for number, work in enumerate(WORKS):
        command = [sys.executable, "-m", "tests.benchmarks.transports"]
        serving = [*command, "--serve", str(work.latency)]
        with subprocess.Popen(serving, cwd=ROOT, stdout=subprocess.PIPE, text=True) as gateway:
            assert gateway.stdout
            url = f"http://127.0.0.1:{gateway.stdout.readline().strip()}/v3/call"
            for name in names:
                asking = [*command, "--loop", loop, "--one", name, url, str(number)]
                said = subprocess.run(asking, cwd=ROOT, check=True, capture_output=True, text=True).stdout
                found = json.loads(said)
                rows[name].append(f"{found['rate']:9.0f}/s {found['cpu']:6.3f} ms")
            gateway.terminate()
    for name, cells in rows.items():
        print(f"{name:22}" + "".join(f"{cell:>22}" for cell in cells))


ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.transports", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("names", nargs="*", help=", ".join(WAYS))
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    parser.add_argument("--serve", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is not None:
        asyncio.run(serve(given.serve))
    elif given.one:
        name, url, number = given.one
        print(json.dumps(run(measure(name, url, WORKS[int(number)]), given.loop)))
    else:
        there = [name for name, (needs, _) in WAYS.items() if all(map(importlib.util.find_spec, needs))]
        compared([name for name in there if not given.names or name in given.names], given.loop)


if __name__ == "__main__":
    main()
