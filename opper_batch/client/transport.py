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
    """Over httpx, with as many connections as there may be calls in flight and no waiting for the pool."""

    def __init__(self, *, connections: int, direct: bool = False) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=connections + 8)
        timeout = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS, pool=None)
        # A proxy of the environment must not stand between us and our own loopback.
        self._client = httpx.AsyncClient(limits=limits, timeout=timeout, trust_env=not direct)

    async def send(self, request: Request) -> Response:
        try:
            async with self._client.stream(
                request.method, request.url, headers=dict(request.headers), content=request.body
            ) as response:
                body = await _read(response, request.body_cap)
                return Response(response.status_code, response.headers, body)
        except httpx.TransportError as error:
            reason = shortened(printable(str(error))) or type(error).__name__
            raise Unreachable(f"no answer: {reason}", paid=not isinstance(error, _UNSENT)) from None
        except httpx.DecodingError:
            raise BadReply("the gateway's answer is encoded in a way that was not asked for") from None

    async def close(self) -> None:
        await self._client.aclose()


async def _read(response: httpx.Response, cap: int) -> bytes:
    chunks, size = [], 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size > cap:
            raise BadReply(f"the gateway's answer is larger than {cap // 1024 // 1024} MB")
        chunks.append(chunk)
    return b"".join(chunks)
