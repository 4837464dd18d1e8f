"""One file, whatever its format: staged, verified, put in place by one rename."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from opper_batch.errors import SinkError
from opper_batch.inputs import Nan
from opper_batch.sinks.places import artifacts_dir
from opper_batch.sinks.staging import check_folder, machine_errors, publish, staged

GROUP_ROWS = 65_536
GROUP_BYTES = 64 * 2**20


class Out(Protocol):
    """An open file of some format. ``close`` finishes it; ``abandon`` only lets go of it, without raising."""

    def write(self, group: pa.Table) -> None: ...
    def close(self) -> None: ...
    def abandon(self) -> None: ...


class Layout(Protocol):
    """How a table becomes a file."""

    def open(self, path: Path, schema: pa.Schema) -> Out: ...

    def verify(self, path: Path, schema: pa.Schema, rows: int) -> None:
        """Reads the finished file's own account of itself; raises OSError when that is another table's."""


class Format(Layout, Protocol):
    """A layout that says beforehand what it cannot hold."""

    def check(self, schema: pa.Schema) -> None:
        """Raises SinkError, naming the column, for a type that it cannot hold."""

    def doubts(self, kind: pa.DataType) -> bool:
        """Whether it may be unable to hold some values of this type."""

    def check_values(self, batch: pa.RecordBatch, *, nan: Nan, first_row: int) -> None:
        """Raises BadValue for the first value that it cannot hold as it is."""


class Groups:
    """Batches in, groups of about 64k rows or 64 MB out, so that memory is bounded and files read fast."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0
        self._bytes = 0

    def __repr__(self) -> str:
        return f"<Groups {self._rows} rows waiting>"

    def add(self, batch: pa.RecordBatch) -> Iterator[pa.Table]:
        for start in range(0, batch.num_rows, GROUP_ROWS):
            piece = batch.slice(start, GROUP_ROWS)
            self._waiting.append(piece)
            self._rows += piece.num_rows
            self._bytes += piece.nbytes
            if self._rows >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
                yield from self.rest()

    def rest(self) -> Iterator[pa.Table]:
        if self._waiting:
            group = pa.Table.from_batches(self._waiting, schema=self._schema)
            self._waiting, self._rows, self._bytes = [], 0, 0
            yield group


class FileWriter:
    """Writes groups to an open file, counting rows."""

    def __init__(self, out: Out, schema: pa.Schema, target: str) -> None:
        self._out = out
        self._groups = Groups(schema)
        self._target = target
        self.rows = 0

    def __repr__(self) -> str:
        return f"<FileWriter {self._target}: {self.rows} rows>"

    def write(self, batch: pa.RecordBatch) -> None:
        with machine_errors(self._target):
            for group in self._groups.add(batch):
                self._out.write(group)
        self.rows += batch.num_rows

    def close(self) -> None:
        for group in self._groups.rest():
            self._out.write(group)
        self._out.close()


@contextmanager
def written(form: Layout, path: Path, schema: pa.Schema, target: str) -> Iterator[FileWriter]:
    """A writer to ``path``, whose file is whole and verified when the block has ended well."""
    with machine_errors(target):
        out = form.open(path, schema)
    try:
        writer = FileWriter(out, schema, target)
        yield writer
        with machine_errors(target):
            writer.close()
            form.verify(path, schema, writer.rows)
    except BaseException:
        out.abandon()
        raise


@dataclass(frozen=True)
class FileSink:
    """One file; a symbolic link is followed, so that it goes on pointing where it did."""

    target: str
    format: Format

    @property
    def artifacts(self) -> Path:
        return artifacts_dir(self.target)

    def check(self, schema: pa.Schema) -> None:
        check_names(schema)
        self.format.check(schema)
        final = Path(self.target).resolve()
        if final.is_dir():
            raise SinkError(f"{self.target} is a folder: name a file, or end with / for a Parquet folder")
        check_folder(final.parent, self.target)

    def doubts(self, kind: pa.DataType) -> bool:
        return self.format.doubts(kind)

    def check_values(self, batch: pa.RecordBatch, *, nan: Nan, first_row: int) -> None:
        self.format.check_values(batch, nan=nan, first_row=first_row)

    @contextmanager
    def open(self, schema: pa.Schema) -> Iterator[FileWriter]:
        self.check(schema)
        final = Path(self.target).resolve()
        with staged(final) as temporary:
            with written(self.format, temporary, schema, self.target) as writer:
                yield writer
            with machine_errors(self.target):
                publish(temporary, final)

    def remove(self) -> None:
        Path(self.target).resolve().unlink(missing_ok=True)


def check_names(schema: pa.Schema) -> None:
    """Raises SinkError for two columns of one name."""
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        raise SinkError(f'the result has two columns named "{twice[0]}": rename one of them')
