"""Parquet and Arrow IPC files: their own types, one schema over all files, faults as sentences."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from opper_batch.errors import DefinitionError, SourceError
from opper_batch.sources import Source, open_source
from opper_batch.sources.contract import BYTES_PER_BATCH

TABLE = pa.table(
    {
        "id": pa.array(range(10), pa.int16()),
        "tags": pa.array([["x"], None] * 5, pa.list_(pa.string())),
        "kind": pa.array(["a", "b"] * 5).dictionary_encode(),
    },
    metadata={"pandas": "{}"},
)


def write_parquet(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, row_group_size=4)


def write_ipc_file(table: pa.Table, path: Path) -> None:
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=4)


def write_ipc_stream(table: pa.Table, path: Path) -> None:
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=4)


WRITERS = {"rows.parquet": write_parquet, "rows.arrow": write_ipc_file, "rows.ipc": write_ipc_stream}


def table_of(source: Source, size: int = 8192) -> pa.Table:
    return pa.Table.from_batches(source.batches(size), source.schema)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("size", [1, 3, 4, 100])
def test_every_row_and_type_comes_back_in_batches_of_any_size(tmp_path: Path, name: str, size: int) -> None:
    WRITERS[name](TABLE, tmp_path / name)
    source = open_source(path=tmp_path / name)
    assert source.check().rows == 10
    batches = list(source.batches(size))
    assert all(batch.schema.equals(source.schema, check_metadata=True) for batch in batches)
    assert max(batch.num_rows for batch in batches) <= size
    assert source.schema == TABLE.schema
    assert table_of(source, size).to_pylist() == TABLE.to_pylist()
    assert table_of(source, size).to_pylist() == TABLE.to_pylist()


def test_feather_files_are_arrow_files(tmp_path: Path) -> None:
    import pyarrow.feather as feather

    feather.write_feather(TABLE, tmp_path / "rows.feather")
    assert open_source(path=tmp_path / "rows.feather").check().rows == 10


@pytest.mark.parametrize("name", WRITERS)
def test_several_files_are_one_table_in_the_order_given(tmp_path: Path, name: str) -> None:
    first, second = tmp_path / f"b{name}", tmp_path / f"a{name}"
    WRITERS[name](TABLE, first)
    WRITERS[name](TABLE.slice(0, 2), second)
    source = open_source(path=[first, second])
    assert source.check().rows == 12
    assert [row["id"] for row in table_of(source).to_pylist()] == [*range(10), 0, 1]


DRIFTS = {
    "another type": (
        pa.schema([("a", pa.int32()), ("b", pa.string())]),
        "column 'a' is int32 here and int64 there",
    ),
    "another name": (
        pa.schema([("a", pa.int64()), ("c", pa.string())]),
        "column 2 is 'c' here and 'b' there",
    ),
    "another order": (
        pa.schema([("b", pa.string()), ("a", pa.int64())]),
        "column 1 is 'b' here and 'a' there",
    ),
    "one column less": (pa.schema([("a", pa.int64())]), "only .*1.parquet has the column 'b'"),
    "one column more": (
        pa.schema([("a", pa.int64()), ("b", pa.string()), ("c", pa.string())]),
        "only .*2.parquet has the column 'c'",
    ),
}


@pytest.mark.parametrize("drift", DRIFTS)
def test_files_that_differ_are_refused_naming_both_and_the_column(tmp_path: Path, drift: str) -> None:
    schema, said = DRIFTS[drift]
    pq.write_table(pa.schema([("a", pa.int64()), ("b", pa.string())]).empty_table(), tmp_path / "1.parquet")
    pq.write_table(schema.empty_table(), tmp_path / "2.parquet")
    with pytest.raises(SourceError, match=rf"2\.parquet and .*1\.parquet differ: {said}"):
        open_source(path=tmp_path).check()


def test_nullability_may_differ_at_any_depth_and_becomes_nullable(tmp_path: Path) -> None:
    strict = pa.struct(
        [pa.field("x", pa.list_(pa.field("item", pa.int64(), nullable=False)), nullable=False)]
    )
    loose = pa.struct([pa.field("x", pa.list_(pa.int64()))])
    rows = [{"a": 1, "s": {"x": [1]}}]
    one = pa.schema([pa.field("a", pa.int64(), nullable=False), pa.field("s", strict)])
    two = pa.schema([pa.field("a", pa.int64()), pa.field("s", loose)])
    pq.write_table(pa.Table.from_pylist(rows, one), tmp_path / "1.parquet")
    pq.write_table(pa.Table.from_pylist([{"a": None, "s": {"x": [None]}}], two), tmp_path / "2.parquet")
    source = open_source(path=tmp_path)
    assert source.schema == two
    assert table_of(source).to_pylist() == [*rows, {"a": None, "s": {"x": [None]}}]


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), tmp_path / "rows.parquet")
    with pytest.raises(SourceError, match=r"rows\.parquet: columns 1 and 2 are both named 'a'"):
        open_source(path=tmp_path / "rows.parquet").check()


@pytest.mark.parametrize("name", ["rows.parquet", "rows.arrow"])
@pytest.mark.parametrize("keep", [0, 3, 100, -20])
def test_a_file_cut_short_is_one_sentence(tmp_path: Path, name: str, keep: int) -> None:
    path = tmp_path / name
    WRITERS[name](TABLE, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SourceError, match=rf"{name} cannot be read as .*broken, cut short, or no") as raised:
        open_source(path=path).check()
    assert "\n" not in str(raised.value)


def test_a_stream_cut_inside_a_batch_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "rows.ipc"
    write_ipc_stream(TABLE, path)
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(SourceError, match=r"rows\.ipc cannot be read as Arrow IPC"):
        open_source(path=path).check()


def test_a_broken_page_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": [f"text {n}" for n in range(1000)]}), path)
    content = bytearray(path.read_bytes())
    content[4:200] = b"\xff" * 196
    path.write_bytes(content)
    with pytest.raises(SourceError, match="cannot be read as Parquet"):
        open_source(path=path).check()


def texts(values: list[bytes]) -> pa.Array:
    """Text that nobody looked at."""
    return pa.StringArray.from_buffers(len(values), *pa.array(values, pa.binary()).buffers()[1:])


NO_TEXT = {
    "plain": lambda values: texts(values),
    "in lists": lambda values: pa.ListArray.from_arrays(list(range(len(values) + 1)), texts(values)),
    "in structs": lambda values: pa.StructArray.from_arrays([texts(values)], ["x"]),
    "in a dictionary": lambda values: pa.DictionaryArray.from_arrays(
        [*range(5), 5, *range(3)], texts(values[:6])
    ),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("kind", NO_TEXT)
def test_text_that_is_not_utf8_is_found_with_its_row_and_column(tmp_path: Path, name: str, kind: str) -> None:
    values = NO_TEXT[kind]([b"a"] * 5 + [b"caf\xe9"] + [b"b"] * 3)
    WRITERS[name](pa.table({"id": range(9), "v": values}), tmp_path / name)
    said = rf"{name}, row 6, column 'v' holds text that is not UTF-8"
    if kind == "in a dictionary":  # which comes with the first rows, whichever rows its entries are for
        said = rf"{name}(, column 'v' holds text that is not UTF-8| cannot .*Invalid UTF8)"
    with pytest.raises(SourceError, match=said):
        open_source(path=tmp_path / name).check()


def test_lists_that_point_beyond_their_elements_are_found_before_they_are_read(tmp_path: Path) -> None:
    offsets = pa.array([0, 1, 9_999_999, 2], pa.int32())
    lists = pa.ListArray.from_buffers(
        pa.list_(pa.int64()), 3, [None, offsets.buffers()[1]], children=[pa.array([1, 2])]
    )
    write_ipc_file(pa.table({"v": lists}), tmp_path / "rows.arrow")
    with pytest.raises(SourceError, match=r"rows\.arrow, column 'v' is broken"):
        open_source(path=tmp_path / "rows.arrow").check()


def test_types_are_in_the_file_and_not_declared(tmp_path: Path) -> None:
    write_parquet(TABLE, tmp_path / "rows.parquet")
    with pytest.raises(DefinitionError, match="declares 'id', but Parquet files hold their types"):
        open_source(path=tmp_path / "rows.parquet", types={"id": "BIGINT"})


def test_batches_of_huge_cells_are_bounded_in_bytes(tmp_path: Path) -> None:
    import os

    cells = [os.urandom(1_000_000) for _ in range(50)]
    pq.write_table(pa.table({"a": cells}), tmp_path / "rows.parquet")
    sizes = [batch.nbytes for batch in open_source(path=tmp_path / "rows.parquet").batches()]
    assert len(sizes) > 1
    assert max(sizes) < 1.2 * BYTES_PER_BATCH
