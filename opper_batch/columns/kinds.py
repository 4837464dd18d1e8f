"""The table of types: how each DuckDB type is read, sent, stored in Arrow, and said.

Nested types (STRUCT, lists, arrays) are made of these by ``shapes``. VARCHAR and ENUM are read there too,
because their rules come with the column.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa
from pydantic_core import CoreSchema, core_schema

from opper_batch.columns import scalars
from opper_batch.columns.scalars import Reader

if TYPE_CHECKING:
    from opper_batch.columns.sqltypes import SqlType


@dataclass(frozen=True, slots=True)
class Kind:
    """One line of the table.

    ``wire`` is the JSON Schema type. ``low`` and ``high`` are the type's own range, inclusive. ``ordered``
    says that a column may have ``min`` and ``max``; ``bound`` reads these, where ``read`` would round them.
    ``quick`` is pydantic's own check, given both bounds: of parsed JSON it takes nothing that ``read`` does
    not take, and makes the same of it.
    """

    wire: str
    arrow: Callable[[SqlType], pa.DataType]
    read: Callable[[SqlType], Reader]
    words: Callable[[SqlType], str]
    ordered: bool = True
    low: int | None = None
    high: int | None = None
    bound: Reader | None = None
    quick: Callable[[int | None, int | None], CoreSchema] | None = None

    def reader(self, sql: SqlType) -> Reader:
        """Reads a value of the type, within the type's own range."""
        return scalars.bounded(self.read(sql), self.low, self.high)


def _kind(
    wire: str,
    arrow: pa.DataType,
    read: Reader,
    words: str,
    *,
    ordered: bool = True,
    bound: Reader | None = None,
) -> Kind:
    return Kind(wire, lambda _: arrow, lambda _: read, lambda _: words, ordered=ordered, bound=bound)


def _whole(low: int, high: int, arrow: pa.DataType, words: str = "Whole number") -> Kind:
    read = scalars.read_whole
    kind = Kind("integer", lambda _: arrow, lambda _: read, lambda _: words, low=low, high=high)
    return replace(kind, quick=lambda low, high: core_schema.int_schema(strict=True, ge=low, le=high))


def _text(arrow: pa.DataType) -> Kind:
    """VARCHAR and ENUM: what is allowed comes with the column, so ``shapes.read_schema`` reads them."""
    return _kind("string", arrow, _read_elsewhere, "", ordered=False)


def _read_elsewhere(_: object) -> object:
    raise AssertionError("texts are read by shapes.read_schema")


def _decimal_words(sql: SqlType) -> str:
    return (
        f"Decimal number written as text, with at most {sql.precision - sql.scale} digits before the point "
        f"and at most {sql.scale} after it"
    )


_WIDE = 10**38 - 1  # what Arrow's decimal128(38, 0) holds; DuckDB's 128-bit integers reach a little further

KINDS: dict[str, Kind] = {
    "boolean": replace(
        _kind("boolean", pa.bool_(), scalars.read_boolean, "", ordered=False),
        quick=lambda _low, _high: core_schema.bool_schema(strict=True),
    ),
    "tinyint": _whole(-(2**7), 2**7 - 1, pa.int8()),
    "smallint": _whole(-(2**15), 2**15 - 1, pa.int16()),
    "integer": _whole(-(2**31), 2**31 - 1, pa.int32()),
    "bigint": _whole(-(2**63), 2**63 - 1, pa.int64()),
    "hugeint": _whole(-_WIDE, _WIDE, pa.decimal128(38, 0), "Whole number of at most 38 digits"),
    "utinyint": _whole(0, 2**8 - 1, pa.uint8()),
    "usmallint": _whole(0, 2**16 - 1, pa.uint16()),
    "uinteger": _whole(0, 2**32 - 1, pa.uint32()),
    "ubigint": _whole(0, 2**64 - 1, pa.uint64()),
    "uhugeint": _whole(0, _WIDE, pa.decimal128(38, 0), "Whole number of at most 38 digits"),
    "float": _kind("number", pa.float32(), scalars.read_single, "", bound=scalars.read_double),
    "double": _kind("number", pa.float64(), scalars.read_double, ""),
    "decimal": Kind(
        wire="string",
        arrow=lambda sql: pa.decimal128(sql.precision, sql.scale),
        read=lambda sql: scalars.decimal_reader(sql.precision, sql.scale),
        words=_decimal_words,
    ),
    "varchar": _text(pa.string()),
    "enum": _text(pa.string()),
    "date": _kind("string", pa.date32(), scalars.read_date, "Date written as YYYY-MM-DD"),
    "time": _kind("string", pa.time64("us"), scalars.read_time, "Time of day written as HH:MM:SS"),
    "timestamp": _kind(
        "string",
        pa.timestamp("us"),
        scalars.read_timestamp,
        "Date and time written as YYYY-MM-DDTHH:MM:SS, without offset",
    ),
    "timestamp with time zone": _kind(
        "string",
        pa.timestamp("us", tz="UTC"),
        scalars.read_timestamptz,
        "Date and time with its offset from UTC, written as YYYY-MM-DDTHH:MM:SS+HH:MM",
    ),
    "uuid": _kind("string", pa.string(), scalars.read_uuid, "UUID", ordered=False),
    "json": _kind("string", pa.string(), scalars.read_json, "Any JSON, written as text", ordered=False),
    "blob": _kind("string", pa.binary(), scalars.read_blob, "Bytes written as base64 text", ordered=False),
}
