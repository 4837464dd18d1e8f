"""The rows of a source that are new or changed: those at or after a mark in one of its columns."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from opper_batch.errors import DefinitionError, SourceError
from opper_batch.sources.contract import BATCH_ROWS, Checked, Source, missing_column_error
from opper_batch.sources.places import quoted

_DAY = 86_400


class SinceRows:
    """The rows of ``source`` whose ``column`` is at or after ``mark`` (None: all of them), or null.

    Rows exactly at the mark are taken again, since others may have come with the same value. After
    ``check()``, ``of`` is how many rows there are in all, ``nulls`` how many of those taken have no value,
    and ``latest`` the greatest value as text; ``future`` counts those that lie more than a day ahead and are
    no ``latest``: one wrong date would hide every row after it.
    """

    def __init__(self, source: Source, column: str, mark: str | None) -> None:
        self.column = column
        self.mark = mark
        self.of = self.nulls = self.future = 0
        self.latest: str | None = None
        self._source = source

    def __repr__(self) -> str:
        return f"SinceRows({self.describe()})"

    @property
    def name(self) -> str:
        return self._source.name

    def describe(self) -> str:
        since = f" from {self.column} {self.mark} on" if self.mark else ""
        return f"{self._source.describe()}{since}"

    @property
    def schema(self) -> pa.Schema:
        return self._source.schema

    def check(self) -> Checked:
        checked = self._source.check()
        kind = self._kind(checked.schema)
        latest, soon = None, _soon(kind)
        rows = self.nulls = self.future = 0
        for batch in self.batches():
            values = batch.column(self.column)
            rows += batch.num_rows
            self.nulls += values.null_count
            if soon is not None:
                late = pc.fill_null(pc.greater(values, soon), False)
                self.future += late.true_count
                values = values.filter(pc.invert(late))
            latest = _greatest(latest, pc.max(values))
        self.of, self.latest = checked.rows, None if latest is None else text_of(latest)
        return replace(checked, rows=rows)

    def batches(self, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        for batch, taken in self._marked(rows):
            wanted = batch if taken is None else batch.filter(taken)
            if wanted.num_rows:
                yield wanted

    def place(self, row: int) -> str:
        """As the source itself numbers it, those that are not taken included."""
        before = 0
        for batch, taken in self._marked(BATCH_ROWS):
            if taken is None:
                break
            if row <= taken.true_count:
                return self._source.place(before + 1 + pc.indices_nonzero(taken)[row - 1].as_py())
            row, before = row - taken.true_count, before + batch.num_rows
        return self._source.place(before + row)

    def _marked(self, rows: int) -> Iterator[tuple[pa.RecordBatch, pa.BooleanArray | None]]:
        """Every batch of the source with which of its rows are taken; None: all."""
        mark = None if self.mark is None else scalar_of(self.mark, self._kind(self._source.schema))
        for batch in self._source.batches(rows):
            if mark is None:
                yield batch, None
            else:
                yield batch, pc.fill_null(pc.greater_equal(batch.column(self.column), mark), True)

    def _kind(self, schema: pa.Schema) -> pa.DataType:
        where = f"source.since: {self.name}"
        if self.column not in schema.names:
            raise missing_column_error(schema, self.column, where=where)
        kind = schema.field(self.column).type
        if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_integer(kind)):
            raise SourceError(
                f"{where}: column {quoted(self.column)} is {kind}, and what is new is told by a timestamp, a "
                "date or a whole number; declare it under [source.types], or cast it in the SQL "
                "(README.md#scheduled-runs)"
            )
        return kind


def scalar_of(text: str, kind: pa.DataType) -> pa.Scalar:
    """A mark, as ``text_of`` gives it or as people write it; without a zone it is UTC."""
    try:
        return pa.scalar(text).cast(_in_utc(kind)).cast(kind)
    except pa.ArrowInvalid:
        pass
    try:
        if not pa.types.is_integer(kind):
            return pa.scalar(_moment(text, kind), kind)
    except (ValueError, OverflowError, pa.ArrowException):
        pass
    raise DefinitionError(
        f"since = {quoted(text)}: is no {kind}, which the column holds; write it like "
        f"{'1200' if pa.types.is_integer(kind) else '2026-09-16' if pa.types.is_date(kind) else _EXAMPLE}"
    )


def text_of(scalar: pa.Scalar) -> str:
    """A value of the column as text that sorts nothing and loses nothing; moments in UTC."""
    return str(scalar.cast(_in_utc(scalar.type)).cast(pa.string()).as_py())


_EXAMPLE = "2026-09-16 07:00:00"


def _in_utc(kind: pa.DataType) -> pa.DataType:
    """Named zones need a database that not every machine has; a moment is the same in UTC."""
    return pa.timestamp(kind.unit, "UTC") if pa.types.is_timestamp(kind) and kind.tz else kind


def _moment(text: str, kind: pa.DataType) -> Any:
    moment = datetime.fromisoformat(text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if pa.types.is_date(kind):
        return moment.date()
    return moment if kind.tz else moment.replace(tzinfo=None)


def _soon(kind: pa.DataType) -> pa.Scalar | None:
    """A day from now: what is said to be later is most likely wrong."""
    if pa.types.is_integer(kind):
        return None
    return pa.scalar(_moment(datetime.fromtimestamp(time.time() + _DAY, UTC).isoformat(), kind), kind)


def _greatest(one: pa.Scalar | None, other: pa.Scalar) -> pa.Scalar | None:
    if not other.is_valid:
        return one
    return other if one is None or pc.greater(other, one).as_py() else one
