"""Cutting Arrow batches to size without copying them."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from opper_batch.sources.contract import BYTES_PER_BATCH


def sliced(batch: pa.RecordBatch, rows: int) -> Iterator[pa.RecordBatch]:
    """``batch`` in pieces of at most ``rows`` rows and about BYTES_PER_BATCH bytes, at least one row each."""
    step = min(rows, fitting_rows(batch.num_rows, batch.nbytes))
    for start in range(0, batch.num_rows, step):
        yield batch.slice(start, step)


def fitting_rows(rows: int, size: int) -> int:
    """How many rows fill a batch when ``rows`` of them take ``size`` bytes."""
    return max(1, rows * BYTES_PER_BATCH // max(size, BYTES_PER_BATCH)) if rows else 1
