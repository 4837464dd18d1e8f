"""The gateways that are measured against, each in a process of its own.

``lean`` answers ``POST /v3/call`` in the gateway's wire shape with bodies encoded beforehand, so that on a
machine of two cores the client is what limits the figure: an asyncio protocol that reads no JSON, whose
latency is a timer. The rows over banking77 use it (256 and 1,024 in flight, 0 ms).
``sandbox`` is the one that ships, ``opper-batch sandbox``, which draws every answer from its schema, keeps a
limit, and writes a journal. The rows of the limit, the tail and the start use it. Known rows call nobody.

    python -m tests.benchmarks.gateway 0.3

serves the lean one at 300 ms until it is terminated; the first line it prints is its URL.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks.measured import PROGRAM, ROOT

INTENTS = 77
_TALLY = b"GET /tally"
_LENGTH = b"content-length:"


def columns(intents: list[str]) -> str:
    """The columns, as a pipeline spells them, that the lean gateway's answers fit."""
    return f"intent = {json.dumps(intents)}\n" + 'urgency = { type = "TINYINT", min = 1, max = 5 }\n'


def _encoded(number: int, intent: str) -> bytes:
    meta = {
        "function_name": "banking",
        "script_cached": False,
        "execution_ms": 300,
        "llm_calls": 1,
        "tts_calls": 0,
        "image_gen_calls": 0,
        "cost": 0.0001,
        "usage": {"input_tokens": 210, "output_tokens": 12},
        "models_used": ["openai/gpt-4o-mini"],
        "trace_uuid": f"00000000-0000-4000-8000-{number:012}",
    }
    body = json.dumps({"data": {"intent": intent, "urgency": number % 5 + 1}, "meta": meta}).encode()
    return _head("200 OK", len(body)) + body


def _head(status: str, length: int) -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n".encode()


class _Tally:
    """What was asked since it was last read; times are seconds since 1970.

    ``full`` is when the most were in flight for the first time.
    """

    def __init__(self) -> None:
        self.calls = self.in_flight = self.high_water = 0
        self.first = self.last = self.full = 0.0

    def arrived(self) -> None:
        self.calls += 1
        self.first = self.first or time.time()
        self.in_flight += 1
        if self.in_flight > self.high_water:
            self.high_water, self.full = self.in_flight, time.time()

    def answered(self) -> None:
        self.in_flight -= 1
        self.last = time.time()

    def read(self) -> bytes:
        said = json.dumps(vars(self)).encode()
        self.calls = self.high_water = 0
        self.first = self.last = self.full = 0.0
        return said


class _Connection(asyncio.Protocol):
    def __init__(self, answers: list[bytes], latency: float, tally: _Tally) -> None:
        self._answers = answers
        self._latency = latency
        self._tally = tally
        self._read = b""
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            head = self._read[:end].lower()
            found = head.find(_LENGTH)
            length = int(head[found + len(_LENGTH) :].split(b"\r\n", 1)[0]) if found >= 0 else 0
            if len(self._read) < end + 4 + length:
                return
            asked, self._read = self._read[: end + 4], self._read[end + 4 + length :]
            self._take(asked)

    def _take(self, head: bytes) -> None:
        if head.startswith(b"POST /v3/call "):
            self._tally.arrived()
            if self._latency:
                self._loop.call_later(self._latency, self._answer)
            else:
                self._answer()
            return
        said = self._tally.read() if head.startswith(_TALLY) else b"{}"
        self._transport.write(_head("200 OK", len(said)) + said)

    def _answer(self) -> None:
        self._tally.answered()
        self._transport.write(self._answers[self._tally.calls % len(self._answers)])


async def _serve(latency: float) -> None:
    answers = [_encoded(number, intent) for number, intent in enumerate(intent_names())]
    tally, loop, ended = _Tally(), asyncio.get_running_loop(), asyncio.Event()
    server = await loop.create_server(
        lambda: _Connection(answers, latency, tally), "127.0.0.1", 0, backlog=4096
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await ended.wait()
    os._exit(0)  # clients may still hold connections, and nobody waits for them


def intent_names() -> list[str]:
    """As many names of about the length that banking77's have."""
    return [f"card_or_transfer_intent_{number:02}" for number in range(INTENTS)]


class Running:
    """A gateway that serves at ``url``."""

    def __init__(self, url: str, journal: Path | None) -> None:
        self.url = url
        self._journal = journal
        self._read = 0

    def tally(self) -> Mapping[str, Any]:
        """The lean gateway's counts since they were last asked for."""
        with urllib.request.urlopen(self.url + "/tally", timeout=10) as reply:
            said: Mapping[str, Any] = json.load(reply)
        return said

    def records(self) -> list[Mapping[str, Any]]:
        """The sandbox's journal of calls since it was last asked for."""
        assert self._journal
        with self._journal.open() as file:
            file.seek(self._read)
            lines = file.readlines()
            self._read = file.tell()
        return [record for record in map(json.loads, lines) if record["method"] == "POST"]


@contextmanager
def lean(latency: float) -> Iterator[Running]:
    """The lean gateway, answering after ``latency`` seconds."""
    with _serving([sys.executable, "-m", "tests.benchmarks.gateway", str(latency)], None) as running:
        yield running


@contextmanager
def sandbox(folder: Path, **script: object) -> Iterator[Running]:
    """The sandbox with these settings of its script; its journal lies in ``folder``."""
    journal = folder / "journal.jsonl"
    settings = [word for name, value in script.items() for word in ("--set", f"{name}={value}")]
    with _serving([str(PROGRAM), "sandbox", "--journal", str(journal), *settings], journal) as running:
        yield running


@contextmanager
def _serving(command: list[str], journal: Path | None) -> Iterator[Running]:
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        words = (word for line in process.stdout for word in line.split())
        yield Running(next(word for word in words if word.startswith("http://")), journal)
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1])))
