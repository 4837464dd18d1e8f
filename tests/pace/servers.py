"""Gateways as arithmetic: what each kind of limit says to a request, in virtual time.

``ask(now, size)`` gives None when the request is let in, otherwise the seconds that its Retry-After says,
SILENT when it says nothing. ``left(now)`` is told when a request that was let in is over.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from random import Random

SILENT = -1.0


class Open:
    """No limit at all."""

    def capacity(self, begin: float, end: float) -> float:
        return math.inf

    def ask(self, now: float, size: float) -> float | None:
        return None

    def left(self, now: float) -> None:
        pass


class Bucket(Open):
    """``rate`` a second, saved up to ``burst``; ``says`` turns the true wait into the Retry-After.

    ``changes`` are (second, rate) pairs, in order. With ``by_size`` it is sizes that are counted.
    """

    def __init__(
        self,
        rate: float,
        burst: float,
        *,
        says: Callable[[float], float] = lambda wait: wait,
        changes: tuple[tuple[float, float], ...] = (),
        by_size: bool = False,
    ) -> None:
        self.rate, self.burst, self.says, self.by_size = rate, burst, says, by_size
        self.steps = [(0.0, rate), *changes, (math.inf, 0.0)]
        self.level, self.at, self.next_step = burst, 0.0, 1
        self.changes_at = self.steps[1][0]

    def ask(self, now: float, size: float) -> float | None:
        if now >= self.changes_at:
            self._change()
        level = self.level + (now - self.at) * self.rate
        if level > self.burst:
            level = self.burst
        units = size if self.by_size else 1.0
        self.at = now
        # More than it can hold passes when it is full.
        if level >= units - 1e-9 or level >= self.burst - 1e-9:
            self.level = level - units
            return None
        self.level = level
        return self.says((min(units, self.burst) - level) / self.rate)

    def capacity(self, begin: float, end: float) -> float:
        parts = zip(self.steps, self.steps[1:], strict=False)
        return sum(rate * max(0.0, min(end, until) - max(begin, at)) for (at, rate), (until, _) in parts)

    def _change(self) -> None:
        at, rate = self.steps[self.next_step]
        self.level, self.at = min(self.burst, self.level + (at - self.at) * self.rate), at
        self.burst *= rate / self.rate
        self.rate = rate
        self.next_step += 1
        self.changes_at = self.steps[self.next_step][0]


class FixedWindow(Open):
    """``most`` in each window of ``seconds``, counted anew when one begins."""

    def __init__(
        self, most: float, seconds: float = 60.0, *, by_size: bool = False, start: float = 0
    ) -> None:
        self.most, self.seconds, self.by_size, self.start = most, seconds, by_size, start
        self.window, self.used = -1.0, 0.0

    def ask(self, now: float, size: float) -> float | None:
        window = (now + self.start) // self.seconds
        if window != self.window:
            self.window, self.used = window, 0.0
        units = size if self.by_size else 1.0
        if self.used + units <= self.most:
            self.used += units
            return None
        return self.seconds - (now + self.start) % self.seconds

    def capacity(self, begin: float, end: float) -> float:
        return self.most * (end - begin) / self.seconds


class SlidingLog(Open):
    """``most`` in any ``seconds``; says when the oldest one that counts will be gone."""

    def __init__(self, most: int, seconds: float = 60.0) -> None:
        self.most, self.seconds = most, seconds
        self.log: deque[float] = deque()

    def ask(self, now: float, size: float) -> float | None:
        log, oldest = self.log, now - self.seconds
        while log and log[0] <= oldest:
            log.popleft()
        if len(log) >= self.most:
            return log[0] - oldest
        log.append(now)
        return None

    def capacity(self, begin: float, end: float) -> float:
        return self.most * (end - begin) / self.seconds


class InFlight(Open):
    """At most ``most`` at the same time, no rate; ``mean`` seconds of latency say what that allows."""

    def __init__(self, most: int, mean: float) -> None:
        self.most, self.mean, self.inside = most, mean, 0

    def ask(self, now: float, size: float) -> float | None:
        if self.inside >= self.most:
            return SILENT
        self.inside += 1
        return None

    def left(self, now: float) -> None:
        self.inside -= 1

    def capacity(self, begin: float, end: float) -> float:
        return self.most / self.mean * (end - begin)


class Moody(Open):
    """Refuses a ``share`` of all requests whatever their rate, before ``behind`` is asked."""

    def __init__(
        self, share: float, chance: Random, behind: Open | None = None, *, says: float = SILENT
    ) -> None:
        self.share, self.chance, self.behind, self.says = share, chance, behind or Open(), says

    def ask(self, now: float, size: float) -> float | None:
        if self.chance.random() < self.share:
            return self.says
        return self.behind.ask(now, size)

    def left(self, now: float) -> None:
        self.behind.left(now)

    def capacity(self, begin: float, end: float) -> float:
        return self.behind.capacity(begin, end)
