from __future__ import annotations

import asyncio
import gzip
import os
import resource
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from opper_batch.client import HttpxTransport, Request, Response
from opper_batch.errors import BadReply, MachineError, Unreachable
from opper_batch.protocol import decode

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter


@dataclass
class Wire:
    """A server made of bytes: ``answer`` gets each request and the writer to do anything with."""

    answer: Callable[[bytes, Writer], Awaitable[None]]
    tls: ssl.SSLContext | None = None
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    closed: int = 0
    _handling: list[Any] = field(default_factory=list)

    async def __aenter__(self) -> Wire:
        self._handling = []
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}/v3/call"
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for handling in self._handling:
            handling.cancel()
        await asyncio.gather(*self._handling, return_exceptions=True)

    async def _serve(self, reader: Reader, writer: Writer) -> None:
        self.connections += 1
        self._handling.append(asyncio.current_task())
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                body = await reader.readexactly(int(length[0].split(b":")[1])) if length else b""
                self.requests.append(head + body)
                await self.answer(head + body, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.closed += 1
        except asyncio.CancelledError:
            pass  # the server ends
        finally:
            writer.transport.abort()


def reply(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def saying(content: bytes) -> Callable[[bytes, Writer], Awaitable[None]]:
    async def answer(request: bytes, writer: Writer) -> None:
        writer.write(content)

    return answer


async def echo(request: bytes, writer: Writer) -> None:
    writer.write(reply(request.rpartition(b"\r\n\r\n")[2]))


def post(url: str, body: bytes = b"{}", **more: int) -> Request:
    return Request("POST", url, {"Authorization": "Bearer k", "Accept-Encoding": "identity"}, body, **more)


@pytest.fixture
def transport() -> Iterator[HttpxTransport]:
    return HttpxTransport(direct=True, seconds=10.0)


def sent(wire: Wire, *requests: Request, transport: HttpxTransport) -> list[Response]:
    """The answers to the requests, one after the other."""

    async def run() -> list[Response]:
        async with wire:
            try:
                return [
                    await transport.send(Request(r.method, wire.url, r.headers, r.body, r.body_cap))
                    for r in requests
                ]
            finally:
                await transport.close()

    return asyncio.run(run())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def test_a_refused_connection_was_not_paid(transport: HttpxTransport) -> None:
    with pytest.raises(Unreachable) as caught:
        asyncio.run(transport.send(post(f"http://127.0.0.1:{free_port()}/v3/call")))
    assert not caught.value.paid
    assert caught.value.retryable


def test_a_host_that_does_not_exist_was_not_paid(transport: HttpxTransport) -> None:
    with pytest.raises(Unreachable) as caught:
        asyncio.run(transport.send(post("http://nowhere.invalid/v3/call")))
    assert not caught.value.paid


@pytest.mark.parametrize(
    "half",
    [
        b"",
        b"HTTP/1.1 200",
        reply(b"0123456789")[:-4],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
    ids=["no answer", "cut head", "cut body", "cut chunk"],
)
@pytest.mark.parametrize("end", ["abort", "close"])
def test_a_connection_lost_after_sending_may_have_been_paid(
    transport: HttpxTransport, half: bytes, end: str
) -> None:
    async def answer(request: bytes, writer: Writer) -> None:
        writer.write(half)
        await writer.drain()
        getattr(writer.transport, end)()

    with pytest.raises(Unreachable) as caught:
        sent(Wire(answer), post(""), transport=transport)
    assert caught.value.paid


def test_what_is_not_http_may_have_been_paid(transport: HttpxTransport) -> None:
    with pytest.raises(Unreachable) as caught:
        sent(Wire(saying(b"220 mail.example ESMTP\r\n\r\n")), post(""), transport=transport)
    assert caught.value.paid


async def _never(request: bytes, writer: Writer) -> None:
    await asyncio.sleep(5)


async def _dripping(request: bytes, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(100):
        writer.write(b"x")
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("answer", [_never, _dripping])
def test_an_exchange_has_an_end_however_slowly_bytes_come(
    answer: Callable[[bytes, Writer], Awaitable[None]],
) -> None:
    async def run() -> None:
        transport = HttpxTransport(direct=True, seconds=0.2)
        wire = Wire(answer)
        async with wire:
            began = time.monotonic()
            with pytest.raises(Unreachable, match=r"no answer in 0\.2 s") as caught:
                await transport.send(post(wire.url))
            assert 0.2 <= time.monotonic() - began < 1.0
            assert caught.value.paid

    asyncio.run(run())


def test_a_body_may_be_as_large_as_the_cap_and_no_larger(transport: HttpxTransport) -> None:
    wire = Wire(saying(reply(b"x" * 1000)))
    (answer,) = sent(wire, post("", body_cap=1000), transport=transport)
    assert answer.body == b"x" * 1000
    with pytest.raises(BadReply, match="larger than"):
        sent(wire, post("", body_cap=999), transport=transport)


def test_an_endless_body_is_left_at_the_cap(transport: HttpxTransport) -> None:
    written = 0

    async def endless(request: bytes, writer: Writer) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            await writer.drain()
            written += 0x10000

    with pytest.raises(BadReply):
        sent(Wire(endless), post("", body_cap=1_000_000), transport=transport)
    assert written < 20_000_000


def test_a_compressed_answer_is_not_inflated(transport: HttpxTransport) -> None:
    bomb = gzip.compress(b'{"data": "' + b"a" * 5_000_000 + b'"}')
    (answer,) = sent(Wire(saying(reply(bomb, "Content-Encoding: gzip"))), post(""), transport=transport)
    assert answer.body == bomb
    with pytest.raises(BadReply):
        decode(answer.status, answer.headers, answer.body)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_redirects_are_not_followed_and_the_key_reaches_nobody_else(
    transport: HttpxTransport, status: str
) -> None:
    async def run() -> None:
        async with Wire(echo) as other:
            async with Wire(saying(reply(b"", f"Location: {other.url}", status=status))) as wire:
                answer = await transport.send(post(wire.url))
                await transport.close()
            assert answer.status == int(status[:3])
            assert other.connections == 0

    asyncio.run(run())


def test_header_names_are_lower_case(transport: HttpxTransport) -> None:
    (answer,) = sent(Wire(saying(reply(b"", "Retry-AFTER: 7"))), post(""), transport=transport)
    assert set(answer.headers) == {"content-length", "retry-after"}
    assert answer.headers["retry-after"] == "7"


def test_no_cookie_is_kept(transport: HttpxTransport) -> None:
    wire = Wire(saying(reply(b"", "Set-Cookie: session=1; Path=/")))
    sent(wire, post(""), post(""), transport=transport)
    assert len(wire.requests) == 2
    assert not any(b"cookie" in request.lower() for request in wire.requests)


def test_a_cancelled_request_closes_its_connection_and_the_next_gets_its_own_answer(
    transport: HttpxTransport,
) -> None:
    async def slowly(request: bytes, writer: Writer) -> None:
        await asyncio.sleep(0.1 if b"first" in request else 0)
        await echo(request, writer)

    async def run() -> None:
        async with Wire(slowly) as wire:
            first = asyncio.create_task(transport.send(post(wire.url, b"first")))
            await asyncio.sleep(0.05)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            assert repr(transport) == "HttpxTransport(idle=0)"
            answers = [await transport.send(post(wire.url, b"%d" % number)) for number in range(3)]
            assert [answer.body for answer in answers] == [b"0", b"1", b"2"]
            await asyncio.sleep(0.1)
            assert (wire.connections, wire.closed) == (2, 1)
            await transport.close()

    asyncio.run(run())


@pytest.mark.parametrize("moment", [0.0, 0.005, 0.02, 0.045, 0.055])
def test_requests_cancelled_at_any_moment_leave_nothing_that_hangs(
    transport: HttpxTransport, moment: float
) -> None:
    async def in_parts(request: bytes, writer: Writer) -> None:
        answer = reply(request.rpartition(b"\r\n\r\n")[2])
        for part in (answer[:9], answer[9:-1], answer[-1:]):
            await asyncio.sleep(0.015)
            writer.write(part)

    async def run() -> None:
        async with Wire(in_parts) as wire:
            first = [asyncio.create_task(transport.send(post(wire.url, b"cancelled"))) for _ in range(5)]
            await asyncio.sleep(moment)
            for task in first:
                task.cancel()
            await asyncio.gather(*first, return_exceptions=True)
            bodies = [b"%d" % number for number in range(10)]
            async with asyncio.timeout(5):
                answers = await asyncio.gather(*(transport.send(post(wire.url, body)) for body in bodies))
            assert [answer.body for answer in answers] == bodies
            await transport.close()

    asyncio.run(run())


def test_a_failed_exchange_leaves_nothing_behind_for_the_next(transport: HttpxTransport) -> None:
    async def moody(request: bytes, writer: Writer) -> None:
        if b"break" in request:
            writer.write(reply(b"0123456789")[:-5])
            await writer.drain()
            writer.transport.abort()
        else:
            await echo(request, writer)

    async def run() -> None:
        async with Wire(moody) as wire:
            for number in range(3):
                with pytest.raises(Unreachable):
                    await transport.send(post(wire.url, b"break"))
                with pytest.raises(BadReply):
                    await transport.send(post(wire.url, b"too large", body_cap=3))
                assert repr(transport) == "HttpxTransport(idle=0)"
                assert (await transport.send(post(wire.url, b"%d" % number))).body == b"%d" % number
            await transport.close()

    asyncio.run(run())


def test_requests_one_after_the_other_share_one_connection(transport: HttpxTransport) -> None:
    wire = Wire(echo)
    answers = sent(wire, *[post("", b"%d" % number) for number in range(1500)], transport=transport)
    assert [answer.body for answer in answers] == [b"%d" % number for number in range(1500)]
    assert wire.connections == 1


def test_requests_at_once_have_a_connection_each_and_reuse_it(transport: HttpxTransport) -> None:
    async def run() -> None:
        async with Wire(echo) as wire:
            for _ in range(20):
                await asyncio.gather(*(transport.send(post(wire.url)) for _ in range(10)))
            assert wire.connections == 10
            await transport.close()
            await asyncio.sleep(0.05)
            assert wire.closed == 10

    asyncio.run(run())


def test_a_connection_that_the_server_closed_while_idle_is_not_used_again(transport: HttpxTransport) -> None:
    async def once(request: bytes, writer: Writer) -> None:
        await echo(request, writer)
        await writer.drain()
        writer.close()

    async def run() -> None:
        async with Wire(once) as wire:
            for number in range(3):
                assert (await transport.send(post(wire.url, b"%d" % number))).body == b"%d" % number
                await asyncio.sleep(0.02)
            assert wire.connections == 3
            await transport.close()

    asyncio.run(run())


# TLS, with certificates made on the spot.


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, Path]:
    """A server's context with a self-signed certificate for ``name``, and the certificate's file."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("making a certificate needs the openssl command")
    key, chain = folder / "key.pem", folder / "certificate.pem"
    making = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
    files = ["-keyout", str(key), "-out", str(chain), "-addext", f"subjectAltName={name}"]
    subprocess.run([program, *making, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return context, chain


def test_a_certificate_that_nobody_vouches_for_is_refused_before_anything_is_sent(
    transport: HttpxTransport, tmp_path: Path
) -> None:
    wire = Wire(echo, tls=certificate(tmp_path, "IP:127.0.0.1")[0])
    with pytest.raises(Unreachable, match="certificate") as caught:
        sent(wire, post(""), transport=transport)
    assert not caught.value.paid
    assert wire.requests == []


@pytest.mark.parametrize(("name", "answered"), [("IP:127.0.0.1", True), ("DNS:elsewhere.example", False)])
def test_a_trusted_certificate_counts_for_its_own_host_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, answered: bool
) -> None:
    tls, chain = certificate(tmp_path, name)
    monkeypatch.setenv("SSL_CERT_FILE", str(chain))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    wire = Wire(echo, tls=tls)
    transport = HttpxTransport(seconds=10.0)
    if answered:
        assert sent(wire, post("", b"hello"), transport=transport)[0].body == b"hello"
    else:
        with pytest.raises(Unreachable, match="certificate"):
            sent(wire, post(""), transport=transport)
        assert wire.requests == []


# Proxies that the environment names.


@pytest.mark.parametrize("scheme", ["http://", ""])
def test_the_environments_proxy_is_used_and_never_sees_the_key(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    async def run() -> None:
        async with Wire(saying(reply(b"", status="403 Forbidden"))) as proxy:
            monkeypatch.setenv("https_proxy", f"{scheme}127.0.0.1:{proxy.port}")
            transport = HttpxTransport(seconds=10.0)
            with pytest.raises(Unreachable) as caught:
                await transport.send(post("https://gateway.example/v3/call"))
            assert not caught.value.paid
            assert proxy.requests[0].startswith(b"CONNECT gateway.example:443 ")
            assert b"Bearer" not in b"".join(proxy.requests)

    asyncio.run(run())


def test_a_direct_transport_goes_past_the_environments_proxy(
    transport: HttpxTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert sent(Wire(echo), post("", b"direct"), transport=transport)[0].body == b"direct"


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "carrier-pigeon://127.0.0.1"])
def test_a_proxy_that_cannot_be_used_is_a_sentence(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(MachineError, match="proxy"):
        asyncio.run(HttpxTransport(seconds=1.0).send(post("https://gateway.example/v3/call")))


def test_running_out_of_files_is_the_machines_fault_and_says_what_to_do() -> None:
    async def scene() -> None:
        transport, held = HttpxTransport(direct=True), []
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, before[1]))
        try:
            with suppress(OSError):
                while True:
                    held.append(os.dup(0))
            with pytest.raises(MachineError, match="ulimit -n"):
                await transport.send(Request("GET", "http://127.0.0.1:9/x"))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
            for number in held:
                os.close(number)
            await transport.close()

    asyncio.run(scene())
