"""Frames, tables and streams of other libraries as sources, told apart without importing those libraries."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from opper_batch.errors import DefinitionError, SourceError
from opper_batch.sources import Source, open_source

ROWS = [{"id": 1, "t": "x"}, {"id": 2, "t": None}, {"id": 3, "t": "z"}]
TABLE = pa.Table.from_pylist(ROWS)


class OnlyTheProtocol:
    """What any other library's table is to us."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return TABLE.__arrow_c_stream__(requested_schema)


def one_shot_reader() -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(TABLE.schema, iter(TABLE.to_batches(max_chunksize=2)))


TABLES = {
    "an Arrow table": lambda: TABLE,
    "an Arrow batch": lambda: TABLE.to_batches()[0],
    "a one-shot reader": one_shot_reader,
    "the protocol alone": OnlyTheProtocol,
    "a polars frame": lambda: pl.DataFrame(ROWS),
    "a lazy polars frame": lambda: pl.LazyFrame(ROWS),
    "a pandas frame": lambda: pd.DataFrame(ROWS, index=[7, 8, 9]),
    "a DuckDB relation": lambda: duckdb.sql("SELECT * FROM (VALUES (1, 'x'), (2, NULL), (3, 'z')) v(id, t)"),
}


def rows_of(source: Source, size: int = 8192) -> list[dict[str, object]]:
    return pa.Table.from_batches(source.batches(size), source.schema).to_pylist()


@pytest.mark.parametrize("kind", TABLES)
def test_every_pass_over_any_table_gives_the_same_rows(tmp_path: Path, kind: str) -> None:
    source = open_source(table=TABLES[kind](), spool=tmp_path)
    assert source.check().rows == 3
    assert source.check().files == ()
    assert rows_of(source) == rows_of(source, 1) == ROWS
    assert all(batch.schema == source.schema for batch in source.batches(2))
    assert [batch.num_rows for batch in source.batches(1)] == [1, 1, 1]
    assert "3 rows" in source.describe()
    assert source.name in repr(source)


def test_a_spooled_table_leaves_nothing_behind(tmp_path: Path) -> None:
    source = open_source(table=one_shot_reader(), spool=tmp_path)
    source.check()
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o600]
    del source
    assert list(tmp_path.iterdir()) == []


def test_a_stream_that_breaks_is_refused_for_good(tmp_path: Path) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield TABLE.to_batches()[0]
        raise pa.ArrowInvalid("the other end hung up.\nmore")

    source = open_source(table=pa.RecordBatchReader.from_batches(TABLE.schema, broken()), spool=tmp_path)
    for _ in range(2):
        with pytest.raises(
            SourceError, match=r"the Arrow stream failed while it was read: the other end hung up$"
        ):
            source.check()


def test_categorical_columns_are_allowed_even_when_their_categories_differ_by_batch(tmp_path: Path) -> None:
    parts = [pa.RecordBatch.from_pydict({"c": pa.array([text]).dictionary_encode()}) for text in "abc"]
    reader = pa.RecordBatchReader.from_batches(parts[0].schema, iter(parts))
    assert [row["c"] for row in rows_of(open_source(table=reader, spool=tmp_path))] == ["a", "b", "c"]
    frame = pl.DataFrame({"c": ["a", "b"]}, schema={"c": pl.Categorical})
    for table in (frame, frame.lazy(), frame.to_pandas()):
        source = open_source(table=table, spool=tmp_path)
        assert pa.types.is_dictionary(source.schema.field("c").type)
        assert [row["c"] for row in rows_of(source)] == ["a", "b"]


def test_text_of_a_lazy_frame_is_plain_text(tmp_path: Path) -> None:
    assert open_source(table=pl.LazyFrame(ROWS), spool=tmp_path).schema.field("t").type == pa.large_string()


REFUSED = {
    "names that are not text": (lambda: pd.DataFrame({1: [1]}), "the column name '1' is not text"),
    "names of several levels": (lambda: pd.DataFrame({("a", "b"): [1]}), "is not text"),
    "pandas names twice": (
        lambda: pd.DataFrame([[1, 2]], columns=["a", "a"]),
        "columns 1 and 2 are both named 'a'",
    ),
    "Arrow names twice": (
        lambda: pa.table([[1], [2]], names=["a", "a"]),
        "columns 1 and 2 are both named 'a'",
    ),
    "objects of several kinds": (lambda: pd.DataFrame({"o": [1, "secret"]}), "column o with type object"),
    "no columns": (lambda: pl.DataFrame(), "the polars DataFrame has no columns"),
    "an unnamed column": (lambda: pl.DataFrame({"": [1]}), "column 1 has no name"),
    "a lazy frame that fails": (
        lambda: pl.LazyFrame({"a": [1]}).select("b"),
        "the polars LazyFrame cannot be read",
    ),
    "a relation that fails": (
        lambda: duckdb.sql("SELECT CAST(x AS INTEGER) FROM (VALUES ('y')) v(x)"),
        "the DuckDB relation failed.*Could not convert",
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_table_that_will_not_do_is_one_sentence(tmp_path: Path, fault: str) -> None:
    make, said = REFUSED[fault]
    with pytest.raises(SourceError, match=said) as raised:
        open_source(table=make(), spool=tmp_path).check()
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_what_is_no_table_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"cannot be a 'builtins\.list'"):
        open_source(table=[{"a": 1}])


def test_a_table_in_memory_is_not_copied() -> None:
    batch = next(open_source(table=TABLE).batches())
    assert batch.column(0).buffers()[1].address == TABLE.column(0).chunk(0).buffers()[1].address


def test_reading_files_imports_no_library_of_frames(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").touch()
    code = (
        "import sys, pyarrow as pa, pyarrow.parquet as pq\n"
        "from opper_batch.sources import open_source\n"
        f"path = {str(tmp_path / 'rows.parquet')!r}\n"
        "pq.write_table(pa.schema([('a', pa.int64())]).empty_table(), path)\n"
        "assert open_source(path=path).check().rows == 0\n"
        "assert not {'polars', 'duckdb', 'pyarrow.dataset'} & set(sys.modules), 'imported too much'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
