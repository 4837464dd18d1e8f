"""One connection, one exchange at a time: bytes out, and a response read by llhttp as it comes."""

from __future__ import annotations

import asyncio
import select
import time

import httptools

from opper_batch.client.faults import too_large, too_much_framing
from opper_batch.client.transport import KEEPALIVE_SECONDS, Request, Response

# What may come besides the body: the head, and what chunks of a few bytes each cost.
_HEAD_CAP = 1024 * 1024
_MOST_OVERHEAD = 8


class ConnectionBroken(Exception):
    """The exchange did not come to its end; ``sent`` tells whether any of the request left."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class _Gone(asyncio.Transport):
    """What a connection has for a transport when it has none."""

    def is_closing(self) -> bool:
        return True

    def abort(self) -> None:
        """There is nothing to close."""


_GONE = _Gone()


class Connection(asyncio.BufferedProtocol):
    """Made by ``create_connection``. After every exchange ``reusable`` says whether another may follow.

    What comes is read by way of ``buffer``, of BUFFER_BYTES, which all connections of a loop may share.
    Without it asyncio sets aside 256 KB for each piece and gives them back: that takes seven times as long.
    """

    def __init__(self, buffer: memoryview) -> None:
        self._buffer = buffer
        self.closed = asyncio.get_running_loop().create_future()
        self.reusable = False
        self._answer: asyncio.Future[Response] | None = None
        self._idle_since: float | None = None  # before the first exchange
        self._transport: asyncio.Transport = _GONE
        self._parser: httptools.HttpResponseParser | None = None
        self._begin()

    async def exchange(self, content: bytes, request: Request) -> Response:
        """The answer to ``content``, which leaves at once; ConnectionBroken, or BadReply past a cap.

        ``content`` is ``request`` as it goes over the wire, which also says how large the answer may be.

        Whatever ends it early closes the connection, so no later exchange can get this one's answer.
        """
        if not self._still_good():
            self.abort()
            raise ConnectionBroken("the connection was closed before the request left", sent=False)
        self.reusable = False
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._answer = answer
        self._parser = httptools.HttpResponseParser(self)
        self._request, self._received = request, 0
        self._begin()
        self._transport.write(content)
        try:
            return await answer
        except BaseException:  # a cancel, too, that came between the answer and us
            self.reusable = False
            raise
        finally:
            self._answer = None
            if answer.done() and not answer.cancelled():
                answer.exception()  # looked at, even when it is a cancel that ends this
            if self.reusable:
                self._idle_since = time.monotonic()
            else:
                self.abort()

    def abort(self) -> None:
        self.reusable = False
        self._transport.abort()

    @property
    def address(self) -> str | None:
        """The address at the other end."""
        peer = self._transport.get_extra_info("peername")
        return str(peer[0]) if peer else None

    def fail(self, error: Exception) -> None:
        """The exchange, if there is one, ends with ``error``."""
        self.reusable = False
        if self._answer and not self._answer.done():
            self._answer.set_exception(error)
            self._chunks.clear()

    def idle_too_long(self) -> bool:
        return self._idle_since is not None and time.monotonic() - self._idle_since > KEEPALIVE_SECONDS

    def _still_good(self) -> bool:
        """Whether this connection can be trusted with a request.

        The poll sees an end of an idle connection that the loop had no time to tell yet. What comes without
        having been asked for is nobody's answer; on a new connection it is TLS's own.
        """
        if self._transport.is_closing():
            return False
        socket = self._transport.get_extra_info("socket")
        if socket is None:  # TLS lost its connection and had no time to tell
            return False
        if self._idle_since is None:
            return True
        if not self.reusable or self.idle_too_long():
            return False
        pending = select.poll()
        pending.register(socket, select.POLLIN)
        return not pending.poll(0)

    # What asyncio tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._answer is None or self._answer.done():
            return self.abort()
        assert self._parser
        self._received += nbytes
        try:
            self._parser.feed_data(self._buffer[:nbytes])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.fail(ConnectionBroken("what came is not HTTP", sent=True))
        if self._received - self._size > _HEAD_CAP + _MOST_OVERHEAD * self._size:
            self.fail(too_much_framing())
        if share := self._request.share:
            share.grew(self._size)
            if not self._answered() and share.holds_up(self._transport.resume_reading):
                self._transport.pause_reading()
        return None

    def eof_received(self) -> None:
        if self._ends_with_connection:
            self.on_message_complete()
        self.reusable = False

    def connection_lost(self, error: Exception | None) -> None:
        self.reusable = False
        where = "in the middle of" if self._status else "before"
        reason = f" ({error})" if error else ""
        self.fail(ConnectionBroken(f"the connection was closed {where} its answer{reason}", sent=True))
        if not self.closed.done():
            self.closed.set_result(None)
        # Both know this connection too: for as long as they are kept, so are the 250 KB that TLS read by.
        self._transport, self._parser = _GONE, None

    # What the parser tells.

    def on_message_begin(self) -> None:
        if self._answered():  # more than was asked for
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._status:  # a trailer
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        assert self._parser
        self._status = self._parser.get_status_code()
        coding = self._headers.get("transfer-encoding", "").rpartition(",")[2].strip().lower()
        framed = "content-length" in self._headers or coding == "chunked"
        self._ends_with_connection = not framed and self._status >= 200

    def on_body(self, body: bytes) -> None:
        if self._answered():
            return
        self._size += len(body)
        self._chunks.append(body)
        cap = self._request.cap(self._status)
        if self._size > cap and self._status < 300:
            self.fail(too_large(cap))
        elif self._size > cap:
            self._settle(b"".join(self._chunks)[:cap])

    def on_message_complete(self) -> None:
        if self._status < 200:  # "100 Continue" and the like: the answer is still to come
            return self._begin()
        if self._answer and self._parser and not self._answer.done():
            self.reusable = self._parser.should_keep_alive() and not self._transport.get_write_buffer_size()
            self._settle(b"".join(self._chunks))
        return None

    def _begin(self) -> None:
        self._status = self._size = 0
        self._headers: dict[str, str] = {}
        self._chunks: list[bytes] = []
        self._ends_with_connection = False

    def _settle(self, body: bytes) -> None:
        assert self._answer
        self._answer.set_result(Response(self._status, self._headers, body))
        self._chunks.clear()

    def _answered(self) -> bool:
        return self._answer is None or self._answer.done()
