"""A source made of files of one format, and the guard against files that change during a run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import pyarrow as pa

from opper_batch.errors import SourceError
from opper_batch.sources.contract import BATCH_ROWS, Checked, Signature, check_batch_rows
from opper_batch.sources.hive import PartitionColumns
from opper_batch.sources.paths import Found
from opper_batch.sources.places import first_line


class Format(Protocol):
    """How one kind of file is read; holds options, no state. Its sentences name the file."""

    @property
    def label(self) -> str: ...

    def check(self, paths: Sequence[str]) -> tuple[int, pa.Schema]:
        """Rows of all files, and the one schema they share; raises SourceError for the first fault."""
        ...

    def read(self, path: str, schema: pa.Schema, rows: int) -> Iterator[pa.RecordBatch]:
        """One file's rows in order, in batches of exactly ``schema``, which ``check`` gave."""
        ...


class FileSource:
    """Files read one after the other, each with the columns that its ``key=value`` folders add."""

    def __init__(
        self, name: str, files: Sequence[Found], layout: Format, partitions: PartitionColumns
    ) -> None:
        self.name = name
        self._paths = [file.path for file in files]
        self._format = layout
        self._partitions = partitions
        self._checked: Checked | None = None
        self._own_schema = pa.schema([])

    def __repr__(self) -> str:
        return f"FileSource({self.describe()})"

    def describe(self) -> str:
        kind = self._format.label
        count = kind if len(self._paths) == 1 else f"{len(self._paths):,} {kind} files"
        rows = "" if self._checked is None else f", {self._checked.rows:,} rows"
        return f"{self.name} ({count}{rows})"

    @property
    def schema(self) -> pa.Schema:
        return self._once_checked().schema

    def check(self) -> Checked:
        signatures = tuple(sign(path) for path in self._paths)
        rows, own = self._format.check(self._paths)
        for signature in signatures:
            _refuse_changed(signature)
        self._own_schema = own
        self._checked = Checked(rows, self._partitions.extended(own, self.name), signatures)
        return self._checked

    def batches(self, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        check_batch_rows(rows)
        checked = self._once_checked()
        for number, signature in enumerate(checked.files):
            with _unchanged(signature):
                for batch in self._format.read(signature.path, self._own_schema, rows):
                    yield self._partitions.add(batch, number, checked.schema)

    def place(self, row: int) -> str:
        for path in self._paths[:-1]:
            rows = sum(batch.num_rows for batch in self._format.read(path, self._own_schema, BATCH_ROWS))
            if row <= rows:
                return f"{path}, row {row}"
            row -= rows
        return f"{self._paths[-1]}, row {row}"

    def _once_checked(self) -> Checked:
        return self._checked or self.check()


def sign(path: str) -> Signature:
    try:
        stat = os.stat(path)
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read: {first_line(error)}; check that it is still there"
        ) from error
    return Signature(path, stat.st_size, stat.st_mtime_ns)


@contextmanager
def _unchanged(signature: Signature) -> Iterator[None]:
    """What is read inside is the file that was checked: it is looked at before, after, and on failure."""
    _refuse_changed(signature)
    try:
        yield
    except SourceError:
        _refuse_changed(signature)
        raise
    _refuse_changed(signature)


def _refuse_changed(signature: Signature) -> None:
    try:
        now = sign(signature.path)
    except SourceError as error:
        raise SourceError(
            f"{signature.path} disappeared during the run: put it back and run again"
        ) from error
    if now != signature:
        raise SourceError(
            f"{signature.path} changed during the run: run again once it is no longer written to"
        )
