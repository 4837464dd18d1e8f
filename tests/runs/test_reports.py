"""A run's report: beside the output on every run, kept, compared with the run before, never in the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

import opper_batch as ob
from opper_batch.runs import Options, execute, report_of
from opper_batch.runs.reporting import page_place
from opper_batch.sandbox import Sandbox


def pipeline(here: Path, sink: dict[str, Any], *, rows: int = 40) -> ob.Pipeline:
    lines = "".join(f"T{number},text {number}\n" for number in range(rows))
    (here / "rows.csv").write_text("id,text\n" + lines)
    model = {"name": "openai/gpt-4o-mini", "extra_headers": {"x-secret": "hunter2"}}
    step = {
        "name": "tag",
        "model": model,
        "columns": {"kind": ["a", "b"], "score": "TINYINT", "note": "VARCHAR"},
    }
    return ob.Pipeline(name="tags", source={"path": "rows.csv", "key": ["id"]}, steps=[step], sink=sink)


def beside(path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(path).read_text())
    return found


def test_every_run_writes_what_report_tells(gateway: Callable[..., Sandbox], here: Path) -> None:
    gateway(bad_request=0.3, seed=1)
    ended = execute(pipeline(here, {"path": "out/t.parquet"}), Options())
    assert ended.unreported is None
    told = beside("out/t.parquet.report.json")
    assert report_of("tags", Options()).as_json() == told
    assert told["schema"] == 1
    assert told["rows"] == told["ok"] + told["failed"] + told["skipped"] == 40
    assert told["failed"]
    assert sum(model["cost"] for model in told["models"]) == pytest.approx(told["cost"])
    for name in ("calls", "throttled", "input_tokens", "output_tokens"):
        assert sum(entry[name] for entry in told["timeline"]["slices"]) == told[name], name
    ((_, kinds), *_) = duckdb.sql("SELECT 1, count(kind) FROM 'out/t.parquet'").fetchall()
    assert sum(count for _, count in told["columns"][0]["values"]) == kinds == told["ok"]
    assert {entry["reason"] for entry in told["examples"]} == {reason for reason, _ in told["failures"]}
    assert told["slowest"][0]["key"].keys() == {"id"}
    assert "hunter2" not in json.dumps(told)
    assert page_place("tags", report_of("tags", Options()), Options()) == Path("out/t.parquet.report.html")


def test_columns_are_compared_with_the_run_before_wherever_its_output_is(
    gateway: Callable[..., Sandbox], here: Path
) -> None:
    gateway()
    execute(pipeline(here, {"path": "out/t.csv"}), Options())
    first = beside("out/t.csv.report.json")
    assert first["compared_with"] is None
    assert first["columns"][0]["moved"] is None
    (here / "out/t.csv.report.json").unlink()
    execute(pipeline(here, {"path": "moved/t.csv"}, rows=15), Options())
    told = beside("moved/t.csv.report.json")
    assert told["compared_with"] == 1
    assert told["columns"][0]["moved"]["null_share"] == [0.0, 0.0]
    shares = [column["values"] for column in (first["columns"][0], told["columns"][0])]
    before, now = ({name: n / sum(n for _, n in of) for name, n in of} for of in shares)
    distance = sum(abs(before.get(name, 0) - now.get(name, 0)) for name in ("a", "b")) / 2
    assert told["columns"][0]["moved"]["distance"] == pytest.approx(distance)


def test_a_table_has_its_name_in_the_reports(gateway: Callable[..., Sandbox], here: Path) -> None:
    gateway()
    execute(pipeline(here, {"duckdb": "w.duckdb", "table": "main.tags"}, rows=3), Options())
    assert beside("w.duckdb.main.tags.report.json")["rows"] == 3


def test_a_run_that_stops_is_told_and_is_nothing_to_compare_with(
    gateway: Callable[..., Sandbox], here: Path
) -> None:
    gateway()
    stopped = execute(pipeline(here, {"path": "t.parquet"}), Options(max_cost=0.0))
    assert stopped.summary.exit == 3
    told = beside("t.parquet.report.json")
    assert told["stopped"]
    assert "columns" not in told
    execute(pipeline(here, {"path": "t.parquet"}), Options())
    assert beside("t.parquet.report.json")["compared_with"] is None


def test_a_report_that_cannot_be_written_never_fails_the_run(
    gateway: Callable[..., Sandbox], here: Path
) -> None:
    gateway()
    (here / "t.parquet.report.json").mkdir()
    ended = execute(pipeline(here, {"path": "t.parquet"}, rows=3), Options())
    assert (ended.summary.exit, ended.summary.rows) == (0, 3)
    assert ended.unreported is not None
    assert "the report of this run could not be written" in ended.unreported
    assert "t.parquet.report.json" in ended.unreported
    assert report_of("tags", Options()).as_json()["rows"] == 3, "it is kept in the ledger all the same"
