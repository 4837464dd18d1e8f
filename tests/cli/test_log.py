"""``--log-format json``: an object for each change of state, with nothing that a row or the gateway said."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from program import Program
from raw_gateway import Asked, Said, raw_gateway

import opper_batch as ob
from opper_batch.cli.events import JsonLog, stop_fields
from opper_batch.cli.signals import Terminated
from opper_batch.ledger import Ledger
from opper_batch.runs import Progress, execute
from opper_batch.sandbox import Sandbox

PIPELINE = """
name = "tags"
[source]
path = "rows.csv"
key = ["id"]
[[steps]]
name = "tag"
columns = { tag = ["a", "b"] }
[sink]
path = "tags.csv"
"""
SECRET = "canary of a row"


@pytest.fixture
def tags(here: Path) -> str:
    Path("rows.csv").write_text("id,text\n" + "".join(f"{n},{SECRET} {n}\n" for n in range(20)))
    Path("tags.toml").write_text(PIPELINE)
    return "tags.toml"


def logged(program: Program, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    ended = program("run", *arguments, "--log-format", "json")
    assert ended.stdout == ""
    assert SECRET not in ended.stderr
    return ended.returncode, [json.loads(line) for line in ended.stderr.splitlines()]


def events(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["event"] for entry in entries]


def test_a_run_tells_each_change_of_its_state_with_its_id(tags: str, program: Program) -> None:
    code, entries = logged(program, tags, "--sandbox")
    assert (code, events(entries)) == (0, ["started", "progress", "step_done", "published", "finished"])
    assert {(entry["pipeline"], entry["run_id"]) for entry in entries} == {("tags", 1)}
    assert [entry["time"] for entry in entries] == sorted(entry["time"] for entry in entries)
    assert (entries[0]["rows"], entries[0]["steps"]) == (20, ["tag"])
    assert entries[3]["output"] == "tags.sandbox.csv"
    finished = entries[-1]
    assert (finished["exit"], finished["ok"], finished["calls"]) == (0, 20, 20)
    assert not finished.keys() & {"failures", "stopped"}


def test_a_check_that_stumbles_over_a_row_does_not_quote_it(tags: str, program: Program) -> None:
    check = "\n[[checks]]\nname = 'number'\nsql = 'SELECT max(CAST(text AS INTEGER)) > 0 FROM result'\n"
    Path(tags).write_text(PIPELINE + check)
    code, entries = logged(program, tags, "--sandbox")
    assert (code, entries[-1]["checks"]) == (1, [{"name": "number", "ok": False, "value": None}])


def test_why_it_stopped_is_told_without_what_the_gateway_said(tags: str, program: Program) -> None:
    def echoing(asked: Asked) -> Said:
        return Said(400, json.dumps({"error": {"message": f"no: {asked.text}"}}).encode())

    with raw_gateway(echoing) as gateway, pytest.MonkeyPatch.context() as environment:
        environment.setenv("OPPER_API_KEY", "op-key-of-a-test")
        code, entries = logged(program, tags, "--base-url", gateway.url)
    assert (code, events(entries)) == (4, ["started", "progress", "stopped", "finished"])
    assert entries[2]["error"] == "Refused"
    assert entries[2]["reason"] == "the gateway refused the first call it answered, so nothing else was sent"
    assert entries[3]["exit"] == 4


def test_what_is_wrong_before_the_run_is_an_object_too(tags: str, program: Program) -> None:
    Path("rows.csv").write_text(f"id,text\n1,x\n1,{SECRET}\n")
    (code, (entry,)) = logged(program, tags, "--sandbox")
    assert (code, entry["event"], entry["exit"]) == (2, "finished", 2)
    assert entry["reason"] == "rows.csv, row 2"
    (code, (entry,)) = logged(program, "nowhere.toml")
    assert (code, entry["reason"]) == (2, "no pipeline file at nowhere.toml")
    (code, (entry,)) = logged(program, tags, "--nonsense")
    assert (code, entry["error"]) == (2, "UsageError")


def test_a_limit_is_told_when_it_begins_and_when_it_ends(
    tags: str, program: Program, gateway: Callable[..., Sandbox]
) -> None:
    gateway(rpm=600, burst=4, latency=0.01)
    code, entries = logged(program, tags)
    assert code == 0
    assert "throttled" in events(entries)


def test_states_are_told_when_they_change_and_progress_every_ten_seconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = [0.0]
    log = JsonLog("tags", clock=lambda: now[0])

    def at(seconds: float, **state: Any) -> list[str]:
        now[0] = seconds
        fields = {"step": "tag", "rows": 1, "total_rows": 9, "calls": 1, "failed": 0, "cost": 0.1}
        usual = {"throttled": 0, "in_flight": 1, "paused": 0.0, "seconds": seconds}
        log.progress(Progress(**{**fields, **usual, **state}))
        return [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]

    assert at(0) == ["progress"]
    assert at(1) == []
    assert at(2, paused=4.0, throttled=3) == ["paused", "throttled"]
    assert at(3, paused=3.0, throttled=5) == []
    assert at(6, throttled=5) == ["resumed"]
    assert at(10, throttled=5) == ["progress"]
    assert at(11, outage=True, paused=8.0, throttled=5) == ["outage_began"]
    assert at(12.5, throttled=5) == ["outage_ended", "throttled"]
    assert at(13, throttled=5, held=True) == ["paused"]
    assert at(14, throttled=5) == ["resumed"]


def test_an_interrupt_tells_at_once_what_is_waited_for(
    tags: str, capsys: pytest.CaptureFixture[str], gateway: Callable[..., Sandbox]
) -> None:
    gateway(latency=0.3)

    def interrupt(now: Progress) -> None:
        if now.in_flight:
            raise KeyboardInterrupt

    ended = execute(ob.load(tags), ob.Options(progress=interrupt, events=JsonLog("tags"), grace=7))
    assert ended.summary.exit == 130
    entries = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert events(entries) == ["started", "draining", "stopped", "finished"]
    assert (entries[1]["in_flight"], entries[1]["seconds"]) == (1, 7)
    assert entries[3]["in_doubt"] == 0


def test_a_signal_while_another_run_is_waited_for_is_told_as_what_it_is(tags: str, program: Program) -> None:
    with Ledger(Path(".opper_batch/tags.sandbox.ledger")):
        running = program.start("run", tags, "--sandbox", "--if-locked", "wait", "--log-format", "json")
        assert running.stderr
        assert json.loads(running.stderr.readline())["event"] == "waiting"
        running.send_signal(signal.SIGTERM)
        _, err = running.communicate(timeout=30)
    (said,) = map(json.loads, err.splitlines())
    assert (running.returncode, said["exit"]) == (143, 143)
    assert (said["error"], said["reason"]) == ("Terminated", "interrupted")


@pytest.mark.parametrize(
    ("error", "reason"),
    [(KeyboardInterrupt(), "interrupted"), (Terminated(), "interrupted"), (OSError(28, "x"), "unexpected")],
)
def test_only_an_interrupt_is_called_one(error: BaseException, reason: str) -> None:
    assert stop_fields(error) == {"error": type(error).__name__, "reason": reason}
