"""JSON lines: one object per row, mapped as inputs are; NaN and infinity are null where that is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from opper_batch.errors import DefinitionError, SinkError
from opper_batch.inputs import Nan, always_sendable, input_schema, json_rows
from opper_batch.sinks.textfile import TextFile


@dataclass(frozen=True)
class JsonlFormat:
    """UTF-8, every line ended by a line feed."""

    def check(self, schema: pa.Schema) -> None:
        check_json(schema)

    def doubts(self, kind: pa.DataType) -> bool:
        return not always_sendable(kind)

    def check_values(self, batch: pa.RecordBatch, *, nan: Nan, first_row: int) -> None:
        json_rows(batch, nan=nan, first_row=first_row)

    def open(self, path: Path, schema: pa.Schema) -> JsonlOut:
        return JsonlOut(path)

    def verify(self, path: Path, schema: pa.Schema, rows: int) -> None:
        """A text file has no account of itself."""


class JsonlOut(TextFile):
    """An open JSONL file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._rows = 0

    def write(self, group: pa.Table) -> None:
        for batch in group.to_batches():
            rows = json_rows(batch, nan="null", first_row=self._rows + 1)
            self.append(b"".join(row + b"\n" for row in rows))
            self._rows += batch.num_rows


def check_json(schema: pa.Schema) -> None:
    """Raises SinkError for a column that a text file cannot hold."""
    try:
        input_schema(schema, schema.names)
    except DefinitionError as error:
        raise SinkError(f"{error.message}; or write .parquet or .arrow") from None
