"""A run that is paused, resumed and limited anew from elsewhere, and what others see of it meanwhile."""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from crashing import Starter, until
from program import Program

import opper_batch as ob
from opper_batch.errors import DefinitionError
from opper_batch.runs import Ended, Options, Status, execute, status
from opper_batch.runs.wishes import live_path, wishes_path
from opper_batch.runs.wishing import wish
from opper_batch.sandbox import Sandbox

Gateways = Callable[..., Sandbox]
ROWS = 150
TAGS = f"""
name = "tags"
[source]
sql = "SELECT n AS id, 'matter ' || n AS text FROM range({ROWS}) t(n)"
[[steps]]
name = "tag"
[steps.columns]
tag = ["a", "b", "c"]
"""
LEDGER = Path(".opper_batch/tags.ledger")


class Going:
    """A run in a thread of its own."""

    def __init__(self, **options: Any) -> None:
        self.ended: Ended | None = None
        pipeline = ob.load("tags.toml")

        def run() -> None:
            self.ended = execute(pipeline, Options(**options))

        self._thread = threading.Thread(target=run)
        self._thread.start()

    def wait(self) -> Ended:
        self._thread.join(60)
        assert self.ended is not None
        return self.ended


@pytest.fixture
def tags(here: Path) -> str:
    Path("tags.toml").write_text(TAGS)
    return "tags.toml"


@pytest.fixture
def going(tags: str, gateway: Gateways) -> Iterator[Callable[..., tuple[Going, Sandbox]]]:
    """Starts a run of many short calls, and waits until some have been made."""
    runs: list[Going] = []

    def start(*, latency: float = 0.05, **options: Any) -> tuple[Going, Sandbox]:
        sandbox = gateway(latency=latency)
        runs.append(Going(**options))
        until(lambda: len(sandbox.journal.calls) >= 5)
        return runs[-1], sandbox

    yield start
    for run in runs:
        if run.ended is None:
            wish("tags", {"paused": False, "set": ["concurrency=none", "rpm=none"]}, Options())
            run.wait()


def look() -> Status:
    return status("tags", Options())


def drained() -> bool:
    return not look().flying


def test_a_paused_run_sends_nothing_and_keeps_what_was_in_flight_and_goes_on(going: Any) -> None:
    run, sandbox = going(concurrency=4)
    assert wish("tags", {"paused": True}, Options()).startswith("paused: nothing new is sent")
    until(drained)
    made, seen = len(sandbox.journal.calls), look()
    assert made < ROWS
    assert seen.totals.ok == made, "what was in flight is kept"
    # Each further wish is answered by a look of the run, so time has passed in which it could have sent.
    assert "still paused" in wish("tags", {"set": ["concurrency=8"]}, Options())
    assert wish("tags", {"paused": True}, Options()) == "it is so already, nothing was changed"
    assert len(sandbox.journal.calls) == made
    until(lambda: look().state == "paused")
    assert "paused until opper-batch resume" in str(look())
    assert wish("tags", {"paused": False}, Options()) == "resumed"
    ended = run.wait()
    assert ended.summary.exit == 0
    assert (ended.summary.totals.ok, len(sandbox.journal.calls)) == (ROWS, ROWS)


def test_other_limits_count_from_now_on(going: Any) -> None:
    run, _ = going(concurrency=2)
    said = wish("tags", {"set": ["concurrency=64", "rpm=60000", "max-cost=9"]}, Options())
    assert said == "concurrency 2 -> 64, rpm not set -> 60,000, max-cost not set -> $9.0000"
    until(lambda: len(look().flying) > 8)
    until(lambda: look().live.get("max_cost") == 9.0)
    assert run.wait().summary.exit == 0


def test_a_cap_that_is_lowered_stops_the_run_and_says_so(going: Any) -> None:
    run, _ = going(concurrency=2)
    wish("tags", {"set": ["max-cost=0.0001"]}, Options())
    ended = run.wait()
    assert ended.summary.exit == 3
    assert "0.0001" in (ended.summary.stopped or "")


def test_a_run_paused_within_its_grace_can_be_interrupted(
    tags: str, starter: Starter, gateway: Gateways
) -> None:
    sandbox = gateway(latency=0.05)
    running = starter.start("run", tags, "--concurrency", "2", "--json", "--quiet")
    until(lambda: len(sandbox.journal.calls) >= 3)
    wish("tags", {"paused": True}, Options())
    running.send(2)
    assert running.wait() == 130
    assert not wishes_path(LEDGER).exists()
    assert not live_path(LEDGER).exists()


