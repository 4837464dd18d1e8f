"""Four clients of one key in virtual time: the same numbers in common, nothing else."""

from __future__ import annotations

import math
from heapq import heappop, heappush
from random import Random

import pytest
from servers import Bucket
from simulation import REFUSAL_SECONDS, lognormal

from opper_batch.pace import Pace, Sent


class Common:
    """What the processes have in common, without a file."""

    busy = True

    def __init__(self) -> None:
        self.numbers: tuple[float, ...] | None = None

    def take(self) -> tuple[float, ...] | None:
        return self.numbers

    def put(self, numbers: tuple[float, ...]) -> None:
        self.numbers = numbers


def simulate_many(
    paces: list[Pace], server: Bucket, chance: Random, *, seconds: float, killed: dict[int, float]
) -> tuple[list[list[float]], list[float]]:
    """When each client's requests were let in, and when any was refused; ``killed`` clients vanish."""
    latency = lognormal(chance)
    accepted: list[list[float]] = [[] for _ in paces]
    refused: list[float] = []
    events: list[tuple[float, int, int, Sent | None, float | None]] = []
    order, timers = 0, [0.0] * len(paces)

    def advance(client: int, now: float) -> None:
        nonlocal order
        pace = paces[client]
        while (wait := pace.wait(now)) <= 0:
            pace.sent(now)
            sent = pace.expect(now)
            says = server.ask(now, 1.0)
            (refused if says is not None else accepted[client]).append(now)
            order += 1
            after = latency() if says is None else REFUSAL_SECONDS
            heappush(events, (now + after, order, client, sent, says))
        if wait != math.inf:
            order += 1
            timers[client] = math.nextafter(now + wait, math.inf)
            heappush(events, (timers[client], order, client, None, None))

    for client in range(len(paces)):
        advance(client, 0.0)
    while events[0][0] < seconds:
        now, _, client, sent, says = heappop(events)
        if now >= killed.get(client, math.inf) or (sent is None and now != timers[client]):
            continue
        if sent is not None:
            if says is not None:
                paces[client].refused(now, sent, says)
            paces[client].returned(now, sent)
        advance(client, now)
    return accepted, refused


def within(times: list[float], begin: float, end: float) -> int:
    return sum(begin <= at < end for at in times)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rate", [10, 50])
def test_four_share_a_limit_evenly_and_one_that_dies_leaves_its_part_at_once(rate: int, seed: int) -> None:
    common = Common()
    paces = [Pace(commons=common) for _ in range(4)]
    accepted, refused = simulate_many(
        paces, Bucket(rate, rate), Random(seed), seconds=240.0, killed={2: 150.0}
    )
    parts = [within(times, 60, 150) for times in accepted]
    assert sum(parts) >= 0.95 * rate * 90
    for part in parts:
        assert part == pytest.approx(rate * 90 / 4, rel=0.2)
    left = [within(accepted[client], 151, 240) for client in (0, 1, 3)]
    assert within(accepted[2], 151, 240) == 0
    assert sum(left) >= 0.95 * rate * 89
    for part in left:
        assert part == pytest.approx(rate * 89 / 3, rel=0.2)
    assert within(refused, 60, 240) < max(5, 0.01 * rate * 180)


def test_a_known_limit_is_held_by_all_together() -> None:
    common = Common()
    paces = [Pace(requests_per_minute=3000, commons=common) for _ in range(4)]
    accepted, refused = simulate_many(paces, Bucket(50, 3), Random(1), seconds=60.0, killed={})
    assert not refused
    assert sum(map(len, accepted)) >= 0.98 * 50 * 60
