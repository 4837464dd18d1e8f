"""Before anything is called: every row's key is one of its own, and every row can be sent and stored."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa

from opper_batch.calls import Step
from opper_batch.errors import DefinitionError, SourceError
from opper_batch.inputs import BadValue, Nan, always_sendable, encode_inputs, input_schema
from opper_batch.protocol import digest_of
from opper_batch.runs.identities import identities
from opper_batch.seen import Seen
from opper_batch.sinks import Sink
from opper_batch.sources import Source, missing_column_error
from opper_batch.text import printable

BATCH_ROWS = 8_192


def check_rows(source: Source, *, key: Sequence[str], steps: Sequence[Step], sink: Sink | None) -> array[int]:
    """One pass, where one is needed: raises SourceError naming file, row and column.

    Gives a number for each row by its key columns; none when there are no key columns.
    """
    _check_key_columns(source, key)
    sent = {name for step in steps for name in step.inputs}
    doubtful = [
        field.name for field in source.schema if field.name in sent and not always_sendable(field.type)
    ]
    stored = [field.name for field in source.schema if sink and sink.doubts(field.type)]
    found = identities(())
    if not key and not doubtful and not stored:
        return found
    seen, first_row = Seen(), 1
    nan: Nan = steps[0].nan if steps else "refuse"
    for batch in source.batches(BATCH_ROWS):
        if key:
            found += identities(_check_key(batch, key, seen, first_row=first_row, source=source))
        with _placed(source, "cannot be sent"):
            encode_inputs(batch, doubtful, nan=nan, first_row=first_row)
        if sink and stored:
            with _placed(source, f"cannot go into {sink.target}"):
                sink.check_values(batch.select(stored), nan=nan, first_row=first_row)
        first_row += batch.num_rows
    seen.close()
    return found


@contextmanager
def _placed(source: Source, what: str) -> Iterator[None]:
    """Whatever value is refused inside is told with the file and the row that it is in."""
    try:
        yield
    except BadValue as bad:
        where = f"{source.place(bad.row)}, column {printable(bad.column)!r}"
        raise SourceError(f"{where} {what}: {bad.reason}") from None


def _check_key_columns(source: Source, key: Sequence[str]) -> None:
    for name in key:
        if name not in source.schema.names:
            raise missing_column_error(source.schema, name, where=f"source.key: {source.name}")
    try:
        input_schema(source.schema, key)
    except DefinitionError as error:
        raise DefinitionError(f"source.key: {error.message}") from None


def _check_key(
    batch: pa.RecordBatch, key: Sequence[str], seen: Seen, *, first_row: int, source: Source
) -> list[bytes]:
    for column in key:
        nulls = batch.column(column).is_null().to_pylist()
        if True in nulls:
            where = source.place(first_row + nulls.index(True))
            raise SourceError(f"{where}: key column {column!r} is null; give every row a key")
    with _placed(source, "cannot be a key"):
        texts = encode_inputs(batch, key, nan="null", first_row=first_row)
    digests = [digest_of(text) for text in texts]
    repeated = seen.add(digests)
    if True in repeated:
        where = source.place(first_row + repeated.index(True))
        raise SourceError(
            f"{where}: its key ({', '.join(key)}) is that of an earlier row; "
            "make it unique, or name more columns in source.key"
        )
    return digests
