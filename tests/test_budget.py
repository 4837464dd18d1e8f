from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opper_batch.budget import Budget


def spend(budget: Budget, costs: list[float | None], *, at_once: int) -> tuple[int, float]:
    """Begin calls while they are admitted, ``at_once`` in flight: how many were asked, and the cost above
    their estimates."""
    in_flight: list[tuple[float, float | None]] = []
    asked, above = 0, 0.0
    waiting = list(costs)
    while True:
        while waiting and len(in_flight) < at_once and budget.admits():
            in_flight.append((budget.reserve(), waiting.pop(0)))
            asked += 1
        if not in_flight:
            return asked, above
        reserved, cost = in_flight.pop(0)
        above += max(0.0, (budget.estimate if cost is None else cost) - reserved)
        settle(budget, reserved, cost)


def settle(budget: Budget, reserved: float, cost: float | None) -> None:
    """A call is over that took one request."""
    budget.spend(cost)
    budget.settle(reserved, cost or 0.0)


@settings(max_examples=200)
@given(
    cap=st.floats(0.01, 5),
    costs=st.lists(st.none() | st.floats(0, 1), max_size=80),
    at_once=st.integers(1, 40),
    before=st.floats(0, 2),
)
def test_the_cap_is_crossed_only_by_what_calls_cost_above_their_estimates(
    cap: float, costs: list[float | None], at_once: int, before: float
) -> None:
    budget = Budget(cap, paid=before)
    _, above = spend(budget, costs, at_once=at_once)
    assert budget.stated <= max(cap, before) + above + 1e-9


@pytest.mark.parametrize("at_once", [1, 5, 64])
def test_calls_of_one_price_use_the_cap_exactly_however_many_are_in_flight(at_once: int) -> None:
    budget = Budget(1.0)
    assert spend(budget, [0.125] * 100, at_once=at_once)[0] == 8
    assert budget.paid == 1.0


def test_under_a_cap_the_first_call_goes_alone_as_nothing_is_known_of_its_price() -> None:
    budget = Budget(1.0)
    first = budget.reserve()
    assert not budget.admits()
    settle(budget, first, 0.125)
    assert budget.admits()


def test_a_cap_of_zero_admits_nothing() -> None:
    assert not Budget(0.0).admits()


def test_what_was_paid_before_counts() -> None:
    assert not Budget(1.0, paid=1.0).admits()
    assert Budget(1.0, paid=0.99).admits()


def test_without_a_cap_everything_is_admitted_and_still_counted() -> None:
    budget = Budget(None)
    assert spend(budget, [3.0] * 10, at_once=10)[0] == 10
    assert budget.paid == 30.0


def test_an_unknown_cost_is_valued_at_the_dearest_price_of_late() -> None:
    budget = Budget(10.0)
    for cost in (0.25, 0.125):
        settle(budget, budget.reserve(), cost)
    budget.spend(None)
    assert budget.paid == 0.25 + 0.125 + 0.25


def test_a_call_is_asked_again_only_while_its_own_reserve_is_there() -> None:
    budget = Budget(1.0, recent=[0.25, 0.25])
    budget.reserve()
    budget.spend(0.5)
    assert budget.affords()
    budget.spend(None)
    assert budget.paid == 0.75
    assert budget.affords()
    budget.spend(0.001)
    assert not budget.affords()


def test_what_nobody_stated_before_a_price_was_known_is_valued_when_one_is() -> None:
    budget = Budget(1.0)
    settle(budget, budget.reserve(), None)
    assert budget.paid == 0.0
    settle(budget, budget.reserve(), 0.5)
    assert (budget.stated, budget.paid) == (0.5, 1.0)
    assert not budget.admits()


def test_calls_in_doubt_are_valued_at_the_dearest_price_known_then_or_later() -> None:
    budget = Budget(10.0, recent=[0.5, 0.25])
    budget.doubt(4, 1.0)
    assert budget.paid == 4.0
    settle(budget, budget.reserve(), 2.0)
    assert budget.paid == 10.0
    budget.begin_step([0.1])
    assert budget.paid == 10.0, "valued by the prices of their own step"
    settle(budget, 0.0, 5.0)
    assert budget.paid == 15.0


