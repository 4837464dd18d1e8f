"""CSV as batches: cells are text unless declared, and a cell equal to the null text is null."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from opper_batch.errors import SourceError
from opper_batch.sources.cells import BadCell, CellType
from opper_batch.sources.contract import BATCH_ROWS, missing_column_error
from opper_batch.sources.csv_rows import Block, PlainBlock, read_blocks, read_header
from opper_batch.sources.places import row_place
from opper_batch.sources.schemas import merged


@dataclass(frozen=True, slots=True)
class CsvFormat:
    """``null_text`` is compared with whole cells, quoted or not; the empty cell by default.

    ``delimiter`` None is a tab in ``.tsv`` files and a comma in all others.
    """

    declared: Mapping[str, CellType]
    delimiter: str | None = None
    null_text: str = ""

    @property
    def label(self) -> str:
        return "CSV"

    def check(self, paths: Sequence[str]) -> tuple[int, pa.Schema]:
        """Every row of every file is read, and every declared cell parsed."""
        schema = self._header(paths[0])
        for name in self.declared:
            if name not in schema.names:
                raise missing_column_error(schema, name, f"source.types: {paths[0]}")
        for path in paths[1:]:
            merged(paths[0], schema, path, self._header(path))
        rows = 0
        for path in paths:
            for block in read_blocks(path, self._delimiter(path), schema.names, BATCH_ROWS):
                rows += len(block)
                for index, name in enumerate(schema.names):
                    if name in self.declared:
                        self._column(path, block, name, index)
        return rows, schema

    def read(self, path: str, schema: pa.Schema, rows: int) -> Iterator[pa.RecordBatch]:
        for block in read_blocks(path, self._delimiter(path), schema.names, rows):
            arrays = [self._column(path, block, name, index) for index, name in enumerate(schema.names)]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _column(self, path: str, block: Block | PlainBlock, name: str, index: int) -> pa.Array:
        text = block.texts(index)
        text = pc.if_else(pc.equal(text, self.null_text), pa.scalar(None, pa.string()), text)
        if name not in self.declared:
            return text
        try:
            return self.declared[name].read(text)
        except BadCell as bad:
            where = row_place(path, block.first_row + bad.index, block.lines[bad.index], name)
            raise SourceError(f"{where}: {bad.reason}") from None

    def _header(self, path: str) -> pa.Schema:
        names = read_header(path, self._delimiter(path))
        types = [self.declared[name].arrow if name in self.declared else pa.string() for name in names]
        return pa.schema(list(zip(names, types, strict=True)))

    def _delimiter(self, path: str) -> str:
        return self.delimiter or ("\t" if Path(path).suffix.lower() == ".tsv" else ",")
