"""A user who changes the limits while a run goes on."""

from __future__ import annotations

from math import inf

from opper_batch.pace import Pace
from opper_batch.pace.learner import HELD
from opper_batch.pace.pace import CEILING


def passing(pace: Pace, now: float) -> int:
    """How many may leave at this moment."""
    count = 0
    while pace.wait(now) == 0:
        pace.sent(now)
        count += 1
    return count


def answered(pace: Pace, now: float) -> None:
    pace.returned(now, pace.expect(now))


def test_fewer_places_let_nobody_in_until_enough_have_left() -> None:
    pace = Pace(concurrency=8)
    assert passing(pace, 0.0) == 8
    pace.allow(concurrency=2, requests_per_minute=None)
    for left in range(7, 1, -1):
        answered(pace, 1.0)
        assert (pace.in_flight, pace.wait(1.0)) == (left, inf)
    answered(pace, 1.0)
    assert passing(pace, 1.0) == 1


def test_more_places_open_step_by_step_while_no_limit_is_known() -> None:
    pace = Pace(concurrency=2)
    passing(pace, 0.0)
    pace.allow(concurrency=None, requests_per_minute=None)
    assert pace.concurrency == CEILING
    assert passing(pace, 0.0) == 0
    answered(pace, 1.0)
    answered(pace, 1.0)
    assert passing(pace, 1.0) == 4


def test_a_rate_that_is_set_is_held_from_then_on_with_every_place_open() -> None:
    pace = Pace()
    pace.allow(concurrency=None, requests_per_minute=600)
    assert (pace.learner.rate, pace.places.open) == (HELD * 10, CEILING)
    pace.allow(concurrency=None, requests_per_minute=1200)
    assert pace.learner.rate == HELD * 20
    pace.allow(concurrency=None, requests_per_minute=None)
    assert pace.learner.rate == inf
    assert pace.places.open < CEILING, "without a limit it begins slowly"


def test_what_the_gateway_states_still_counts() -> None:
    pace = Pace(requests_per_minute=600)
    pace.know(requests=5.0)
    pace.allow(concurrency=None, requests_per_minute=6000)
    assert pace.learner.rate == HELD * 5


def test_a_limit_taken_away_does_not_unleash_what_was_measured() -> None:
    pace = Pace(requests_per_minute=600)
    pace.learner.measured = 10.0
    rate = pace.learner.rate
    pace.allow(concurrency=None, requests_per_minute=None)
    assert pace.learner.rate == rate
    assert pace.learner.most == inf
