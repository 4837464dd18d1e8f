"""The transport of every day: HTTP/1.1 with nothing in the way, llhttp reading what comes.

A run sends one kind of request, a million times: POST bytes to one URL, get status, headers, bytes. What
general clients do besides (redirects, cookies, encodings, objects for all of it) is what their calls cost.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from functools import lru_cache

import httpx

from opper_batch.client.connection import Connection, ConnectionBroken
from opper_batch.client.deadlines import Deadlines
from opper_batch.client.dialer import Dialer, Origin
from opper_batch.client.faults import unreachable
from opper_batch.client.over_httpx import HttpxTransport
from opper_batch.client.surroundings import proxy_to
from opper_batch.client.transport import CONNECT_SECONDS, READ_SECONDS, Request, Response


@dataclass(frozen=True, slots=True)
class _Place:
    """A URL as a request says it."""

    origin: Origin
    target: str
    name: str


class LeanTransport:
    """A connection for each request in flight, kept a while for the next; ``direct`` goes past all proxies.

    Where the environment names a proxy, HttpxTransport goes through it.
    """

    def __init__(self, *, direct: bool = False, seconds: float = READ_SECONDS) -> None:
        self._direct = direct
        self._deadlines = Deadlines(seconds)
        self._dialer = Dialer(direct=direct, seconds=min(CONNECT_SECONDS, seconds))
        self._idle: defaultdict[Origin, deque[Connection]] = defaultdict(deque)
        self._proxied: dict[Origin, bool] = {}
        self._through_proxy = HttpxTransport(seconds=seconds)

    async def send(self, request: Request) -> Response:
        place = _place(request.url)
        if not self._direct and self._needs_proxy(place.origin, request.url):
            return await self._through_proxy.send(request)
        content = _content(request, place)
        try:
            return await self._answer(place.origin, content, request)
        except ConnectionBroken as error:
            raise unreachable(error, paid=error.sent) from None

    async def close(self) -> None:
        """Close every connection; a request in flight fails."""
        self._deadlines.close()
        await self._dialer.close()
        self._idle.clear()
        await self._through_proxy.close()

    def __repr__(self) -> str:
        return f"LeanTransport(idle={sum(map(len, self._idle.values()))}, open={self._dialer.open})"

    def _needs_proxy(self, origin: Origin, url: str) -> bool:
        if origin not in self._proxied:
            self._proxied[origin] = proxy_to(httpx.URL(url)) is not None
        return self._proxied[origin]

    async def _answer(self, origin: Origin, content: bytes, request: Request) -> Response:
        """Over the connection that became idle last, so that the others can be given up when few are needed.

        One that turns out to be closed before anything was sent costs nothing: the next one is taken.
        """
        idle = self._idle[origin]
        while idle:
            try:
                return await self._exchanged(idle.pop(), idle, content, request)
            except ConnectionBroken as error:
                if error.sent:
                    raise
        return await self._exchanged(await self._dialer.connected(origin), idle, content, request)

    async def _exchanged(
        self, connection: Connection, idle: deque[Connection], content: bytes, request: Request
    ) -> Response:
        self._deadlines.begin(connection)
        try:
            response = await connection.exchange(content, request)
        finally:
            self._deadlines.end(connection)
        if connection.reusable:
            idle.append(connection)
        while idle and idle[0].idle_too_long():
            idle.popleft().abort()
        return response


@lru_cache(maxsize=64)  # nearly all requests go to one URL
def _place(text: str) -> _Place:
    url = httpx.URL(text)
    tls = url.scheme == "https"
    origin = Origin(url.raw_host.decode(), url.port or (443 if tls else 80), tls)
    return _Place(origin, url.raw_path.decode(), url.netloc.decode())


def _content(request: Request, place: _Place) -> bytes:
    """The request as it goes over the wire."""
    head = _head(request.method, place.target, place.name, tuple(request.headers.items()))
    if request.body is None:
        return head + b"\r\n"
    return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(request.body), request.body)


@lru_cache(maxsize=64)  # nearly all requests begin alike
def _head(method: str, target: str, name: str, headers: tuple[tuple[str, str], ...]) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", f"Host: {name}", *(f"{key}: {value}" for key, value in headers)]
    head = "".join(f"{line}\r\n" for line in lines)
    if head.count("\n") != len(lines) or head.count("\r") != len(lines):
        raise ValueError("a header holds a line break")
    return head.encode("latin-1")
