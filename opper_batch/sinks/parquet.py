"""Parquet files: zstd, one row group per group, the footer read again before anybody else does."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.types as pt

from opper_batch.errors import SinkError
from opper_batch.inputs import Nan
from opper_batch.sinks.leaves import check_leaves, leaves_of


@dataclass(frozen=True)
class ParquetFormat:
    """``metadata`` goes into the file's own, beside what the schema brings."""

    metadata: Mapping[str, str] = field(default_factory=dict)

    def check(self, schema: pa.Schema) -> None:
        for column in schema:
            try:
                _as_read(pa.schema([column]))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError):
                raise SinkError(
                    f'column "{column.name}" has the type {column.type}, which Parquet cannot hold: '
                    "cast it in the source, or write .arrow"
                ) from None

    def doubts(self, kind: pa.DataType) -> bool:
        return leaves_of(kind, lambda leaf: pt.is_timestamp(leaf) and leaf.unit == "s")

    def check_values(self, batch: pa.RecordBatch, *, nan: Nan, first_row: int) -> None:
        check_leaves(batch, _beyond_milliseconds, first_row=first_row)

    def open(self, path: Path, schema: pa.Schema) -> ParquetOut:
        return ParquetOut(path, with_metadata(schema, self.metadata))

    def verify(self, path: Path, schema: pa.Schema, rows: int) -> None:
        import pyarrow.parquet as pq

        footer = pq.read_metadata(path)
        if footer.num_rows != rows or not footer.schema.to_arrow_schema().equals(_as_read(schema)):
            raise OSError(
                f"the file holds {footer.num_rows} rows of {rows}, or other columns than were written"
            )


class ParquetOut:
    """An open Parquet file."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        import pyarrow.parquet as pq

        self._path = path
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")

    def __repr__(self) -> str:
        return f"<ParquetOut {self._path}>"

    def write(self, group: pa.Table) -> None:
        self._writer.write_table(group)

    def close(self) -> None:
        self._writer.close()

    def abandon(self) -> None:
        with suppress(Exception):
            self._writer.close()


def _beyond_milliseconds(values: pa.Array) -> str | None:
    if pt.is_timestamp(values.type) and values.type.unit == "s":
        try:
            values.cast(pa.timestamp("ms", values.type.tz))
        except pa.ArrowInvalid:
            return "Parquet keeps milliseconds, and its date lies beyond them; correct it"
    return None


def with_metadata(schema: pa.Schema, metadata: Mapping[str, str]) -> pa.Schema:
    """The schema with ``metadata`` beside its own."""
    added = {name.encode(): text.encode() for name, text in metadata.items()}
    return schema.with_metadata({**(schema.metadata or {}), **added})


def _as_read(schema: pa.Schema) -> pa.Schema:
    """The schema that comes back from a Parquet file: seconds become milliseconds, for one."""
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.ParquetWriter(file, schema).close()
    return pq.read_schema(io.BytesIO(file.getvalue()))
