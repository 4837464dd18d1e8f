"""Where calls wait for their turn: the asynchronous side of ``Pace``. Calls tried again go first."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress

from opper_batch.errors import CallError, RunStopped
from opper_batch.pace import Outage, Pace, Sent
from opper_batch.quotas import Quotas

LONGEST_PAUSE_SECONDS = 600.0


class GateClosed(Exception):
    """Nothing more leaves in this run; the call stays for the next one."""


class Gate:
    """Lets calls pass as ``pace`` allows; a call holds its place from ``enter`` to ``leave``."""

    def __init__(
        self, pace: Pace, *, outage: Outage | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.pace = pace
        self.outage = outage or Outage()
        self._clock = clock
        self._quotas = Quotas()
        self._again: deque[asyncio.Future[None]] = deque()
        self._fresh: deque[asyncio.Future[None]] = deque()
        self._last: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = asyncio.Event()
        self.held = False  # by the user: nothing passes until ``hold(False)``

    async def enter(self, *, again: bool = False, last: bool = False) -> None:
        """Wait for a place; ``again`` goes before everything fresh, unless it has its ``last`` attempt: then
        others try first whether an outage is over. Raises GateClosed.
        """
        if self._closed.is_set():
            raise GateClosed
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._last if last else self._again if again else self._fresh
        queue.append(turn)
        self._advance()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave()
            raise

    def expect(self, tokens: float) -> Sent:
        """The call that has entered is sent now and will use about so many tokens."""
        return self.pace.expect(self._clock(), tokens)

    def throttled(self, sent: Sent, retry_after: float | None) -> float:
        """The request got a 429; ``leave`` is still to come. Gives the seconds that only this call waits.

        Usually they are 0: all wait, as the gateway says and the rate that was learned allows. More than ten
        minutes close the gate and raise RunStopped.
        """
        self._check(retry_after or 0.0)
        heeded = self.pace.refused(self._clock(), sent, retry_after)
        return 0.0 if heeded else retry_after or 0.0

    def answered(self, sent: float) -> None:
        """Whatever the answer to what left at ``sent`` is, the gateway is there."""
        self.outage.answered(sent)

    def excuses(self, error: CallError) -> bool:
        """Whether a fault is that of an outage and uses up none of its call's attempts.

        One that may have been paid always does, or a row might be paid for as often as an outage lasts.
        """
        return error.absent and not error.paid and self.outage.on

    def unanswered(self, reason: str, *, before: float | None = None, last: bool = False) -> None:
        """Nobody was there, as ``before`` for the same call, whose ``last`` attempt it may be.

        When that goes on, calls leave one by one.

        After ten minutes of it closes the gate and raises RunStopped.
        """
        now = self._clock()
        self.outage.faulted(now, before=before, last=last)
        if self.outage.exhausted(now):
            self.close()
            minutes = self.outage.patience / 60
            raise RunStopped(
                f"the gateway has been out for {minutes:.3g} minutes ({reason}); run again to go on"
            )

    def heard(self, headers: Mapping[str, str]) -> None:
        """A reply came with these headers, which may say what the gateway allows."""
        if quota := self._quotas.heard(headers):
            self.pace.know(requests=quota.requests, tokens=quota.tokens)

    def leave(self, sent: Sent | None = None, *, used: float | None = None) -> None:
        """Give the place back; the request ``sent``, if it was, used so many tokens (None: as expected)."""
        self.pace.returned(self._clock(), sent, used=used)
        self._advance()

    def pause(self, seconds: float) -> None:
        """Nothing passes for ``seconds``; more than ten minutes close the gate and raise RunStopped."""
        self._check(seconds)
        self.pace.pause(self._clock(), seconds)

    def hold(self, held: bool) -> None:
        """The user wants nothing more to pass, or that it goes on; ``close`` still tells those who wait."""
        self.held = held
        self._advance()

    async def sleep(self, seconds: float) -> None:
        """Let time pass without holding a place; raises GateClosed as soon as the gate closes."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closed.wait()
                raise GateClosed

    @property
    def is_shut(self) -> bool:
        """Whether nothing may leave, even with a place: in a pause that was asked for, held, or closed."""
        return self.held or self._closed.is_set() or self.pace.paused_until > self._clock()

    async def unpaused(self) -> None:
        """Wait for the end of the pause, if any, without a place; raises GateClosed."""
        while (left := self.pace.paused_until - self._clock()) > 0:
            await self.sleep(left)

    @property
    def paused_for(self) -> float:
        """Seconds until sending goes on; 0 when it is not paused."""
        now = self._clock()
        return max(0.0, self.pace.paused_until - now, self.outage.wait(now))

    def close(self) -> None:
        """Nobody passes any more; those who wait are told by GateClosed."""
        self._closed.set()
        for queue in (self._again, self._fresh, self._last):
            while queue:
                turn = queue.popleft()
                if not turn.done():
                    turn.set_exception(GateClosed())
        self._advance()

    def _first_queue(self) -> deque[asyncio.Future[None]]:
        if self.outage.on:
            return self._again or self._fresh or self._last
        return self._again or self._last or self._fresh

    def _check(self, seconds: float) -> None:
        if seconds > LONGEST_PAUSE_SECONDS:
            self.close()
            raise RunStopped(
                f"the gateway asks to wait {seconds:.0f} s before the next call; run again then to go on"
            )

    def _advance(self) -> None:
        """Let pass who may, and come back when the next one may; no timer runs when nobody waits."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        while not self.held and (queue := self._first_queue()):
            if queue[0].done():  # cancelled while it waited
                queue.popleft()
                continue
            now = self._clock()
            wait = max(self.pace.wait(now), self.outage.wait(now))
            if wait > 0:
                if wait != float("inf"):  # else the next one that leaves makes room
                    self._timer = asyncio.get_running_loop().call_later(wait, self._advance)
                return
            self.pace.sent(now)
            self.outage.sent(now)
            queue.popleft().set_result(None)
