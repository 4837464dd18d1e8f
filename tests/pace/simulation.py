"""A client in virtual time: the same Pace, asked in the same order as the gate and the call ask it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random

from servers import SILENT, Open

from opper_batch.pace import Pace, Sent

MEDIAN = 1.2
SIGMA = 0.5
MEAN = MEDIAN * math.exp(SIGMA**2 / 2)
REFUSAL_SECONDS = 0.05
STEADY = 120.0
SECONDS = 600.0


def lognormal(chance: Random, median: float = MEDIAN, sigma: float = SIGMA) -> Callable[[], float]:
    gauss, exp = chance.gauss, math.exp
    return lambda: median * exp(gauss(0.0, sigma))


@dataclass
class Seen:
    """What happened: when requests were let in and when they were refused; ``ended`` is the last answer."""

    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)  # of those let in
    ended: float = 0.0
    full: float = math.inf  # when every place was taken first

    def within(self, begin: float, end: float) -> tuple[int, int]:
        inside = [sum(begin <= at < end for at in times) for times in (self.accepted, self.refused)]
        return inside[0], inside[1]

    def used(self, begin: float, end: float) -> float:
        times = zip(self.accepted, self.sizes, strict=True)
        return sum(size for at, size in times if begin <= at < end)

    def rates(self, seconds: float) -> list[float]:
        counts = [0] * (1 + int(max(self.accepted, default=0.0) / seconds))
        for at in self.accepted:
            counts[int(at / seconds)] += 1
        return [count / seconds for count in counts]


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
    events: list[tuple[float, int, Sent, float | None, float, float]] = []
    again: list[tuple[float, float]] = []
    now, fresh, order = start, rows if rows is not None else 1 << 60, 0
    expected = used = 0.0
    end = start + seconds
    while True:
        if again or fresh:
            pause = wait(now)
            if pause <= 0.0:
                if again:
                    expected, used = again.pop()
                else:
                    fresh -= 1
                    if sizes:
                        expected, used = sizes()
                sent(now)
                ticket = expect(now, expected)
                order += 1
                says = ask(now, used)
                if says is None:
                    accepted.append(now)
                    if sizes:
                        seen.sizes.append(used)
                    heappush(events, (now + latency(), order, ticket, None, expected, used))
                else:
                    refused.append(now)
                    heappush(events, (now + REFUSAL_SECONDS, order, ticket, says, expected, used))
                continue
            if pause == math.inf:
                seen.full = min(seen.full, now) if pace.in_flight >= pace.concurrency else seen.full
            due = now + pause
        elif not events:
            break
        else:
            due = math.inf
        if events and events[0][0] <= due:
            now, _, ticket, says, expected, used = heappop(events)
            if now >= end:
                break
            if says is None:
                left(now)
                seen.ended = now
                returned(now, ticket, used=used)
            else:
                pace.refused(now, ticket, None if says == SILENT else says)
                returned(now, ticket, used=0.0)
                again.append((expected, used))
        else:
            now = due if due > now else math.nextafter(now, math.inf)
            if now >= end:
                break
    return seen
