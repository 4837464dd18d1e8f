"""How often the range of a plan's cost holds, after a pilot of 50, in simulated tables of skewed lengths."""

from __future__ import annotations

import sys

from tests.benchmarks.figure import Figure, Size
from tests.intervals import WORLDS, coverage


def intervals(size: Size) -> list[Figure]:
    """Each world played so often, anew each time; a range that claims 90 of 100 shall hold 85 of them."""
    times = size.of(2_000, 100)
    figures = []
    for name, world in WORLDS.items():
        held, width, miss = coverage(world, times=times)
        figures.append(
            Figure(
                name=f"range of the cost, {name}: held of {times:,}",
                values=[100 * held],
                unit="%",
                least=85,
                note=f"{100 * width:.0f} % of the cost wide, expectation off by {100 * miss:+.1f} %",
            )
        )
        print(f"{name}: held {held:.1%}, width {width:.2f}, miss {miss:+.3f}", file=sys.stderr, flush=True)
    return figures
