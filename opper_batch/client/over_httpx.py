"""The transport over httpx: every proxy that httpx knows, at several times the cost of the lean one."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache

import httpx

from opper_batch.client.faults import too_large, too_late, unreachable, unusable_proxy
from opper_batch.client.surroundings import proxy_to, trusted
from opper_batch.client.transport import CONNECT_SECONDS, KEEPALIVE_SECONDS, READ_SECONDS, Request, Response

# Before these the request did not leave whole, so nobody can have charged for it.
_UNSENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
# An exchange's whole time is bounded in ``send``.
_TIMEOUTS = {"timeout": httpx.Timeout(None, connect=CONNECT_SECONDS).as_dict()}
_LIMITS = httpx.Limits(max_connections=1, keepalive_expiry=KEEPALIVE_SECONDS)
_parsed = lru_cache(maxsize=64)(httpx.URL)  # nearly all requests go to one URL


class HttpxTransport:
    """A connection for each request in flight; ``direct`` goes past the environment's proxies.

    httpx's own pool looks at all its connections for every request, so its cost grows with the square of
    what is in flight.
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
        except TimeoutError:
            raise too_late(self._seconds) from None
        except (OSError, httpx.TransportError) as error:
            raise unreachable(error, paid=not isinstance(error, _UNSENT)) from None

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
        self._tls = self._tls or trusted(direct=self._direct)
        return self._tls

    def _connected(self, url: str) -> httpx.AsyncHTTPTransport:
        named = None if self._direct else proxy_to(_parsed(url))
        try:
            proxy = httpx.Proxy(named) if named else None
            if proxy and (proxy.url.port or 0) >= 2**16:
                raise ValueError("there is no such port")
            return httpx.AsyncHTTPTransport(verify=self._trusted(url), limits=_LIMITS, proxy=proxy)
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            raise unusable_proxy(error) from None


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
        return Response(response.status_code, response.headers, await _read(response, request))
    finally:
        await response.aclose()


async def _read(response: httpx.Response, request: Request) -> bytes:
    """The body as it came over the wire: what was compressed all the same stays compressed."""
    chunks, size, cap = [], 0, request.cap(response.status_code)
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size > cap and response.status_code < 300:
            raise too_large(cap)
        chunks.append(chunk)
        if size > cap:
            break
        if request.share:
            await request.share.room(size)
    return b"".join(chunks)[:cap]
