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
from itertools import chain
from typing import TYPE_CHECKING

import pyarrow as pa

from opper_batch.errors import SourceError
from opper_batch.sources.contract import TEXT_PER_BATCH, check_names
from opper_batch.sources.csv_faults import (
    HALF,
    NUL,
    find_quote_fault,
    place_of,
    quote_fault_error,
    ragged_error,
)
from opper_batch.sources.csv_plain import plain_columns
from opper_batch.sources.places import line_place, quoted, row_place
from opper_batch.sources.text_files import LONGEST, not_utf8_error, opened_text

if TYPE_CHECKING:
    from _csv import Reader

_CHUNK = 1024 * 1024  # characters
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}


@dataclass(slots=True)
class Block:
    """Some rows in order: the first one's number (data rows count from 1), and the line each begins on."""

    first_row: int
    lines: list[int] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    def texts(self, column: int) -> pa.Array:
        """The cells of the column with this number, from 0."""
        return pa.array([cells[column] for cells in self.rows], pa.string())


@dataclass(frozen=True, slots=True)
class PlainBlock:
    """The same, of rows that are one line each and were read by column."""

    first_row: int
    lines: range
    columns: list[pa.Array]

    def __len__(self) -> int:
        return len(self.lines)

    def texts(self, column: int) -> pa.Array:
        return self.columns[column]


class NulFound(Exception):
    """A line holds a NUL; where, is looked for when it is told."""


class _Lines:
    """The file's lines with their endings kept, cut from texts of many whole lines.

    No line costs a step of Python. ``given`` are those cut for whoever iterates, ``passed`` those that
    went by in whole texts instead; ``characters`` are counted, the first line is remembered.
    """

    def __init__(self, path: str, text: io.TextIOWrapper) -> None:
        self.characters = self.given = self.passed = 0
        self.first = ""
        self._path = path
        self._text = text
        self._texts = self._whole_lines()
        self._next: str | None = None

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(self._groups())

    def peek(self) -> str:
        """The text that comes next, empty at the end; it stays what comes next until it is passed by."""
        if self._next is None:
            self._next = next(self._texts, "")
        return self._next

    def pass_by(self, lines: int) -> None:
        """The next text, of so many lines, was read as a whole."""
        self._next = None
        self.passed += lines

    def _groups(self) -> Iterator[list[str]]:
        while text := self.peek():
            self._next = None
            lines = list(io.StringIO(text, newline=""))
            before = self.given + self.passed
            self.given += len(lines)
            self.first = self.first or lines[0]
            self.characters += len(text)
            if "\0" in text or len(text) >= LONGEST:
                yield from self._up_to_fault(lines, before)
            else:
                yield lines

    def _whole_lines(self) -> Iterator[str]:
        """The text, cut behind line breaks; the first piece is a line, so that what follows may be plain."""
        rest = self._text.readline(LONGEST)
        if rest.endswith(("\n", "\r")):
            yield rest
            rest = ""
        # Reading as much as is left over keeps the work linear when a line is long.
        while len(rest) < LONGEST and (read := self._text.read(max(_CHUNK, len(rest)))):
            text = rest + read
            # A carriage return at the very end may be half of a line break.
            whole = max(text.rfind("\n"), text.rfind("\r", 0, -1)) + 1
            if whole:
                yield text[:whole]
            rest = text[whole:]
        if rest:
            yield rest

    def _up_to_fault(self, lines: list[str], given: int) -> Iterator[list[str]]:
        """The lines before the first that will not do, since what is wrong with those is told first."""
        for index, line in enumerate(lines):
            if "\0" in line:
                yield lines[:index]
                raise NulFound
            if len(line) >= LONGEST:
                yield lines[:index]
                where = line_place(self._path, given + index + 1)
                raise SourceError(f"{where} is longer than {LONGEST:,} characters")
        yield lines


def read_header(path: str, delimiter: str) -> list[str]:
    """The column names as written; raises SourceError for an empty file and for names that will not do."""
    with _lines(path, delimiter) as lines:
        try:
            header = next(_reader(lines, delimiter), [])
        except csv.Error:
            raise _quote_fault(path, delimiter, 0, 1, ()) from None
    if not header:
        what = "begins with a blank line" if lines.first else "is empty"
        raise SourceError(f"{path} {what}: the first line of a CSV file names the columns")
    _refuse_wrong_delimiter(path, header, lines.first, delimiter)
    check_names(header, f"{path}, line 1")
    return header


