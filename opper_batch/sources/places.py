"""Saying where something is: one spelling for every sentence about a table."""

from __future__ import annotations

from opper_batch.text import printable, shortened


def quoted(text: str, limit: int = 60) -> str:
    """A name or a cell as it may be shown: on one line, cut, fit for a terminal, in quotes."""
    return f"'{printable(shortened(text, limit))}'"


def row_place(file: str, row: int, line: int, column: str | None = None) -> str:
    """``tickets.csv, row 3 (line 5), column 'body'``: data rows and lines both count from 1."""
    where = f"{file}, row {row}" if row == line else f"{file}, row {row} (line {line})"
    return where if column is None else f"{where}, column {quoted(column)}"


def line_place(file: str, line: int, column: str | None = None) -> str:
    """``tickets.jsonl, line 3, column 'body'``."""
    where = f"{file}, line {line}"
    return where if column is None else f"{where}, column {quoted(column)}"


def first_line(error: BaseException, *, end: str = "\n") -> str:
    """What a library said up to ``end``, on one line and without its full stop."""
    said = str(error).strip().split(end)[0] or type(error).__name__
    return printable(shortened(said)).rstrip(".")
