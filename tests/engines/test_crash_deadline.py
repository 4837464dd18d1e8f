"""Past the deadline nothing is sent, and what is in flight has the grace; the rest is for the next run."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from client_rig import Rig, Stub, ok, says

from opper_batch.engines import LocalEngine
from opper_batch.errors import RunStopped
from opper_batch.records import Outcome
from opper_batch.sandbox import Sandbox

Rigs = Callable[..., Rig]


def stopped(rig: Rig, number: int, **settings: float) -> tuple[list[Outcome], str]:
    """What came before the deadline stopped it."""
    outcomes: list[Outcome] = []
    engine = LocalEngine(rig.client, proven=True, **settings)
    with pytest.raises(RunStopped) as told:
        outcomes.extend(engine.outcomes([rig.question(value) for value in range(number)]))
    return outcomes, told.value.message


def test_the_last_calls_in_flight_have_the_grace_and_are_then_left_in_doubt(
    sandbox: Callable[..., Sandbox], rig: Rigs
) -> None:
    client = rig(sandbox(latency=30.0).url)
    began = time.monotonic()
    outcomes, message = stopped(client, 3, deadline=0.2, grace=0.2)
    assert 0.4 <= time.monotonic() - began < 3
    assert "deadline" in message
    assert outcomes == []
    assert len(client.intents()) == 3


def test_calls_in_flight_with_more_to_come_have_it_too(sandbox: Callable[..., Sandbox], rig: Rigs) -> None:
    client = rig(sandbox(latency=30.0).url)
    began = time.monotonic()
    stopped(client, 100, deadline=0.2, grace=0.2)
    assert 0.4 <= time.monotonic() - began < 3
    assert len(client.intents()) == 8


def test_a_try_that_failed_is_not_repeated_past_the_deadline(stub: Stub, rig: Rigs) -> None:
    def slow(request: object) -> object:
        time.sleep(0.4)
        return says(503)

    client = rig(stub.calls(slow, ok()).url)
    outcomes, message = stopped(client, 1, deadline=0.2, grace=5.0)
    assert "deadline" in message
    assert outcomes == []
    assert len(stub.posts) == 1
    assert len(client.intents()) == 1, "a 503 may have been paid"
