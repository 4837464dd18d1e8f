"""The first rows of a source, for trying a pipeline out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa

from opper_batch.sources.contract import BATCH_ROWS, Checked, Source


class FirstRows:
    """At most ``limit`` rows of ``source``, which is still checked whole: a limit hides no fault."""

    def __init__(self, source: Source, limit: int) -> None:
        self._source = source
        self._limit = limit

    def __repr__(self) -> str:
        return f"FirstRows({self.describe()})"

    @property
    def name(self) -> str:
        return self._source.name

    def describe(self) -> str:
        return f"the first {self._limit:,} rows of {self._source.describe()}"

    @property
    def schema(self) -> pa.Schema:
        return self._source.schema

    def check(self) -> Checked:
        checked = self._source.check()
        return replace(checked, rows=min(checked.rows, self._limit))

    def place(self, row: int) -> str:
        return self._source.place(row)

    def batches(self, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        left = self._limit
        if not left:
            return
        for batch in self._source.batches(min(rows, left)):
            yield batch.slice(0, left)
            left -= batch.num_rows
            if left <= 0:
                return
