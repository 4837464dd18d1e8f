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
        outage.answered(0.0)
    assert not outage.on


def seen(at: float = 0.0) -> Outage:
    """Of a gateway that has answered."""
    outage = Outage()
    outage.answered(at)
    return outage


def test_two_faults_of_one_call_and_no_answer_to_anybody_are_an_outage() -> None:
    outage = seen()
    outage.faulted(5.0)
    outage.faulted(5.1)
    assert not outage.on, "they are of two calls"
    outage.faulted(6.0, before=5.0)
    assert (outage.on, outage.wait(6.0)) == (True, 1.0)


def test_two_faults_of_one_call_with_an_answer_between_them_are_its_own() -> None:
    outage = seen()
    outage.faulted(5.0)
    outage.answered(5.2)
    outage.faulted(6.0, before=5.0)
    assert not outage.on


def test_before_the_last_attempt_is_used_up_only_answers_to_what_left_since_count() -> None:
    for left, on in ((0.5, True), (1.5, False)):
        outage = seen()
        outage.faulted(1.0)
        outage.answered(left)
        outage.faulted(2.0, before=1.0)
        assert not outage.on
        outage.answered(left)
        outage.faulted(3.0, before=1.2, last=True)
        assert outage.on is on


def test_two_faults_of_one_call_that_each_took_minutes_are_its_own() -> None:
    outage = seen()
    outage.faulted(600.0)
    outage.faulted(1201.0, before=600.0)
    assert not outage.on


def test_a_gateway_that_was_never_there_is_not_waited_for_after_two_faults() -> None:
    outage = Outage()
    outage.faulted(5.0)
    outage.faulted(6.0, before=5.0)
    assert not outage.on


def test_an_answer_to_what_left_before_it_began_does_not_end_it() -> None:
    outage = out(50.0)
    outage.answered(49.9)
    assert outage.on
    outage.answered(50.0)
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
    outage.answered(1.0)
    assert (outage.on, outage.wait(1.0)) == (False, 0.0)
    for _ in range(FAULTS):
        outage.faulted(50.0)
    assert outage.wait(50.0) == 1.0


def test_it_is_borne_for_as_long_as_there_is_patience() -> None:
    outage = out(100.0, patience=60.0)
    assert not outage.exhausted(159.0)
    assert outage.exhausted(160.0)
    outage.answered(160.0)
    assert not outage.exhausted(1000.0)
