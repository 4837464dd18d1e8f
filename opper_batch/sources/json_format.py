"""JSONL as batches: types found over the whole files, or declared."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from opper_batch.errors import SourceError
from opper_batch.sources.cells import BadCell, CellType
from opper_batch.sources.contract import BATCH_ROWS, check_names
from opper_batch.sources.json_rows import Block, WrittenFloat, read_blocks
from opper_batch.sources.json_shapes import Shape, new_keys
from opper_batch.sources.places import line_place


@dataclass(frozen=True, slots=True)
class JsonLinesFormat:
    """Columns in the order their keys first appear; a key that a line lacks is null.

    A declared column is there even when no line has its key, since a key may be missing from a whole file.
    Its values are read as CSV cells are, from how they are written: 1.10 as DECIMAL(10,2) is exactly 1.10.
    """

    declared: Mapping[str, CellType]

    @property
    def label(self) -> str:
        return "JSONL"

    def check(self, paths: Sequence[str]) -> tuple[int, pa.Schema]:
        """Every line of every file is read, and every declared value parsed."""
        columns: dict[str, Shape] = {}
        rows = 0
        for path in paths:
            for block in self._blocks(path, BATCH_ROWS):
                self._observe(path, block, columns)
                rows += len(block.objects)
        where = paths[0] if len(paths) == 1 else f"{paths[0]} and the files after it"
        names = [*columns, *(name for name in self.declared if name not in columns)]
        if not names:
            none = "no row has a key" if rows else "there is no row"
            raise SourceError(f"{where}: {none}, and so there is no column; declare the columns in types")
        check_names(names, where)
        return rows, pa.schema([(name, self._type(name, columns)) for name in names])

    def read(self, path: str, schema: pa.Schema, rows: int) -> Iterator[pa.RecordBatch]:
        for block in self._blocks(path, rows):
            arrays = [self._column(path, block, field) for field in schema]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _blocks(self, path: str, rows: int) -> Iterator[Block]:
        return read_blocks(path, rows, keep_written=bool(self.declared))

    def _observe(self, path: str, block: Block, columns: dict[str, Shape]) -> None:
        for key in new_keys(block.objects, columns, path):
            columns[key] = Shape(key, key)
        lines = range(block.first_line, block.first_line + len(block.objects))
        for name, shape in columns.items():
            if name in self.declared:
                self._declared_column(path, block, name)
            else:
                shape.observe([one.get(name) for one in block.objects], lines, path)

    def _column(self, path: str, block: Block, field: pa.Field) -> pa.Array:
        if field.name in self.declared:
            return self._declared_column(path, block, field.name)
        return pa.array([one.get(field.name) for one in block.objects], field.type)

    def _declared_column(self, path: str, block: Block, name: str) -> pa.Array:
        cells = pa.array([_as_written(one.get(name)) for one in block.objects], pa.string())
        try:
            return self.declared[name].read(cells)
        except BadCell as bad:
            raise SourceError(
                f"{line_place(path, block.first_line + bad.index, name)}: {bad.reason}"
            ) from None

    def _type(self, name: str, columns: Mapping[str, Shape]) -> pa.DataType:
        return self.declared[name].arrow if name in self.declared else columns[name].resolve()


def _as_written(value: Any) -> str | None:
    """The text that a declared column reads: text as it is, anything else as its JSON."""
    if value is None or isinstance(value, str):
        return value
    return _json(value)


def _json(value: Any) -> str:
    """Compact JSON, with every number as it was written."""
    if isinstance(value, WrittenFloat):
        return value.text
    if isinstance(value, list):
        return "[" + ",".join(map(_json, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_json(key)}:{_json(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)
