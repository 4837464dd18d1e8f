"""A histogram of any number of numbers in memory that stays flat."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import ceil, floor, isfinite, log2
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_MOST_BINS = 128
_FAR = 1e300  # so that a span between two numbers is a number


class Histogram:
    """Counts in bins whose width is a power of two and whose edges are multiples of it.

    The width doubles when the numbers spread, which joins bins in pairs: so counts stay exact, and two
    histograms can be compared bin by bin at the wider of their widths.
    """

    def __init__(self, *, whole: bool = False) -> None:
        self._whole = whole
        self._width = 0.0
        self._bins: Counter[float] = Counter()
        self._low = float("inf")
        self._high = float("-inf")
        self._sum = 0.0
        self._count = 0

    def add(self, values: pa.Array) -> None:
        """Count numbers; null, NaN and infinity are left out."""
        numbers = values.cast(pa.float64(), safe=False).drop_null()
        numbers = numbers.filter(pc.is_finite(numbers))
        if not len(numbers):
            return
        ends = pc.min_max(numbers)
        self._low, self._high = min(self._low, ends["min"].as_py()), max(self._high, ends["max"].as_py())
        self._sum += pc.sum(numbers).as_py()
        self._count += len(numbers)
        self._widen()
        near = pc.min_element_wise(pc.max_element_wise(numbers, -_FAR), _FAR)
        for entry in pc.value_counts(pc.floor(pc.divide(near, self._width))):
            self._bins[entry["values"].as_py()] += entry["counts"].as_py()

    def _widen(self) -> None:
        span = min(self._high, _FAR) - max(self._low, -_FAR)
        least = 1.0 if self._whole else 2.0 ** max(-60, ceil(log2(max(abs(self._high), 1e-12))) - 20)
        width = max(least, 2.0 ** ceil(log2(span / _MOST_BINS)) if span > 0 else 0.0, self._width)
        if self._width and width > self._width:
            self._bins = joined(self._bins, width / self._width)
        self._width = width

    def as_json(self) -> dict[str, Any] | None:
        """min, median, max, mean, the width of a bin, and (lower edge, count) of those that hold any."""
        if not self._count:
            return None
        mean = self._sum / self._count
        return {
            "min": self._low,
            "median": self._median(),
            "max": self._high,
            "mean": mean if isfinite(mean) else None,
            "width": self._width,
            "bins": [[place * self._width, count] for place, count in sorted(self._bins.items())],
        }

    def _median(self) -> float:
        """The middle of the bin that holds it, within what was seen; exact for bins of one whole number."""
        seen, half = 0, (self._count + 1) // 2
        for place, count in sorted(self._bins.items()):
            seen += count
            if seen >= half:
                middle = place if self._whole and self._width == 1 else place + 0.5
                return min(max(middle * self._width, self._low), self._high)
        return self._high


def joined(bins: Counter[float], times: float) -> Counter[float]:
    """The same counts in bins ``times`` as wide; ``times`` is a power of two."""
    wider: Counter[float] = Counter()
    for place, count in bins.items():
        wider[float(floor(place / times))] += count
    return wider


def in_bins(told: dict[str, Any], width: float) -> list[tuple[float, int]]:
    """What ``as_json`` told, as (lower edge, count) in bins of ``width``, a power of two times its own."""
    places = Counter({low / told["width"]: count for low, count in told["bins"]})
    return [(place * width, count) for place, count in sorted(joined(places, width / told["width"]).items())]


@dataclass(frozen=True, slots=True)
class Shares:
    """Parts of a whole by name, to be compared with those of another time."""

    counts: dict[Any, float]

    def distance(self, other: Shares) -> float:
        """Half the sum of the differences in share: 0 the same, 1 nothing in common."""
        mine, theirs = sum(self.counts.values()), sum(other.counts.values())
        if not mine or not theirs:
            return 0.0
        names = self.counts.keys() | other.counts.keys()
        return (
            sum(abs(self.counts.get(name, 0) / mine - other.counts.get(name, 0) / theirs) for name in names)
            / 2
        )
