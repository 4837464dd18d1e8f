"""CSV and TSV that a spreadsheet can be trusted with.

Null is an empty cell and empty text is ``""``. Nested values are JSON text. A text cell that a spreadsheet
would run as a formula gets a ``'`` in front; numbers in text, such as ``-5``, do not need one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.types as pt

from opper_batch.inputs import Nan, always_sendable, column_texts, is_text
from opper_batch.sinks.jsonl import check_json
from opper_batch.sinks.textfile import TextFile

_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)

_Cell = Callable[[str], str]


@dataclass(frozen=True)
class DelimitedFormat:
    """UTF-8, a header, ``separator`` between cells, a line feed after every row."""

    separator: str

    def check(self, schema: pa.Schema) -> None:
        check_json(schema)

    def doubts(self, kind: pa.DataType) -> bool:
        return not always_sendable(kind)

    def check_values(self, batch: pa.RecordBatch, *, nan: Nan, first_row: int) -> None:
        column_texts(batch, nan=nan, first_row=first_row)

    def open(self, path: Path, schema: pa.Schema) -> DelimitedOut:
        return DelimitedOut(path, schema, self.separator)

    def verify(self, path: Path, schema: pa.Schema, rows: int) -> None:
        """A text file has no account of itself."""


class DelimitedOut(TextFile):
    """An open CSV or TSV file, its header written."""

    def __init__(self, path: Path, schema: pa.Schema, separator: str) -> None:
        super().__init__(path)
        self._separator = separator
        self._cells = [_cell(column.type, separator) for column in schema]
        # In a table of one column an empty cell would be an empty line, which readers skip.
        self._null = '""' if len(schema) == 1 else ""
        self._rows = 0
        header = _cell(pa.string(), separator)
        self._append_lines([[header(name) for name in schema.names]])

    def write(self, group: pa.Table) -> None:
        for batch in group.to_batches():
            texts = column_texts(batch, first_row=self._rows + 1)
            columns = [
                [self._null if text is None else cell(text) for text in column]
                for cell, column in zip(self._cells, texts, strict=True)
            ]
            self._append_lines(zip(*columns, strict=True))
            self._rows += batch.num_rows

    def _append_lines(self, rows: Sequence[Sequence[str]] | zip[tuple[str, ...]]) -> None:
        self.append("".join(self._separator.join(row) + "\n" for row in rows).encode())


def _cell(type_: pa.DataType, separator: str) -> _Cell:
    """How a type's texts become cells."""
    needs_quotes = re.compile(f'["\r\n{separator}]').search

    def cell(text: str) -> str:
        if not text or needs_quotes(text):
            return '"' + text.replace('"', '""') + '"'
        return text

    return (lambda text: cell(_harmless(text))) if _is_free_text(type_) else cell


def _harmless(text: str) -> str:
    if _FORMULA.match(text) and not _NUMBER.fullmatch(text):
        return "'" + text
    return text


def _is_free_text(type_: pa.DataType) -> bool:
    if pt.is_dictionary(type_) or pt.is_run_end_encoded(type_):
        return _is_free_text(type_.value_type)
    return is_text(type_) or getattr(type_, "extension_name", None) == "arrow.json"
