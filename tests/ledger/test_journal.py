"""Who waits for an entry is told that it is durable, in whatever order, on whichever thread it becomes so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from random import Random
from typing import Any

import pytest
from ledger_values import answer, key

from opper_batch.ledger.journal import Journal
from opper_batch.ledger.statements import INTENT

ENTRIES = 2_000


def journal(submit: Callable[..., Future[int]]) -> Journal:
    return Journal(submit, run=1, template=1, pended=False)


@pytest.mark.parametrize("seed", range(4))
def test_all_who_wait_are_told(seed: int) -> None:
    """Some writes are done at once, on the loop's own thread, the others on two more, in any order."""
    chance = Random(seed)

    def submit(*statements: Any) -> Future[int]:
        done: Future[int] = Future()
        if chance.random() < 0.3:
            done.set_result(1)
        else:
            threads.submit(done.set_result, 1)
        return done

    async def run() -> None:
        written = journal(submit)

        async def call(number: int) -> None:
            await asyncio.sleep(chance.random() / 5)
            await written.intent(key(number))
            await written.record(answer(number))

        async with asyncio.timeout(20):
            await asyncio.gather(*(call(number) for number in range(ENTRIES)))

    with ThreadPoolExecutor(2) as threads:
        asyncio.run(run())


def test_an_answer_goes_with_the_intent_of_the_request_that_takes_its_place() -> None:
    writes: list[tuple[Any, ...]] = []

    def submit(*statements: Any) -> Future[int]:
        writes.append(statements)
        done: Future[int] = Future()
        done.set_result(1)
        return done

    async def run() -> None:
        written = journal(submit)
        answered = asyncio.create_task(written.record(answer(1)))
        await asyncio.sleep(0)
        assert not writes
        await written.intent(key(2))
        assert [statements[0][0] is INTENT for statements in writes] == [False, True]
        await answered
        await written.record(answer(2))  # with nobody after it, it goes soon
        assert len(writes) == 3

    asyncio.run(run())


def test_the_answer_of_a_call_that_is_cancelled_is_written_all_the_same() -> None:
    writes: list[tuple[Any, ...]] = []

    def submit(*statements: Any) -> Future[int]:
        writes.append(statements)
        return Future()

    async def run() -> None:
        answered = asyncio.create_task(journal(submit).record(answer(1)))
        await asyncio.sleep(0)
        answered.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answered

    asyncio.run(run())
    assert len(writes) == 1
