"""The engine of one process: an event loop in a thread of its own, many calls in flight.

    caller's thread      calls -> feed                           ended -> outcomes
    loop's thread                 feed -> admitted -> client.call -> ended

Async stays in here: the caller sees a plain iterator, and a notebook's own running loop is no concern.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from typing import Protocol

from opper_batch.budget import over_budget
from opper_batch.client import Client, GateClosed
from opper_batch.engines.stopping import Stopping, late, no_access
from opper_batch.errors import AccessRefused
from opper_batch.grace import GRACE_SECONDS
from opper_batch.records import Call, Outcome

MOST_OPEN = 10_000
_LAST_SECONDS = 2.0
# Outcomes are handed to the caller's thread together: to wake it for each would cost more than the call.
_HAND_OVER_SECONDS = 0.02
_SLICE_SECONDS = 0.25


class Handed(Protocol):
    """A queue from the loop's thread to the caller's: what ``queue.SimpleQueue`` is."""

    def put(self, outcomes: list[Outcome]) -> None: ...

    def get(self, block: bool = True, timeout: float | None = None) -> list[Outcome]:
        """The next that was put; raises queue.Empty after ``timeout`` seconds."""

    def empty(self) -> bool: ...


class LocalEngine:
    """Asks calls through ``client``. Unless ``proven``, calls go one by one until one is answered.

    ``deadline`` is in seconds from now; past it nothing is sent, what is in flight has ``grace`` seconds to
    end, and RunStopped is raised if a call was left. When the caller is interrupted, what is in flight has
    ``grace`` seconds too; a second interrupt ends it at once. ``most_open`` bounds the calls begun and not
    over, those waiting for a 202 or for another try included. ``waiting`` is called on the caller's thread a
    few times a second while nothing ends, except while a call is being drawn; ``landing`` once when the
    caller stops before the end, before what is in flight is waited for. The clock, the event loop and the
    queue that its thread hands outcomes over by are parameters.
    """

    def __init__(
        self,
        client: Client,
        *,
        proven: bool = False,
        deadline: float | None = None,
        grace: float = GRACE_SECONDS,
        most_open: int = MOST_OPEN,
        waiting: Callable[[], None] = lambda: None,
        landing: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
        handed: Callable[[], Handed] = queue.SimpleQueue,
    ) -> None:
        self._client = client
        self._clock = clock
        self._loop = loop
        self._handed = handed
        self._waiting = waiting
        self._landing = landing
        self._proven = proven
        self._ends = clock() + deadline if deadline is not None else None
        self._grace = grace
        self._most_open = most_open
        self._flight: _Flight | None = None

    def soon(self, act: Callable[[], None]) -> bool:
        """Do ``act`` between two turns of the loop, where the client lives; False when no calls are made.

        May be called on any thread.
        """
        return self._flight is not None and self._flight.soon(act)

    def outcomes(self, calls: Iterable[Call]) -> Generator[Outcome, None, None]:
        source = iter(calls)
        flight = _Flight(
            self._client,
            proven=self._proven,
            ends=self._ends,
            grace=self._grace,
            most_open=self._most_open,
            clock=self._clock,
            loop=self._loop(),
            ended=self._handed(),
        )
        flight.start()
        self._flight = flight
        try:
            while not flight.over:
                flight.feed(source, max(64, 2 * self._client.gate.pace.concurrency))
                ended = flight.ended()
                if not ended:
                    self._waiting()
                yield from ended
        finally:
            flight.land(self._grace, self._landing)
        if flight.reason:
            raise flight.reason


class _Flight:
    """One use of the engine: the thread, its loop, and the two queues between the threads."""

    def __init__(
        self,
        client: Client,
        *,
        proven: bool,
        ends: float | None,
        grace: float,
        most_open: int,
        clock: Callable[[], float],
        loop: asyncio.AbstractEventLoop,
        ended: Handed,
    ) -> None:
        self.reason: Exception | None = None
        self._client = client
        self._stopping = Stopping(client.gate.outage, proven=proven)
        self._ends = ends
        self._grace = grace
        self._most_open = most_open
        self._drawn: deque[Call | None] = deque()
        self._hungry = False
        self._arrived = asyncio.Event()
        self._outcomes: list[Outcome] = []
        self._ended = ended
        self._begun: set[asyncio.Task[None]] = set()
        self._progress = client.progress
        self._fed = self._taken = 0
        self._exhausted = self._halted = self._admitting = self._late = False
        self._loop = loop
        self._clock = clock
        self._down = threading.Event()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    # The caller's side.

    def start(self) -> None:
        self._thread.start()

    @property
    def over(self) -> bool:
        return self._down.is_set() and self._ended.empty()

    def feed(self, source: Iterator[Call], lookahead: int) -> None:
        """Draw calls until ``lookahead`` are waiting, or there are no more."""
        while not self._exhausted and not self._halted and self._fed - self._taken < lookahead:
            call = next(source, None)
            self._exhausted = call is None
            self._fed += 1
            self._drawn.append(call)
            if self._hungry:  # else it looks by itself: to wake it for each would cost more than the call
                self._hungry = False
                self.soon(self._arrived.set)

    def ended(self) -> list[Outcome]:
        """The next outcomes; none when more calls are wanted, or nothing ends for a while.

        Waiting in slices, since one long wait may keep an interrupt from being seen.
        """
        try:
            return self._ended.get(timeout=_SLICE_SECONDS)
        except queue.Empty:
            return []

    def land(self, grace: float, landing: Callable[[], None]) -> None:
        """Send nothing more, and wait for what is in flight: at most ``grace`` seconds, or an interrupt."""
        try:
            self.soon(self._halt, None)
            if not self._down.is_set():
                landing()
            ends = time.monotonic() + grace
            while (left := ends - time.monotonic()) > 0:  # in slices, for the same reason
                if self._down.wait(min(left, _SLICE_SECONDS)):  # not join: interrupted, it counts as ended
                    break
        finally:
            self.soon(self._cancel)
            self._thread.join(_LAST_SECONDS)

    def soon(self, act: Callable[..., object], *args: object) -> bool:
        """On the loop's thread; False when the loop has ended, and with it what there was to say."""
        try:
            self._loop.call_soon_threadsafe(act, *args)
        except RuntimeError:
            return False
        return True

    # The loop's side.

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._drive())
        except Exception as error:  # whatever it is, it is raised on the caller's thread
            self.reason = self.reason or error
        finally:
            self._hand_over()
            self._down.set()
            self._ended.put([])  # wakes the caller's thread, which then sees that it is over

    async def _drive(self) -> None:
        if self._ends is not None:
            left = self._ends - self._clock()
            self._late = left <= 0  # at once: a timer would let the first call begin
            self._loop.call_later(left, self._expire)
            self._loop.call_later(left + self._grace, self._give_up)
        try:
            while (call := await self._next()) is not None:
                self._admitting = True
                reserved = await self._admitted(call)
                self._admitting = False
                if reserved is None:
                    break
                answered, begun = self._client.answered, self._begin(call, reserved)
                if call.pending is None and not self._stopping.proven:
                    await self._proven_by(begun, answered)
            while self._begun:
                await asyncio.wait(self._begun)
        finally:
            self._hand_over()  # there is work with them while the connections are closed
            await self._client.close()

    async def _next(self) -> Call | None:
        while not self._drawn and not self._halted:
            self._arrived.clear()
            self._hungry = True
            if not self._drawn:  # looked at again: one may have come just before
                self._hand_over()  # wakes the caller's thread, which then feeds
                await self._arrived.wait()
        if self._halted:
            return None
        call = self._drawn.popleft()
        self._taken += 1
        if self._late and call is not None:
            self._halt(late())
            return None
        return call

    async def _admitted(self, call: Call) -> float | None:
        """Wait for room, money and a place at the gate; gives what is set aside, None when it may not begin.

        A pending call was paid for before and is polled without a place.
        """
        budget, pending = self._client.budget, call.pending is not None
        while len(self._begun) >= self._most_open or not (pending or budget.admits()):
            if not self._begun:
                self._halt(over_budget(budget))
            if self._halted:
                return None
            self._progress.clear()
            await self._progress.wait()
        if pending:
            return 0.0
        reserved = budget.reserve()
        try:
            await self._client.gate.enter()
        except GateClosed:
            budget.settle(reserved, 0.0)
            return None
        return reserved

    def _begin(self, call: Call, reserved: float) -> asyncio.Task[None]:
        begun = self._loop.create_task(self._one(call, reserved, self._client.intent(call)))
        self._begun.add(begun)
        begun.add_done_callback(self._finished)
        return begun

    def _finished(self, begun: asyncio.Task[None]) -> None:
        self._begun.discard(begun)
        self._progress.set()

    async def _one(self, call: Call, reserved: float, intent: Awaitable[None] | None) -> None:
        try:
            outcome = await self._client.call(call, reserved=reserved, intent=intent)
        except GateClosed:
            if self._late:
                self._halt(late())
        except AccessRefused as error:
            self._halt(no_access(error))
        except Exception as error:  # it stops the run, and is raised on the caller's thread
            self._halt(error)
        else:
            self._over(outcome)
            if call.pending is not None and not outcome.ok:
                return  # what was begun by an earlier run and failed says nothing of this one
            if reason := self._stopping.after(outcome):
                self._halt(reason)

    def _over(self, outcome: Outcome) -> None:
        if not self._outcomes:
            self._loop.call_later(_HAND_OVER_SECONDS, self._hand_over)
        self._outcomes.append(outcome.without_large_reply())

    def _hand_over(self) -> None:
        self._ended.put(self._outcomes)
        self._outcomes = []

    async def _proven_by(self, lone: asyncio.Task[None], answered: int) -> None:
        """Wait until the call that was posted alone is answered, if only by a 202, or is over.

        ``answered`` is how many were before it; what an earlier run left pending may end meanwhile.
        """
        while not lone.done() and self._client.answered == answered:
            self._progress.clear()
            await self._progress.wait()
        if not lone.done():
            self._stopping.prove()

    def _expire(self) -> None:
        """The deadline has passed: nothing more is sent; calls in flight that are the last may end."""
        self._late = True
        if self._admitting or self._fed - self._taken - self._exhausted > 0:
            self._halt(late())
        else:
            self._client.gate.close()

    def _give_up(self) -> None:
        """What is still in flight so long after the deadline is left in doubt, for the next run."""
        if self._begun:
            self._halt(late())
            self._cancel()

    def _halt(self, reason: Exception | None) -> None:
        """Nothing more is sent; what is in flight goes on, what waits is left for the next run."""
        if self._halted:
            return
        self._halted, self.reason = True, reason
        self._client.gate.close()
        self._arrived.set()
        self._progress.set()

    def _cancel(self) -> None:
        for task in self._begun:
            task.cancel()
