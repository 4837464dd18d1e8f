"""Before anything is called: every row's key is one of its own, and every row can be sent."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import pyarrow as pa

from opper_batch.calls import Step
from opper_batch.errors import SourceError
from opper_batch.inputs import encode_inputs, is_text
from opper_batch.protocol import digest_of
from opper_batch.runs.identities import identities
from opper_batch.seen import Seen
from opper_batch.sources import Source, missing_column_error

BATCH_ROWS = 8_192


def check_rows(source: Source, *, key: Sequence[str], steps: Sequence[Step]) -> array[int]:
    """One pass, where one is needed: raises SourceError naming row and column.

    Gives a number for each row by its key columns; none when there are no key columns.
    """
    for name in key:
        if name not in source.schema.names:
            raise missing_column_error(source.schema, name, where=f"source.key: {source.name}")
    sent = {name for step in steps for name in step.inputs}
    doubtful = [
        field.name for field in source.schema if field.name in sent and not _always_sendable(field.type)
    ]
    found = identities(())
    if not key and not doubtful:
        return found
    seen, first_row = Seen(), 1
    for batch in source.batches(BATCH_ROWS):
        if key:
            found += identities(_check_key(batch, key, seen, first_row=first_row, name=source.name))
        if doubtful:
            encode_inputs(batch, doubtful, nan=steps[0].nan, first_row=first_row)
        first_row += batch.num_rows
    seen.close()
    return found


def _check_key(
    batch: pa.RecordBatch, key: Sequence[str], seen: Seen, *, first_row: int, name: str
) -> list[bytes]:
    for column in key:
        nulls = batch.column(column).is_null().to_pylist()
        if True in nulls:
            row = first_row + nulls.index(True)
            raise SourceError(f"{name}, row {row}: key column {column!r} is null; give every row a key")
    digests = [digest_of(text) for text in encode_inputs(batch, key, nan="null")]
    repeated = seen.add(digests)
    if True in repeated:
        row = first_row + repeated.index(True)
        raise SourceError(
            f"{name}, row {row}: its key ({', '.join(key)}) is that of an earlier row; "
            "make it unique, or name more columns in source.key"
        )
    return digests


def _always_sendable(kind: pa.DataType) -> bool:
    """Text and whole numbers have JSON for every value; floats (NaN), dates (year 10000) have not."""
    if pa.types.is_dictionary(kind):
        return _always_sendable(kind.value_type)
    return is_text(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)
