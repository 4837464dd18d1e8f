"""A server made of bytes, for what a well-behaved one would never say, and what is asked of it."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from opper_batch.client import Request, Response, Transport
from opper_batch.client.lean import LeanTransport
from opper_batch.client.over_httpx import HttpxTransport

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter


@dataclass
class Wire:
    """A server made of bytes: ``answer`` gets each request and the writer to do anything with."""

    answer: Callable[[bytes, Writer], Awaitable[None]]
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    closed: int = 0
    _handling: list[Any] = field(default_factory=list)
    _writers: list[Writer] = field(default_factory=list)

    async def __aenter__(self) -> Wire:
        self._handling = []
        self._server = await asyncio.start_server(self._serve, self.host, self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}/v3/call"
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for handling in self._handling:
            handling.cancel()
        await asyncio.gather(*self._handling, return_exceptions=True)

    def sever(self) -> None:
        """End every connection at once, without the client's loop having turned since."""
        for writer in self._writers:
            raw = socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno()))
            raw.shutdown(socket.SHUT_RDWR)
            raw.close()

    async def _serve(self, reader: Reader, writer: Writer) -> None:
        self.connections += 1
        self._writers.append(writer)
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


def sent(wire: Wire, *requests: Request, transport: Transport) -> list[Response]:
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


CARRIERS: list[Any] = [LeanTransport, HttpxTransport]
