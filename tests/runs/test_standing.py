"""What ``status`` says of a run that is over: what happened, and which run it was."""

from __future__ import annotations

from typing import Any

import polars
import pytest

import opper_batch as ob
from opper_batch.runs import Options, Status, ask_pilot, diff, execute, status
from opper_batch.sandbox import Sandbox, Script

ROWS = polars.DataFrame({"text": [f"matter {number}" for number in range(12)]})
FAILS = {"name": "none", "sql": "SELECT count(*) FROM result", "max": 0}

pytestmark = pytest.mark.usefixtures("here")


def pipeline(**changes: Any) -> ob.Pipeline:
    step = {"name": "tag", "input": ["text"], "columns": {"tag": ["x", "y"]}}
    return ob.Pipeline(name="tags", source={"table": ROWS}, steps=[step], **changes)


def stands() -> Status:
    return status("tags", Options(sandbox=True))


def test_a_run_that_is_done_says_what_is_amiss() -> None:
    with Sandbox(Script(schema_breaking=0.5, seed=1)) as sandbox:
        failed = execute(pipeline(), Options(sandbox=sandbox)).summary.counts.failed
    assert 0 < failed < len(ROWS)
    assert stands().state == f"done, {failed} rows failed"
    assert execute(pipeline(), Options(sandbox=True)).summary.exit == 0
    assert stands().state == "done"
    with Sandbox(Script(schema_breaking=1.0)) as sandbox:
        execute(pipeline(), Options(sandbox=sandbox, refresh=True, limit=1))
    assert stands().state == "done, 1 call failed where an older answer stands"
    execute(pipeline(checks=[FAILS]), Options(sandbox=True))
    assert stands().state == "done, held back by its checks"


def test_what_breaks_a_run_off_is_no_failed_row() -> None:
    ended = execute(pipeline(), Options(sandbox=True, progress=lambda _: 1 / 0))
    assert (ended.summary.exit, type(ended.error)) == (1, ZeroDivisionError)
    assert stands().state == "stopped (exit 1)"


def test_a_pilot_or_a_sample_does_not_pass_for_the_latest_run() -> None:
    ask_pilot(pipeline(), Options(sandbox=True), 3)
    assert (stands().run.id, stands().as_json()["kind"]) == (1, "pilot"), "there is no other"
    assert "run 1, a pilot, done" in str(stands())
    execute(pipeline(), Options(sandbox=True))
    assert (stands().run.id, stands().as_json()["kind"]) == (2, "run")
    ask_pilot(pipeline(), Options(sandbox=True), 3)
    diff(pipeline(), pipeline(), Options(sandbox=True), sample=3)
    assert stands().run.id == 2
    assert "run 2 done" in str(stands())


def test_a_pilot_is_shown_while_it_goes_on() -> None:
    execute(pipeline(), Options(sandbox=True, limit=1))
    seen = []
    ask_pilot(pipeline(), Options(sandbox=True, progress=lambda _: seen.append(str(stands()))), 5)
    assert "run 2, a pilot, running" in seen[0]
