"""The seam to the network: one method, a request in and a response out.

``HttpxTransport`` is the one in use. Redirects are not followed, a body has a cap, and every fault of the
network comes out as ``Unreachable`` saying whether the request may have been paid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import httpx

from opper_batch.errors import BadReply, Unreachable
from opper_batch.text import printable, shortened

CONNECT_SECONDS = 10.0
READ_SECONDS = 600.0
_KEEPALIVE_SECONDS = 30.0
BODY_CAP = 64 * 1024 * 1024

# Before these the request did not leave whole, so nobody can have charged for it.
_UNSENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


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
    """Over httpx, a client of one connection for each request in flight.

    httpx's own pool looks at all its connections for every request, so its cost grows with the square of
    what is in flight: 64 calls in flight at 50 ms went at 93 a second through one pool, at 8 ms of CPU each.
    """

    def __init__(self, *, direct: bool = False) -> None:
        # A proxy of the environment must not stand between us and our own loopback.
        self._direct = direct
        self._tls = httpx.create_ssl_context(trust_env=not direct)
        self._idle: list[httpx.AsyncClient] = []
        self._all: list[httpx.AsyncClient] = []

    async def send(self, request: Request) -> Response:
        client = self._idle.pop() if self._idle else self._connected()
        try:
            async with client.stream(
                request.method, request.url, headers=request.headers, content=request.body
            ) as response:
                body = await _read(response, request.body_cap)
                return Response(response.status_code, response.headers, body)
        except httpx.TransportError as error:
            reason = shortened(printable(str(error))) or type(error).__name__
            raise Unreachable(f"no answer: {reason}", paid=not isinstance(error, _UNSENT)) from None
        except httpx.DecodingError:
            raise BadReply("the gateway's answer is encoded in a way that was not asked for") from None
        finally:
            self._idle.append(client)

    async def close(self) -> None:
        for client in self._all:
            await client.aclose()

    def _connected(self) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=1, keepalive_expiry=_KEEPALIVE_SECONDS)
        timeout = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS, pool=None)
        client = httpx.AsyncClient(
            verify=self._tls, limits=limits, timeout=timeout, trust_env=not self._direct
        )
        self._all.append(client)
        return client


async def _read(response: httpx.Response, cap: int) -> bytes:
    chunks, size = [], 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size > cap:
            raise BadReply(f"the gateway's answer is larger than {cap // 1024 // 1024} MB")
        chunks.append(chunk)
    return b"".join(chunks)
