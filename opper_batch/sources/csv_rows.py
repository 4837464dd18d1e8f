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

from opper_batch.errors import SourceError
from opper_batch.sources.contract import TEXT_PER_BATCH, check_names
from opper_batch.sources.csv_faults import find_quote_fault, quote_fault_error, ragged_error
from opper_batch.sources.places import line_place, quoted, row_place
from opper_batch.sources.text_files import LONGEST, not_utf8_error, opened_text

if TYPE_CHECKING:
    from _csv import Reader

_CHUNK = 256 * 1024  # characters
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}


@dataclass(slots=True)
class Block:
    """Some rows in order: the first one's number (data rows count from 1), and the line each begins on."""

    first_row: int
    lines: list[int] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


class _Lines:
    """The file's lines with their endings kept; counts the characters handed out, remembers the first line.

    Lines are cut from the text many at a time, so that none costs a step of Python.
    """

    def __init__(self, path: str, text: io.TextIOWrapper) -> None:
        self.characters = 0
        self.first = ""
        self._path = path
        self._text = text

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(self._groups())

    def _groups(self) -> Iterator[list[str]]:
        given = 0
        for text in self._whole_lines():
            lines = list(io.StringIO(text, newline=""))
            self.first = self.first or lines[0]
            self.characters += len(text)
            if "\0" in text or len(text) >= LONGEST:
                yield from self._up_to_fault(lines, given)
            else:
                yield lines
            given += len(lines)

    def _whole_lines(self) -> Iterator[str]:
        """The text, cut behind line breaks."""
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
            where = line_place(self._path, given + index + 1)
            if "\0" in line:
                yield lines[:index]
                raise SourceError(f"{where} holds a NUL byte: it is no text, or UTF-16; convert it to UTF-8")
            if len(line) >= LONGEST:
                yield lines[:index]
                raise SourceError(f"{where} is longer than {LONGEST:,} characters")
        yield lines


def read_header(path: str, delimiter: str) -> list[str]:
    """The column names as written; raises SourceError for an empty file and for names that will not do."""
    with _lines(path) as lines:
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


def read_blocks(path: str, delimiter: str, columns: Sequence[str], size: int) -> Iterator[Block]:
    """The data rows, each as wide as ``columns``, at most ``size`` to a block and bounded in characters."""
    width = len(columns)
    with _lines(path) as lines:
        reader = _reader(lines, delimiter)
        next(reader, None)
        block, mark, line, blank = Block(1), lines.characters, reader.line_num + 1, 0
        try:
            for cells in reader:
                if not cells and width > 1:  # nothing at the end of the file, a fault before it
                    blank, line = blank or line, reader.line_num + 1
                    continue
                cells = cells or [""]
                if blank or len(cells) != width:
                    where = row_place(path, block.first_row + len(block.rows), blank or line)
                    raise ragged_error(where, [] if blank else cells, columns)
                block.lines.append(line)
                block.rows.append(cells)
                line = reader.line_num + 1
                if len(block.rows) == size or lines.characters - mark > TEXT_PER_BATCH:
                    yield block
                    block, mark = Block(block.first_row + len(block.rows)), lines.characters
        except csv.Error:
            row = block.first_row + len(block.rows)
            raise _quote_fault(path, delimiter, row, line, columns) from None
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


def _reader(lines: _Lines, delimiter: str) -> Reader:
    # The limit is one for the whole process, so it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST))
    return csv.reader(lines, delimiter=delimiter, strict=True)


def _quote_fault(path: str, delimiter: str, row: int, start: int, columns: Sequence[str]) -> SourceError:
    """Reads again to find where exactly; ``columns`` only serve the sentence."""
    with _lines(path) as again:
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
