"""Time that jumps: an event loop that never waits, and a queue by which two threads take turns.

Of the two threads of a run one works at a time. The loop works until it has nothing more to do now; then the
caller's thread takes what was handed to it, until it waits for more; only when both rest does time jump to
the next timer. So a run is the same each time, and takes no longer than its work.
"""

from __future__ import annotations

import asyncio
import queue
import selectors
import threading
from collections import deque

from opper_batch.records import Outcome

_PATIENCE = 20.0  # real seconds for the other thread to rest: it waits for nothing but the ledger


class Hang(Exception):
    """Nothing will ever happen again, or it takes longer than anything may."""


class Clock:
    """Seconds since the start, set by the loop."""

    def __init__(self) -> None:
        self.now = 0.0
        self.end = float("inf")

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
        if self.now > self.end:
            raise Hang(f"still not over after {self.now:.0f} s")


class Turns:
    """The queue from the loop's thread to the caller's, and whose turn it is."""

    def __init__(self) -> None:
        self._put: deque[list[Outcome]] = deque()
        self._loops = threading.Semaphore(0)
        self._callers = threading.Semaphore(0)
        self._begun = False
        self.over = False  # the loop is closed, or the caller takes nothing more: nobody waits for anybody

    def put(self, outcomes: list[Outcome]) -> None:
        self._put.append(outcomes)
        if self.over:
            self._callers.release()

    def get(self, block: bool = True, timeout: float | None = None) -> list[Outcome]:
        if not self._put:
            self._loops.release()
            assert self._callers.acquire(timeout=_PATIENCE), "the loop's thread does not rest"
        if self._put:
            return self._put.popleft()
        raise queue.Empty

    def empty(self) -> bool:
        return not self._put

    def loop_rests(self) -> None:
        """Until the caller waits for more."""
        if self.over or (self._begun and not self._put):
            return
        if self._begun:
            self._callers.release()
        self._begun = True
        assert self._loops.acquire(timeout=_PATIENCE), "the caller's thread does not rest"

    def end(self) -> None:
        self.over = True
        self._loops.release()


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is ``clock``'s, and which sees no file and no socket."""

    def __init__(self, clock: Clock, turns: Turns) -> None:
        self._virtual, self._turns = clock, turns
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self._virtual.now

    def rest(self, timeout: float | None) -> None:
        """Nothing is to be done before ``timeout``, unless the caller brings something."""
        self._turns.loop_rests()
        if self._ready:
            return
        if timeout is None:
            raise Hang(f"nothing will ever happen after {self._virtual.now:.0f} s")
        if timeout:
            self._virtual.advance(timeout)

    def close(self) -> None:
        super().close()
        self._turns.end()

    def _write_to_self(self) -> None:
        """There is nobody to be woken."""


class _Jumping(selectors.SelectSelector):
    """Time jumps where a selector would wait."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._loop.rest(timeout)
        return []
