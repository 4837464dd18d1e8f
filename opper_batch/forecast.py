"""From what some calls came to, what the others will come to: a total with a range that holds.

``total`` fits value = a + b * length to a sample, by weights 1/length² since long inputs vary more, and adds
it up over the rest, whose lengths are known. Its range is the wider of two at each end: Student's, and Hall's
(1992, "On the removal of skewness by transformation"), which leans to the side where the dear calls are. The
skewness of a sample is taken twice, since a small one seldom holds the dearest calls. Nothing else is assumed
of how values are spread. ``python -m tests.benchmarks intervals`` measures how often the range holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

LEVEL = 0.90
LEAST = 3  # fewer values say nothing of how they vary
_LEAST_FOR_SLOPE = 8
_SKEWNESS_SEEN = 2.0


class Span(NamedTuple):
    """A number that is not known yet: where it most likely lies, and between what with 90 %."""

    low: float
    expected: float
    high: float

    def plus(self, other: Span) -> Span:
        """The sum, as if both would miss on the same side: never too narrow."""
        return Span(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def times(self, factor: float) -> Span:
        return Span(*(factor * bound for bound in self))


class Measured(NamedTuple):
    """One call that has ended: the length of what it sent, and what it came to."""

    length: float
    value: float


@dataclass(slots=True)
class Lengths:
    """How long many inputs are: no more is kept of them than the total needs."""

    count: int = 0
    sum: float = 0.0
    squares: float = 0.0

    def add(self, length: float, times: int = 1) -> None:
        self.count += times
        self.sum += times * length
        self.squares += times * length * length


class _Line(NamedTuple):
    """value = level + slope * length, and of each value measured its weight in a total and its error."""

    level: float
    slope: float
    shares: list[float]
    errors: list[float]


def total(sample: Sequence[Measured], rest: Lengths) -> Span | None:
    """What calls with the lengths ``rest`` will come to, in the sample's unit; None when it is too small.

    Lengths are above 0. The sample is to be spread over the rest; it is not part of it.
    """
    if not rest.count:
        return Span(0.0, 0.0, 0.0)
    if len(sample) < LEAST:
        return None
    line = _fitted(sample, rest)
    expected = line.level * rest.count + line.slope * rest.sum
    parts = [share * error for share, error in zip(line.shares, line.errors, strict=True)]
    variance = sum(part**2 for part in parts) + _own_variance(sample, line.errors, rest)
    third = _SKEWNESS_SEEN * sum(part**3 for part in parts)
    low, high = _ends(variance, third, _student((1 + LEVEL) / 2, len(sample) - 2))
    return Span(max(0.0, expected - low), max(0.0, expected), max(0.0, expected + high))


def _fitted(sample: Sequence[Measured], rest: Lengths) -> _Line:
    weights = [one.length**-2.0 for one in sample]
    whole = sum(weights)
    length = _mean([one.length for one in sample], weights)
    value = _mean([one.value for one in sample], weights)
    away = [one.length - length for one in sample]
    spread = sum(weight * far * far for weight, far in zip(weights, away, strict=True))
    sloped = len(sample) >= _LEAST_FOR_SLOPE and spread > 1e-9 * whole * length * length
    products = (
        weight * far * (one.value - value) for weight, far, one in zip(weights, away, sample, strict=True)
    )
    slope = sum(products) / spread if sloped else 0.0
    pull = (rest.sum - rest.count * length) / spread if sloped else 0.0
    leverage = [
        weight * (1 / whole + (far * far / spread if sloped else 0.0))
        for weight, far in zip(weights, away, strict=True)
    ]
    shares = [weight * (rest.count / whole + pull * far) for weight, far in zip(weights, away, strict=True)]
    # What lies on the line because it drew the line there is as uncertain as the others.
    errors = [
        (one.value - value - slope * far) / math.sqrt(max(1e-9, 1 - own))
        for one, far, own in zip(sample, away, leverage, strict=True)
    ]
    return _Line(value - slope * length, slope, shares, errors)


def _own_variance(sample: Sequence[Measured], errors: Sequence[float], rest: Lengths) -> float:
    """How much the rest itself varies around the line, as the more careful of two readings."""
    count = len(sample)
    alike = sum(error**2 for error in errors) / count * rest.count
    by_length = sum((error / one.length) ** 2 for error, one in zip(errors, sample, strict=True))
    return max(alike, by_length / count * rest.squares)


def _ends(variance: float, third: float, quantile: float) -> tuple[float, float]:
    """How far below and above the expectation the range goes."""
    deviation = math.sqrt(variance)
    if not deviation:
        return 0.0, 0.0
    skewness = third / deviation**3
    below, above = _unskewed(quantile, skewness), -_unskewed(-quantile, skewness)
    return deviation * max(quantile, below), deviation * max(quantile, above)


def _unskewed(quantile: float, skewness: float) -> float:
    """The inverse of Hall's transformation: which deviate of a skewed mean lies at a symmetric quantile."""
    if abs(skewness) < 1e-9:
        return quantile
    return 3 / skewness * (math.cbrt(1 + skewness * (quantile - skewness / 6)) - 1)


def _student(probability: float, freedom: int) -> float:
    """The quantile of Student's t (Abramowitz and Stegun 26.7.5), with at least one degree of freedom."""
    if freedom <= 2:
        if freedom < 2:
            return math.tan(math.pi * (probability - 0.5))
        symmetric = 2 * probability - 1.0
        return symmetric * math.sqrt(2.0 / (1.0 - symmetric * symmetric))
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / float(freedom) ** power for power, term in enumerate(terms, start=1))


def _mean(values: Sequence[float], weights: Sequence[float]) -> float:
    return sum(value * weight for value, weight in zip(values, weights, strict=True)) / sum(weights)
