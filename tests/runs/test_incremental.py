"""Night after night: a run takes what is new since the last one that published, and loses nothing for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pytest
from program import Program

import opper_batch as ob
from opper_batch.runs import Options, execute
from opper_batch.sandbox import Sandbox

PIPELINE = """
name = "nightly"
[source]
path = "rows.parquet"
key = ["id"]
since = "version"
[[steps]]
name = "tag"
input = ["text"]
columns = { tag = ["a", "b"] }
[sink]
duckdb = "out.duckdb"
table = "tags"
mode = "upsert"
"""


@pytest.fixture
def nightly(here: Path) -> str:
    Path("nightly.toml").write_text(PIPELINE)
    grow(10)
    return "nightly.toml"


def grow(rows: int, **changed: int | None) -> None:
    """The table has so many rows, each of its own version but those that ``changed`` names, ``r3=12``."""
    versions = {f"r{number}": number for number in range(rows)} | changed
    texts = [f"matter {name} {version}" for name, version in versions.items()]
    frame = polars.DataFrame({"id": list(versions), "version": list(versions.values()), "text": texts})
    frame.write_parquet("rows.parquet")


def held() -> int:
    with duckdb.connect("out.duckdb", read_only=True) as connection:
        return int(connection.sql("SELECT count(*) FROM tags WHERE tag_status = 'ok'").fetchall()[0][0])


def night(pipeline: str, **options: Any) -> tuple[int | None, int, str | None, str | None]:
    """One run: the rows it took, its calls, and the mark before and after."""
    summary = execute(ob.load(pipeline), Options(**options)).summary
    assert summary.since
    rows = summary.counts.rows if summary.counts else None
    return rows, summary.totals.calls, summary.since["from"], summary.since["to"]


def test_each_night_takes_what_is_new_or_changed_and_those_at_the_mark_for_nothing(
    nightly: str, gateway: Callable[..., Sandbox]
) -> None:
    gateway()
    assert night(nightly) == (10, 10, None, "9")
    assert night(nightly) == (1, 0, "9", "9")
    grow(13, r3=12)
    assert night(nightly) == (5, 4, "9", "12")
    assert held() == 13
    grow(13, r3=12, r5=None)
    assert night(nightly) == (3, 1, "12", "12"), "a row without a version is always taken"


def test_a_run_that_stopped_or_was_only_a_trial_does_not_move_the_mark(
    nightly: str, gateway: Callable[..., Sandbox]
) -> None:
    sandbox = gateway()
    assert night(nightly, limit=3) == (3, 3, None, None)
    assert night(nightly, sink="trial.parquet") == (10, 7, None, None)
    grow(20)
    assert night(nightly, max_cost=sandbox.journal.spent / 4)[2:] == (None, None)
    assert night(nightly)[2:] == (None, "19")
    assert night(nightly, sink="trial.parquet")[0] == 20, "a file is written whole"
    assert (held(), len(sandbox.journal.calls)) == (20, 20)


def test_rows_that_failed_are_taken_until_they_are_answered(
    nightly: str, gateway: Callable[..., Sandbox]
) -> None:
    with Sandbox(ob.Script(schema_breaking=1.0)) as broken:
        assert night(nightly, sandbox=broken)[2:] == (None, "0")
    assert night(nightly, sandbox=True)[2:] == ("0", "9")
    grow(12)
    with Sandbox(ob.Script(schema_breaking=1.0)) as broken:
        assert night(nightly, sandbox=broken, retry_failed=False)[2:] == ("9", "11")


def test_another_start_can_be_named_and_the_mark_never_goes_back(
    nightly: str, gateway: Callable[..., Sandbox]
) -> None:
    gateway()
    night(nightly)
    assert night(nightly, since="4") == (6, 0, "4", "9")
    assert night(nightly, all_rows=True) == (10, 0, None, "9")
    grow(5)
    assert night(nightly) == (0, 0, "9", "9")
    assert held() == 10


def test_a_table_or_gateway_of_its_own_has_a_mark_of_its_own(
    nightly: str, gateway: Callable[..., Sandbox]
) -> None:
    gateway()
    night(nightly)
    assert night(nightly, sandbox=True)[2] is None
    Path("rows.parquet").rename("others.parquet")
    assert night(nightly, source="others.parquet")[2] is None
    elsewhere = Path("elsewhere.toml")
    elsewhere.write_text(PIPELINE.replace('"tags"', '"more"').replace("rows.", "others."))
    assert night(str(elsewhere))[:3] == (10, 0, None)


def test_the_command_line_says_what_was_taken_and_what_comes_next(nightly: str, program: Program) -> None:
    program("run", nightly, "--sandbox", "--quiet")
    grow(12, r1=None)
    assert "from version 9 on" in program("plan", nightly, "--sandbox").stdout
    told = program("run", nightly, "--sandbox").stdout
    assert "since   version from 9 on: 4 of 12 rows\n" in told
    assert "1 row without a value there" in told
    assert "the next run takes it from 11 on\n" in told
    wrong = program("run", nightly, "--sandbox", "--since", "soon")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)


def test_what_would_lose_rows_is_refused_at_load() -> None:
    step = {"name": "tag", "columns": {"tag": ["a"]}}
    source = {"table": pa.table({"id": [1], "version": [1]}), "since": "version", "key": ["id"]}
    ob.Pipeline(name="x", source=source, steps=[step])
    for sink in ({"path": "x.parquet"}, {"duckdb": "x.duckdb", "table": "x"}):
        with pytest.raises(ob.DefinitionError, match="every older row would be lost"):
            ob.Pipeline(name="x", source=source, steps=[step], sink=sink)
    with pytest.raises(ob.DefinitionError, match=r"--since needs source\.since"):
        ob.plan(ob.Pipeline(name="x", source={"table": source["table"]}, steps=[step]), since="1")
