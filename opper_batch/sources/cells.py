"""Text cells read into declared types, strictly: what does not fit exactly is refused, never bent.

No blanks around, no rounding, no thousands marks, no local date orders. ``nan`` and ``inf`` are only floats.

| DuckDB type                   | how a cell is written                               | Arrow type         |
|-------------------------------|-----------------------------------------------------|--------------------|
| VARCHAR                       | anything                                            | string             |
| BOOLEAN                       | true, false (any case), 1, 0                        | bool               |
| TINYINT ... BIGINT, U...      | -42, 007                                            | int8 ... uint64    |
| HUGEINT                       | as above, up to 38 digits                           | decimal128(38, 0)  |
| DECIMAL(p, s)                 | -3.50; digits beyond the scale only when zero       | decimal128(p, s)   |
| FLOAT, DOUBLE                 | 1.5, -2e-3, nan, inf                                | float, double      |
| DATE                          | 2024-01-31                                          | date32             |
| TIME                          | 10:30:00, 10:30:00.123456                           | time64(us)         |
| TIMESTAMP, _S, _MS, _NS       | 2024-01-31 10:30:00 (or T between), or a date alone | timestamp          |
| TIMESTAMPTZ                   | 2024-01-31T10:30:00+02:00, ...Z                     | timestamp(us, UTC) |
| UUID                          | 123e4567-e89b-12d3-a456-426614174000                | string, as written |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from opper_batch.columns.sqltypes import unreadable
from opper_batch.errors import DefinitionError
from opper_batch.sources.places import quoted

if TYPE_CHECKING:
    from duckdb.sqltypes import DuckDBPyType


class BadCell(Exception):
    """A cell does not fit its declared type; ``index`` counts from 0 in the array that was read."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index = index
        self.reason = reason


@dataclass(frozen=True, slots=True)
class CellType:
    """How the cells of one declared column are written (``pattern``, RE2) and what they become."""

    declared: str
    arrow: pa.DataType
    pattern: str
    like: str

    def read(self, cells: pa.Array) -> pa.Array:
        """``cells`` (Arrow text, nulls stay null) as ``arrow``; raises BadCell for the first misfit."""
        if not self.pattern:
            return cells
        misfit = pc.index(pc.match_substring_regex(cells, self.pattern), False).as_py()
        if misfit >= 0:
            raise self._bad(cells, misfit)
        try:
            values = _cast(cells, self.arrow)
        except pa.ArrowInvalid:
            raise self._bad(cells, self._first_refused(cells)) from None
        self._refuse_overflow(cells, values)
        return values

    def _first_refused(self, cells: pa.Array) -> int:
        for index in range(len(cells)):
            try:
                _cast(cells.slice(index, 1), self.arrow)
            except pa.ArrowInvalid:
                return index
        raise AssertionError("the cast refused the cells together and none of them alone")

    def _refuse_overflow(self, cells: pa.Array, values: pa.Array) -> None:
        # Arrow reads 1e999 as infinity; only a cell that says inf means it.
        if not pa.types.is_floating(self.arrow):
            return
        said = pc.match_substring_regex(cells, "(?i)inf")
        overflow = pc.index(pc.and_not(pc.is_inf(values), said), True).as_py()
        if overflow >= 0:
            raise self._bad(cells, overflow)

    def _bad(self, cells: pa.Array, index: int) -> BadCell:
        shown = quoted(cells[index].as_py(), 30)
        return BadCell(index, f"{shown} is no {self.declared}: write it like {self.like}, or declare VARCHAR")


def cell_types(types: Mapping[str, str]) -> dict[str, CellType]:
    """Column name -> how its cells are read, from DuckDB type text; raises DefinitionError."""
    return {column: _cell_type(column, declared) for column, declared in types.items()}


_INTEGER = "^-?[0-9]+$"
_DECIMAL = r"^-?[0-9]+(\.[0-9]+)?$"
_FLOAT = r"^([+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|(?i:nan|[+-]?inf(inity)?))$"
_DATE = "^[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?"
_LOCAL = f"{_DATE}([ T]{_CLOCK})?$"
_ZONED = f"{_DATE}[ T]{_CLOCK}(Z|[+-][0-9]{{2}}(:?[0-9]{{2}})?)$"
_UUID = "^(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"

