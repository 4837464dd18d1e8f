"""The outermost ring around every request: notes it in the journal, asks for the key, marks the reply.

It also lets the router see the path as it came: ``%2F`` in a function's name parts nothing.
"""

from __future__ import annotations

import time
from asyncio import CancelledError

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from opper_batch.sandbox.faults import DROPPED
from opper_batch.sandbox.journal import Journal, Record
from opper_batch.sandbox.refusals import unauthorized
from opper_batch.sandbox.script import Script

_MARK = (b"x-opper-sandbox", b"synthetic")
_OPEN = ("/health", "/v3/models", "/v3/openapi.json", "/v3/openapi.yaml")
_OWN = "/sandbox/"
_JOURNAL = "/sandbox/journal"


class Doorway:
    """An ASGI application around ``app``, which finds its Record at ``scope["state"]["record"]``."""

    def __init__(self, app: ASGIApp, script: Script, journal: Journal) -> None:
        self._app = app
        self._script = script
        self._journal = journal
        self._requests = 0
        self._in_flight = 0
        self._calls = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        record, bearer = self._arrived(scope)
        scope["path"] = record.path
        scope["state"]["record"] = record
        try:
            await self._let_in(record, bearer)(scope, receive, self._noting(record, scope, send))
        except CancelledError:
            pass  # the sandbox stops, and the connection is closed
        finally:
            self._note(record)

    def _arrived(self, scope: Scope) -> tuple[Record, bytes]:
        self._requests += 1
        bearer, names = b"", []
        for name, value in scope["headers"]:
            names.append(name.decode("latin-1"))
            if name == b"authorization" and value[:7].lower() == b"bearer ":
                bearer = value[7:].strip()
        path = scope["raw_path"].decode("latin-1")
        record = Record(self._requests, scope["method"], path, time.time(), tuple(names))
        if record.is_call:
            self._in_flight += 1
            self._calls += 1
            record.in_flight = self._in_flight
        return record, bearer

    def _let_in(self, record: Record, bearer: bytes) -> ASGIApp:
        """The application, or the 401 that is sent in its place."""
        refused = self._script.reject_key and self._calls > self._script.fine_calls
        if record.path in _OPEN or record.path.startswith(_OWN) or (bearer and not refused):
            return self._app
        return unauthorized(self._script.reject_key or "string", sent=bool(bearer))

    def _noting(self, record: Record, scope: Scope, send: Send) -> Send:
        """``send``, with the record in the journal before the last byte leaves."""

        async def noting(message: Message) -> None:
            kind = message["type"]
            if kind == DROPPED:
                self._note(record)
                scope["state"]["transport"].abort()
                return
            if kind == "http.response.start":
                record.status = message["status"]
                message["headers"] = [*message["headers"], _MARK]
            elif not message.get("more_body"):
                self._note(record)
            await send(message)

        return noting

    def _note(self, record: Record) -> None:
        if record.answered:
            return
        record.answered = time.time()
        if record.is_call:
            self._in_flight -= 1
        if record.path != _JOURNAL:
            self._journal.add(record)
