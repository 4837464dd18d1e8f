"""What must be durable before a call goes on, as the calls of one event loop write it."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict

from opper_batch.errors import MachineError
from opper_batch.ledger.statements import (
    FORGET_PENDING,
    INTENT,
    OUTCOME,
    PENDING,
    TOTALS,
    Bulk,
    Row,
    forget_intent,
)
from opper_batch.records import Outcome, Reply

# An answer waits so long for the request that takes its place, whose intent has to be written anyway.
_TOGETHER_SECONDS = 0.005

_Statement = tuple[str | Bulk, Row]
_Entry = tuple[tuple[_Statement, ...], "asyncio.Future[None]"]


class Journal:
    """The ledger as a client sees it. One for each step; what is awaited returns when its entry is durable.

    Entries of one turn of the loop are submitted together, and answers a little later with the next entry of
    another kind. A call has one entry under way at a time.
    ``pended`` says whether earlier runs left anything pending.
    """

    def __init__(
        self, submit: Callable[..., Future[int]], *, run: int, template: int, pended: bool = True
    ) -> None:
        self._submit = submit
        self._run = run
        self._template = template
        self._pended = pended
        self._forget_intent = forget_intent(run)
        self._entries: list[_Entry] = []
        self._due: asyncio.Handle | None = None  # when they are submitted at the latest
        self._at_once = False
        self._done: deque[tuple[list[_Entry], Future[int]]] = deque()  # that the loop has not heard of yet
        self._woken = False

    def intent(self, key: bytes) -> asyncio.Future[None]:
        """Before a request leaves, to be waited for: from then on it may have been paid."""
        return self._queued((INTENT, (key, self._run, time.time())))

    async def pend(self, key: bytes, reply: Reply) -> None:
        """Before the first poll: a 202's operations, so that the call is never posted again."""
        self._pended = True
        await self._durable((PENDING, (key, reply.raw, time.time())), (self._forget_intent, (key,)))

    async def retract(self, key: bytes) -> None:
        """The gateway refused to do the call: nothing was paid and nothing is known."""
        await self._durable((self._forget_intent, (key,)))

    async def record(
        self,
        outcome: Outcome,
        *,
        final: bool = True,
        still_pending: bool = False,
        begun: bytes | None = None,
    ) -> None:
        """An answer or an end; ``final`` is False for an answer that will be asked for again.

        ``still_pending`` keeps the call's operations, to be polled by the next run; ``begun`` is how their
        202 is kept from now on, None for as it was.
        """
        statements = [(OUTCOME, self._outcome(outcome, final)), (TOTALS, self._counts(outcome, final))]
        if final:
            statements.append((self._forget_intent, (outcome.key,)))
        if still_pending and begun is not None:
            self._pended = True
            statements.append((PENDING, (outcome.key, begun, time.time())))
        elif self._pended and not still_pending:
            statements.append((FORGET_PENDING, (outcome.key,)))
        await self._durable(*statements, within=_TOGETHER_SECONDS)

    async def _durable(self, *statements: _Statement, within: float = 0.0) -> None:
        """Done when committed, which happens even when the one who waits is cancelled."""
        try:
            await self._queued(*statements, within=within)
        except asyncio.CancelledError:
            self._flush(asyncio.get_running_loop())  # the loop may have no time left
            raise

    def _queued(self, *statements: _Statement, within: float = 0.0) -> asyncio.Future[None]:
        """Submitted after this turn of the loop, or ``within`` seconds unless another entry is before."""
        loop = asyncio.get_running_loop()
        written: asyncio.Future[None] = loop.create_future()
        self._entries.append((statements, written))
        self._submit_soon(loop, within)
        return written

    def _submit_soon(self, loop: asyncio.AbstractEventLoop, within: float) -> None:
        if self._at_once or (within and self._due):
            return
        if self._due:
            self._due.cancel()
        self._at_once = not within
        self._due = (
            loop.call_later(within, self._flush, loop) if within else loop.call_soon(self._flush, loop)
        )

    def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._due:
            self._due.cancel()
        self._due, self._at_once = None, False
        entries, self._entries = self._entries, []
        # Apart, since a ledger that lets nothing leave any more must not refuse an answer with an intent.
        leaving: list[_Entry] = []
        ended: list[_Entry] = []
        for entry in entries:
            (leaving if entry[0][0][0] is INTENT else ended).append(entry)
        for together in (ended, leaving):  # who leaves may have the place of one that ended just now
            if together:
                self._write(loop, together)

    def _write(self, loop: asyncio.AbstractEventLoop, entries: list[_Entry]) -> None:
        statements = [statement for its_statements, _ in entries for statement in its_statements]
        try:
            future = self._submit(*statements)
        except MachineError as error:  # the ledger is closed: those who wait are told
            _settle(entries, error)
            return
        future.add_done_callback(lambda done: self._committed(loop, entries, done))

    def _committed(self, loop: asyncio.AbstractEventLoop, entries: list[_Entry], done: Future[int]) -> None:
        """On the ledger's thread, or the loop's if it is done at once. Woken twice does no harm."""
        self._done.append((entries, done))
        if not self._woken:
            self._woken = True
            with suppress(RuntimeError):  # the loop has ended, and with it those who waited
                loop.call_soon_threadsafe(self._hear, loop)

    def _hear(self, loop: asyncio.AbstractEventLoop) -> None:
        self._woken = False  # before it looks: what comes from now on wakes it again
        while self._done:
            entries, done = self._done.popleft()
            error = done.exception()
            if error is not None and len(entries) > 1:  # each alone, so that none fails for another
                for entry in entries:
                    self._write(loop, [entry])
            else:
                _settle(entries, error)

    def _outcome(self, outcome: Outcome, final: bool) -> Row:
        usage = outcome.usage
        artifacts = (
            json.dumps([asdict(artifact) for artifact in outcome.artifacts]) if outcome.artifacts else None
        )
        return (
            outcome.key,
            self._run,
            self._template,
            outcome.ok,
            final,
            outcome.error,
            outcome.reply,
            outcome.model,
            usage.cost,
            usage.input_tokens,
            usage.output_tokens,
            outcome.latency_ms,
            outcome.attempts,
            outcome.throttled,
            outcome.trace,
            artifacts,
            time.time(),
        )

    def _counts(self, outcome: Outcome, final: bool) -> Row:
        usage = outcome.usage
        return (
            self._run,
            self._template,
            int(outcome.ok),
            int(final and not outcome.ok),
            outcome.attempts,
            outcome.throttled,
            outcome.unpriced,
            usage.cost or 0.0,
            usage.input_tokens or 0,
            usage.output_tokens or 0,
            (outcome.latency_ms or 0) if outcome.ok else 0,
        )


def _settle(entries: list[_Entry], error: BaseException | None) -> None:
    for _, written in entries:
        if written.done():  # whoever waited was cancelled
            continue
        if error is None:
            written.set_result(None)
        else:
            written.set_exception(error)
            written.exception()  # looked at, even when whoever was to wait is gone
