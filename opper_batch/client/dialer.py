"""Makes connections: whoever needs one waits for it, and none that is made is ever lost."""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass
from typing import Any

from opper_batch.client.bodies import BUFFER_BYTES
from opper_batch.client.connection import Connection
from opper_batch.client.faults import out_of_files, unreachable
from opper_batch.client.surroundings import trusted
from opper_batch.client.transport import CONNECT_SECONDS
from opper_batch.errors import Unreachable

_EYEBALLS_SECONDS = 0.25  # a host's next address is tried after this (RFC 8305)
# An address that answered is gone to directly for so long: to ask for the name's addresses and to try them
# one by one costs more than the rest of a connection, and a run makes hundreds at once.
_KNOWN_SECONDS = 10.0
_SILENT_SECONDS = 2.0  # it has gone, perhaps: then all that the name has are tried
_CLOSE_SECONDS = 1.0  # for connections that are being made


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a connection leads to."""

    host: str
    port: int
    tls: bool


class Dialer:
    """A connection takes at most ``seconds``; ``direct`` trusts no certificates that only the environment
    names. Of one event loop."""

    def __init__(self, *, direct: bool, seconds: float = CONNECT_SECONDS) -> None:
        self._direct = direct
        self._seconds = seconds
        self._tls: ssl.SSLContext | None = None
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._opening: set[asyncio.Task[Connection]] = set()
        self._open: set[Connection] = set()
        self._known: dict[Origin, tuple[str, float]] = {}  # the address that answered, and until when

    @property
    def open(self) -> int:
        """How many connections there are."""
        return len(self._open)

    async def connected(self, origin: Origin) -> Connection:
        """A new connection; Unreachable or MachineError when there is none, and nothing was sent.

        It is not cancelled with who waits for it, for asyncio could lose its socket: it is closed when made.
        """
        opening = asyncio.get_running_loop().create_task(self._opened(origin))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_dropped)
            raise

    async def close(self) -> None:
        """Close every connection, and what is being made when it is made: that is waited for a little."""
        for opening in self._opening:
            opening.add_done_callback(_dropped)
        if self._opening:
            _, late = await asyncio.wait(self._opening, timeout=_CLOSE_SECONDS)
            for opening in late:
                opening.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for connection in self._open:
            connection.abort()
        await asyncio.gather(*(connection.closed for connection in self._open))

    async def _opened(self, origin: Origin) -> Connection:
        try:
            async with asyncio.timeout(self._seconds):
                connection = await self._by_address(origin) or await self._by_name(origin)
        except TimeoutError:
            raise Unreachable(f"no connection in {self._seconds:g} s", paid=False) from None
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that no name server takes
            raise unreachable(error, paid=False) from None
        self._open.add(connection)
        connection.closed.add_done_callback(lambda _: self._open.discard(connection))
        return connection

    async def _by_address(self, origin: Origin) -> Connection | None:
        """Over the address that answered last, if it does again."""
        known = self._known.get(origin)
        if known is None or time.monotonic() >= known[1]:
            return None
        try:
            async with asyncio.timeout(_SILENT_SECONDS):
                return await self._made(origin, known[0])
        except OSError as error:  # TimeoutError among them
            if self._known.get(origin) == known:
                del self._known[origin]
            if out_of_files(error):
                raise
            return None

    async def _by_name(self, origin: Origin) -> Connection:
        connection = await self._made(origin, origin.host, happy_eyeballs_delay=_EYEBALLS_SECONDS)
        if connection.address:
            self._known[origin] = (connection.address, time.monotonic() + _KNOWN_SECONDS)
        return connection

    async def _made(self, origin: Origin, host: str, **how: Any) -> Connection:
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(self._buffer),
                host,
                origin.port,
                ssl=self._trusted() if origin.tls else None,
                server_hostname=origin.host if origin.tls else None,
                **how,
            )
        except (OSError, asyncio.CancelledError) as error:
            error.__traceback__ = None  # its frames are in a cycle with all that TLS read by
            raise
        return connection

    def _trusted(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = trusted(direct=self._direct)
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls


def _dropped(opening: asyncio.Task[Connection]) -> None:
    """Nobody waits any more for what ``opening`` made."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().abort()
