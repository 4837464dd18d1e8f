"""Tables out, all or nothing.

    sink.check(schema)                 before any call is paid for: whatever can be refused is refused here
    sink.check_values(batch)           and here, of the source's columns whose types are in doubt
    with sink.open(schema) as writer:  stages
        writer.write(batch)            batches of exactly that schema, in order
                                       leaving the block publishes; an exception leaves all as it was

What is staged lies beside the target under a hidden name, so that publishing is one rename
(files), one manifest (Parquet folders) or one transaction (DuckDB).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, Protocol

import pyarrow as pa

from opper_batch.errors import DefinitionError
from opper_batch.inputs import Nan
from opper_batch.sinks.arrow import ArrowFormat
from opper_batch.sinks.delimited import DelimitedFormat
from opper_batch.sinks.files import FileSink, Format
from opper_batch.sinks.folder import FolderSink
from opper_batch.sinks.jsonl import JsonlFormat
from opper_batch.sinks.parquet import ParquetFormat
from opper_batch.sinks.places import (
    artifacts_dir,
    rejected_path,
    rejected_table,
    report_place,
    sandbox_path,
    sandbox_table,
    suffix_of,
)

__all__ = [
    "Mode",
    "Sink",
    "Writer",
    "artifacts_dir",
    "open_sink",
    "rejected_path",
    "rejected_table",
    "report_place",
    "sandbox_path",
    "sandbox_table",
]

Mode = Literal["replace", "append", "upsert"]


class Writer(Protocol):
    """Takes the result's batches, in order."""

    def write(self, batch: pa.RecordBatch) -> None: ...


class Sink(Protocol):
    """Where a result goes.

    Raises SinkError for a target that does not fit, MachineError for a disk, a permission or a lock.
    """

    @property
    def target(self) -> str:
        """The place as a person would say it."""

    @property
    def artifacts(self) -> Path:
        """The folder for files that belong to the result."""

    def check(self, schema: pa.Schema) -> None:
        """Refuses what can be refused before anything is written; makes missing parent folders."""

    def doubts(self, kind: pa.DataType) -> bool:
        """Whether some values of this type may have no place there, so that each has to be looked at."""

    def check_values(self, batch: pa.RecordBatch, *, nan: Nan, first_row: int) -> None:
        """Raises BadValue for the first value of ``batch`` (columns of doubt only) that has none.

        ``nan`` says what a float that JSON cannot hold may become.
        """

    def open(self, schema: pa.Schema) -> AbstractContextManager[Writer]:
        """A writer whose batches are published together when the block ends without an exception."""

    def remove(self) -> None:
        """Takes away what was published there, if anything was. Raises OSError or OpperBatchError."""


def open_sink(
    *,
    path: str | None = None,
    duckdb: str | None = None,
    table: str | None = None,
    mode: Mode = "replace",
    key: Sequence[str] = (),
    source_columns: Sequence[str] = (),
    status_columns: Sequence[str] = (),
    metadata: Mapping[str, str] | None = None,
) -> Sink:
    """The sink for a file or folder (``path``), or for a table of a database (``duckdb`` and ``table``).

    The suffix names the format: .parquet, .csv, .tsv, .jsonl, .ndjson, .arrow; a path that ends with a slash
    is a folder of Parquet files. ``metadata`` goes into Parquet and Arrow files and the folder's manifest.
    ``table`` may be ``schema.table``; a name that holds a dot of its own stands in double quotes.
    ``key`` is for ``upsert``; ``source_columns`` and ``status_columns`` are for ``append``, which knows a
    row by the former and replaces a row it holds when one of the latter is not ``ok``.
    Touches nothing. Raises DefinitionError for what contradicts itself.
    """
    if (path is None) == (duckdb is None):
        raise DefinitionError("[sink] needs either path or duckdb")
    if "\0" in (path or duckdb or ""):
        raise DefinitionError("[sink] names a file with a null character: take it out")
    if duckdb is not None:
        if not duckdb or not table:
            raise DefinitionError("[sink] with duckdb needs a file name and a table")
        # DuckDB costs a tenth of a second to import, which file sinks need not pay.
        from opper_batch.sinks.duckdb_table import DuckdbSink

        return DuckdbSink.of(
            Path(duckdb),
            table,
            mode=mode,
            key=tuple(key),
            source_columns=tuple(source_columns),
            status_columns=tuple(status_columns),
        )
    if table is not None or mode != "replace":
        raise DefinitionError("[sink] table and mode are for duckdb: a file is always replaced as a whole")
    return _file_sink(path or "", dict(metadata or {}))


def _file_sink(path: str, metadata: dict[str, str]) -> Sink:
    if path.endswith("/"):
        return FolderSink(path, ParquetFormat(metadata), metadata)
    formats: dict[str, Format] = {
        ".parquet": ParquetFormat(metadata),
        ".arrow": ArrowFormat(metadata),
        ".csv": DelimitedFormat(","),
        ".tsv": DelimitedFormat("\t"),
        ".jsonl": JsonlFormat(),
        ".ndjson": JsonlFormat(),
    }
    suffix = suffix_of(path)
    if suffix not in formats:
        raise DefinitionError(
            f'the sink "{path}" has no ending known here: use one of {", ".join(formats)}, '
            "or end with / for a folder of Parquet files"
        )
    return FileSink(path, formats[suffix])
