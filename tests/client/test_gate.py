from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from opper_batch.client import Gate, GateClosed
from opper_batch.errors import RunStopped, ServerFault, Unreachable
from opper_batch.pace import Pace
from opper_batch.pace.outage import FAULTS


async def turns(count: int = 3) -> None:
    """Let everything that is ready go on."""
    for _ in range(count):
        await asyncio.sleep(0)


def run(scene: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10):
            await scene

    asyncio.run(bounded())


def test_calls_tried_again_go_before_fresh_ones_each_in_order() -> None:
    async def scene() -> None:
        gate, passed = Gate(Pace(concurrency=1)), []

        async def call(name: str, *, again: bool) -> None:
            await gate.enter(again=again)
            passed.append(name)
            await asyncio.sleep(0)
            gate.leave()

        await gate.enter()
        waiting = []
        for name in ("fresh 1", "fresh 2", "again 1", "fresh 3", "again 2"):
            waiting.append(asyncio.create_task(call(name, again=name.startswith("again"))))
            await turns(1)
        gate.leave()
        await asyncio.gather(*waiting)
        assert passed == ["again 1", "again 2", "fresh 1", "fresh 2", "fresh 3"]

    run(scene())


def test_no_more_are_inside_than_the_concurrency_allows_and_all_places_are_used() -> None:
    async def scene() -> None:
        gate, chance, inside, most = Gate(Pace(concurrency=7)), random.Random(1), 0, 0

        async def call() -> None:
            nonlocal inside, most
            await gate.enter(again=chance.random() < 0.3)
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(chance.random() / 200)
            inside -= 1
            gate.leave()

        await asyncio.gather(*(call() for _ in range(300)))
        assert (most, inside, gate.pace.in_flight) == (7, 0, 0)

    run(scene())


def test_a_known_rate_is_kept() -> None:
    async def scene() -> None:
        gate, began = Gate(Pace(concurrency=100, requests_per_minute=6000)), time.monotonic()
        for _ in range(60):
            await gate.enter()
            gate.leave()
        # Three or four at once, the others 10 ms each.
        assert 0.5 < time.monotonic() - began < 0.8

    run(scene())


def test_a_pause_holds_everybody_and_a_shorter_one_does_not_end_it() -> None:
    async def scene() -> None:
        gate, began, passed = Gate(Pace(concurrency=50)), time.monotonic(), []

        async def call(again: bool) -> None:
            await gate.enter(again=again)
            passed.append(time.monotonic() - began)
            gate.leave()

        gate.pause(0.2)
        gate.pause(0.05)
        assert 0.1 < gate.paused_for <= 0.2
        await asyncio.gather(*(call(again=number % 2 == 0) for number in range(20)))
        assert len(passed) == 20
        assert min(passed) >= 0.2
        assert max(passed) < 0.5
        assert gate.paused_for == 0

    run(scene())


def test_a_pause_that_comes_while_calls_wait_holds_them_too() -> None:
    async def scene() -> None:
        gate, began = Gate(Pace(concurrency=1)), time.monotonic()
        await gate.enter()
        waiting = asyncio.create_task(gate.enter())
        await turns()
        gate.pause(0.15)
        gate.leave()
        await waiting
        assert time.monotonic() - began >= 0.15

    run(scene())


def test_a_pause_of_more_than_ten_minutes_stops_the_run() -> None:
    gate = Gate(Pace(concurrency=1))
    gate.pause(600)
    with pytest.raises(RunStopped, match=r"wait 601 s .*run again"):
        gate.pause(601)
    with pytest.raises(GateClosed):
        run(gate.enter())


def test_closing_tells_all_who_wait_and_all_who_come() -> None:
    async def scene() -> None:
        gate = Gate(Pace(concurrency=1))
        await gate.enter()
        waiting = [asyncio.create_task(gate.enter(again=again)) for again in (True, False, False)]
        await turns()
        gate.close()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(error) for error in ended] == [GateClosed] * 3
        gate.leave()
        with pytest.raises(GateClosed):
            await gate.enter()
        assert gate.pace.in_flight == 0

    run(scene())


