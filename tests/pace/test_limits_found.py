"""The limiter against servers of every kind, in virtual time: ten minutes each, steady from the second on."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor

import pytest
from scenarios import BY_NAME, MORE, TABLE, Result, measure

QUICK_SEEDS = range(2)
ALL_SEEDS = range(20)

Begin = Callable[[str, range], list[Future[Result]]]


@pytest.fixture(scope="module")
def begin() -> Iterator[Begin]:
    """``begin(name, seeds)`` runs a scenario in processes of its own, one for each core."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=spawn) as pool:
        yield lambda name, seeds: [pool.submit(measure, name, seed) for seed in seeds]
        pool.shutdown(cancel_futures=True)


def check(name: str, results: list[Future[Result]]) -> None:
    for seed, future in enumerate(results):
        result = future.result()
        assert result.holds(BY_NAME[name]), (
            f"{name}, seed {seed}: use {result.use:.3f}, refused {result.refused} = {result.share:.2%}"
        )


@pytest.fixture(scope="module")
def quick(begin: Begin) -> dict[str, list[Future[Result]]]:
    """All scenarios begun at once, so that every core has something to do all the time."""
    return {scenario.name: begin(scenario.name, QUICK_SEEDS) for scenario in TABLE}


@pytest.mark.parametrize("name", [scenario.name for scenario in TABLE])
def test_the_limit_is_found_and_hardly_ever_crossed(
    name: str, quick: dict[str, list[Future[Result]]]
) -> None:
    check(name, quick[name])


def test_a_limit_that_changes_is_followed(quick: dict[str, list[Future[Result]]]) -> None:
    """Down in 60 s, up in 120 s; ``rates`` are of ten seconds each."""
    for future in quick["50, then 25, then 100/s"]:
        rates = future.result().rates
        assert min(rates[30:36]) >= 24
        assert max(rates[30:36]) <= 27
        assert min(rates[48:60]) >= 95


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", list(BY_NAME))
def test_twenty_seeds(name: str, begin: Begin) -> None:
    check(name, begin(name, ALL_SEEDS))


def test_what_is_measured_is_written_down() -> None:
    assert len(BY_NAME) == len(TABLE) + len(MORE)
