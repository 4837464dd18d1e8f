"""What happens in one simulation: a value, drawn from a number or written out."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

FAULTS = (
    *("throttled", "busy", "broken", "absent", "timeout", "before", "after", "cut", "page", "empty"),
    *("stall", "dead", "misfit", "pending"),
)


@dataclass(frozen=True)
class Scenario:
    """``faults`` is the share of requests for each kind of fault; times are in virtual seconds.

    ``outages`` and ``shut`` are (begin, end, how) of times when nobody is there, or with which status the
    gateway refuses all. ``kills`` are (what, which): the run dies before or after that commit, at that
    request or answer, or at that time.
    """

    seed: int = 0
    rows: int = 30
    distinct: int = 30
    steps: int = 1
    concurrency: int | None = 8
    requests_per_minute: float | None = None
    faults: dict[str, float] = field(default_factory=dict)
    latency: float = 0.8
    limit: tuple[float, float] | None = None  # requests a second, and how many are saved up
    inside: int | None = None  # how many it answers at once
    outages: tuple[tuple[float, float, str], ...] = ()
    shut: tuple[tuple[float, float, int], ...] = ()
    refused: int = 0  # so many questions get a 400 each time
    hopeless: int = 0  # so many get a 500 each time
    kills: tuple[tuple[str, float], ...] = ()
    cap: float | None = None
    deadline: float | None = None
    price: float = 0.001
    surprise: float = 0.0  # the share of answers that cost twenty times as much
    unpriced: bool = False
    slow_disk: float = 0.02


def drawn(seed: int) -> Scenario:
    """The scenario of this number."""
    chance = Random(f"scenario {seed}")
    rows = chance.choice((20, 20, 25, 30, 40, 60, 60, 100, 200))
    concurrency = chance.choice((None, 1, 2, 4, 8, 8, 16, 32))
    price = 10 ** chance.uniform(-5, -2)
    return Scenario(
        seed=seed,
        rows=rows,
        distinct=rows if chance.random() < 0.7 else max(3, rows // 2),
        steps=2 if chance.random() < 0.15 else 1,
        concurrency=concurrency,
        requests_per_minute=chance.choice((None, None, None, 120, 600)),
        faults=_faults(chance),
        latency=chance.choice((0.05, 0.8, 0.8, 3.0)),
        limit=(chance.choice((0.5, 2, 10, 30)), chance.choice((1, 3, 10))) if chance.random() < 0.3 else None,
        inside=chance.choice((2, 6)) if chance.random() < 0.1 else None,
        outages=_outages(chance),
        shut=_shut(chance),
        refused=chance.choice((1, 3)) if chance.random() < 0.2 else 0,
        hopeless=chance.choice((1, 2)) if chance.random() < 0.2 else 0,
        kills=_kills(chance, rows),
        cap=chance.uniform(0.1, 1.5) * rows * price if chance.random() < 0.25 else None,
        deadline=chance.choice((1, 10, 60)) if chance.random() < 0.15 else None,
        price=price,
        surprise=0.02 if chance.random() < 0.2 else 0.0,
        unpriced=chance.random() < 0.05,
        slow_disk=chance.choice((0.005, 0.02, 0.02, 0.5)),
    )


def _faults(chance: Random) -> dict[str, float]:
    """All of them a little, one of them much, or none."""
    kind = chance.random()
    if kind < 0.15:
        return {}
    if kind < 0.6:
        return {name: chance.uniform(0.005, 0.04) for name in FAULTS}
    if kind < 0.75:
        return {name: chance.uniform(0, 0.1) for name in FAULTS if chance.random() < 0.6}
    return {chance.choice(FAULTS): chance.uniform(0.1, 0.5), "pending": 0.05}


def _outages(chance: Random) -> tuple[tuple[float, float, str], ...]:
    if chance.random() > 0.2:
        return ()
    begin = chance.uniform(0, 15)
    return ((begin, begin + chance.choice((5, 120, 120, 900)), chance.choice(("before", "absent", "after"))),)


def _shut(chance: Random) -> tuple[tuple[float, float, int], ...]:
    if chance.random() > 0.15:
        return ()
    begin = chance.uniform(0, 20)
    return ((begin, begin + 100, chance.choice((401, 402, 403))),)


def _kills(chance: Random, rows: int) -> tuple[tuple[str, float], ...]:
    """One for each run, the first ones."""
    many = chance.choice((0, 1, 1, 2, 3, 8))
    return tuple(_kill(chance, rows) for _ in range(many))


def _kill(chance: Random, rows: int) -> tuple[str, float]:
    what = chance.choice(("before commit", "after commit", "request", "answer", "poll", "time"))
    if what == "time":
        return what, chance.choice((chance.uniform(0, 5), chance.uniform(0, 60)))
    return what, chance.randint(1, 1 + (rows if chance.random() < 0.6 else rows // 4))
