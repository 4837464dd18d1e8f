"""Parquet and Arrow IPC files as batches: their types are in the files, and stay what they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from opper_batch.errors import SourceError
from opper_batch.sources.contract import BATCH_ROWS, check_names
from opper_batch.sources.places import first_line
from opper_batch.sources.schemas import conformed, merged
from opper_batch.sources.slices import fitting_rows, sliced
from opper_batch.sources.valid import check_values

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

_IPC_FILE_MAGIC = b"ARROW1"


@dataclass(frozen=True, slots=True)
class ParquetFormat:
    @property
    def label(self) -> str:
        return "Parquet"

    def check(self, paths: Sequence[str]) -> tuple[int, pa.Schema]:
        return _checked(paths, _parquet_shape, _parquet_batches)

    def read(self, path: str, schema: pa.Schema, rows: int) -> Iterator[pa.RecordBatch]:
        for batch in _parquet_batches(path, rows):
            for piece in sliced(batch, rows):
                yield conformed(piece, schema)


@dataclass(frozen=True, slots=True)
class IpcFormat:
    """Both kinds of Arrow IPC: the file format (also called Feather V2) and the stream format."""

    @property
    def label(self) -> str:
        return "Arrow IPC"

    def check(self, paths: Sequence[str]) -> tuple[int, pa.Schema]:
        return _checked(paths, ipc_shape, _ipc_batches)

    def read(self, path: str, schema: pa.Schema, rows: int) -> Iterator[pa.RecordBatch]:
        for batch in _ipc_batches(path, rows):
            for piece in sliced(batch, rows):
                yield conformed(piece, schema)


def _checked(
    paths: Sequence[str],
    shape: Callable[[str], tuple[int, pa.Schema]],
    batches: Callable[[str, int], Iterator[pa.RecordBatch]],
) -> tuple[int, pa.Schema]:
    """What differs between files is told from their schemas alone, before any of them is read whole."""
    counts = {}
    counts[paths[0]], schema = shape(paths[0])
    check_names(schema.names, paths[0])
    for path in paths[1:]:
        counts[path], other = shape(path)
        schema = merged(paths[0], schema, path, other)
    for path, rows in counts.items():
        check_values(batches(path, BATCH_ROWS), path, rows=rows)
    return sum(counts.values()), schema.remove_metadata()


@contextmanager
def _readable(path: str, label: str) -> Iterator[None]:
    """What Arrow says about a broken file becomes one sentence."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise SourceError(
            f"{path} cannot be read as {label} ({first_line(error)}): "
            f"it is broken, cut short, or no {label} file; write it anew"
        ) from error


def _opened_parquet(path: str) -> ParquetFile:
    from pyarrow.parquet import ParquetFile

    # Not memory-mapped: a mapped file that shrinks while it is read takes the whole process down.
    return ParquetFile(path, memory_map=False, pre_buffer=False, buffer_size=1024 * 1024)


def _parquet_shape(path: str) -> tuple[int, pa.Schema]:
    with _readable(path, "Parquet"), _opened_parquet(path) as file:
        return file.metadata.num_rows, _legible(file.schema_arrow)


def _parquet_batches(path: str, rows: int) -> Iterator[pa.RecordBatch]:
    with _readable(path, "Parquet"), _opened_parquet(path) as file:
        yield from file.iter_batches(batch_size=min(rows, _parquet_batch_rows(file)))


def _parquet_batch_rows(file: ParquetFile) -> int:
    """How many rows of the widest row group fill a batch, by the sizes that the footer gives."""
    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    return min((fitting_rows(group.num_rows, group.total_byte_size) for group in groups), default=1)


def ipc_shape(path: str) -> tuple[int, pa.Schema]:
    """The rows and the schema of one Arrow IPC file or stream."""
    with _readable(path, "Arrow IPC"), pa.OSFile(path) as file:
        if _is_ipc_file(file):
            reader = pa.ipc.open_file(file)
            return reader.count_rows(), _legible(reader.schema)
        stream = pa.ipc.open_stream(file)
        return sum(batch.num_rows for batch in stream), _legible(stream.schema)


def _legible(schema: pa.Schema) -> pa.Schema:
    """The schema, when all its names are text; raises UnicodeDecodeError."""
    fields = [*schema]
    for field in fields:  # which grow by those inside them
        field.name.encode()
        fields += [field.type.field(index) for index in range(field.type.num_fields)]
    return schema


def _ipc_batches(path: str, rows: int = 0) -> Iterator[pa.RecordBatch]:
    """As they were written, of whatever size."""
    with _readable(path, "Arrow IPC"), pa.OSFile(path) as file:
        if not _is_ipc_file(file):
            yield from pa.ipc.open_stream(file)
            return
        reader = pa.ipc.open_file(file)
        for number in range(reader.num_record_batches):
            yield reader.get_batch(number)


def _is_ipc_file(file: pa.NativeFile) -> bool:
    start = file.read(len(_IPC_FILE_MAGIC))
    file.seek(0)
    return bytes(start) == _IPC_FILE_MAGIC
