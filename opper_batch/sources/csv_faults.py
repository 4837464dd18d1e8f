"""The sentences for broken CSV rows, and the search for where exactly a row broke.

Python's csv module knows that a row is wrong but not in which column; so the row is looked at once more here.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from opper_batch.errors import SourceError
from opper_batch.sources.places import quoted, row_place
from opper_batch.sources.text_files import LONGEST, opened_text

_DELIMITERS = ",;\t|"

# What has no place in a cell: NUL, and a byte that is not UTF-8, as ``surrogateescape`` reads it.
NUL = re.compile("\0")
HALF = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True, slots=True)
class QuoteFault:
    """The quote that breaks the cell with this number (from 1): where it opens, where it wrongly closes.

    ``after`` is the character behind its closing quote; empty when the quote is never closed.
    """

    cell: int
    opened: int
    line: int
    after: str


def ragged_error(where: str, cells: Sequence[str], columns: Sequence[str]) -> SourceError:
    """``where`` is file, row and line; it names the first column missing, or the last there is."""
    count = f"{len(cells)} cell{'' if len(cells) == 1 else 's'} where the header has {len(columns)}"
    if not cells:
        return SourceError(
            f"{where} is blank where {len(columns)} cells should be: remove the line, or fill it"
        )
    if len(cells) < len(columns):
        return SourceError(
            f"{where} ends before column {quoted(columns[len(cells)])}: it has {count}; complete it"
        )
    return SourceError(
        f"{where} goes on after the last column {quoted(columns[-1])}: it has {count}; "
        "put cells that hold the delimiter in quotes, or remove what is too much"
    )


def quote_fault_error(
    fault: QuoteFault | None, path: str, row: int, start: int, columns: Sequence[str]
) -> SourceError:
    """What is wrong with the quotes of the row beginning on line ``start``; row 0 is the header."""
    where = f"{path}, line {start} (the header)" if row == 0 else row_place(path, row, start)
    if fault is None:
        return SourceError(f"{where} holds a cell longer than {LONGEST:,} characters: is a quote left open?")
    if row and fault.cell <= len(columns):
        where = row_place(path, row, start, columns[fault.cell - 1])
    else:
        where = f"{where}, cell {fault.cell}"
    if not fault.after:
        return SourceError(f"{where}: the quote opened on line {fault.opened} is never closed; close it")
    if row == 0 and fault.after in _DELIMITERS:
        return SourceError(f"{where} is followed by {fault.after!r}: set delimiter = {fault.after!r}")
    return SourceError(
        f"{where}: text follows the closing quote on line {fault.line}; write a quote inside a cell twice, "
        f"and close the quote opened on line {fault.opened}"
    )


def find_quote_fault(lines: Iterable[str], delimiter: str, start: int) -> QuoteFault | None:
    """Walk the row that begins on line ``start`` the way the csv module does, to the quote that breaks it."""
    cell, opened, quoting = 1, start, False
    for number, line in enumerate(lines, start=1):
        if number < start:
            continue
        at = 0
        while at < len(line):
            if quoting:
                at = line.find('"', at) + 1
                if at == 0:
                    break
                if line[at : at + 1] == '"':
                    at += 1
                    continue
                quoting = False
                after = line[at : at + 1]
                if after not in (delimiter, "\r", "\n", ""):
                    return QuoteFault(cell, opened, number, after)
            elif line[at] == '"':
                quoting, opened, at = True, number, at + 1
                continue
            at = line.find(delimiter, at) + 1
            if at == 0:
                return None
            cell += 1
    return QuoteFault(cell, opened, start, "") if quoting else None


def place_of(bad: re.Pattern[str], path: str, delimiter: str) -> str | None:
    """Row and column of the first cell that holds what is ``bad``; None where an odd quote hides it.

    Reads the file again, leniently, since it is known to hold it.
    """
    with (
        opened_text(path) as file,
        io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="") as text,
        suppress(csv.Error),
    ):
        reader, row, start = csv.reader(text, delimiter=delimiter, strict=True), 0, 1
        columns: list[str] = []
        for cells in reader:
            columns = columns or cells
            for index, cell in enumerate(cells):
                if bad.search(cell) and not row:
                    return f"{path}, line {start} (the header)"
                if bad.search(cell):
                    return row_place(path, row, start, columns[index] if index < len(columns) else None)
            row += bool(cells) or len(columns) == 1
            start = reader.line_num + 1
    return None
