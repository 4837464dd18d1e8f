"""What simulations have found, each by its name: scenarios in which a promise was not kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from simulated_judge import kept
from simulated_runs import Simulation
from simulated_scenario import Scenario

FOUND = {
    # A call that has passed the gate leaves once its intent is written: a pause may begin meanwhile.
    "a call left in a pause that began while its intent was written": Scenario(
        rows=60, distinct=60, faults={"busy": 0.1}, slow_disk=0.5
    ),
    "operations were polled in a pause": Scenario(
        rows=60, distinct=60, faults={"pending": 0.4, "busy": 0.1}, slow_disk=0.005
    ),
    "what was lost on the way cost nothing": Scenario(
        rows=60, distinct=60, faults={"after": 0.4}, cap=0.02, price=0.001
    ),
    "what was lost on the way was forgotten by the next run": Scenario(
        seed=89,
        rows=100,
        distinct=100,
        faults={"cut": 0.2, "after": 0.2},
        cap=0.04,
        price=0.001,
        concurrency=2,
    ),
    "what 202s of a killed run cost was learned too late": Scenario(
        rows=60, distinct=60, faults={"pending": 0.9}, kills=(("poll", 8),), cap=0.02, price=0.001
    ),
    "an outage that breaks off answers was paid for again and again": Scenario(
        rows=60, distinct=60, concurrency=4, outages=((5.0, 125.0, "after"),)
    ),
    "a slow limit was taken for chance": Scenario(
        seed=28, rows=200, distinct=200, concurrency=1, limit=(0.5, 3), outages=((7.9, 12.9, "before"),)
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_it_does_not_happen_again(simulate: Callable[[Scenario], Simulation], name: str) -> None:
    kept(simulate(FOUND[name]))
