"""Simulated tables with skewed lengths, and how often a range of 90 % held what their calls really cost."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

from opper_batch.forecast import Lengths, Measured, Span, total

_TEMPLATE = 800  # bytes that every request has
_USUAL = 400  # bytes of a usual input
_INPUT, _OUTPUT = 0.15e-6, 0.60e-6  # USD a token


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """How a table's calls come to their cost.

    Inputs are lognormal around 400 bytes, ``input_sigma`` of their logarithm; answers around 60 tokens with
    ``output_sigma``, and grow with the input's length to the power of ``growth``. Shares of calls are
    ``repaired``, and paid twice, or ``refused``, and free.
    """

    rows: int
    input_sigma: float
    output_sigma: float
    growth: float = 0.0
    repaired: float = 0.0
    refused: float = 0.0

    def table(self, chance: random.Random) -> list[Measured]:
        return [self._call(chance) for _ in range(self.rows)]

    def _call(self, chance: random.Random) -> Measured:
        length = max(1.0, _USUAL * chance.lognormvariate(0, self.input_sigma))
        answer = 60 * chance.lognormvariate(0, self.output_sigma) * (length / _USUAL) ** self.growth
        cost = _INPUT * (_TEMPLATE + length) / 4 + _OUTPUT * answer
        fate = chance.random()
        factor = 2 if fate < self.repaired else 0 if fate > 1 - self.refused else 1
        return Measured(_TEMPLATE + length, factor * cost)


# From mild to wild; in the last two a few rows cost as much as all others.
WORLDS = {
    "mild": World(rows=2_000, input_sigma=0.5, output_sigma=0.3),
    "skewed": World(rows=2_000, input_sigma=1.0, output_sigma=0.8),
    "skewed, 200 rows": World(rows=200, input_sigma=1.0, output_sigma=0.8),
    "answers grow with inputs": World(rows=2_000, input_sigma=1.0, output_sigma=0.8, growth=0.5),
    "inputs of one length": World(rows=2_000, input_sigma=0.0, output_sigma=1.0),
    "repairs and refusals": World(
        rows=2_000, input_sigma=1.0, output_sigma=0.5, growth=0.5, repaired=0.05, refused=0.05
    ),
    "long answers": World(rows=2_000, input_sigma=1.0, output_sigma=1.2),
    "long tails": World(rows=2_000, input_sigma=1.5, output_sigma=0.8, growth=1.0),
    "wild": World(rows=2_000, input_sigma=1.5, output_sigma=1.2, growth=1.0),
    "wild, 200 rows": World(rows=200, input_sigma=1.5, output_sigma=1.2, growth=1.0),
}


def piloted(table: list[Measured], pilot: int) -> tuple[Span, float]:
    """The range that a pilot gives for the other rows, and what these really cost."""
    order = sorted(range(len(table)), key=lambda row: table[row].length)
    classes = max(1, round(sqrt(pilot)))
    cuts = [number * len(order) // classes for number in range(classes + 1)]
    ranked = [row for first, last in pairwise(cuts) for row in sorted(order[first:last])]
    asked = {ranked[int((place + 0.5) * len(ranked) / pilot)] for place in range(pilot)}
    rest = Lengths()
    for row, call in enumerate(table):
        if row not in asked:
            rest.add(call.length)
    span = total([table[row] for row in sorted(asked)], rest)
    assert span is not None
    return span, sum(call.value for row, call in enumerate(table) if row not in asked)


def coverage(world: World, *, times: int, pilot: int = 50, seed: int = 7) -> tuple[float, float, float]:
    """How often the range held; its mean width and the expectation's mean miss, as shares of the cost."""
    chance = random.Random(seed)
    held = width = miss = 0.0
    for _ in range(times):
        span, cost = piloted(world.table(chance), pilot)
        held += span.low <= cost <= span.high
        width += (span.high - span.low) / cost
        miss += span.expected / cost - 1
    return held / times, width / times, miss / times
