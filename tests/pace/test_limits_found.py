"""The limiter against servers of every kind, in virtual time: ten minutes each, steady from the second on."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import pytest
from scenarios import BY_NAME, MORE, TABLE, Result, measure

QUICK_SEEDS = range(2)
ALL_SEEDS = range(20)


@cache
def quick(name: str) -> list[Result]:
    return [measure(name, seed) for seed in QUICK_SEEDS]


def check(name: str, results: Iterable[Result]) -> None:
    for seed, result in enumerate(results):
        assert result.holds(BY_NAME[name]), (
            f"{name}, seed {seed}: use {result.use:.3f}, refused {result.refused} = {result.share:.2%}"
        )


@pytest.mark.parametrize("name", [scenario.name for scenario in TABLE])
def test_the_limit_is_found_and_hardly_ever_crossed(name: str) -> None:
    check(name, quick(name))


def test_a_limit_that_changes_is_followed() -> None:
    """Down in 60 s, up in 120 s; ``rates`` are of ten seconds each."""
    for result in quick("50, then 25, then 100/s"):
        assert min(result.rates[30:36]) >= 24
        assert max(result.rates[30:36]) <= 27
        assert min(result.rates[48:60]) >= 95


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", list(BY_NAME))
def test_twenty_seeds(name: str) -> None:
    check(name, (measure(name, seed) for seed in ALL_SEEDS))


def test_what_is_measured_is_written_down() -> None:
    assert len(BY_NAME) == len(TABLE) + len(MORE)
