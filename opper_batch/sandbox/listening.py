"""uvicorn, as the sandbox needs it: ready and gone at once, able to drop a connection, one packet a reply."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from opper_batch.sandbox.doorway import Doorway

BACKLOG = 4096
# Longer than clients keep idle connections, so that none is closed just as it is used again.
_KEEP_ALIVE_SECONDS = 75


class Server(uvicorn.Server):
    """uvicorn, that says when it is ready, and whose end does not wait for answers under way."""

    def __init__(self, app: Doorway) -> None:
        super().__init__(
            uvicorn.Config(
                cast(Any, app),
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            )
        )
        self.ready = threading.Event()
        self._woken: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def end(self) -> None:
        """Ask it to end, from any thread."""
        self.should_exit = True
        if self._loop is not None and self._woken is not None:
            with suppress(RuntimeError):  # it has ended already
                self._loop.call_soon_threadsafe(self._woken.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._loop, self._woken = asyncio.get_running_loop(), asyncio.Event()
        self.ready.set()

    async def main_loop(self) -> None:
        """Keep the Date header right, and end at once when asked to rather than at the next tick."""
        while not await self.on_tick(0):
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(cast(asyncio.Event, self._woken).wait(), 1.0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            cast(_Protocol, connection).transport.abort()
        # Closing reaches the requests first, so that their cancelling finds nobody left to answer.
        await asyncio.sleep(0)
        under_way = list(self.server_state.tasks)
        for request in under_way:
            request.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


class _Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """uvicorn's HTTP, with each connection's transport in its requests' state: it is how one is dropped."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(_Joining(transport))
        self.app_state: dict[str, Any] = {**self.app_state, "transport": transport}


class _Joining:
    """A transport that sends what is written in one turn of the loop at once: a reply's head with its body.

    The server writes them apart, and sending is the most expensive part of a small reply.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._written: list[bytes] = []

    def write(self, content: bytes) -> None:
        if not self._written:
            self._loop.call_soon(self._send)
        self._written.append(content)

    def close(self) -> None:
        self._send()
        self._transport.close()

    def _send(self) -> None:
        if self._written:
            self._transport.write(b"".join(self._written))
            self._written.clear()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
