"""What simulations have found, each by its name: scenarios in which a promise was not kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from simulated_judge import kept
from simulated_runs import Simulation
from simulated_scenario import Scenario, drawn

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
    "a limit remembered too high was taken for chance": Scenario(
        seed=2947,
        rows=40,
        distinct=40,
        steps=2,
        faults={"empty": 0.28156766215133483, "pending": 0.05},
        limit=(0.5, 10),
        hopeless=1,
        kills=(("after commit", 40),),
        price=0.0013979470887707916,
    ),
    "a limit of one in two seconds was taken for chance of a third": drawn(1546),
    "a limit was taken for chance by what had passed slowly before": drawn(1085),
    "a known rate that is too high was taken for chance": drawn(3361),
    "a row was paid five times in an outage that loses answers": drawn(4570),
    "an operation that an earlier run began has failed": Scenario(
        seed=4212,
        rows=60,
        distinct=60,
        faults={"broken": 0.10210779371148089, "pending": 0.05},
        limit=(0.5, 10),
        outages=((12.376347634752447, 132.37634763475245, "after"),),
        kills=(("time", 2.035566522255773),),
        price=0.0005271899320928731,
    ),
    "rows failed in the first moment of an outage, while answers from before it arrived": Scenario(
        rows=200, distinct=200, concurrency=32, outages=((5.0, 125.0, "before"),)
    ),
    "the last few rows failed in an outage before it was noticed": Scenario(
        rows=20, distinct=20, concurrency=3, outages=((5.0, 125.0, "before"),)
    ),
    "late answers to what had left before an outage hid it from the last attempt of a row": Scenario(
        seed=4918,
        rows=40,
        distinct=40,
        concurrency=4,
        requests_per_minute=120,
        outages=((8.34, 128.34, "before"),),
        hopeless=2,
    ),
    "a call left after the deadline, which passed while its intent was written": Scenario(
        seed=5, rows=25, distinct=25, concurrency=4, latency=0.05, limit=(10, 1), deadline=1, slow_disk=0.5
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_it_does_not_happen_again(simulate: Callable[[Scenario], Simulation], name: str) -> None:
    kept(simulate(FOUND[name]))


@pytest.mark.parametrize(("rows", "concurrency"), [(30, 2), (200, 32)])
@pytest.mark.parametrize("how", ["before", "absent"])
def test_an_outage_of_two_minutes_is_waited_out_and_fails_no_row(
    simulate: Callable[[Scenario], Simulation], how: str, rows: int, concurrency: int
) -> None:
    """Nobody can be reached, or a 502, 503 or 504 says that nobody is there."""
    simulation = simulate(
        Scenario(rows=rows, distinct=rows, concurrency=concurrency, outages=((5.0, 125.0, how),))
    )
    kept(simulation)
    ended = simulation.runs[0].ended
    assert ended
    assert (ended.error, ended.summary.exit) == (None, 0)
    assert simulation.runs[0].over > 125
