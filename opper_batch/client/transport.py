"""The seam to the network: one method, a request in and a response out.

``HttpxTransport`` is the one in use. It follows no redirect, keeps no cookie, and bounds a body's size and
an exchange's time; every fault of the network comes out as ``Unreachable`` saying whether the request may
have been paid.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol
from urllib.request import getproxies, proxy_bypass

import httpx

from opper_batch.errors import BadReply, MachineError, Unreachable
from opper_batch.text import printable, shortened

CONNECT_SECONDS = 10.0
READ_SECONDS = 600.0
BODY_CAP = 64 * 1024 * 1024
_KEEPALIVE_SECONDS = 30.0

# Before these the request did not leave whole, so nobody can have charged for it.
_UNSENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
# An exchange's whole time is bounded in ``send``.
_TIMEOUTS = {"timeout": httpx.Timeout(None, connect=CONNECT_SECONDS).as_dict()}
_LIMITS = httpx.Limits(max_connections=1, keepalive_expiry=_KEEPALIVE_SECONDS)
_parsed = lru_cache(maxsize=64)(httpx.URL)  # nearly all requests go to one URL


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = None
    body_cap: int = BODY_CAP


@dataclass(frozen=True, slots=True)
class Response:
    """``headers`` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """Anything that carries a request to its URL and back. Raises Unreachable, or BadReply past the cap."""

    async def send(self, request: Request) -> Response: ...

    async def close(self) -> None: ...


class HttpxTransport:
    """Over httpx, a connection for each request in flight; ``direct`` goes past the environment's proxies.

    httpx's own pool looks at all its connections for every request, so its cost grows with the square of
    what is in flight: 64 calls in flight at 50 ms went at 93 a second through one pool, at 8 ms of CPU each.
    """

    def __init__(self, *, direct: bool = False, seconds: float = READ_SECONDS) -> None:
        self._direct = direct
        self._seconds = seconds
        self._tls: ssl.SSLContext | None = None
        self._idle: list[httpx.AsyncHTTPTransport] = []

    async def send(self, request: Request) -> Response:
        try:
            async with asyncio.timeout(self._seconds), self._connection(request.url) as connection:
                return await _exchanged(connection, request)
        except (OSError, httpx.TransportError) as error:
            raise _fault(error, seconds=self._seconds) from None

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().aclose()

    def __repr__(self) -> str:
        return f"HttpxTransport(idle={len(self._idle)})"

    @asynccontextmanager
    async def _connection(self, url: str) -> AsyncIterator[httpx.AsyncHTTPTransport]:
        """An idle connection or a new one. It is used again only if its exchange came to a good end."""
        connection = self._idle.pop() if self._idle else self._connected(url)
        try:
            yield connection
        except BaseException:
            await connection.aclose()
            raise
        self._idle.append(connection)

    def _trusted(self, url: str) -> ssl.SSLContext:
        """Whom to trust: nobody for plain http to loopback, since loading every authority takes time."""
        if _parsed(url).scheme != "https":
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._tls = self._tls or httpx.create_ssl_context(trust_env=not self._direct)
        return self._tls

    def _connected(self, url: str) -> httpx.AsyncHTTPTransport:
        proxy = None if self._direct else _proxy(_parsed(url))
        try:
            return httpx.AsyncHTTPTransport(verify=self._trusted(url), limits=_LIMITS, proxy=proxy)
        except (ImportError, ValueError) as error:
            raise MachineError(f"the environment names a proxy that cannot be used: {error}") from None


def out_of_files(error: BaseException | None) -> bool:
    """Whether this process, or the machine, had no file descriptor left at the bottom of ``error``."""
    if isinstance(error, BaseExceptionGroup):
        return any(map(out_of_files, error.exceptions))
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return True
    return error is not None and out_of_files(error.__cause__ or error.__context__)


def too_many_files() -> MachineError:
    return MachineError(
        "no more files or connections can be opened; raise `ulimit -n` or lower --concurrency, and run again"
    )


def _fault(error: Exception, *, seconds: float) -> Exception:
    """What a broken exchange is raised as."""
    if out_of_files(error):
        return too_many_files()
    if isinstance(error, TimeoutError):
        return Unreachable(f"no answer in {seconds:g} s", paid=True)
    reason = shortened(printable(str(error))) or type(error).__name__
    return Unreachable(f"no answer: {reason}", paid=not isinstance(error, _UNSENT))


async def _exchanged(connection: httpx.AsyncHTTPTransport, request: Request) -> Response:
    response = await connection.handle_async_request(
        httpx.Request(
            request.method,
            _parsed(request.url),
            headers=request.headers,
            content=request.body,
            extensions=_TIMEOUTS,
        )
    )
    try:
        return Response(response.status_code, response.headers, await _read(response, request.body_cap))
    finally:
        await response.aclose()


async def _read(response: httpx.Response, cap: int) -> bytes:
    """The body as it came over the wire: what was compressed all the same stays compressed."""
    chunks, size = [], 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size > cap:
            raise BadReply(f"the gateway's answer is larger than {cap / 1024 / 1024:g} MB")
        chunks.append(chunk)
    return b"".join(chunks)


def _proxy(url: httpx.URL) -> str | None:
    """The proxy that the environment names for ``url``."""
    if proxy_bypass(url.host):
        return None
    proxies = getproxies()
    named = proxies.get(url.scheme) or proxies.get("all")
    return f"http://{named}" if named and "://" not in named else named