def read_blocks(path: str, delimiter: str, columns: Sequence[str], size: int) -> Iterator[Block | PlainBlock]:
    """The data rows, each as wide as ``columns``, at most ``size`` to a block and bounded in characters."""
    with _lines(path, delimiter) as lines:
        strict = _StrictRows(path, lines, delimiter, columns, size)
        if not strict.has_read_all_given:  # a header of several lines
            yield from strict.blocks()
        while text := lines.peek():
            strictly = strict.blank or len(text) >= LONGEST
            found = None if strictly else plain_columns(text, delimiter, len(columns))
            if found is None:
                yield from strict.blocks()
                continue
            yield from strict.rest()
            yield from _pieces(found, strict.block.first_row, strict.line, size)
            strict.block.first_row += len(found[0])
            lines.pass_by(len(found[0]))
        yield from strict.rest()


def _pieces(columns: list[pa.Array], row: int, line: int, size: int) -> Iterator[PlainBlock]:
    rows = len(columns[0])
    for start in range(0, rows, size):
        lines = range(line + start, line + min(start + size, rows))
        yield PlainBlock(row + start, lines, [column.slice(start, size) for column in columns])


class _StrictRows:
    """Rows as Python's csv module reads them: ``block`` is the one being filled, ``line`` the next row's.

    ``blank`` is the first blank line, which only more blank lines may follow; 0 when there was none.
    """

    def __init__(self, path: str, lines: _Lines, delimiter: str, columns: Sequence[str], size: int) -> None:
        self.block = Block(1)
        self.blank = 0
        self._path = path
        self._lines = lines
        self._delimiter = delimiter
        self._columns = columns
        self._size = size
        self._reader = _reader(lines, delimiter)
        next(self._reader, None)
        self._mark = lines.characters

    @property
    def line(self) -> int:
        return self._reader.line_num + self._lines.passed + 1

    @property
    def has_read_all_given(self) -> bool:
        return self._reader.line_num == self._lines.given

    def blocks(self) -> Iterator[Block]:
        """The full blocks up to the end of the text at hand, or of the row that goes beyond it."""
        line, width = self.line, len(self._columns)
        try:
            for cells in self._reader:
                if cells or width == 1:
                    self._add(cells or [""], line)
                    if len(self.block) == self._size or self._characters > TEXT_PER_BATCH:
                        yield from self.rest()
                else:  # nothing at the end of the file, a fault before it
                    self.blank = self.blank or line
                if self.has_read_all_given:
                    return
                line = self.line
        except csv.Error:
            row = self.block.first_row + len(self.block)
            raise _quote_fault(self._path, self._delimiter, row, line, self._columns) from None

    def rest(self) -> Iterator[Block]:
        """The block as far as it is filled; the next one begins."""
        full, self.block = self.block, Block(self.block.first_row + len(self.block))
        self._mark = self._lines.characters
        if full.rows:
            yield full

    @property
    def _characters(self) -> int:
        return self._lines.characters - self._mark

    def _add(self, cells: list[str], line: int) -> None:
        if self.blank or len(cells) != len(self._columns):
            where = row_place(self._path, self.block.first_row + len(self.block), self.blank or line)
            raise ragged_error(where, [] if self.blank else cells, self._columns)
        self.block.lines.append(line)
        self.block.rows.append(cells)


@contextmanager
def _lines(path: str, delimiter: str) -> Iterator[_Lines]:
    try:
        # newline="" keeps line breaks inside quotes as they are; the csv module asks for it.
        with opened_text(path) as file, io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
            yield _Lines(path, text)
    except UnicodeDecodeError:
        raise not_utf8_error(path, place_of(HALF, path, delimiter)) from None
    except NulFound:
        where = place_of(NUL, path, delimiter) or path
        raise SourceError(f"{where} holds a NUL byte, which is no text: remove it") from None


def _reader(lines: _Lines, delimiter: str) -> Reader:
    # The limit is one for the whole process, so it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST))
    return csv.reader(lines, delimiter=delimiter, strict=True)


def _quote_fault(path: str, delimiter: str, row: int, start: int, columns: Sequence[str]) -> SourceError:
    """Reads again to find where exactly; ``columns`` only serve the sentence."""
    with _lines(path, delimiter) as again:
        fault = find_quote_fault(again, delimiter, start)
    return quote_fault_error(fault, path, row, start, columns)


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
