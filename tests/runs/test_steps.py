"""Several steps: each reads the source's and the earlier steps' columns; what cannot be asked says why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pytest

import opper_batch as ob
from opper_batch.sandbox import Sandbox


def pipeline(*steps: dict[str, Any], rows: int = 30, **parts: Any) -> ob.Pipeline:
    table = pa.table({"id": list(range(rows)), "text": [f"matter {number}" for number in range(rows)]})
    return ob.Pipeline(name="steps", source={"table": table}, steps=steps, **parts)


TAG = {"name": "tag", "input": ["text"], "columns": {"tag": ["a", "b"]}}
NOTE = {"name": "note", "input": ["text", "tag"], "columns": {"note": "VARCHAR"}}
LONE = {"name": "lone", "input": ["id"], "columns": {"lone": "BOOLEAN"}}


def test_a_later_step_is_sent_what_an_earlier_one_answered(gateway: Callable[..., Sandbox]) -> None:
    sandbox = gateway()
    run = ob.run(pipeline(TAG, NOTE))
    assert run.counts.ok == 30
    functions = [record.function for record in sandbox.journal.calls]
    assert functions == ["steps_tag"] * 30 + ["steps_note"] * 30
    names = run.frame.columns
    assert names[:4] == ["id", "text", "tag", "note"]
    assert names[4] == "tag_status"
    assert names[15] == "note_status"


def test_a_row_without_an_earlier_answer_is_skipped_where_it_is_needed_and_only_there(
    gateway: Callable[..., Sandbox],
) -> None:
    gateway(schema_breaking=0.5, seed=3)
    frame = ob.run(pipeline({**TAG, "repair": 0}, NOTE, LONE)).frame
    failed = frame.filter(polars.col("tag_status") == "failed")
    assert 0 < failed.height < 30
    assert set(failed["note_status"]) == {"skipped"}
    assert set(failed["note_error"]) == {"step 'tag' has no answer for this row"}
    assert failed["note"].null_count() == failed.height
    assert failed["note_key"].null_count() == failed.height
    assert "skipped" not in set(frame["lone_status"])
    assert "skipped" not in set(frame.filter(polars.col("tag_status") == "ok")["note_status"])


def test_a_skipped_row_is_asked_once_the_earlier_step_has_answered(gateway: Callable[..., Sandbox]) -> None:
    sandbox = gateway(schema_breaking=0.5, seed=3)
    steps = pipeline({**TAG, "repair": 0}, NOTE, rows=8)
    run = ob.run(steps)
    assert run.counts.failed > 0
    for _ in range(20):  # a broken answer may well break again: each run asks the failed rows once more
        if (run := ob.run(steps)).counts.ok == 8:
            break
    assert run.counts.ok == 8
    answered = [record for record in sandbox.journal.calls if not record.fault]
    assert len(answered) == 16, "no answer that fitted was asked for again"


def test_a_source_of_no_rows_gives_a_table_of_no_rows(gateway: Callable[..., Sandbox]) -> None:
    sandbox = gateway()
    run = ob.run(pipeline(TAG, NOTE, rows=0, sink={"path": "out.parquet"}))
    assert run.counts.rows == 0
    assert run.frame.height == 0
    assert len(sandbox.journal.calls) == 0
    assert polars.read_parquet("out.parquet").columns == run.frame.columns


def test_what_every_call_shares_is_sent_as_the_api_takes_it(here: Path) -> None:
    step = {
        **TAG,
        "instructions": "Tag it.",
        "model": ["a/one", {"name": "b/two", "options": {"temperature": 0}}],
        "guard": {"input": [{"type": "pii", "action": "redact"}]},
        "request": {"route": {"prefer": "eu"}, "parent_span_id": "0d6c"},
    }
    (planned,) = ob.plan(pipeline(step), base_url="http://127.0.0.1:9").steps
    assert planned.first_request is not None
    sent = json.loads(planned.first_request)
    assert list(sent) == [
        "name",
        "instructions",
        "model",
        "guard",
        "route",
        "parent_span_id",
        "input_schema",
        "output_schema",
        "input",
    ]
    assert sent["model"] == ["a/one", {"name": "b/two", "options": {"temperature": 0}}]
    assert sent["input"] == {"text": "matter 0"}
    assert sent["input_schema"]["properties"]["text"]


@pytest.mark.parametrize("kind", ["polars", "pandas", "duckdb", "reader"])
def test_tables_in_memory_are_sources(kind: str, gateway: Callable[..., Sandbox]) -> None:
    gateway()
    table = pa.table({"id": [1, 2, 3], "text": ["x", "y", "z"]})
    sources: dict[str, Callable[[], Any]] = {
        "polars": lambda: polars.from_arrow(table),
        "pandas": table.to_pandas,
        "duckdb": lambda: duckdb.from_arrow(table),
        "reader": lambda: pa.RecordBatchReader.from_batches(table.schema, table.to_batches()),
    }
    run = ob.run(ob.Pipeline(name="memory", source={"table": sources[kind]()}, steps=[TAG]))
    assert run.frame["text"].to_list() == ["x", "y", "z"]
    assert run.counts.ok == 3
