"""Tables that are already in memory, or come from another library, as sources."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from opper_batch.errors import DefinitionError, OpperBatchError, SourceError
from opper_batch.sources.contract import BATCH_ROWS, Checked, Source, check_batch_rows, check_names
from opper_batch.sources.places import first_line, quoted
from opper_batch.sources.slices import sliced
from opper_batch.sources.spool import SpooledSource, write_stream
from opper_batch.sources.sql import relation_source
from opper_batch.sources.valid import check_values

if TYPE_CHECKING:
    import polars


class TableSource:
    """An Arrow table in memory; nothing of it is copied."""

    def __init__(self, name: str, table: pa.Table) -> None:
        check_names(table.schema.names, name)
        self.name = name
        self._table = table
        self._schema = table.schema.remove_metadata()

    def __repr__(self) -> str:
        return f"TableSource({self.describe()})"

    def describe(self) -> str:
        return f"{self.name} ({self._table.num_rows:,} rows)"

    @property
    def schema(self) -> pa.Schema:
        return self._schema

    def check(self) -> Checked:
        check_values(self._table.to_batches(), self.name, rows=self._table.num_rows)
        return Checked(self._table.num_rows, self._schema)

    def place(self, row: int) -> str:
        return f"{self.name}, row {row}"

    def batches(self, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        check_batch_rows(rows)
        for batch in self._table.to_batches(max_chunksize=rows):
            for piece in sliced(batch, rows):
                yield piece.replace_schema_metadata(None)


def table_source(table: Any, spool: Path | None) -> Source:
    """``table`` is told by its module and its protocol, so that no library is imported only to ask.

    What can be read just once, or may give other rows the second time, is spooled at the first check().
    """
    if isinstance(table, pa.Table):
        return TableSource("the Arrow table", table)
    if isinstance(table, pa.RecordBatch):
        return TableSource("the Arrow batch", pa.Table.from_batches([table]))
    module, kind = type(table).__module__.split(".")[0], type(table).__name__
    if (module, kind) == ("polars", "DataFrame"):
        return TableSource("the polars DataFrame", _from_polars(table))
    if (module, kind) == ("polars", "LazyFrame"):
        return SpooledSource("the polars LazyFrame", partial(_collect, table), spool)
    if (module, kind) == ("pandas", "DataFrame"):
        return TableSource("the pandas DataFrame", _from_pandas(table))
    if module in ("duckdb", "_duckdb") and kind == "DuckDBPyRelation":
        return relation_source(table, spool)
    if hasattr(table, "__arrow_c_stream__"):
        return _stream_source(table, spool)
    raise DefinitionError(
        f"a source table cannot be a {quoted(f'{type(table).__module__}.{kind}')}: give a polars or pandas "
        "frame, an Arrow table or reader, a DuckDB relation, or anything with __arrow_c_stream__"
    )


def _stream_source(table: Any, spool: Path | None) -> SpooledSource:
    name = "the Arrow stream"

    def fill(path: str) -> None:
        reader = table if isinstance(table, pa.RecordBatchReader) else pa.RecordBatchReader.from_stream(table)
        write_stream(reader, path, name)

    return SpooledSource(name, fill, spool)


def _from_polars(frame: polars.DataFrame) -> pa.Table:
    import polars

    try:
        return frame.to_arrow()
    except (polars.exceptions.PolarsError, pa.ArrowException) as error:
        raise _conversion_error("the polars DataFrame", error) from error


def _collect(frame: polars.LazyFrame, path: str) -> None:
    import polars

    try:
        # The oldest layout: text as every Arrow reader knows it, not as views.
        frame.sink_ipc(path, compat_level=polars.CompatLevel.oldest())
    except polars.exceptions.PolarsError as error:
        raise _conversion_error("the polars LazyFrame", error) from error


def _from_pandas(frame: Any) -> pa.Table:
    name = "the pandas DataFrame"
    for column in frame.columns:
        if not isinstance(column, str):
            raise SourceError(f"{name}: the column name {quoted(repr(column))} is not text; rename it")
    check_names(list(frame.columns), name)  # pandas and Arrow do not agree on what to do with two of a name
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, OverflowError) as error:
        raise _conversion_error(name, error) from error


def _conversion_error(name: str, error: Exception) -> OpperBatchError:
    # Arrow's last argument names the column; the ones before it quote a value.
    said = first_line(Exception(error.args[-1])) if error.args else first_line(error)
    return SourceError(f"{name} cannot be read: {said}; give every column one type")