def test_a_run_killed_while_it_was_paused_does_not_start_paused(
    tags: str, starter: Starter, gateway: Gateways
) -> None:
    sandbox = gateway(latency=0.02)
    running = starter.start("run", tags, "--concurrency", "2", "--quiet")
    until(lambda: len(sandbox.journal.calls) >= 3)
    wish("tags", {"paused": True}, Options())
    running.send(9)
    running.wait()
    assert wishes_path(LEDGER).exists()
    assert look().state == "was killed; run again to go on", "what it said of itself is not believed"
    assert execute(ob.load(tags), Options(deadline=20)).summary.exit == 0


def test_the_commands_say_what_they_did_and_when_nothing_runs(going: Any, program: Program) -> None:
    run, _ = going(concurrency=2, latency=0.1)
    paused = program("pause", "tags.toml")
    assert paused.stdout.startswith("tags: paused: nothing new is sent")
    assert "the real one is: drop --sandbox" in program("resume", "tags.toml", "--sandbox").stderr
    wrong = program("set", "tags.toml", "concurency=4")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "did you mean concurrency?" in wrong.stderr
    assert "concurrency 2 -> not set" in program("set", "tags.toml", "concurrency=none").stdout
    seen = json.loads(program("status", "tags.toml", "--json").stdout)
    assert (seen["state"], seen["paused"]) == ("paused", True)
    wish("tags", {"paused": False}, Options())
    assert run.wait().summary.exit == 0
    ended = program("pause", "tags.toml")
    assert ended.returncode == 2
    assert ended.stderr == "opper-batch: pipeline 'tags' is not running, so nothing was changed\n"


def test_status_tells_of_calls_in_flight_and_of_the_last_errors(tags: str, gateway: Gateways) -> None:
    sandbox = gateway(latency=0.2, schema_breaking=0.5, seed=3)
    run = Going(concurrency=4, limit=25)
    until(lambda: len(sandbox.journal.calls) >= 5)
    seen = look()
    while not (seen.flying and seen.live):
        assert run.ended is None
        seen = look()
    assert [at for _, at in seen.flying] == sorted(at for _, at in seen.flying)
    assert seen.as_json()["places"] == 4
    assert f"{seen.flying[0][0].hex()}" in str(seen)
    assert 0 < seen.as_json()["oldest"][0]["seconds"] < 60
    until(lambda: bool(look().errors))
    assert "ago: answer does not fit" in str(look())
    run.wait()


def test_the_files_are_for_the_user_alone(going: Any) -> None:
    going(concurrency=2)
    until(live_path(LEDGER).exists)
    wish("tags", {"set": ["concurrency=1"]}, Options())
    for path in (live_path(LEDGER), wishes_path(LEDGER)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_nobody_can_understand_is_answered_and_harms_nothing(going: Any) -> None:
    run, _ = going(concurrency=2)
    wish("tags", {"paused": False}, Options())
    with wishes_path(LEDGER).open("ab") as file:
        file.write(b"\x00\xff nonsense\n[]\n" + b"[" * 5000 + b"\n")
    assert wish("tags", {"set": ["speed=9"]}, Options()).startswith("not done: ")
    assert wish("tags", {"set": "fast"}, Options()).startswith("not done: ")
    wish("tags", {"set": ["concurrency=none"]}, Options())
    assert run.wait().summary.exit == 0


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("concurrency=0", "whole number from 1 to 10,000, or none"),
        ("concurrency=2.5", "whole number"),
        ("rpm=0", "a number of 0.01 or more, or none"),
        ("rpm=inf", "a number of 0.01 or more"),
        ("max-cost=-1", "a number of 0 or more, or none"),
        ("max-cost", "a number of 0 or more"),
        ("max-cost=nan", "a number of 0 or more"),
        ("cap=5", "known are concurrency, rpm, max-cost"),
    ],
)
def test_a_wrong_setting_is_one_sentence(pair: str, said: str) -> None:
    from opper_batch.runs.wishes import settings

    with pytest.raises(DefinitionError, match=said):
        settings([pair])


def test_a_disk_that_takes_nothing_does_not_stop_the_run(
    tags: str, gateway: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway()
    folder = live_path(LEDGER)
    folder.mkdir(parents=True)  # where the run would put its file
    os.chmod(LEDGER.parent, 0o700)
    assert execute(ob.load(tags), Options(limit=5)).summary.exit == 0
