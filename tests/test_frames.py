"""Runs from Python: in threads, beside a running event loop, awaited, and what they give back."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars
import pytest

import opper_batch as ob

ROWS = 60


def pipeline(name: str = "texts", rows: int = ROWS) -> ob.Pipeline:
    table = polars.DataFrame({"id": range(rows), "text": [f"text {number}" for number in range(rows)]})
    steps = [{"name": "look", "columns": {"good": "BOOLEAN"}}]
    return ob.Pipeline(name=name, source={"table": table, "key": ["id"]}, steps=steps)


def test_a_running_loop_is_no_concern_and_run_async_leaves_it_free(here: Path) -> None:
    async def both() -> tuple[ob.Run, ob.Run, int]:
        turns = 0

        async def turning() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        plain = ob.run(pipeline("plain"), sandbox=True)
        others = asyncio.create_task(turning())
        awaited = await ob.run_async(pipeline("awaited"), sandbox=True)
        others.cancel()
        return plain, awaited, turns

    plain, awaited, turns = asyncio.run(both())
    assert plain.counts.ok == awaited.counts.ok == ROWS
    assert turns > 1


def test_threads_run_pipelines_of_their_own(here: Path) -> None:
    with ob.Sandbox() as sandbox, ThreadPoolExecutor(3) as threads:
        runs = list(threads.map(lambda name: ob.run(pipeline(name), sandbox=sandbox), ("a", "b", "c")))
    assert [run.counts.ok for run in runs] == [ROWS] * 3


def test_cancelling_drains_and_running_again_goes_on(here: Path) -> None:
    with ob.Sandbox(ob.Script(latency=0.05)) as sandbox:

        async def cancelled_once_answered() -> None:
            answered = asyncio.Event()
            loop = asyncio.get_running_loop()

            def told(progress: Any) -> None:
                if progress.rows:
                    loop.call_soon_threadsafe(answered.set)

            run = ob.run_async(pipeline(), sandbox=sandbox, concurrency=1, progress=told)
            running = asyncio.create_task(run)
            await answered.wait()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

        asyncio.run(cancelled_once_answered())
        asked = len(sandbox.journal.calls)
        assert 0 < asked < ROWS
        run = ob.run(pipeline(), sandbox=sandbox)
    assert run.counts.ok == ROWS
    assert run.counts.cached == asked
    assert len(sandbox.journal.calls) == ROWS
    assert run.summary.in_doubt == 0


def test_a_second_cancellation_does_not_wait(here: Path) -> None:
    with ob.Sandbox(ob.Script(latency=60.0)) as sandbox:

        async def cancelled_twice() -> None:
            asking, loop = asyncio.Event(), asyncio.get_running_loop()

            def told(progress: Any) -> None:
                if progress.in_flight:
                    loop.call_soon_threadsafe(asking.set)

            run = ob.run_async(pipeline(rows=1), sandbox=sandbox, grace=60.0, progress=told)
            running = asyncio.create_task(run)
            await asking.wait()
            running.cancel()
            await asyncio.sleep(0)
            assert not running.done()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert "engine" in [thread.name for thread in threading.enumerate()]
            sandbox.stop()  # else the call in flight would have its 60 seconds

        asyncio.run(cancelled_twice())


def test_what_stops_a_run_is_raised_where_it_is_awaited(here: Path) -> None:
    with pytest.raises(ob.DefinitionError, match="no key"):
        asyncio.run(ob.run_async(pipeline()))
    with pytest.raises(ob.RunStopped, match="budget"):
        asyncio.run(ob.run_async(pipeline(), sandbox=True, max_cost=0.0))


def test_failures_are_a_frame_with_the_rows_keys(here: Path) -> None:
    with ob.Sandbox(ob.Script(schema_breaking=1.0)) as sandbox:
        run = ob.run(pipeline(rows=3), sandbox=sandbox, limit=2)
    assert run.failures.columns == ["row", "id", "step", "reason", "trace_uuid", "call_key"]
    assert run.failures["row"].to_list() == [1, 2]
    assert run.failures["id"].to_list() == [0, 1]
    assert "answer does not fit" in run.failures["reason"][0]


def test_a_sample_is_the_same_for_the_same_seed_and_in_order(here: Path) -> None:
    run = ob.run(pipeline(), sandbox=True)
    assert run.sample(5).equals(run.sample(5))
    assert not run.sample(5).equals(run.sample(5, seed=1))
    assert run.sample(5)["id"].is_sorted()
    assert run.sample(1000).height == ROWS
    assert run.failures.is_empty()


def test_two_prompts_are_compared_and_the_comparison_shows_itself(here: Path) -> None:
    first = pipeline()
    changed = first.steps[0].model_copy(update={"instructions": "Look twice."})
    second = first.model_copy(update={"steps": (changed,)})
    ob.run(first, sandbox=True)
    found = ob.diff(first, second, sample=10, sandbox=True)
    assert found.compared == 10
    assert (found.a.calls, found.b.calls) == (0, 10)
    assert repr(found) == str(found)
    assert "<td" in found._repr_html_()


def test_the_reader_is_the_table_batch_by_batch(here: Path) -> None:
    run = ob.run(pipeline(), sandbox=True)
    assert run.reader().read_all().equals(run.table)
