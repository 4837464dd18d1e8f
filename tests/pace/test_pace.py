"""Limits held with numbers: the clock is a parameter, so nothing here sleeps."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from servers import Bucket
from simulation import lognormal, simulate

from opper_batch.pace import Gcra, Learned, Pace, Sent
from opper_batch.pace.places import Places

GAPS = st.lists(st.floats(0, 40), min_size=1, max_size=40)


def departures(pace: Pace, gaps: Iterable[float], *, start: float = 0.0, tokens: float = 0.0) -> list[float]:
    """When requests leave that come ``gaps`` seconds after the one before, each as early as it may."""
    now, times = start, []
    for gap in gaps:
        sent = leave(pace, now + gap, tokens=tokens)
        now = sent.at
        pace.returned(now, sent)
        times.append(now)
    return times


def leave(pace: Pace, now: float, *, tokens: float = 0.0) -> Sent:
    while (wait := pace.wait(now)) > 0:
        now = max(now + wait, math.nextafter(now, math.inf))
    pace.sent(now)
    return pace.expect(now, tokens)


def most_in_a_window(times: list[float], seconds: float) -> int:
    return max(bisect_left(times, begin + seconds) - place for place, begin in enumerate(times))


@settings(max_examples=60)
@given(st.integers(1, 3000), GAPS)
def test_a_known_limit_is_not_crossed_in_any_minute(limit: int, gaps: list[float]) -> None:
    pace = Pace(concurrency=1, requests_per_minute=limit)
    rushes = [gap for pause in gaps for gap in (pause, *[0.0] * 12)]
    assert most_in_a_window(departures(pace, rushes), 60) <= limit


@pytest.mark.parametrize("limit", [1, 7, 60, 600, 3000])
def test_a_rush_gets_the_whole_limit_but_one_in_a_hundred(limit: int) -> None:
    times = departures(Pace(concurrency=1, requests_per_minute=limit), [0.0] * (3 * limit + 1))
    assert most_in_a_window(times, 60) <= limit
    assert times[-1] == pytest.approx(60 / 0.99 * 3, abs=0.3)


@settings(max_examples=60)
@given(st.floats(0.1, 1000), GAPS, st.floats(0, 10))
def test_no_window_however_short_holds_more_than_the_rate_and_the_burst(
    rate: float, gaps: list[float], window: float
) -> None:
    gcra, now, times = Gcra(rate), 0.0, []
    for gap in (gap for pause in gaps for gap in (pause, 0.0, 0.0, 0.0)):
        now += gap
        now += gcra.wait(now)
        gcra.take(now)
        times.append(now)
    assert most_in_a_window(times, window or 1e-9) <= rate * window + 1 + 0.025 * rate + 1e-6


def test_the_burst_is_what_a_busy_loop_is_late_by_and_at_least_one() -> None:
    assert departures(Pace(concurrency=1, requests_per_minute=420 * 60 / 0.99), [0.0] * 100).count(0.0) == 11
    assert departures(Pace(concurrency=1, requests_per_minute=3000), [0.0] * 100).count(0.0) == 2
    assert departures(Pace(concurrency=1, requests_per_minute=1), [0.0] * 3).count(0.0) == 1


def test_an_idle_hour_saves_up_nothing_beyond_the_burst() -> None:
    pace = Pace(concurrency=1, requests_per_minute=420 * 60 / 0.99)
    departures(pace, [0.0] * 40)
    assert departures(pace, [0.0] * 100, start=3600).count(3600) == 11


def test_without_a_known_rate_requests_leave_at_once() -> None:
    assert set(departures(Pace(concurrency=1), [0.0] * 100)) == {0.0}


def test_never_more_are_in_flight_than_allowed() -> None:
    pace = Pace(concurrency=2)
    pace.sent(0)
    assert pace.wait(0) == 0
    pace.sent(0)
    assert pace.wait(1e9) == math.inf
    pace.returned(1e9)
    assert pace.wait(1e9) == 0
    assert "1/2" in repr(pace)


def test_a_pause_holds_everyone_until_its_end() -> None:
    pace = Pace(concurrency=9, requests_per_minute=6000, tokens_per_minute=1e6)
    pace.pause(10, 5)
    assert pace.wait(10) == pytest.approx(5)
    assert pace.wait(14.5) == pytest.approx(0.5)
    assert pace.wait(15) == pytest.approx(0)


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    pace = Pace(concurrency=9)
    pace.pause(0, 30)
    pace.pause(1, 2)
    assert pace.wait(3) == 27


def test_a_pause_holds_where_no_rate_is_known() -> None:
    pace = Pace(concurrency=9)
    pace.pause(0, 30)
    assert pace.wait(0) == 30
    assert pace.wait(31) == 0


def test_no_burst_follows_a_pause() -> None:
    pace = Pace(concurrency=1, requests_per_minute=100 * 60 / 0.99)
    pace.pause(0, 5)
    times = departures(pace, [0.0] * 50, start=1)
    assert times[0] == pytest.approx(5)
    assert times == pytest.approx([5 + number / 100 for number in range(50)])


def test_tokens_given_back_during_a_pause_do_not_end_it() -> None:
    pace = Pace(concurrency=2, tokens_per_minute=60_000)
    pace.sent(0)
    sent = pace.expect(0, 50_000)
    pace.pause(1, 30)
    pace.returned(2, sent, used=0)
    assert pace.wait(2) == pytest.approx(29)


@settings(max_examples=60)
@given(st.integers(600, 200_000), st.lists(st.integers(0, 3000), min_size=1, max_size=60))
def test_tokens_stay_within_their_limit_by_one_request_at_most(limit: int, sizes: list[int]) -> None:
    pace, now, sent = Pace(concurrency=1, tokens_per_minute=limit), 0.0, []
    for size in sizes:
        went = leave(pace, now, tokens=size)
        now = went.at
        pace.returned(now, went)
        sent.append((now, size))
    for begin, _ in sent:
        assert sum(size for time, size in sent if begin <= time < begin + 60) <= limit + max(sizes)


def test_tokens_beyond_the_estimate_delay_the_next_request_and_unused_ones_hasten_it() -> None:
    def next_after(used: float) -> float:
        pace = Pace(concurrency=1, tokens_per_minute=60_000 / 0.99)
        sent = leave(pace, 0.0, tokens=2000)
        pace.returned(1.0, sent, used=used)
        return 1.0 + pace.wait(1.0)

    assert next_after(2000) == pytest.approx(1.975, abs=0.01)
    assert next_after(5000) == pytest.approx(4.975, abs=0.01)
    assert next_after(500) == pytest.approx(1.0)


def test_a_reply_that_claims_absurdly_many_tokens_holds_up_a_minute_at_most() -> None:
    pace = Pace(concurrency=1, tokens_per_minute=60_000)
    pace.returned(1.0, leave(pace, 0.0, tokens=10), used=9e15)
    assert 55 < pace.wait(1.0) < 62


def refuse(pace: Pace, now: float, wait: float | None) -> float:
    """Send a request as early as it may leave, have it refused 50 ms later; when that was."""
    sent = leave(pace, now)
    pace.refused(sent.at + 0.05, sent, wait)
    pace.returned(sent.at + 0.05, sent)
    return sent.at + 0.05


def test_after_a_429_nothing_leaves_as_long_as_it_says_and_no_burst_follows() -> None:
    pace = Pace()
    departures(pace, [0.02] * 200)
    now = refuse(pace, 4.0, 2.0)
    times = departures(pace, [0.0] * 60, start=now)
    assert times[0] >= now + 2.0
    rate = pace.learner.rate
    assert most_in_a_window(times, 0.2) <= 0.2 * rate * 1.1 + 2


@pytest.mark.parametrize("wait", [None, 0.0, 0.001])
def test_each_refusal_in_a_row_makes_the_next_one_come_later(wait: float | None) -> None:
    pace, now, gaps = Pace(), 0.0, []
    for _ in range(8):
        before, now = now, refuse(pace, now, wait)
        gaps.append(now - before)
    assert gaps[1:] == sorted(gaps[1:])
    assert gaps[1] > 0.2
    assert 1.0 <= gaps[-1] < 3.0


def test_only_a_request_sent_after_the_last_cut_cuts_again() -> None:
    pace = Pace()
    departures(pace, [0.01] * 300)
    under_way = [leave(pace, 3.5) for _ in range(8)]
    pace.refused(3.55, under_way[0], None)
    rate = pace.learner.rate
    for sent in under_way[1:]:
        pace.refused(3.56, sent, None)
        assert pace.learner.rate == rate
    pace.refused(4.0, leave(pace, 3.6), None)
    assert pace.learner.rate < rate


def test_a_pause_holds_though_chance_explains_what_was_refused_before() -> None:
    """The sixth beyond chance is heeded, also when it had left before the last cut."""
    pace = Pace(learned=Learned(0.0, 0.05, 64.0, 0.0))
    under_way = [leave(pace, 0.0) for _ in range(14)]
    for place, sent in enumerate(under_way):
        pace.refused(0.05, sent, 1.0 if place < 7 else 5.0)
    assert pace.paused_until == pytest.approx(5.05)
    assert pace.wait(0.05) == pytest.approx(5.0)


def test_a_stated_limit_is_held_and_the_users_own_counts_if_it_is_less() -> None:
    pace = Pace()
    pace.know(requests=100)
    assert pace.learner.rate == pytest.approx(99)
    pace.know(requests=200)
    assert pace.learner.rate == pytest.approx(198)
    told = Pace(requests_per_minute=600)
    told.know(requests=100)
    assert told.learner.rate == pytest.approx(9.9)
    told.know(requests=1)
    assert told.learner.rate == pytest.approx(0.99)


def test_a_stated_limit_does_not_open_all_places() -> None:
    pace = Pace()
    pace.know(requests=1e6)
    assert pace.places.open < 20


def test_all_that_is_known_can_be_passed_on() -> None:
    pace, other = Pace(), Pace()
    departures(pace, [0.01] * 300)
    refuse(pace, 3.5, 1.0)
    other.learner.restore(pace.learner.numbers)
    assert other.learner.numbers == pace.learner.numbers
    assert other.learner.rate == pace.learner.rate < math.inf


def test_what_was_learned_is_where_the_next_run_begins() -> None:
    pace = Pace(learned=Learned(measured=50.0, share=0.0, places=100.0, cap=0.0))
    assert pace.learner.rate == pytest.approx(49.5)
    assert pace.learned == Learned(measured=50.0, share=0.0, places=100.0, cap=0.0)
    assert "/100 of 512, 49.5/s" in repr(pace)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("times", [1.5, 2.0, 5.0])
def test_a_slow_limit_that_was_remembered_too_high_is_not_taken_for_chance(times: float, seed: int) -> None:
    """What passed before the first refusal is no part of what was refused since."""
    pace = Pace(concurrency=8, learned=Learned(times * 0.5, 0.0, 16.0, 0.0))
    simulate(pace, Bucket(0.5, 20), lognormal(Random(seed), 0.3), seconds=300.0)
    assert pace.learned.share == 0


def test_a_cap_that_is_tried_again_step_by_step_never_exceeds_what_the_user_allows() -> None:
    places = Places(8)
    places.open = places.cap = 5
    for _ in range(1_000):
        places.answered(9, 1.0, limited=False, may_probe=True, evenly=True)
    assert places.open == 8
