"""An outage is told from failing rows by numbers, and looked after one request at a time."""

from __future__ import annotations

from opper_batch.pace.outage import FAULTS, LONGEST_WAIT, Outage


def out(now: float = 0.0, *, patience: float = 600.0) -> Outage:
    outage = Outage(patience=patience)
    for _ in range(FAULTS):
        outage.faulted(now)
    return outage


def test_a_few_faults_are_no_outage() -> None:
    outage = Outage()
    for _ in range(FAULTS - 1):
        outage.faulted(0.0)
    assert not outage.on
    assert outage.wait(0.0) == 0.0


def test_an_answer_between_faults_starts_the_count_anew() -> None:
    outage = Outage()
    for _ in range(5 * FAULTS):
        for _ in range(FAULTS - 1):
            outage.faulted(0.0)
        outage.answered()
    assert not outage.on


def test_while_it_is_on_requests_leave_further_and_further_apart() -> None:
    outage, now, gaps = out(), 0.0, []
    for _ in range(8):
        wait = outage.wait(now)
        gaps.append(wait)
        now += wait
        assert outage.wait(now) == 0.0
        outage.sent(now)
        outage.faulted(now)
    assert gaps == [1.0, 2.0, 4.0, 8.0, LONGEST_WAIT, LONGEST_WAIT, LONGEST_WAIT, LONGEST_WAIT]


def test_faults_of_requests_that_left_before_do_not_put_the_next_look_off() -> None:
    outage = out()
    for _ in range(300):
        outage.faulted(0.5)
    assert outage.wait(1.0) == 0.0


def test_one_answer_ends_it_and_the_next_outage_begins_from_the_start() -> None:
    outage = out()
    outage.sent(1.0)
    outage.answered()
    assert (outage.on, outage.wait(1.0)) == (False, 0.0)
    for _ in range(FAULTS):
        outage.faulted(50.0)
    assert outage.wait(50.0) == 1.0


def test_it_is_borne_for_as_long_as_there_is_patience() -> None:
    outage = out(100.0, patience=60.0)
    assert not outage.exhausted(159.0)
    assert outage.exhausted(160.0)
    outage.answered()
    assert not outage.exhausted(1000.0)
