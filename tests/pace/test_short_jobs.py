"""How long a job of a minute takes, cold and warm, and how soon all places are in use."""

from __future__ import annotations

from random import Random

import pytest
from servers import SILENT, Bucket, Open
from simulation import MEDIAN, lognormal, simulate

from opper_batch.pace import CEILING, Learned, Pace

ROWS = 1000
IDEAL = (ROWS - 50) / 50 + MEDIAN
SEEDS = range(20)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_thousand_rows_at_an_unknown_50_a_second(seed: int) -> None:
    chance, pace = Random(seed), Pace()
    seen = simulate(pace, Bucket(50, 50), lognormal(chance), rows=ROWS)
    assert len(seen.accepted) == ROWS
    assert seen.ended <= 1.35 * IDEAL
    warm = simulate(Pace(learned=pace.learned), Bucket(50, 50), lognormal(chance, sigma=0.01), rows=ROWS)
    assert warm.ended <= 1.10 * IDEAL
    assert len(warm.refused) <= 5


@pytest.mark.parametrize("seed", SEEDS)
def test_a_thousand_rows_without_a_word_on_when_to_come_back(seed: int) -> None:
    seen = simulate(Pace(), Bucket(50, 50, says=lambda wait: SILENT), lognormal(Random(seed)), rows=ROWS)
    assert seen.ended <= 1.4 * IDEAL


@pytest.mark.parametrize("concurrency", [None, 256, 1024])
def test_without_a_limit_all_places_are_taken_within_three_seconds(concurrency: int | None) -> None:
    for seed in SEEDS:
        seen = simulate(Pace(concurrency=concurrency), Open(), lognormal(Random(seed), 0.3, 0.3), seconds=4.0)
        assert seen.full < 3.0
        assert not seen.refused


def test_a_warm_run_takes_the_places_that_were_of_use_at_once() -> None:
    pace = Pace()
    simulate(pace, Open(), lognormal(Random(1), 0.3, 0.3), seconds=5.0)
    assert pace.learned == Learned(measured=0.0, share=0.0, places=CEILING, cap=0)
    seen = simulate(Pace(learned=pace.learned), Open(), lognormal(Random(1), 0.3, 0.3), seconds=1.0)
    assert seen.full == 0.0


def test_what_was_learned_is_a_start_and_no_cage() -> None:
    for was, now in ((20.0, 60.0), (200.0, 40.0)):
        pace = Pace(learned=Learned(measured=was, share=0.0, places=512, cap=0))
        seen = simulate(pace, Bucket(now, now), lognormal(Random(2)), seconds=300.0)
        assert seen.within(150, 300)[0] >= 0.97 * now * 150