_SCALARS: dict[str, tuple[pa.DataType, str, str]] = {
    "varchar": (pa.string(), "", ""),
    "boolean": (pa.bool_(), "^(?i)(true|false|1|0)$", "true"),
    "tinyint": (pa.int8(), _INTEGER, "42, from -128 to 127"),
    "smallint": (pa.int16(), _INTEGER, "42, from -32768 to 32767"),
    "integer": (pa.int32(), _INTEGER, "42, within 32 bits"),
    "bigint": (pa.int64(), _INTEGER, "42, within 64 bits"),
    "utinyint": (pa.uint8(), _INTEGER, "42, from 0 to 255"),
    "usmallint": (pa.uint16(), _INTEGER, "42, from 0 to 65535"),
    "uinteger": (pa.uint32(), _INTEGER, "42, from 0 and within 32 bits"),
    "ubigint": (pa.uint64(), _INTEGER, "42, from 0 and within 64 bits"),
    "hugeint": (pa.decimal128(38, 0), _INTEGER, "42, of at most 38 digits"),
    "float": (pa.float32(), _FLOAT, "1.5"),
    "double": (pa.float64(), _FLOAT, "1.5"),
    "date": (pa.date32(), f"{_DATE}$", "2024-01-31"),
    "time": (pa.time64("us"), f"^{_CLOCK}$", "10:30:00"),
    "timestamp": (pa.timestamp("us"), _LOCAL, "2024-01-31 10:30:00"),
    "timestamp_s": (pa.timestamp("s"), _LOCAL, "2024-01-31 10:30:00"),
    "timestamp_ms": (pa.timestamp("ms"), _LOCAL, "2024-01-31 10:30:00.123"),
    "timestamp_ns": (pa.timestamp("ns"), _LOCAL, "2024-01-31 10:30:00.123456789"),
    "timestamp with time zone": (pa.timestamp("us", tz="UTC"), _ZONED, "2024-01-31T10:30:00+02:00"),
    "uuid": (pa.string(), _UUID, "123e4567-e89b-12d3-a456-426614174000"),
}


def _cell_type(column: str, declared: str) -> CellType:
    parsed = _duckdb_type(column, declared)
    if parsed.id == "decimal":
        precision, scale = (number for _, number in parsed.children)
        arrow = pa.decimal128(precision, scale)
        return CellType(
            str(parsed), arrow, _DECIMAL, f"3.50, with at most {scale} decimals of {precision} digits"
        )
    if parsed.id not in _SCALARS or str(parsed) == "JSON":
        raise DefinitionError(
            f"source.types.{_key(column)}: a text cell cannot hold {parsed}; "
            "declare a number, date, time, BOOLEAN, UUID or VARCHAR"
        )
    return CellType(str(parsed), *_SCALARS[parsed.id])


def _duckdb_type(column: str, declared: str) -> DuckDBPyType:
    import duckdb

    try:
        return duckdb.sqltype(declared)
    except duckdb.Error as error:
        said = unreadable(declared, str(error))
        raise DefinitionError(f"source.types.{_key(column)}: {said}") from None


def _key(column: str) -> str:
    return column if column.isidentifier() else quoted(column)


def _cast(cells: pa.Array, arrow: pa.DataType) -> pa.Array:
    return _CASTS.get(arrow, pc.cast)(cells, arrow)


def _cast_time(cells: pa.Array, arrow: pa.DataType) -> pa.Array:
    # Arrow has no cast from text to a time of day, but one from text to a timestamp and on from there.
    stamps = pc.binary_join_element_wise("1970-01-01", cells, " ")
    return pc.cast(pc.cast(stamps, pa.timestamp("us")), arrow)


_CASTS: dict[pa.DataType, Callable[[pa.Array, pa.DataType], pa.Array]] = {pa.time64("us"): _cast_time}
