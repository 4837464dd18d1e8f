"""The engine of one process: an event loop in a thread of its own, many calls in flight.

    caller's thread      calls -> feed            outcomes <- ended
    loop's thread                  feed -> gate -> client.call -> ended

Async stays in here: the caller sees a plain iterator, and a notebook's own running loop is no concern.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Generator, Iterable, Iterator

from opper_batch.client import Client, GateClosed
from opper_batch.errors import AccessRefused, Refused, RunStopped
from opper_batch.records import Call, Outcome

GRACE_SECONDS = 20.0
_OUTAGE = 20  # calls in a row that got no answer at all, after every attempt
_OPEN = 10_000  # calls begun and not over, waiting ones included
_SLICE = 0.2  # a blocking wait is cut in slices, so that an interrupt acts at once


class LocalEngine:
    """Asks calls through ``client``. Unless ``proven``, the first call goes alone.

    ``deadline`` is in seconds from now; past it nothing more is sent and RunStopped is raised.
    """

    def __init__(
        self,
        client: Client,
        *,
        proven: bool = False,
        deadline: float | None = None,
        grace: float = GRACE_SECONDS,
    ) -> None:
        self._client = client
        self._proven = proven
        self._ends = time.monotonic() + deadline if deadline is not None else None
        self._grace = grace
        self._lookahead = max(64, 2 * client.gate.pace.concurrency)

    def outcomes(self, calls: Iterable[Call]) -> Generator[Outcome, None, None]:
        flight = _Flight(self._client, proven=self._proven, ends=self._ends)
        source = iter(calls)
        flight.start()
        try:
            while not flight.over:
                flight.feed(source, self._lookahead)
                yield from flight.ended(_SLICE)
        finally:
            flight.land(self._grace)
        if flight.reason:
            raise flight.reason


class _Flight:
    """One use of the engine: the thread, its loop, and the two queues between the threads."""

    def __init__(self, client: Client, *, proven: bool, ends: float | None) -> None:
        self.reason: BaseException | None = None
        self._client = client
        self._proven = proven
        self._ends = ends
        self._feed: asyncio.Queue[Call | None] = asyncio.Queue()
        self._ended: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._settled = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._fed = self._exhausted = 0
        self._taken = self._unanswered = 0
        self._halted = False

    # The caller's side.

    def start(self) -> None:
        self._thread.start()

    @property
    def over(self) -> bool:
        return not self._thread.is_alive() and self._ended.empty()

    def feed(self, source: Iterator[Call], lookahead: int) -> None:
        """Draw calls until ``lookahead`` are waiting, or there are no more."""
        while not self._exhausted and not self._halted and self._fed - self._taken < lookahead:
            call = next(source, None)
            self._exhausted = call is None
            self._fed += 1
            self._loop.call_soon_threadsafe(self._feed.put_nowait, call)

    def ended(self, seconds: float) -> Iterator[Outcome]:
        """The outcomes there are, waiting at most ``seconds`` for the first."""
        try:
            outcome = self._ended.get(timeout=seconds)
            while True:
                if outcome is None:
                    return
                yield outcome
                outcome = self._ended.get_nowait()
        except queue.Empty:
            return

    def land(self, grace: float) -> None:
        """Stop sending, wait for what is in flight, at most ``grace`` seconds when it was cut short."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._halt, None)
        ends = time.monotonic() + grace
        while self._thread.is_alive() and time.monotonic() < ends:
            self._thread.join(_SLICE)
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._cancel_all)
            self._thread.join(2.0)

    # The loop's side.

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._drive())
        except BaseException as error:  # whatever it is, it is raised on the caller's thread
            self.reason = self.reason or error
        finally:
            self._loop.close()
            self._ended.put(None)

    async def _drive(self) -> None:
        if self._ends is not None:
            late = RunStopped("the deadline has passed; run again to go on")
            self._loop.call_at(self._loop.time() + self._ends - time.monotonic(), self._halt, late)
        try:
            while (call := await self._next()) is not None:
                if not await self._admitted(call):
                    break
                self._begin(call)
                await self._alone_until_proven()
            while self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            await self._client.close()

    async def _next(self) -> Call | None:
        if self._halted:
            return None
        call = await self._feed.get()
        self._taken += 1
        if self._feed.qsize() == 0:
            self._ended.put(None)  # wakes the caller's thread, which then feeds
        return None if self._halted else call

    async def _admitted(self, call: Call) -> bool:
        """Wait until the call may begin: room, money, and a place at the gate."""
        budget = self._client.budget
        while len(self._tasks) >= _OPEN or not budget.admits():
            if not self._tasks:
                self._halt(RunStopped(_over_budget(budget.cap, budget.paid)))
            if self._halted:
                return False
            self._settled.clear()
            await self._settled.wait()
        if call.pending is not None:
            return True
        try:
            await self._client.gate.enter()
        except GateClosed:
            return False
        return True

    def _begin(self, call: Call) -> None:
        task = self._loop.create_task(self._one(call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _one(self, call: Call) -> None:
        try:
            outcome = await self._client.call(call)
            self._watch(outcome)
            self._ended.put(outcome)
        except GateClosed:
            pass
        except AccessRefused as error:
            self._halt(_stop(error))
        except Exception as error:
            self._halt(error)
        finally:
            self._settled.set()

    async def _alone_until_proven(self) -> None:
        """The first call goes alone: if it is refused for what every call shares, nothing else is sent."""
        while self._tasks and not self._proven and not self._halted:
            await asyncio.wait(self._tasks)

    def _watch(self, outcome: Outcome) -> None:
        """Learn from how a call ended: a refused first call, or an outage, stops the run."""
        if outcome.cause == "refused" and not self._proven:
            self._halt(
                Refused(f"the gateway refused the first call, so nothing else was sent: {outcome.error}")
            )
        self._unanswered = self._unanswered + 1 if outcome.cause == "gateway" else 0
        if self._unanswered >= (_OUTAGE if self._proven else 1):
            self._halt(RunStopped(f"the gateway does not answer ({outcome.error}); run again to go on"))
        if outcome.cause in ("", "answer"):
            self._proven = True  # the gateway takes what every call shares

    def _halt(self, reason: BaseException | None) -> None:
        """Nothing more is sent; what is in flight goes on, what waits is left for the next run."""
        if self._halted:
            return
        self._halted, self.reason = True, reason
        self._client.gate.close()
        self._feed.put_nowait(None)
        self._settled.set()

    def _cancel_all(self) -> None:
        for task in self._tasks:
            task.cancel()


def _stop(error: AccessRefused) -> RunStopped | Refused:
    if error.status == 402:
        return RunStopped(f"the gateway's budget is used up ({error.message}); run again when it is lifted")
    return Refused(
        f"the gateway refuses the key or the model ({error.message}); set a key that may, and run again"
    )


def _over_budget(cap: float | None, paid: float) -> str:
    return (
        f"the budget of ${cap:.2f} is reached (${paid:.4f} paid); run again with a higher --max-cost to go on"
    )
