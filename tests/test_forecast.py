from __future__ import annotations

import random
from dataclasses import replace

import pytest
from intervals import WORLDS, World, coverage

from opper_batch.forecast import Lengths, Measured, Span, _student, total


def lengths(*several: float) -> Lengths:
    found = Lengths()
    for length in several:
        found.add(length)
    return found


def test_what_costs_by_length_alone_is_told_exactly() -> None:
    sample = [Measured(length, 3 + 0.5 * length) for length in range(100, 200, 5)]
    span = total(sample, lengths(50, 400, 1000))
    assert span is not None
    assert span == pytest.approx((9 + 725,) * 3)


@pytest.mark.parametrize("name", ["skewed", "repairs and refusals"])
def test_a_range_of_90_percent_holds_after_a_pilot_of_50(name: str) -> None:
    held, _, miss = coverage(replace(WORLDS[name], rows=300), times=100)
    assert held >= 0.85
    assert abs(miss) < 0.05


def test_a_larger_sample_gives_a_narrower_range() -> None:
    world = World(rows=400, input_sigma=0.5, output_sigma=0.5)
    _, few, _ = coverage(world, times=20, pilot=20)
    _, many, _ = coverage(world, times=20, pilot=200)
    assert many < few / 3


def test_the_range_leans_to_where_the_dear_calls_are() -> None:
    chance = random.Random(1)
    sample = [Measured(100.0, chance.lognormvariate(0, 1)) for _ in range(50)]
    rest = Lengths()
    rest.add(100.0, times=1_000)
    low, expected, high = total(sample, rest) or Span(0, 0, 0)
    assert high - expected > 1.2 * (expected - low)
    assert low > 0


def test_what_was_not_sampled_enough_is_not_told() -> None:
    assert total([Measured(1, 1), Measured(2, 2)], lengths(1)) is None
    assert total([], lengths()) == (0, 0, 0), "of nothing everything is known"


def test_few_of_them_are_wide_and_never_below_nothing() -> None:
    low, expected, high = total([Measured(1, 0), Measured(1, 1), Measured(1, 5)], lengths(1, 1, 1)) or Span(
        0, 0, 0
    )
    assert (low, expected) == (0, 6)
    assert high > 15


# Tables of Student's t, 95 %.
@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 6.314), (2, 2.920), (3, 2.353), (8, 1.860), (48, 1.677)]
)
def test_the_quantiles_are_those_of_the_tables(freedom: int, quantile: float) -> None:
    assert _student(0.95, freedom) == pytest.approx(quantile, abs=0.02)