def test_a_price_that_is_listed_counts_until_one_is_learned() -> None:
    budget = Budget(0.01)
    budget.begin_step([], least=0.02)
    assert not budget.admits()
    budget = Budget(0.03)
    budget.begin_step([], least=0.02)
    assert budget.admits()
    settle(budget, budget.reserve(), 0.005)
    assert budget.estimate == 0.005


def test_a_gateway_that_never_says_what_it_cost_is_still_asked() -> None:
    assert spend(Budget(1.0), [None] * 10, at_once=4)[0] == 10


def test_the_estimate_is_the_highest_price_remembered() -> None:
    budget = Budget(None)
    for cost in [0.01] * 99 + [5.0] + [0.01] * 99:
        settle(budget, budget.reserve(), cost)
    assert budget.estimate == 5.0


@pytest.mark.parametrize("at_once", [1, 32])
def test_a_surprising_price_is_met_by_as_many_calls_as_prices_are_known(at_once: int) -> None:
    budget = Budget(0.5)
    assert spend(budget, [0.0001] + [1.0] * 200, at_once=at_once)[0] == 2
    assert budget.paid == pytest.approx(1.0001)


def test_under_a_cap_as_many_calls_are_open_as_prices_were_learned() -> None:
    budget, rounds = Budget(100.0), []
    for _ in range(5):
        open_calls = []
        while budget.admits():
            open_calls.append(budget.reserve())
        rounds.append(len(open_calls))
        for reserved in open_calls:
            settle(budget, reserved, 0.001)
    assert rounds == [1, 1, 2, 4, 8]


def test_a_free_refusal_teaches_nothing_of_prices() -> None:
    budget = Budget(10.0, recent=[0.5])
    settle(budget, budget.reserve(), 0.0)
    settle(budget, budget.reserve(), None)
    assert (budget.estimate, budget.paid) == (0.5, 0.5)


def test_a_gateway_that_never_states_a_cost_is_not_asked_one_by_one() -> None:
    budget = Budget(10.0)
    for _ in range(8):
        settle(budget, budget.reserve(), None)
    for _ in range(8):
        assert budget.admits()
        budget.reserve()
    assert not budget.admits()


def test_another_step_has_other_prices_and_the_same_cap() -> None:
    budget = Budget(10.0, paid=1.0, recent=[5.0] * 9)
    reserved = budget.reserve()
    budget.begin_step([0.5, 0.25])
    assert (budget.estimate, budget.paid, budget.cap) == (0.5, 1.0, 10.0)
    assert budget.admits()
    budget.reserve()
    assert not budget.admits()
    settle(budget, reserved, 8.5)
    assert budget.paid == 9.5
    assert not budget.admits()
    budget.begin_step([])
    assert budget.estimate == 0.0


def test_the_estimate_follows_the_prices_of_the_last_two_hundred_calls() -> None:
    budget = Budget(None)
    for cost in [5.0] * 200 + [0.01] * 200:
        settle(budget, budget.reserve(), cost)
    assert budget.estimate == 0.01


def test_prices_of_earlier_runs_are_reserved_from_the_first_call_on() -> None:
    budget = Budget(1.0, recent=[5.0] * 10 + [0.25] * 200)
    assert budget.estimate == 0.25
    for _ in range(4):
        assert budget.admits()
        budget.reserve()
    assert not budget.admits()


def test_what_nobody_priced_in_a_new_step_is_worth_a_call_of_the_step_before() -> None:
    budget = Budget(10.0)
    settle(budget, budget.reserve(), 0.5)
    budget.begin_step([])
    budget.spend(None)
    assert budget.paid == 2 * 0.5
    settle(budget, budget.reserve(), 0.125)
    assert budget.paid == 0.5 + 2 * 0.125
