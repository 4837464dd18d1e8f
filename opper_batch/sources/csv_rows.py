"""One CSV file as rows of text, strictly: every fault is a sentence, nothing is repaired.

What is CSV here: UTF-8 (a leading mark is dropped), cells between one delimiter, ``"`` around cells that
hold delimiters, quotes (written twice) or line breaks, rows ended by LF, CRLF or CR, the first row naming
the columns. A quote inside an unquoted cell is an ordinary character. A blank line is a fault, but for blank
lines at the very end; in a file of a single column a blank line is an empty cell, wherever it stands.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from opper_batch.errors import SourceError
from opper_batch.sources.contract import TEXT_PER_BATCH, check_names
from opper_batch.sources.csv_faults import find_quote_fault, quote_fault_error, ragged_error
from opper_batch.sources.places import line_place, quoted, row_place
from opper_batch.sources.text_files import LONGEST, not_utf8_error, opened_text

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}


@dataclass(slots=True)
class Block:
    """Some rows in order: the first one's number (data rows count from 1), and the line each begins on."""

    first_row: int
    lines: list[int] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


class _Lines:
    """The file's lines with their endings kept; counts their characters, remembers the first line."""

    def __init__(self, path: str, text: io.TextIOWrapper) -> None:
        self.characters = 0
        self.first = ""
        self._path = path
        self._text = text

    def __iter__(self) -> Iterator[str]:
        for number, line in enumerate(iter(partial(self._text.readline, LONGEST), ""), start=1):
            if "\0" in line:
                where = line_place(self._path, number)
                raise SourceError(f"{where} holds a NUL byte: it is no text, or UTF-16; convert it to UTF-8")
            if len(line) == LONGEST:
                raise SourceError(f"{line_place(self._path, number)} is longer than {LONGEST:,} characters")
            self.characters += len(line)
            self.first = self.first or line
            yield line


def read_header(path: str, delimiter: str) -> list[str]:
    """The column names as written; raises SourceError for an empty file and for names that will not do."""
    with _lines(path) as lines:
        _, header = next(_rows(path, lines, delimiter, ()), (1, []))
    if not header:
        what = "begins with a blank line" if lines.first else "is empty"
        raise SourceError(f"{path} {what}: the first line of a CSV file names the columns")
    _refuse_wrong_delimiter(path, header, lines.first, delimiter)
    check_names(header, f"{path}, line 1")
    return header


def read_blocks(path: str, delimiter: str, columns: Sequence[str], size: int) -> Iterator[Block]:
    """The data rows, each as wide as ``columns``, at most ``size`` to a block and bounded in characters."""
    with _lines(path) as lines:
        rows = _rows(path, lines, delimiter, columns)
        next(rows, None)
        block, mark = Block(1), lines.characters
        for line, cells in _without_trailing_blanks(rows, columns):
            if len(cells) != len(columns):
                raise ragged_error(row_place(path, block.first_row + len(block.rows), line), cells, columns)
            block.lines.append(line)
            block.rows.append(cells)
            if len(block.rows) == size or lines.characters - mark > TEXT_PER_BATCH:
                yield block
                block, mark = Block(block.first_row + len(block.rows)), lines.characters
        if block.rows:
            yield block


@contextmanager
def _lines(path: str) -> Iterator[_Lines]:
    try:
        # newline="" keeps line breaks inside quotes as they are; the csv module asks for it.
        with opened_text(path) as file, io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
            yield _Lines(path, text)
    except UnicodeDecodeError:
        raise not_utf8_error(path) from None


def _rows(
    path: str, lines: _Lines, delimiter: str, columns: Sequence[str]
) -> Iterator[tuple[int, list[str]]]:
    """Each row with the line it begins on, the header (row 0) included; ``columns`` only serve sentences."""
    # The limit is one for the whole process, so it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    row, start = 0, 1
    try:
        for cells in reader:
            yield start, cells
            row, start = row + 1, reader.line_num + 1
    except csv.Error:
        with _lines(path) as again:
            fault = find_quote_fault(again, delimiter, start)
        raise quote_fault_error(fault, path, row, start, columns) from None


def _without_trailing_blanks(
    rows: Iterator[tuple[int, list[str]]], columns: Sequence[str]
) -> Iterator[tuple[int, list[str]]]:
    blanks: list[tuple[int, list[str]]] = []
    for line, cells in rows:
        if cells:
            yield from blanks  # not at the end after all: there they are rows without a cell
            blanks.clear()
            yield line, cells
        elif len(columns) == 1:
            yield line, [""]
        elif not blanks:
            blanks.append((line, cells))


def _refuse_wrong_delimiter(path: str, header: Sequence[str], first: str, delimiter: str) -> None:
    """One name that holds another delimiter is a header read wrongly, unless the name is in quotes."""
    if len(header) > 1 or first.startswith('"'):
        return
    for other, name in _DELIMITERS.items():
        if other != delimiter and other in header[0]:
            raise SourceError(
                f"{path}, line 1 is one column {quoted(header[0])} with the delimiter {delimiter!r}: "
                f"it holds a {name}, so set delimiter = {other!r}, or put the name in quotes if it is one"
            )
