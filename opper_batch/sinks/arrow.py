"""Arrow IPC: files to be read by others, and streams that only stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.types as pt

from opper_batch.errors import SinkError
from opper_batch.inputs import Nan
from opper_batch.sinks.parquet import with_metadata


@dataclass(frozen=True)
class ArrowFormat:
    """Arrow files, uncompressed so that they can be mapped into memory.

    Dictionary columns are written as their values: a file has one dictionary per column, batches bring many.
    """

    metadata: Mapping[str, str] = field(default_factory=dict)

    def check(self, schema: pa.Schema) -> None:
        for column in schema:
            try:
                pa.ipc.new_file(pa.BufferOutputStream(), pa.schema([column])).close()
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                raise SinkError(
                    f'column "{column.name}" has the type {column.type}, which an Arrow file cannot hold: '
                    "cast it in the source"
                ) from None

    def doubts(self, kind: pa.DataType) -> bool:
        return False

    def check_values(self, batch: pa.RecordBatch, *, nan: Nan, first_row: int) -> None:
        """Whatever is in memory can be written."""

    def open(self, path: Path, schema: pa.Schema) -> ArrowOut:
        stored = with_metadata(_without_dictionaries(schema), self.metadata)
        return ArrowOut(path, pa.ipc.new_file, stored)

    def verify(self, path: Path, schema: pa.Schema, rows: int) -> None:
        with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
            there = sum(reader.get_batch(index).num_rows for index in range(reader.num_record_batches))
            if there != rows or not reader.schema.equals(_without_dictionaries(schema)):
                raise OSError(f"the file holds {there} rows of {rows}, or other columns than were written")


@dataclass(frozen=True)
class StreamFormat:
    """Arrow streams: dictionaries may change from batch to batch, and a stream says itself when it is cut."""

    def open(self, path: Path, schema: pa.Schema) -> ArrowOut:
        return ArrowOut(path, pa.ipc.new_stream, schema)

    def verify(self, path: Path, schema: pa.Schema, rows: int) -> None:
        """Reading it happens at once, and fails when it is cut."""


class ArrowOut:
    """An open Arrow file or stream."""

    def __init__(self, path: Path, kind: Callable[..., Any], schema: pa.Schema) -> None:
        self._path = path
        self._schema = schema
        self._file = pa.OSFile(str(path), "wb")
        self._writer = kind(self._file, schema)

    def __repr__(self) -> str:
        return f"<ArrowOut {self._path}>"

    def write(self, group: pa.Table) -> None:
        stored = group if group.schema.equals(self._schema) else group.cast(self._schema)
        self._writer.write_table(stored)

    def close(self) -> None:
        self._writer.close()
        self._file.close()

    def abandon(self) -> None:
        with suppress(Exception):
            self._file.close()


def _without_dictionaries(schema: pa.Schema) -> pa.Schema:
    return pa.schema([column.with_type(_values(column.type)) for column in schema], schema.metadata)


def _values(type_: pa.DataType) -> pa.DataType:
    if pt.is_dictionary(type_):
        return _values(type_.value_type)
    if pt.is_struct(type_):
        fields = (type_.field(index) for index in range(type_.num_fields))
        return pa.struct([child.with_type(_values(child.type)) for child in fields])
    for is_kind, make in ((pt.is_list, pa.list_), (pt.is_large_list, pa.large_list)):
        if is_kind(type_):
            return make(type_.value_field.with_type(_values(type_.value_type)))
    return type_
