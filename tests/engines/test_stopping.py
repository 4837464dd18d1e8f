from __future__ import annotations

import pytest

from opper_batch.budget import Budget, over_budget
from opper_batch.engines.stopping import Stopping, late, no_access
from opper_batch.errors import AccessRefused, Refused, RunStopped
from opper_batch.pace import Outage
from opper_batch.records import Outcome

ANSWERED = Outcome(b"k", None)
UNFIT = Outcome(b"k", "does not fit", cause="answer")
REFUSED = Outcome(b"k", "422 no", cause="refused")
UNANSWERED = Outcome(b"k", "500", cause="gateway")


def after(stopping: Stopping, *outcomes: Outcome) -> list[type | None]:
    said = [stopping.after(outcome) for outcome in outcomes]
    return [type(error) if error else None for error in said]


def test_nothing_stops_a_run_that_goes_well() -> None:
    assert (
        after(Stopping(Outage(), proven=False), ANSWERED, REFUSED, UNFIT, UNANSWERED, ANSWERED) == [None] * 5
    )


def test_a_first_call_that_is_refused_stops_the_run() -> None:
    assert after(Stopping(Outage(), proven=False), REFUSED) == [Refused]
    assert after(Stopping(Outage(), proven=False), UNANSWERED, REFUSED) == [None, Refused]
    assert after(Stopping(Outage(), proven=True), REFUSED) == [None]


def test_a_gateway_never_heard_of_is_given_up_after_three_calls_without_an_answer() -> None:
    assert after(Stopping(Outage(), proven=False), *[UNANSWERED] * 3) == [None, None, RunStopped]
    assert after(Stopping(Outage(), proven=False), UNANSWERED, ANSWERED, *[UNANSWERED] * 3) == [None] * 5


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (None, "the gateway does not answer (500 boom); run again to go on"),
        (b"", "the gateway fails at every call (500 boom); run again to go on"),
    ],
)
def test_a_gateway_that_answers_with_errors_is_not_said_to_be_silent(reply: bytes | None, said: str) -> None:
    stopping = Stopping(Outage(), proven=False)
    failed = Outcome(b"k", "500 boom", reply=reply, cause="gateway")
    assert [str(stopping.after(failed)) for _ in range(3)][-1] == said


@pytest.mark.parametrize("answer", [ANSWERED, UNFIT])
def test_any_answer_proves_the_gateway(answer: Outcome) -> None:
    assert after(Stopping(Outage(), proven=False), answer, REFUSED, UNANSWERED) == [None] * 3


def test_a_202_proves_it_too() -> None:
    stopping = Stopping(Outage(), proven=False)
    stopping.prove()
    assert after(stopping, REFUSED, UNANSWERED) == [None] * 2


@pytest.mark.parametrize("between", [ANSWERED, UNFIT, REFUSED])
def test_twenty_unanswered_in_a_row_are_an_outage_and_anything_between_begins_anew(between: Outcome) -> None:
    stopping = Stopping(Outage(), proven=True)
    assert after(stopping, *[UNANSWERED] * 19, between, *[UNANSWERED] * 19) == [None] * 39
    assert after(stopping, UNANSWERED) == [RunStopped]


def test_a_spent_budget_is_to_be_run_again_and_a_refused_key_to_be_set() -> None:
    assert isinstance(no_access(AccessRefused("402 spent", status=402)), RunStopped)
    for status in (401, 403):
        assert isinstance(no_access(AccessRefused(f"{status} no", status=status)), Refused)


def test_every_reason_says_what_to_do() -> None:
    reasons = [late(), over_budget(Budget(0.005, paid=0.004)), no_access(AccessRefused("no", status=402))]
    assert all("run again" in reason.message for reason in reasons)
    assert "$0.005" in reasons[1].message


def test_small_sums_are_shown_so_that_they_make_sense() -> None:
    message = over_budget(Budget(0.00005, paid=0.0000421, recent=[0.00001])).message
    assert "$0.00005 is reached ($0.0000421 paid, and one more call may cost $0.00001)" in message


def test_a_refused_key_is_to_be_replaced_by_one_that_may() -> None:
    message = no_access(AccessRefused("401 no", status=401)).message
    assert "set OPPER_API_KEY to one that may use it, then run again" in message
