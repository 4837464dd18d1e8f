"""A Parquet folder: the manifest is always the whole truth."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from opper_batch.errors import MachineError, SinkError
from opper_batch.sinks import open_sink
from opper_batch.sinks.folder import FolderSink
from opper_batch.sinks.parquet import ParquetFormat


def write(sink: FolderSink, table: pa.Table, then: Callable[[], object] = lambda: None) -> None:
    sink.check(table.schema)
    with sink.open(table.schema) as writer:
        for batch in table.to_batches(max_chunksize=1000):
            writer.write(batch)
        then()


def manifest(folder: Path) -> dict:
    return json.loads((folder / "_manifest.json").read_bytes())


def read(folder: Path) -> pa.Table:
    return pa.concat_tables(pq.read_table(folder / part["name"]) for part in manifest(folder)["parts"])


def sink_of(folder: Path, **limits: int) -> FolderSink:
    return FolderSink(f"{folder}/", ParquetFormat({"run": "r1"}), {"run": "r1"}, **limits)


def test_the_manifest_lists_parts_that_make_up_the_table(tmp_path: Path, tickets: pa.Table) -> None:
    sink = open_sink(path=f"{tmp_path}/out/", metadata={"run": "r1"})
    write(sink, tickets)
    found = manifest(tmp_path / "out")
    assert found["rows"] == 4
    assert found["metadata"] == {"run": "r1"}
    assert [column["name"] for column in found["schema"]] == tickets.schema.names
    assert [part["rows"] for part in found["parts"]] == [4]
    assert found["parts"][0]["bytes"] == (tmp_path / "out" / found["parts"][0]["name"]).stat().st_size
    assert read(tmp_path / "out").equals(tickets)
    assert sink.artifacts == tmp_path / "out.artifacts"


def test_parts_end_at_their_limits_and_keep_the_order(tmp_path: Path) -> None:
    table = pa.table({"n": range(200_000), "noise": [os.urandom(8).hex() for _ in range(200_000)]})
    write(sink_of(tmp_path / "rows", part_rows=100_000), table)
    write(sink_of(tmp_path / "bytes", part_bytes=500_000), table)
    assert [part["rows"] for part in manifest(tmp_path / "rows")["parts"]] == [132_000, 68_000]
    assert len(manifest(tmp_path / "bytes")["parts"]) == 4
    assert read(tmp_path / "rows").equals(table)
    assert read(tmp_path / "bytes").equals(table)


def test_a_table_without_rows_has_one_part_with_its_columns(tmp_path: Path, tickets: pa.Table) -> None:
    write(sink_of(tmp_path / "out"), tickets.slice(0, 0))
    assert read(tmp_path / "out").equals(tickets.slice(0, 0))


def test_the_next_publication_removes_old_parts_and_leftovers_but_nothing_foreign(
    tmp_path: Path, tickets: pa.Table
) -> None:
    sink = sink_of(tmp_path)
    write(sink, tickets)
    old = manifest(tmp_path)["parts"][0]["name"]
    leftovers = [f"part-{'0' * 16}-00000.parquet", f".part-{'1' * 16}-00000.parquet.staged"]
    for name in [*leftovers, "notes.txt", "part-mine.csv"]:
        (tmp_path / name).touch()
    write(sink, tickets.slice(0, 1))
    new = manifest(tmp_path)["parts"][0]["name"]
    assert new != old
    assert sorted(os.listdir(tmp_path)) == sorted(["_manifest.json", new, "notes.txt", "part-mine.csv"])


def test_an_exception_leaves_the_old_table_and_no_litter(tmp_path: Path, tickets: pa.Table) -> None:
    sink = sink_of(tmp_path, part_rows=1)
    write(sink, tickets)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    many = pa.concat_tables([tickets] * 20_000).combine_chunks()
    staged: list[str] = []
    with pytest.raises(ZeroDivisionError):
        write(sink, many, then=lambda: staged.extend(os.listdir(tmp_path)) or 1 / 0)
    assert len(staged) > len(before)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_with_foreign_parquet_files_is_refused(tmp_path: Path, tickets: pa.Table) -> None:
    pq.write_table(tickets, tmp_path / "mine.parquet")
    with pytest.raises(SinkError, match=r"holds mine\.parquet"):
        sink_of(tmp_path).check(tickets.schema)


def test_two_publications_at_once_are_refused(tmp_path: Path, tickets: pa.Table) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(MachineError, match="another process"):
            write(sink_of(tmp_path), tickets)
    finally:
        os.close(descriptor)
    write(sink_of(tmp_path), tickets)
