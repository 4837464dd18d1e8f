"""Whole runs in virtual time against a gateway that fails in every way, killed at any moment.

A scenario is drawn from its number, and replayed exactly by it: ``-k seed17``. What is promised is judged
from the gateway's own journal.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from simulated_judge import kept, told
from simulated_runs import Simulation
from simulated_scenario import drawn

Simulate = Callable[..., Simulation]


@pytest.mark.parametrize("seed", range(100), ids="seed{}".format)
def test_every_promise_is_kept(simulate: Simulate, seed: int) -> None:
    kept(simulate(drawn(seed)))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(100, 5000, 50), ids="from{}".format)
@pytest.mark.timeout(600)
def test_every_promise_is_kept_in_thousands(simulate: Simulate, first: int) -> None:
    """All seeds that fail are told, not only the first."""
    failed = [story for seed in range(first, first + 50) if (story := _failure(simulate, seed))]
    assert not failed, "\n\n".join([f"{len(failed)} of 50 failed", *failed])


def _failure(simulate: Simulate, seed: int) -> str:
    """What went wrong, empty when nothing did."""
    try:
        kept(simulate(drawn(seed)))
    except Exception as error:  # a hang, or whatever the program raises, is told as well
        return f"seed {seed}: {type(error).__name__}: {error}"
    return ""


@pytest.mark.parametrize("seed", [13, 24, 44])
def test_a_number_says_exactly_what_happens(simulate: Simulate, seed: int) -> None:
    first, second = simulate(drawn(seed)), simulate(drawn(seed))
    assert [str(asked) for asked in first.journal] == [str(asked) for asked in second.journal]
    assert [told(run) for run in first.runs] == [told(run) for run in second.runs]
    assert first.clock.now == second.clock.now


def test_time_passes_that_nobody_waits_for(simulate: Simulate) -> None:
    assert simulate(drawn(7)).clock.now > 1800
