"""One file: formats read back equal, and nothing is changed by a write that fails."""

from __future__ import annotations

import csv
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from opper_batch.errors import DefinitionError, MachineError, SinkError
from opper_batch.sinks import Sink, open_sink

FORMATS = ["x.parquet", "x.arrow", "x.csv", "x.tsv", "x.jsonl", "x.ndjson"]


def write(
    sink: Sink, table: pa.Table, *, rows_per_batch: int = 2, then: Callable[[], object] = lambda: None
) -> None:
    sink.check(table.schema)
    with sink.open(table.schema) as writer:
        for batch in table.to_batches(max_chunksize=rows_per_batch):
            writer.write(batch)
        then()


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """A real OSError in the middle of writing: no file may grow beyond ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def without_root() -> Iterator[None]:
    """Root may write everywhere: here the test is nobody."""
    if os.geteuid():
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_parquet_reads_back_equal_in_pyarrow_polars_and_duckdb(tmp_path: Path, tickets: pa.Table) -> None:
    path = tmp_path / "out.parquet"
    write(open_sink(path=str(path), metadata={"opper_batch.run": "r1"}), tickets)
    read = pq.read_table(path)
    assert read.equals(tickets)
    assert read.schema.metadata == {b"opper_batch.run": b"r1"}
    assert pl.read_parquet(path).equals(pl.DataFrame(tickets))
    found = duckdb.read_parquet(str(path)).to_arrow_table()
    assert found.to_pylist() == tickets.to_pylist()


def test_arrow_reads_back_equal_in_pyarrow_and_polars(tmp_path: Path, tickets: pa.Table) -> None:
    path = tmp_path / "out.arrow"
    write(open_sink(path=str(path), metadata={"run": "r1"}), tickets)
    with pa.ipc.open_file(path) as reader:
        read = reader.read_all()
    assert read.equals(tickets)
    assert read.schema.metadata == {b"run": b"r1"}
    assert pl.read_ipc(path).equals(pl.DataFrame(tickets))


def test_arrow_takes_batches_whose_dictionaries_differ(tmp_path: Path) -> None:
    schema = pa.schema([("kind", pa.dictionary(pa.int32(), pa.string()))])
    path = tmp_path / "out.arrow"
    with open_sink(path=str(path)).open(schema) as writer:
        for text in ("a", "b"):
            writer.write(pa.record_batch([pa.array([text] * 70_000).dictionary_encode()], schema=schema))
    with pa.ipc.open_file(path) as reader:
        assert reader.read_all()["kind"].unique().to_pylist() == ["a", "b"]


def test_jsonl_reads_back_in_polars_and_duckdb(tmp_path: Path) -> None:
    table = pa.table({"id": [1, 2], "text": ["é\n", None], "score": [float("nan"), 0.5], "tags": [["a"], []]})
    path = tmp_path / "out.jsonl"
    write(open_sink(path=str(path)), table)
    expected = [
        {"id": 1, "text": "é\n", "score": None, "tags": ["a"]},
        {"id": 2, "text": None, "score": 0.5, "tags": []},
    ]
    assert path.read_text("utf-8").splitlines()[0] == '{"id":1,"text":"é\\n","score":null,"tags":["a"]}'
    assert pl.read_ndjson(path).to_dicts() == expected
    found = duckdb.read_json(str(path)).to_arrow_table()
    assert found.to_pylist() == expected


@pytest.mark.parametrize("name", FORMATS)
def test_a_table_without_rows_keeps_its_columns(tmp_path: Path, tickets: pa.Table, name: str) -> None:
    path = tmp_path / name
    write(open_sink(path=str(path)), tickets.slice(0, 0))
    if name.endswith("parquet"):
        assert pq.read_table(path).equals(tickets.slice(0, 0))
    assert path.exists()


def test_small_batches_are_gathered_into_large_row_groups(tmp_path: Path) -> None:
    table = pa.table({"n": range(150_000)})
    path = tmp_path / "out.parquet"
    write(open_sink(path=str(path)), table, rows_per_batch=1000)
    footer = pq.read_metadata(path)
    groups = [footer.row_group(index).num_rows for index in range(footer.num_row_groups)]
    assert sum(groups) == 150_000
    assert len(groups) == 3
    assert footer.row_group(0).column(0).compression == "ZSTD"
    assert pq.read_table(path).equals(table)


@pytest.mark.parametrize("name", FORMATS)
def test_an_exception_leaves_the_old_output_and_no_litter(
    tmp_path: Path, tickets: pa.Table, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(b"what was here before")
    with pytest.raises(ZeroDivisionError):
        write(open_sink(path=str(path)), tickets, rows_per_batch=2, then=lambda: 1 / 0)
    assert path.read_bytes() == b"what was here before"
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", [*FORMATS, "folder/"])
def test_a_disk_that_fails_in_the_middle_is_the_machines_fault(tmp_path: Path, name: str) -> None:
    table = pa.table({"noise": [os.urandom(64).hex() for _ in range(70_000)]})
    sink = open_sink(path=f"{tmp_path}/{name}")
    write(sink, table.slice(0, 10))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with largest_file(200_000), pytest.raises(MachineError, match="File too large") as raised:
        write(sink, table, rows_per_batch=10_000)
    assert raised.value.exit_code == 5
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_error_of_the_callers_own_passes_through_as_it_is(tmp_path: Path, tickets: pa.Table) -> None:
    with pytest.raises(FileNotFoundError), open_sink(path=f"{tmp_path}/x.parquet").open(tickets.schema):
        raise FileNotFoundError("a source that went away")


def test_a_new_file_respects_the_umask_and_an_old_one_keeps_its_permissions(
    tmp_path: Path, tickets: pa.Table
) -> None:
    old = os.umask(0o027)
    try:
        for name in FORMATS:
            path = tmp_path / name
            write(open_sink(path=str(path)), tickets)
            assert path.stat().st_mode & 0o777 == 0o640
            path.chmod(0o600)
            write(open_sink(path=str(path)), tickets)
            assert path.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(old)


def test_a_symbolic_link_is_followed(tmp_path: Path, tickets: pa.Table) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.parquet").symlink_to(tmp_path / "real" / "x.parquet")
    write(open_sink(path=str(tmp_path / "link.parquet")), tickets)
    assert (tmp_path / "link.parquet").is_symlink()
    assert pq.read_table(tmp_path / "real" / "x.parquet").equals(tickets)


def test_what_a_killed_process_staged_is_removed_a_day_later(tmp_path: Path, tickets: pa.Table) -> None:
    forgotten, fresh = tmp_path / ".x.csv.0123.staged", tmp_path / ".x.csv.4567.staged"
    for path in (forgotten, fresh):
        path.touch()
    os.utime(forgotten, (time.time() - 90_000,) * 2)
    write(open_sink(path=str(tmp_path / "x.csv")), tickets)
    assert sorted(os.listdir(tmp_path)) == [fresh.name, "x.csv"]


def test_check_makes_missing_parents_and_nothing_else(tmp_path: Path, tickets: pa.Table) -> None:
    open_sink(path=f"{tmp_path}/a/b/x.parquet").check(tickets.schema)
    assert os.listdir(tmp_path / "a" / "b") == []


def test_check_refuses_a_target_that_is_a_folder(tmp_path: Path, tickets: pa.Table) -> None:
    (tmp_path / "x.parquet").mkdir()
    with pytest.raises(SinkError, match="is a folder"):
        open_sink(path=f"{tmp_path}/x.parquet").check(tickets.schema)


@pytest.mark.parametrize("name", ["file/x.parquet", "file/", "file/deeper/"])
def test_check_refuses_a_parent_that_is_a_file(tmp_path: Path, tickets: pa.Table, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match="is a file, not a folder"):
        open_sink(path=f"{tmp_path}/{name}").check(tickets.schema)


@pytest.mark.parametrize("name", ["x.parquet", "folder/", "sub/x.csv"])
def test_check_refuses_a_folder_that_may_not_be_written(tickets: pa.Table, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        with without_root(), pytest.raises(MachineError, match="Permission denied"):
            open_sink(path=f"{folder}/{name}").check(tickets.schema)


def test_check_refuses_two_columns_of_one_name(tmp_path: Path) -> None:
    schema = pa.schema([("a", pa.int8()), ("a", pa.int8())])
    for name in [*FORMATS, "folder/"]:
        with pytest.raises(SinkError, match='two columns named "a"'):
            open_sink(path=f"{tmp_path}/{name}").check(schema)


@pytest.mark.parametrize("name", ["x.parquet", "folder/", "x.csv", "x.jsonl"])
def test_check_names_the_column_a_format_cannot_hold(tmp_path: Path, name: str) -> None:
    schema = pa.schema([("fine", pa.int8()), ("odd", pa.month_day_nano_interval())])
    with pytest.raises(SinkError, match=r'"odd".*month_day_nano_interval'):
        open_sink(path=f"{tmp_path}/{name}").check(schema)


def test_unknown_endings_and_contradictions_are_refused_at_once() -> None:
    for path in ("x.xlsx", "x", ""):
        with pytest.raises(DefinitionError, match="use one of"):
            open_sink(path=path)
    for options in (
        {},
        {"path": "x.csv", "duckdb": "x.duckdb"},
        {"duckdb": "x.duckdb"},
        {"path": "x.csv", "mode": "append"},
        {"path": "x.csv", "table": "t"},
        {"path": "a\0b.csv"},
    ):
        with pytest.raises(DefinitionError):
            open_sink(**options)


def test_a_sink_says_where_it_goes() -> None:
    sink = open_sink(path="out/x.parquet")
    assert sink.target == "out/x.parquet"
    assert sink.artifacts == Path("out/x.parquet.artifacts")
    assert "out/x.parquet" in repr(sink)


@pytest.mark.parametrize("name", FORMATS)
def test_hostile_names_and_texts_survive(tmp_path: Path, name: str) -> None:
    names = ['a"b', "new\nline", "😀", "select", "x; DROP TABLE t", "%s", "{}", " "]
    table = pa.table({column: ['"\n\r,\t;\\', "\u2028\x00\x1b[31m"] for column in names})
    path = tmp_path / f"he said 'no' 😀 {name}"
    write(open_sink(path=str(path)), table)
    if name.endswith("parquet"):
        assert pq.read_table(path).equals(table)
    elif name.endswith("arrow"):
        with pa.ipc.open_file(path) as reader:
            assert reader.read_all().equals(table)
    elif "json" in name:
        assert [json.loads(line) for line in path.read_bytes().splitlines()] == table.to_pylist()
    else:
        with path.open(encoding="utf-8", newline="") as file:
            read = list(csv.DictReader(file, strict=True, delimiter="\t" if name == "x.tsv" else ","))
        assert read == table.to_pylist()


def test_every_type_that_parquet_holds_passes_the_footer_check(tmp_path: Path) -> None:
    times = [pa.timestamp("s"), pa.timestamp("ns", "UTC"), pa.time32("s"), pa.date64(), pa.duration("ns")]
    texts = [pa.string_view(), pa.dictionary(pa.int8(), pa.string()), pa.uuid(), pa.json_(), pa.null()]
    nested = [pa.map_(pa.string(), pa.int8()), pa.list_(pa.int8(), 2), pa.large_list(pa.large_string())]
    types = [*times, *texts, *nested, pa.decimal256(50, 2), pa.float16()]
    schema = pa.schema([(f"c{index}", type_) for index, type_ in enumerate(types)])
    table = pa.table([pa.nulls(2, type_) for type_ in types], schema=schema)
    write(open_sink(path=f"{tmp_path}/x.parquet"), table)
    assert pq.read_metadata(tmp_path / "x.parquet").num_rows == 2
