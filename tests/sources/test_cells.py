"""Text cells in declared types: exactly what the type's table says, and nothing near it."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal

import pyarrow as pa
import pytest

from opper_batch.errors import DefinitionError
from opper_batch.sources.cells import BadCell, cell_types

GOOD = [
    ("VARCHAR", " x ", " x "),
    ("BOOLEAN", "TRUE", True),
    ("BOOLEAN", "0", False),
    ("TINYINT", "-128", -128),
    ("UTINYINT", "255", 255),
    ("INTEGER", "007", 7),
    ("BIGINT", "-9223372036854775808", -(2**63)),
    ("UBIGINT", "18446744073709551615", 2**64 - 1),
    ("HUGEINT", "12345678901234567890123456789", Decimal("12345678901234567890123456789")),
    ("DECIMAL(10,2)", "-3.5", Decimal("-3.50")),
    ("DECIMAL(10,1)", "3.50", Decimal("3.5")),
    ("DOUBLE", "-2e-3", -0.002),
    ("DOUBLE", "-inf", -math.inf),
    ("FLOAT", ".5", 0.5),
    ("DATE", "0001-01-01", dt.date(1, 1, 1)),
    ("TIME", "10:30:00.123456", dt.time(10, 30, 0, 123456)),
    ("TIMESTAMP", "2024-01-31T10:30", dt.datetime(2024, 1, 31, 10, 30)),
    ("TIMESTAMP", "2024-01-31 10:30:00.5", dt.datetime(2024, 1, 31, 10, 30, 0, 500000)),
    ("TIMESTAMP", "2024-01-31", dt.datetime(2024, 1, 31)),
    ("TIMESTAMP_S", "2024-01-31 10:30:00", dt.datetime(2024, 1, 31, 10, 30)),
    ("TIMESTAMPTZ", "2024-01-31T10:30:00+02:00", dt.datetime(2024, 1, 31, 8, 30, tzinfo=dt.UTC)),
    ("TIMESTAMPTZ", "2024-01-31 10:30:00Z", dt.datetime(2024, 1, 31, 10, 30, tzinfo=dt.UTC)),
    ("UUID", "123e4567-E89b-12d3-a456-426614174000", "123e4567-E89b-12d3-a456-426614174000"),
]

BAD = [
    *(
        ("INTEGER", cell)
        for cell in ["", " 1", "1 ", "+1", "1.0", "1e3", "1_000", "0x1F", "2147483648", "nan", "1\n"]
    ),
    *(("UINTEGER", cell) for cell in ["-1", "4294967296"]),
    *(("DECIMAL(4,2)", cell) for cell in ["1.234", "123.4", "nan", "1,5", "1e2", ".5"]),
    *(("DOUBLE", cell) for cell in ["1e999", "-1e999", "1,5", "1.5 ", "0x1p3", "none"]),
    ("FLOAT", "1e39"),
    *(("BOOLEAN", cell) for cell in ["yes", "t", "2", ""]),
    *(
        ("DATE", cell)
        for cell in ["2024-02-30", "31.01.2024", "2024-1-31", "01/31/2024", "2024-01-31 00:00:00"]
    ),
    *(("TIME", cell) for cell in ["25:00:00", "10", "10:30:00.1234567", "10:30:00Z"]),
    *(("TIMESTAMP", cell) for cell in ["2024-01-31 25:00:00", "2024-01-31T10:30:00Z", "1706697000", "now"]),
    ("TIMESTAMP", "2024-01-31 10:30:00.1234567"),
    ("TIMESTAMP_S", "2024-01-31 10:30:00.5"),
    *(("TIMESTAMPTZ", cell) for cell in ["2024-01-31 10:30:00", "2024-01-31 10:30:00 UTC"]),
    *(("UUID", cell) for cell in ["123e4567e89b12d3a456426614174000", "x"]),
]


@pytest.mark.parametrize(("declared", "cell", "value"), GOOD)
def test_a_cell_that_fits_is_read(declared: str, cell: str, value: object) -> None:
    values = cell_types({"c": declared})["c"].read(pa.array([None, cell], pa.string()))
    assert values.to_pylist() == [None, value]
    assert values.type == cell_types({"c": declared})["c"].arrow


def test_nan_is_a_float_that_can_be_said() -> None:
    assert math.isnan(cell_types({"c": "DOUBLE"})["c"].read(pa.array(["nan"]))[0].as_py())


@pytest.mark.parametrize(("declared", "cell"), BAD)
def test_a_cell_that_does_not_fit_is_found_and_never_bent(declared: str, cell: str) -> None:
    good = next(
        text for kind, text, _ in [*GOOD, ("DECIMAL(4,2)", "1", 0), ("UINTEGER", "1", 0)] if kind == declared
    )
    with pytest.raises(BadCell) as raised:
        cell_types({"c": declared})["c"].read(pa.array([good, None, cell, good, cell], pa.string()))
    assert raised.value.index == 2
    assert declared.split("_")[0].removesuffix("TZ") in raised.value.reason


@pytest.mark.parametrize(
    "declared", ["INTEGER[]", "STRUCT(a INTEGER)", "BLOB", "INTERVAL", "JSON", "ENUM('a')"]
)
def test_types_that_text_cells_cannot_hold_are_refused(declared: str) -> None:
    with pytest.raises(DefinitionError, match=r"source\.types\.c: a text cell cannot hold"):
        cell_types({"c": declared})


@pytest.mark.parametrize("declared", ["NOPE", "", "VARCHAR; DROP"])
def test_what_is_no_type_is_refused(declared: str) -> None:
    with pytest.raises(DefinitionError, match=r"source\.types\.c: .* is not a DuckDB type; "):
        cell_types({"c": declared})
