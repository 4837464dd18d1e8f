"""The columns that ``year=2024/country=de/`` folders add to the rows of the files inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from opper_batch.errors import SourceError
from opper_batch.sources.cells import BadCell, CellType
from opper_batch.sources.paths import Found
from opper_batch.sources.places import quoted


@dataclass(frozen=True, slots=True)
class PartitionColumns:
    """One field per folder key, appended after a file's own columns, and each file's values of them."""

    fields: tuple[pa.Field, ...]
    values: tuple[tuple[pa.Scalar, ...], ...]

    def extended(self, own: pa.Schema, where: str) -> pa.Schema:
        """A file's own schema with the partition columns appended; their names must not clash."""
        for field in self.fields:
            if field.name in own.names:
                raise SourceError(
                    f"{where}: {quoted(field.name)} is a column of the files and a key of their folders too; "
                    "rename one of them"
                )
        return pa.schema([*own, *self.fields])

    def add(self, batch: pa.RecordBatch, file: int, schema: pa.Schema) -> pa.RecordBatch:
        """``batch``, of the file with that number, with the constants of its folders."""
        if not self.fields:
            return batch
        constants = [pa.repeat(value, batch.num_rows) for value in self.values[file]]
        return pa.RecordBatch.from_arrays([*batch.columns, *constants], schema=schema)


def partition_keys(files: Sequence[Found]) -> tuple[str, ...]:
    """The folder keys, which must be the same for every file; raises SourceError naming two that differ."""
    first = files[0]
    keys = _keys(first)
    for file in files:
        if _keys(file) != keys:
            raise SourceError(
                f"the folders of {file.path} give the keys {_spelled(file)} and those of {first.path} "
                f"{_spelled(first)}: every file of one source needs the same key=value folders"
            )
    if len(set(keys)) < len(keys):
        raise SourceError(
            f"the folders of {first.path} give the same key twice: {_spelled(first)}; rename one"
        )
    return keys


def partition_columns(files: Sequence[Found], types: Mapping[str, CellType]) -> PartitionColumns:
    """Text columns, unless ``types`` (of the keys only) says otherwise; raises SourceError for a misfit."""
    keys = partition_keys(files)
    fields = tuple(pa.field(key, types[key].arrow if key in types else pa.string()) for key in keys)
    return PartitionColumns(fields, tuple(_values(file, types) for file in files))


def _values(file: Found, types: Mapping[str, CellType]) -> tuple[pa.Scalar, ...]:
    return tuple(_value(file, key, text, types.get(key)) for key, text in file.partition)


def _value(file: Found, key: str, text: str | None, declared: CellType | None) -> pa.Scalar:
    cell = pa.array([text], pa.string())
    try:
        return (cell if declared is None else declared.read(cell))[0]
    except BadCell as bad:
        raise SourceError(f"{file.path}, folder key {quoted(key)}: {bad.reason}") from None


def _keys(file: Found) -> tuple[str, ...]:
    return tuple(key for key, _ in file.partition)


def _spelled(file: Found) -> str:
    return ", ".join(quoted(key) for key in _keys(file)) or "(none)"
