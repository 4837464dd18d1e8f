"""Night after night: a run takes what is new since the last one that published, and loses nothing for it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pytest
from program import Program

import opper_batch as ob
from opper_batch.runs import Options, execute, failures
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


def test_a_start_beyond_the_mark_leaves_it_for_the_rows_between(
    nightly: str, gateway: Callable[..., Sandbox]
) -> None:
    gateway()
    assert night(nightly, since="10000") == (0, 0, "10000", None), "no row is so late"
    night(nightly)
    grow(20)
    assert night(nightly, since="15") == (5, 5, "15", "9")
    assert night(nightly, since="10000")[2:] == ("10000", "9")
    assert night(nightly) == (11, 5, "9", "19")
    assert held() == 20
    grow(22)
    assert night(nightly, since="19") == (3, 2, "19", "21"), "nothing lies between"


def test_a_named_start_leads_on_when_the_column_has_become_of_another_type(nightly: str) -> None:
    night(nightly, sandbox=True)
    rows = polars.DataFrame({"id": ["x"], "version": [dt.datetime(2026, 1, 1)], "text": ["x"]})
    rows.write_parquet("rows.parquet")
    Path("out.duckdb").unlink()
    taken = night(nightly, sandbox=True, since="2025-01-01")
    assert taken == (1, 1, "2025-01-01", "2026-01-01 00:00:00.000000")


def test_a_row_of_the_future_that_failed_does_not_move_the_mark_there(nightly: str) -> None:
    first, wrong = dt.datetime(2026, 1, 1), dt.datetime(2999, 1, 1)

    def table(**versions: dt.datetime) -> None:
        frame = {"id": list(versions), "version": list(versions.values()), "text": list(versions)}
        polars.DataFrame(frame).write_parquet("rows.parquet")

    with Sandbox(ob.Script(schema_breaking=1.0)) as broken:
        table(late=wrong)
        assert night(nightly, sandbox=broken)[2:] == (None, None)
        table(now=first)
        assert night(nightly, sandbox=True)[3] == "2026-01-01 00:00:00.000000"
        table(now=first, late=wrong)
        assert night(nightly, sandbox=broken)[3] == "2026-01-01 00:00:00.000000"
    table(now=first, then=dt.datetime(2026, 1, 2), late=wrong)
    assert night(nightly, sandbox=True)[0] == 3


def test_who_looks_sees_the_rows_that_the_last_run_took(nightly: str) -> None:
    with Sandbox(ob.Script(schema_breaking=1.0)) as broken:
        assert night(nightly, sandbox=broken, retry_failed=False)[2:] == (None, "9")
    assert len(list(failures(ob.load(nightly), Options(sandbox=True)))) == 10
    exported = ob.export(nightly, sandbox=True).counts
    assert exported
    assert (exported.rows, exported.failed) == (10, 10)


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
    grow(20)
    told = program("run", nightly, "--sandbox", "--since", "15").stdout
    assert "since   version from 15 on: 5 of 20 rows\n" in told
    assert "its mark stays, so the next run takes it from 11 on\n" in told
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
