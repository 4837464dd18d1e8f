"""A client in virtual time: the same Pace, asked in the same order as the gate and the call ask it."""

from __future__ import annotations

import math
from bisect import bisect, bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from itertools import chain, repeat
from random import Random
from statistics import NormalDist

from servers import SILENT, Open

from opper_batch.pace import Pace, Sent

MEDIAN = 1.2
SIGMA = 0.5
MEAN = MEDIAN * math.exp(SIGMA**2 / 2)
REFUSAL_SECONDS = 0.05
STEADY = 120.0
SECONDS = 600.0


@cache
def quantiles(median: float, sigma: float) -> list[float]:
    """Ten thousand latencies, each as likely as any other."""
    normal = NormalDist(math.log(median), sigma)
    return [math.exp(normal.inv_cdf((place + 0.5) / 10_000)) for place in range(10_000)]


def lognormal(chance: Random, median: float = MEDIAN, sigma: float = SIGMA) -> Callable[[], float]:
    """Latencies, one at each call; drawn a thousand at a time."""
    drawn = (chance.choices(quantiles(median, sigma), k=1000) for _ in repeat(None))
    return chain.from_iterable(drawn).__next__


@dataclass
class Seen:
    """What happened: when requests were let in and when they were refused; ``ended`` is the last answer."""

    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)  # of those let in
    ended: float = 0.0
    full: float = math.inf  # when every place was taken first

    def within(self, begin: float, end: float) -> tuple[int, int]:
        return counted(self.accepted, begin, end), counted(self.refused, begin, end)

    def used(self, begin: float, end: float) -> float:
        return sum(self.sizes[bisect_left(self.accepted, begin) : bisect_left(self.accepted, end)])

    def rates(self, seconds: float) -> list[float]:
        windows = range(1 + int(max(self.accepted, default=0.0) / seconds))
        return [
            counted(self.accepted, number * seconds, (number + 1) * seconds) / seconds for number in windows
        ]


def counted(times: list[float], begin: float, end: float) -> int:
    """How many of the times, which are in order, are in between."""
    return bisect_left(times, end) - bisect_left(times, begin)


def simulate(
    pace: Pace,
    server: Open,
    latency: Callable[[], float],
    *,
    seconds: float = SECONDS,
    rows: int | None = None,
    sizes: Callable[[], tuple[float, float]] | None = None,
    start: float = 0.0,
) -> Seen:
    """Rows without end (or ``rows`` of them) for so long; refused ones go to the front of the queue.

    ``sizes`` draws what a request is expected to use and what it does use.
    """
    seen = Seen()
    accepted, refused = seen.accepted, seen.refused
    wait, sent, expect, returned = pace.wait, pace.sent, pace.expect, pace.returned
    ask, left = server.ask, server.left
    times: list[float] = []  # of the answers that are to come, in order
    answers: list[tuple[Sent, float | None, tuple[float, float]]] = []
    again: list[tuple[float, float]] = []
    now, fresh = start, rows if rows is not None else 1 << 60
    size = (0.0, 0.0)
    end = start + seconds
    while True:
        due = math.inf
        while again or fresh:
            pause = wait(now)
            if pause > 0.0:
                due = now + pause
                break
            if again:
                size = again.pop()
            else:
                fresh -= 1
                if sizes:
                    size = sizes()
            sent(now)
            ticket = expect(now, size[0])
            says = ask(now, size[1])
            if says is None:
                accepted.append(now)
                if sizes:
                    seen.sizes.append(size[1])
                at = now + latency()
            else:
                refused.append(now)
                at = now + REFUSAL_SECONDS
            place = bisect(times, at)
            times.insert(place, at)
            answers.insert(place, (ticket, says, size))
        if due == math.inf and pace.in_flight >= pace.concurrency:
            seen.full = min(seen.full, now)
        while times and times[0] <= due:
            now = times.pop(0)
            ticket, says, size = answers.pop(0)
            if now >= end:
                return seen
            if says is None:
                left(now)
                seen.ended = now
                returned(now, ticket, used=size[1])
                if due < math.inf and not sizes:
                    continue  # who waits for the rate leaves no sooner for one that is answered
            else:
                pace.refused(now, ticket, None if says == SILENT else says)
                returned(now, ticket, used=0.0)
                again.append(size)
            break
        else:
            if due == math.inf:
                return seen
            now = due if due > now else math.nextafter(now, math.inf)
            if now >= end:
                return seen
