"""Moments and durations that DuckDB would cut, take for infinity, or store and never read again."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt


def is_temporal(kind: pa.DataType) -> bool:
    """Whether it is a type that ``temporal_fault`` looks at; a time of day always fits."""
    return bool(pt.is_temporal(kind)) and not pt.is_time(kind)


def temporal_fault(values: pa.Array) -> str | None:
    """Why some of these values cannot be stored as they are; None when all can."""
    kind = values.type
    if pt.is_duration(kind) and not _castable(values, pa.duration("us")):
        return "an INTERVAL keeps whole microseconds, at most 292,000 years of them; round it in the source"
    if pt.is_interval(kind) and any(
        value is not None and value.nanoseconds % 1000 for value in values.to_pylist()
    ):
        return "an INTERVAL keeps whole microseconds; round it in the source"
    if pt.is_date32(kind) and _holds(values.cast(pa.int32()), 2**31 - 1):
        return "DuckDB takes its date for infinity; correct it"
    if pt.is_timestamp(kind) and (
        _holds(values.cast(pa.int64()), 2**63 - 1)
        or (kind.unit in ("s", "ms") and not _castable(values, pa.timestamp("us", kind.tz)))
    ):
        return "its date lies beyond those of DuckDB; correct it"
    return None


def _castable(values: pa.Array, kind: pa.DataType) -> bool:
    try:
        values.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _holds(numbers: pa.Array, limit: int) -> bool:
    """Whether one of the numbers is ``limit`` or its negative, or lies beyond."""
    ends = pc.min_max(numbers).as_py()
    return ends["max"] is not None and (ends["max"] >= limit or ends["min"] <= -limit)
