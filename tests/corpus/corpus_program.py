"""Files of the corpus written, put through the whole program, and what came out read back."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import opper_batch as ob
from opper_batch.sandbox import Sandbox

Content = bytes | pa.Table

STEP = {"name": "s", "input": ["id"], "columns": {"tag": "VARCHAR"}}


@dataclass(frozen=True)
class Whole:
    """Runs over ``source``; ``known`` is a folder of ledgers that need no call once they have answers."""

    sandbox: Sandbox
    known: Path

    def result(
        self, source: Mapping[str, Any], sink: str, columns: list[str]
    ) -> list[dict[str, Any]] | pa.Table:
        """The source's columns as they came out at ``sink``: a table from Parquet and Arrow, else rows."""
        place = {"duckdb": sink, "table": "t"} if sink.endswith("duckdb") else {"path": sink}
        pipeline = ob.Pipeline(name="corpus", source=source, steps=[STEP], sink=place)
        ended = ob.run(pipeline, sandbox=self.sandbox, state_dir=self.known)
        assert ended.counts.ok == ended.counts.rows
        return read_back(ended.summary.output or "", columns)

    def refusal(self, source: Mapping[str, Any], sink: str = "out.parquet") -> str:
        """The one sentence; nothing was called and nothing written."""
        place = {"duckdb": sink, "table": "t"} if sink.endswith("duckdb") else {"path": sink}
        pipeline = ob.Pipeline(name="refused", source=source, steps=[STEP], sink=place)
        asked = len(self.sandbox.journal.records)
        with pytest.raises(ob.OpperBatchError) as refused:
            ob.run(pipeline, sandbox=self.sandbox)
        assert len(self.sandbox.journal.records) == asked
        assert refused.value.exit_code == 2
        assert "\n" not in refused.value.message
        assert not [*Path().glob("*sandbox*"), *Path().glob("*.duckdb")]
        return refused.value.message


def planned_refusal(source: Mapping[str, Any]) -> str:
    """What ``plan`` says."""
    with pytest.raises(ob.OpperBatchError) as refused:
        ob.plan(ob.Pipeline(name="refused", source=source, steps=[STEP]), sandbox=True)
    return refused.value.message


def write(files: Mapping[str, Content]) -> None:
    """Bytes as they are, tables in the format that the name says."""
    for name, content in files.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif path.suffix == ".parquet":
            pq.write_table(content, path)
        else:
            with pa.ipc.new_file(path, content.schema) as writer:
                writer.write_table(content)


def read_back(output: str, columns: list[str]) -> list[dict[str, Any]] | pa.Table:
    if ":" in output:
        with duckdb.connect(output.partition(":")[0]) as database:
            database.execute("SET TimeZone = 'UTC'")
            table = database.sql("FROM t_sandbox").to_arrow_table()
            return table.select(columns).to_pylist()
    path = Path(output)
    if path.suffix == ".parquet":
        return pq.read_table(path).select(columns)
    if path.suffix == ".arrow":
        with pa.ipc.open_file(path) as reader:
            return reader.read_all().select(columns)
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
    else:
        rows = [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]
    return [{name: row[name] for name in columns} for row in rows]
