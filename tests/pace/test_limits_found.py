"""The limiter against servers of every kind, in virtual time: ten minutes each, steady from the second on."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from random import Random

import pytest
from scenarios import BY_NAME, MORE, TABLE, Result, measure, whole
from servers import Bucket
from simulation import lognormal, simulate

from opper_batch.pace import Pace

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


@pytest.mark.parametrize(
    ("name", "seed"),
    [
        ("5 % at random", 26),
        ("5 % at random", 56),
        ("5 % at random, and 50/s", 26),
        ("5 % at random, 1 s", 3),
        ("5 % at random, 1 s, and 50/s", 3),
    ],
)
def test_chance_is_told_from_a_limit_however_unlucky_the_beginning(name: str, seed: int) -> None:
    """Many refusals at first, or none for as long as the test takes: both kept the rate low for minutes."""
    result = measure(name, seed)
    assert result.holds(BY_NAME[name]), f"use {result.use:.3f}"


def test_a_limit_that_fell_and_is_taken_for_chance_is_found_within_two_minutes() -> None:
    """3 a second, then 15, then 3: below what a test had found to be safe."""
    server = Bucket(3, 3, says=whole, changes=((300, 15), (600, 3)))
    seen = simulate(Pace(), server, lognormal(Random(7)), seconds=900)
    accepted, refused = seen.within(600, 720)
    assert refused < accepted
    accepted, refused = seen.within(720, 900)
    assert accepted >= 0.95 * 3 * 180
    assert refused < 0.1 * accepted


def test_a_limit_that_changes_is_followed() -> None:
    """Down in 60 s, up in 120 s; ``rates`` are of ten seconds each."""
    for result in quick("50, then 25, then 100/s"):
        assert min(result.rates[30:36]) >= 24
        assert max(result.rates[30:36]) <= 27
        assert min(result.rates[48:60]) >= 95


@pytest.mark.parametrize("seed", [27, 45, 54])
def test_a_limit_that_is_met_late_is_not_left_far_below(seed: int) -> None:
    """Each meeting costs twenty seconds, so one more step down has to be worth it."""
    result = measure("Retry-After always 20 s", seed)
    assert result.holds(BY_NAME["Retry-After always 20 s"]), f"use {result.use:.3f}"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", list(BY_NAME))
def test_twenty_seeds(name: str) -> None:
    check(name, (measure(name, seed) for seed in ALL_SEEDS))


def test_what_is_measured_is_written_down() -> None:
    assert len(BY_NAME) == len(TABLE) + len(MORE)
