"""Answers grow old: what is older than --max-age is asked anew, once, and never lost for it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from program import Program

import opper_batch as ob
from opper_batch.runs import Options, execute
from opper_batch.sandbox import Sandbox

DAY = 86_400.0


def pipeline(rows: int = 20) -> ob.Pipeline:
    # Every text stands twice, so that each call stands for two rows.
    table = pa.table({"id": list(range(rows)), "text": [f"matter {number // 2}" for number in range(rows)]})
    step = {"name": "tag", "input": ["text"], "columns": {"tag": ["a", "b"]}}
    return ob.Pipeline(name="aging", source={"table": table}, steps=[step])


def age(days: float, *, run: int | None = None) -> None:
    """Let so many days pass for what the ledger holds, or for one run of it."""
    path = Path(".opper_batch/aging.ledger")
    with sqlite3.connect(path if path.exists() else path.with_name("aging.sandbox.ledger")) as ledger:
        ledger.execute("UPDATE runs SET started = started - ? WHERE ? IN (id, 0)", (days * DAY, run or 0))


def asked(sandbox: Sandbox, **options: Any) -> int:
    before = len(sandbox.journal.calls)
    ob.run(pipeline(), **options)
    return len(sandbox.journal.calls) - before


def test_only_what_is_older_is_asked_anew_and_only_once(gateway: Callable[..., Sandbox]) -> None:
    sandbox = gateway()
    assert asked(sandbox, limit=10) == 5
    age(31)
    assert asked(sandbox) == 5, "the other rows"
    assert asked(sandbox, max_age=32 * DAY) == 0
    assert ob.plan(pipeline(), max_age=30 * DAY).calls == 5
    assert asked(sandbox, max_age=30 * DAY) == 5
    assert asked(sandbox, max_age=30 * DAY) == 0
    assert asked(sandbox) == 0


def test_where_asking_anew_fails_the_old_answer_stands_and_is_tried_again_next_time(here: Path) -> None:
    old = ob.run(pipeline(), sandbox=True).frame["tag"].to_list()
    age(31)
    with Sandbox(ob.Script(schema_breaking=1.0)) as broken:
        summary = execute(pipeline(), Options(sandbox=broken, max_age=30 * DAY)).summary
    assert (summary.kept, summary.exit) == (10, 1)
    assert ob.run(pipeline(), sandbox=True).frame["tag"].to_list() == old
    assert ob.export(pipeline(), sandbox=True, sink="out.csv").counts is not None
    assert ob.plan(pipeline(), sandbox=True, max_age=30 * DAY).calls == 10


def test_a_run_that_was_stopped_goes_on_however_short_the_age(gateway: Callable[..., Sandbox]) -> None:
    sandbox = gateway()
    ob.run(pipeline())
    spent = sandbox.journal.spent
    age(1)
    with pytest.raises(ob.RunStopped):
        ob.run(pipeline(), max_age=3600, max_cost=spent / 2)
    first = len(sandbox.journal.calls) - 10
    assert 0 < first < 10
    age(1, run=2)
    assert ob.plan(pipeline(), max_age=3600).calls == 10 - first
    assert asked(sandbox, max_age=3600) == 10 - first
    age(1)
    assert asked(sandbox, max_age=3600) == 10, "that one came to its end"


def test_a_refresh_asks_again_what_only_the_age_had_asked(gateway: Callable[..., Sandbox]) -> None:
    sandbox = gateway()
    ob.run(pipeline())
    age(1)
    with pytest.raises(ob.RunStopped):
        ob.run(pipeline(), max_age=3600, max_cost=sandbox.journal.spent / 2)
    assert asked(sandbox, refresh=True) == 10


def test_the_command_line_takes_days(here: Path, program: Program) -> None:
    Path("rows.csv").write_text("text\na\nb\n")
    Path("aging.toml").write_text(
        'name = "aging"\nsource.path = "rows.csv"\n[[steps]]\nname = "tag"\ncolumns = { tag = ["a", "b"] }\n'
    )
    program("run", "aging.toml", "--sandbox", "--quiet")
    age(31)
    assert program.json("run", "aging.toml", "--sandbox", "--max-age", "30d")["calls"] == 2
    wrong = program("run", "aging.toml", "--sandbox", "--max-age", "a month")
    assert (wrong.returncode, "write it like 90s, 30m, 2h or 30d" in wrong.stderr) == (2, True)
