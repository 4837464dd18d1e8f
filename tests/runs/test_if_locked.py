"""Two runs of a pipeline at once: the second fails, leaves it to the first, or waits for it."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from program import Program

import opper_batch as ob
from opper_batch.ledger import Ledger

PIPELINE = """
name = "tags"
[source]
path = "rows.csv"
[[steps]]
name = "tag"
[steps.columns]
tag = ["a", "b", "c"]
"""


@pytest.fixture
def tags(here: Path) -> str:
    Path("rows.csv").write_text("id\n1\n2\n")
    Path("tags.toml").write_text(PIPELINE)
    return "tags.toml"


@pytest.fixture
def other(tags: str) -> Iterator[Ledger]:
    """Another run, which is under way."""
    with Ledger(Path(".opper_batch/tags.sandbox.ledger")) as ledger:
        yield ledger


@pytest.mark.usefixtures("other")
def test_it_fails_unless_told_otherwise_and_says_who_is_there(tags: str, program: Program) -> None:
    ended = program("run", tags, "--sandbox")
    assert ended.returncode == 5
    assert "held by another run (process" in ended.stderr


@pytest.mark.usefixtures("other")
def test_told_to_skip_it_ends_well_with_one_sentence(tags: str, program: Program) -> None:
    ended = program("run", tags, "--sandbox", "--if-locked", "skip", "--json")
    assert ended.returncode == 0
    assert ended.stderr.count("\n") == 1
    assert "another run is under way (process" in ended.stderr
    said = json.loads(ended.stdout)
    assert (said["run_id"], said["exit"]) == (None, 0)
    with pytest.raises(ob.Skipped):
        ob.run(tags, sandbox=True, if_locked="skip")


def test_told_to_wait_it_says_for_whom_and_then_reads_the_table_as_it_is_now(
    tags: str, other: Ledger
) -> None:
    told: list[tuple[str, dict[str, Any]]] = []

    def leave(event: str, fields: dict[str, Any]) -> None:
        told.append((event, fields))
        if event == "waiting":
            Path("rows.csv").write_text("id\n1\n2\n3\n")
            Thread(target=other.close).start()

    run = ob.run(tags, sandbox=True, if_locked="wait", events=leave)
    assert run.counts.ok == 3
    assert told[0][0] == "waiting"
    assert "process" in told[0][1]["holder"]


@pytest.mark.usefixtures("other")
def test_waiting_ends_with_the_deadline(tags: str) -> None:
    with pytest.raises(ob.RunStopped, match="deadline has passed, and another run is under way"):
        ob.run(tags, sandbox=True, if_locked="wait", deadline=0.1)


@pytest.mark.usefixtures("other")
def test_waiting_can_be_interrupted(tags: str, program: Program) -> None:
    waiting = program.start("run", tags, "--sandbox", "--if-locked", "wait")
    assert waiting.stderr
    assert "waits for another run" in waiting.stderr.readline()
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(20) == 130
    waiting.communicate()


@pytest.mark.usefixtures("other")
def test_waiting_can_be_cancelled(tags: str) -> None:
    async def cancelled() -> None:
        waits, loop = asyncio.Event(), asyncio.get_running_loop()

        def told(event: str, fields: dict[str, Any]) -> None:
            if event == "waiting":
                loop.call_soon_threadsafe(waits.set)

        run = ob.run_async(tags, sandbox=True, if_locked="wait", deadline=20.0, events=told)
        running = asyncio.create_task(run)
        await waits.wait()
        running.cancel()
        await asyncio.wait([running], timeout=10)
        assert running.cancelled()

    asyncio.run(cancelled())


def test_there_is_no_fourth_way(tags: str) -> None:
    with pytest.raises(ob.DefinitionError, match="say fail, skip, wait"):
        ob.run(tags, sandbox=True, if_locked="hope")
