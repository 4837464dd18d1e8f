"""What the output holds, learned from its batches as they go by, in memory that stays flat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from opper_batch.report.histogram import Histogram
from opper_batch.text import shortened

_MOST_VALUES = 1_000
_SAID_VALUES = 40
_TEXT = 120
_MOST_ROWS = 10
_MOST_REASONS = 30
_EXAMPLES = 3


class ColumnProfile:
    """One column over the rows that have an answer: nulls, shares of values, numbers, lengths."""

    def __init__(self, step: str, field: pa.Field) -> None:
        self.name, self.step = field.name, step
        declared = (field.metadata or {}).get(b"opper_batch.type")
        self._type = declared.decode() if declared else str(field.type)
        self._rows = self._nulls = 0
        self._values: Counter[str] | None = Counter()
        self._numbers = Histogram(whole=pt.is_integer(field.type) or _is_time(field.type))
        self._lengths = Histogram(whole=True)
        self._is_time = _is_time(field.type)

    def add(self, values: pa.Array) -> None:
        self._rows += len(values)
        self._nulls += values.null_count
        kind = values.type
        if pt.is_dictionary(kind):
            values, kind = values.cast(pa.string()), pa.string()
        if pt.is_boolean(kind):
            self._count(values.cast(pa.string()))
        elif pt.is_string(kind) or pt.is_large_string(kind):
            self._count(values)
            self._lengths.add(pc.utf8_length(values))
        elif pt.is_integer(kind) or pt.is_floating(kind) or pt.is_decimal(kind):
            self._numbers.add(values)
        elif _is_time(kind):
            self._numbers.add(values.cast(pa.timestamp("s"), safe=False).cast(pa.int64()))
        elif pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind):
            self._lengths.add(pc.list_value_length(values))
            if pt.is_string(kind.value_type):
                self._count(pc.list_flatten(values))
        elif pt.is_binary(kind) or pt.is_large_binary(kind):
            self._lengths.add(pc.binary_length(values))

    def _count(self, values: pa.Array) -> None:
        """Shares of values, until there are so many different ones that shares say nothing."""
        if self._values is None:
            return
        found = pc.value_counts(pc.utf8_slice_codeunits(values.drop_null(), 0, _TEXT))
        for value, count in zip(*(part.to_pylist() for part in found.flatten()), strict=True):
            self._values[value] += count
        if len(self._values) > _MOST_VALUES:
            self._values = None

    def as_json(self) -> dict[str, Any]:
        counted = self._values or Counter()
        said = sorted(counted.items(), key=lambda entry: (-entry[1], entry[0]))
        return {
            "name": self.name,
            "step": self.step,
            "type": self._type,
            "rows": self._rows,
            "null": self._nulls,
            "distinct": None if self._values is None else len(counted),
            "values": [list(entry) for entry in said[:_SAID_VALUES]],
            "other_values": sum(count for _, count in said[_SAID_VALUES:]),
            "numbers": self._numbers.as_json(),
            "times": self._is_time,
            "lengths": self._lengths.as_json(),
        }


class Profile:
    """The columns, the slowest and dearest rows, and examples of failed ones."""

    def __init__(self, columns: dict[str, pa.Schema], key: Sequence[str]) -> None:
        """``columns`` are those of each step by its name; ``key`` are the source's key columns."""
        self._columns = {step: [ColumnProfile(step, field) for field in of] for step, of in columns.items()}
        self._key = key
        self._row = 1
        self._most: dict[str, dict[str, tuple[float, dict[str, Any]]]] = {"latency_ms": {}, "cost": {}}
        self._examples: dict[str, list[dict[str, Any]]] = {}

    def add(self, batch: pa.RecordBatch) -> None:
        for step, columns in self._columns.items():
            status = batch.column(f"{step}_status")
            ok = pc.equal(status, "ok")
            every = ok.true_count == batch.num_rows  # usually: large values need not be copied
            for column in columns:
                values = batch.column(column.name)
                column.add(values if every else values.filter(ok))
            for measure in self._most:
                self._rank(measure, step, batch)
            self._fail(step, batch, pc.equal(status, "failed"))
        self._row += batch.num_rows

    def _rank(self, measure: str, step: str, batch: pa.RecordBatch) -> None:
        """Keep the largest; rows that share an answer count once."""
        values = batch.column(f"{step}_{measure}")
        kept = self._most[measure]
        least = min(value for value, _ in kept.values()) if len(kept) == _MOST_ROWS else 0.0
        for index in pc.array_sort_indices(values, order="descending")[: 5 * _MOST_ROWS].to_pylist():
            value = values[index].as_py()
            call = batch.column(f"{step}_key")[index].as_py() if value and value > least else None
            if not call:
                break
            if call not in kept:
                kept[call] = (value, {**self._named(step, batch, index), **_used(step, batch, index)})
        best = sorted(kept.items(), key=lambda entry: -entry[1][0])[:_MOST_ROWS]
        self._most[measure] = dict(best)

    def _fail(self, step: str, batch: pa.RecordBatch, failed: pa.Array) -> None:
        if not failed.true_count:
            return
        errors = batch.column(f"{step}_error")
        for reason in pc.unique(errors.filter(failed)).to_pylist():
            found = self._examples.get(reason, [])
            if len(found) >= _EXAMPLES or (not found and len(self._examples) >= _MOST_REASONS):
                continue
            at = pc.indices_nonzero(pc.and_(failed, pc.equal(errors, reason)))
            for index in at[: _EXAMPLES - len(found)].to_pylist():
                found.append(self._named(step, batch, index))
            self._examples[reason] = found

    def _named(self, step: str, batch: pa.RecordBatch, index: int) -> dict[str, Any]:
        """How a person finds the row again."""
        return {
            "row": self._row + index,
            "key": {name: shortened(str(batch.column(name)[index].as_py()), _TEXT) for name in self._key},
            "step": step,
            "trace_uuid": batch.column(f"{step}_trace_uuid")[index].as_py(),
        }

    def as_json(self) -> dict[str, Any]:
        slowest, dearest = (
            [entry for _, entry in self._most[measure].values()] for measure in ("latency_ms", "cost")
        )
        return {
            "columns": [column.as_json() for columns in self._columns.values() for column in columns],
            "slowest": slowest,
            "dearest": dearest,
            "examples": [{"reason": reason, "rows": rows} for reason, rows in self._examples.items()],
        }


def _used(step: str, batch: pa.RecordBatch, index: int) -> dict[str, Any]:
    names = ("model", "latency_ms", "cost", "input_tokens", "output_tokens", "attempts", "cached")
    return {name: batch.column(f"{step}_{name}")[index].as_py() for name in names}


def _is_time(kind: pa.DataType) -> bool:
    return bool(pt.is_date(kind) or pt.is_timestamp(kind))
