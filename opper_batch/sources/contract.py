"""What a source promises, and the small values it answers with."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from opper_batch.errors import SourceError
from opper_batch.sources.places import quoted

BATCH_ROWS = 8192

# A batch is closed early when it holds this much, so that a few rows of huge cells stay within memory:
# for text files the characters read, for Arrow data the bytes of its buffers.
TEXT_PER_BATCH = 16 * 1024 * 1024
BYTES_PER_BATCH = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Signature:
    """What tells one state of a file from another: its size in bytes and when it was last written."""

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Checked:
    """A source that was looked through and found whole; ``files`` is empty when it is not made of files."""

    rows: int
    schema: pa.Schema
    files: tuple[Signature, ...] = ()


class Source(Protocol):
    """A table that can be read again and again, in bounded memory, always the same.

    ``name`` is short, for error messages; ``describe()`` says what it is; ``schema`` is known after
    ``check()``.
    """

    @property
    def name(self) -> str: ...

    @property
    def schema(self) -> pa.Schema: ...

    def describe(self) -> str: ...

    def check(self) -> Checked:
        """Find every fault before anything is called; raises SourceError for the first one.

        Every row of every file is read, and looked at.
        """
        ...

    def place(self, row: int) -> str:
        """Where the row with this number (from 1) is, for a sentence: its file, and its number there."""
        ...

    def batches(self, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """The rows in source order, at most ``rows`` to a batch, every batch with ``schema``.

        Every pass gives the same rows in the same order; when a file changed since ``check()`` it raises
        SourceError instead. A pass without a ``check()`` before it does that first.
        """
        ...


def missing_column_error(schema: pa.Schema, name: str, where: str) -> SourceError:
    """The sentence for a column that ``where`` (a source's name) lacks, with the nearest name it has."""
    lowered = {known.lower(): known for known in schema.names}
    near = difflib.get_close_matches(name.lower(), lowered, n=1)
    advice = f"did you mean {quoted(lowered[near[0]])}?" if near else f"it has {_listed(schema.names)}"
    return SourceError(f"{where} has no column {quoted(name)}: {advice}")


def check_names(names: Sequence[str], where: str) -> None:
    """Refuse columns that cannot be told apart or named. Names that differ only in case are legal."""
    if not names:
        raise SourceError(f"{where} has no columns: a source needs at least one")
    seen: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        if not name.strip():
            raise SourceError(f"{where}: column {number} has no name; give every column a name")
        if name in seen:
            raise SourceError(
                f"{where}: columns {seen[name]} and {number} are both named {quoted(name)}; rename one"
            )
        seen[name] = number


def check_batch_rows(rows: int) -> None:
    if rows < 1:
        raise ValueError(f"a batch holds at least one row, not {rows}")


def _listed(names: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(quoted(name) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
