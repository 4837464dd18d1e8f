"""The judge sees each promise that is broken: what happened is falsified, one thing at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from simulated_gateway import Asked
from simulated_judge import broken_promises, kept
from simulated_runs import Simulation
from simulated_scenario import Scenario

from opper_batch.errors import RunStopped


def answered(simulation: Simulation) -> Asked:
    return next(asked for asked in simulation.journal if asked.answer and not asked.fault)


def asked_twice(simulation: Simulation) -> None:
    asked = answered(simulation)
    simulation.journal.append(replace(asked, at=(asked.heard_at or 0) + 1))


def replaced(simulation: Simulation) -> None:
    answers = simulation.runs[-1].after.answers
    first, second = list(answers)[:2]
    answers[first] = answers[second]


def forgotten(simulation: Simulation) -> None:
    run = simulation.runs[0]
    run.after = replace(run.after, answered=frozenset(), ended=frozenset())


def overspent(simulation: Simulation) -> None:
    simulation.runs[0].cap = 1e-9


def untold(simulation: Simulation) -> None:
    answered(simulation).told = 1000.0


def paid_again(simulation: Simulation) -> None:
    simulation.journal.extend(replace(answered(simulation), answer=None) for _ in range(4))


def hasty(simulation: Simulation) -> None:
    asked = answered(simulation)
    asked.wait, asked.fault = 10.0, "busy"


def failed(simulation: Simulation) -> None:
    """A row that nobody was reached for, after others were answered."""
    run, calls = simulation.runs[0], [asked for asked in simulation.journal if asked.run == 0]
    last = max(calls, key=lambda asked: asked.at)
    last.fault, run.after = "before", replace(run.after, answered=run.after.answered - {last.question})
    simulation.scenario = replace(simulation.scenario, outages=((last.at, last.at + 9, "before"),))


def late(simulation: Simulation) -> None:
    simulation.runs[0].deadline = 0.1


def lingering(simulation: Simulation) -> None:
    run = simulation.runs[0]
    run.deadline, run.over = 60.0, run.began + 90


def fast(simulation: Simulation) -> None:
    simulation.scenario = replace(simulation.scenario, requests_per_minute=10)


def crowded(simulation: Simulation) -> None:
    simulation.gateway.most_inside = 9


def short(simulation: Simulation) -> None:
    simulation.scenario = replace(simulation.scenario, rows=simulation.scenario.rows + 1)


def causeless(simulation: Simulation) -> None:
    first = simulation.runs[0]
    assert first.ended
    first.ended = replace(first.ended, error=RunStopped("the deadline has passed; run again to go on"))


def stopped(simulation: Simulation) -> None:
    last = simulation.runs[-1]
    assert last.ended
    last.ended = replace(last.ended, error=RunStopped("no"))


@pytest.mark.parametrize(
    ("falsify", "word"),
    [
        (asked_twice, "though it was answered"),
        (replaced, " has 'simulated"),
        (forgotten, "are not durable"),
        (overspent, "were spent of"),
        (untold, "were told and"),
        (paid_again, "was paid 5 times"),
        (failed, "failed in an outage"),
        (late, "a call left at"),
        (lingering, "was over at"),
        (fast, "more than 10 calls left in the minute"),
        (causeless, "ended with RunStopped"),
        (hasty, "it was told"),
        (crowded, "are allowed"),
        (short, "must fail"),
        (stopped, "did not end well"),
    ],
)
def test_what_goes_wrong_is_seen(
    simulate: Callable[[Scenario], Simulation], falsify: Callable[[Simulation], None], word: str
) -> None:
    simulation = simulate(Scenario(rows=20, distinct=20))
    kept(simulation)
    falsify(simulation)
    assert any(word in sentence for sentence in broken_promises(simulation))
