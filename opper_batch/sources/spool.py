"""Sources that can be read only once, kept in a temporary Arrow file: every pass sees the same rows."""

from __future__ import annotations

import errno
import os
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from opper_batch.errors import MachineError, OpperBatchError, SourceError
from opper_batch.sources.arrow_formats import IpcFormat, ipc_shape
from opper_batch.sources.contract import BATCH_ROWS, Checked, check_batch_rows, check_names
from opper_batch.sources.places import first_line
from opper_batch.sources.slices import sliced
from opper_batch.sources.valid import check_values


class SpooledSource:
    """Asks ``fill`` for the rows once, at the first ``check()``, and reads them back from disk ever after.

    ``fill(path)`` writes an Arrow IPC file or stream. The file is private to the user, lies in ``folder`` (or
    where the system keeps temporary files), and goes with the source or with the interpreter.
    """

    def __init__(self, name: str, fill: Callable[[str], None], folder: Path | None) -> None:
        self.name = name
        self._fill = fill
        self._folder = folder
        self._path = ""
        self._checked: Checked | None = None
        self._failed: OpperBatchError | None = None

    def __repr__(self) -> str:
        return f"SpooledSource({self.describe()})"

    def describe(self) -> str:
        return self.name if self._checked is None else f"{self.name} ({self._checked.rows:,} rows)"

    @property
    def schema(self) -> pa.Schema:
        return self.check().schema

    def check(self) -> Checked:
        if self._failed is not None:  # half of a stream is gone: what is left of it must not pass for all
            raise self._failed
        if self._checked is None:
            try:
                self._checked = self._spooled()
            except OpperBatchError as error:
                self._failed = error
                raise
        return self._checked

    def batches(self, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        check_batch_rows(rows)
        checked = self.check()
        yield from IpcFormat().read(self._path, checked.schema, rows)

    def place(self, row: int) -> str:
        return f"{self.name}, row {row}"

    def _spooled(self) -> Checked:
        try:
            handle, self._path = tempfile.mkstemp(prefix="source-", suffix=".arrow", dir=self._folder)
            os.close(handle)
            weakref.finalize(self, _remove, self._path)
            self._fill(self._path)
        except OSError as error:
            raise _disk_error(error, self.name) from error
        rows, schema = ipc_shape(self._path)
        check_names(schema.names, self.name)
        check_values(IpcFormat().read(self._path, schema, BATCH_ROWS), self.name, rows=rows)
        return Checked(rows, schema.remove_metadata())


def write_stream(reader: pa.RecordBatchReader, path: str, name: str) -> None:
    """All that ``reader`` gives, to an Arrow stream file, in bounded memory; SourceError when it fails."""
    # The stream format, because dictionaries may differ from batch to batch; the file format forbids it.
    with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, reader.schema) as writer:
        for batch in _read(reader, name):
            for piece in sliced(batch, BATCH_ROWS):
                writer.write_batch(piece)


def _read(reader: pa.RecordBatchReader, name: str) -> Iterator[pa.RecordBatch]:
    try:
        yield from reader
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{name} failed while it was read: {first_line(error)}") from error


def _remove(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)


def _disk_error(error: OSError, name: str) -> OpperBatchError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return MachineError(
            f"the disk is full, {name} could not be spooled to {error.filename}: make room, run again"
        )
    return MachineError(f"{name} cannot be spooled to a temporary file: {first_line(error)}")