def test_a_sleep_ends_at_its_time_or_when_the_gate_closes() -> None:
    async def scene() -> None:
        gate, began = Gate(Pace(concurrency=1)), time.monotonic()
        await gate.sleep(0.05)
        assert 0.05 <= time.monotonic() - began < 0.3
        await gate.sleep(0)
        sleeping = asyncio.create_task(gate.sleep(1000))
        await turns()
        gate.close()
        with pytest.raises(GateClosed):
            await sleeping
        with pytest.raises(GateClosed):
            await gate.sleep(1000)
        assert time.monotonic() - began < 1

    run(scene())


def test_a_call_cancelled_while_it_waits_leaves_its_turn_to_the_next() -> None:
    async def scene() -> None:
        gate = Gate(Pace(concurrency=1))
        await gate.enter()
        first, second = asyncio.create_task(gate.enter()), asyncio.create_task(gate.enter())
        await turns()
        first.cancel()
        await turns()
        gate.leave()
        await second
        assert gate.pace.in_flight == 1

    run(scene())


def test_a_call_cancelled_just_as_it_may_pass_gives_its_place_back() -> None:
    async def scene() -> None:
        gate = Gate(Pace(concurrency=1))
        await gate.enter()
        first, second = asyncio.create_task(gate.enter()), asyncio.create_task(gate.enter())
        await turns()
        gate.leave()
        first.cancel()
        await second
        assert gate.pace.in_flight == 1

    run(scene())


def test_a_call_cancelled_just_as_the_gate_closes_gives_back_no_place_it_never_had() -> None:
    async def scene() -> None:
        gate = Gate(Pace(concurrency=1))
        await gate.enter()
        waiting = asyncio.create_task(gate.enter())
        await turns()
        gate.close()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert gate.pace.in_flight == 1

    run(scene())


def counted(looks: list[float]) -> Callable[[], float]:
    """A clock that notes when it was looked at."""

    def clock() -> float:
        looks.append(time.monotonic())
        return looks[-1]

    return clock


def test_however_many_wait_the_next_one_is_looked_for_once() -> None:
    async def scene() -> None:
        looks: list[float] = []
        gate = Gate(Pace(concurrency=1000, requests_per_minute=60 * 500), clock=counted(looks))
        await asyncio.gather(*(gate.enter() for _ in range(300)))
        assert len(looks) < 4 * 300

    run(scene())


@pytest.mark.parametrize("end", ["cancelled", "closed", "passed"])
def test_when_nobody_waits_nothing_wakes(end: str) -> None:
    async def scene() -> None:
        looks: list[float] = []
        gate = Gate(Pace(concurrency=2, requests_per_minute=60 * 20 / 0.99), clock=counted(looks))
        for _ in range(5):
            await gate.enter()
            gate.leave()
        waiting = asyncio.create_task(gate.enter())
        await turns()
        assert not waiting.done()
        if end == "cancelled":
            waiting.cancel()
        elif end == "closed":
            gate.close()
        await asyncio.gather(waiting, return_exceptions=True)
        looked = len(looks)
        await asyncio.sleep(0.2)
        assert len(looks) == looked

    run(scene())


def test_an_outage_excuses_what_cannot_have_been_paid() -> None:
    gate = Gate(Pace())
    faults = [
        Unreachable("refused", paid=False),
        Unreachable("reset", paid=True),
        ServerFault("503", absent=True),
        ServerFault("500"),
    ]
    assert [gate.excuses(fault) for fault in faults] == [False, False, False, False]
    for _ in range(FAULTS):
        gate.unanswered("nobody there")
    assert [gate.excuses(fault) for fault in faults] == [True, False, False, False]


def test_a_gate_that_is_held_lets_nobody_pass_and_can_be_closed() -> None:
    async def scene() -> None:
        gate = Gate(Pace())
        gate.hold(True)
        waiting = [asyncio.create_task(gate.enter(again=again)) for again in (True, False)]
        await turns()
        assert not any(turn.done() for turn in waiting)
        gate.hold(False)
        await asyncio.gather(*waiting)
        gate.hold(True)
        late = asyncio.create_task(gate.enter())
        await turns()
        gate.close()
        with pytest.raises(GateClosed):
            await late

    run(scene())
