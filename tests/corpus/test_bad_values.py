"""Every kind of value that a typed file can hold: what each sink makes of it, or the sentence instead."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_program import Whole, write

import opper_batch as ob
from opper_batch.runs import Options, failures


@dataclass(frozen=True)
class Value:
    """A column, and how it comes out: a list of cells, a type that it becomes, or a sentence.

    ``parquet`` and ``arrow`` are the type there, where it is another than the column's own; ``database`` is
    the type and the values as DuckDB writes them. ``{}`` stands for the source's file.
    """

    column: pa.Array
    csv: list[str] | str
    json: list[Any] | str
    database: tuple[str, list[str | None]] | str
    parquet: pa.DataType | str | None = None
    arrow: pa.DataType | str | None = None


def times(values: list[int | None], unit: str, zone: str | None = None) -> pa.Array:
    return pa.array(values, pa.timestamp(unit, zone))


FAR = (
    "{}, row 1, column 'v' cannot go into out.sandbox.%s: "
    "its date lies beyond what can be written as text; correct it"
)
FAR_DB = "{}, row 1, column 'v' cannot go into out.duckdb:t_sandbox: "
NO_JSON = (
    'column "v" has the type %s, which JSON cannot hold: leave it out, or turn it into text in the source, '
    "for example with sql and CAST(… AS VARCHAR); or write .parquet or .arrow"
)
NO_TWINS = (
    'column "v" has a struct with two fields of one name: rename one of them; or write .parquet or .arrow'
)
NO_DB = 'column "v" has the type %s, which DuckDB cannot hold: cast it in the source'
NO_PARQUET = 'column "v" has the type %s, which Parquet cannot hold: cast it in the source, or write .arrow'
NAN = (
    "{}, row %d, column 'v' cannot go into out.sandbox.%s: "
    'JSON has no NaN and no infinity; nan = "null" in [source] makes it null'
)
MICRO = "an INTERVAL keeps whole microseconds"
BEFORE_WINTER, AFTER = 1_729_989_000_000_000, 1_729_992_600_000_000  # 2024-10-27, 00:30 and 01:30 UTC

VALUES: dict[str, Value] = {
    "integers at the ends": Value(
        pa.array([2**63 - 1, -(2**63), None]),
        ["9223372036854775807", "-9223372036854775808", ""],
        [2**63 - 1, -(2**63), None],
        ("BIGINT", ["9223372036854775807", "-9223372036854775808", None]),
    ),
    "integers without a sign": Value(
        pa.array([2**64 - 1, None], pa.uint64()),
        ["18446744073709551615", ""],
        [2**64 - 1, None],
        ("UBIGINT", ["18446744073709551615", None]),
    ),
    "an integer beyond 64 bits": Value(
        pa.array([Decimal(10**37), None], pa.decimal128(38, 0)),
        ["1" + "0" * 37, ""],
        ["1" + "0" * 37, None],
        ("DECIMAL(38,0)", ["1" + "0" * 37, None]),
    ),
    "NaN, infinity, minus zero": Value(
        pa.array([-0.0, math.nan, math.inf, -math.inf, None]),
        ["-0.0", "nan", "inf", "-inf", ""],
        NAN % (2, "jsonl"),
        ("DOUBLE", ["-0.0", "nan", "inf", "-inf", None]),
    ),
    "NaN in a list": Value(
        pa.array([[1.0], [math.nan]]),
        NAN % (2, "csv"),
        NAN % (2, "jsonl"),
        ("DOUBLE[]", ["[1.0]", "[nan]"]),
    ),
    "floats of 32 bits": Value(
        pa.array([0.1, None], pa.float32()), ["0.1", ""], [0.1, None], ("FLOAT", ["0.1", None])
    ),
    "floats of 16 bits": Value(
        pa.array([0.5, None], pa.float16()), ["0.5", ""], [0.5, None], NO_DB % "halffloat"
    ),
    "decimals": Value(
        pa.array([Decimal("1.50"), Decimal("-0.05"), None], pa.decimal128(10, 2)),
        ["1.50", "-0.05", ""],
        ["1.50", "-0.05", None],
        ("DECIMAL(10,2)", ["1.50", "-0.05", None]),
    ),
    "decimals of 60 digits": Value(
        pa.array([Decimal("1" * 60)], pa.decimal256(76, 0)),
        ["1" * 60],
        ["1" * 60],
        NO_DB % "decimal256(76, 0)",
    ),
    "decimals of a negative scale": Value(
        pa.array([Decimal(1200)], pa.decimal128(5, -2)),
        ["1200"],
        ["1200"],
        NO_DB % "decimal128(5, -2)",
        parquet=NO_PARQUET % "decimal128(5, -2)",
    ),
    "booleans": Value(pa.array([True, None]), ["true", ""], [True, None], ("BOOLEAN", ["true", None])),
    "moments without a zone": Value(
        times([-1, 1_700_000_000_123_456, None], "us"),
        ["1969-12-31T23:59:59.999999", "2023-11-14T22:13:20.123456", ""],
        ["1969-12-31T23:59:59.999999", "2023-11-14T22:13:20.123456", None],
        ("TIMESTAMP", ["1969-12-31 23:59:59.999999", "2023-11-14 22:13:20.123456", None]),
    ),
    "moments to the nanosecond": Value(
        times([1, None], "ns"),
        ["1970-01-01T00:00:00.000000001", ""],
        ["1970-01-01T00:00:00.000000001", None],
        ("TIMESTAMP_NS", ["1970-01-01 00:00:00.000000001", None]),
    ),
    "moments to the second": Value(
        times([1_700_000_000, None], "s"),
        ["2023-11-14T22:13:20", ""],
        ["2023-11-14T22:13:20", None],
        ("TIMESTAMP_S", ["2023-11-14 22:13:20", None]),
        parquet=pa.timestamp("ms"),
    ),
    "moments in UTC": Value(
        times([0, None], "us", "UTC"),
        ["1970-01-01T00:00:00+00:00", ""],
        ["1970-01-01T00:00:00+00:00", None],
        ("TIMESTAMP WITH TIME ZONE", ["1970-01-01 00:00:00+00", None]),
    ),
    "moments around the end of summer time": Value(
        times([BEFORE_WINTER, AFTER], "us", "Europe/Oslo"),
        ["2024-10-27T02:30:00+02:00", "2024-10-27T02:30:00+01:00"],
        ["2024-10-27T02:30:00+02:00", "2024-10-27T02:30:00+01:00"],
        ("TIMESTAMP WITH TIME ZONE", ["2024-10-27 00:30:00+00", "2024-10-27 01:30:00+00"]),
    ),
    "moments at an offset": Value(
        times([0], "ms", "+05:30"),
        ["1970-01-01T05:30:00+05:30"],
        ["1970-01-01T05:30:00+05:30"],
        ("TIMESTAMP WITH TIME ZONE", ["1970-01-01 00:00:00+00"]),
    ),
    "moments in a zone that is none": Value(
        times([0], "us", "Mars/Olympus"),
        'column "v" has the time zone "Mars/Olympus", which is not known here: '
        "cast it to another in the source; or write .parquet or .arrow",
        'column "v" has the time zone "Mars/Olympus", which is not known here: '
        "cast it to another in the source; or write .parquet or .arrow",
        ("TIMESTAMP WITH TIME ZONE", ["1970-01-01 00:00:00+00"]),
    ),
    "moments far off": Value(
        times([2**62], "us"), FAR % "csv", FAR % "jsonl", ("TIMESTAMP", ["148108-07-06 14:00:27.387904"])
    ),
    "moments farther off": Value(
        times([2**60], "s"),
        FAR % "csv",
        FAR % "jsonl",
        FAR_DB + "its date lies beyond those of DuckDB; correct it",
        parquet="{}, row 1, column 'v' cannot go into out.sandbox.parquet: "
        "Parquet keeps milliseconds, and its date lies beyond them; correct it",
    ),
    "the last moment there is": Value(
        times([2**63 - 1], "us"),
        FAR % "csv",
        FAR % "jsonl",
        FAR_DB + "its date lies beyond those of DuckDB; correct it",
    ),
    "days": Value(
        pa.array([dt.date(1, 1, 1), dt.date(9999, 12, 31), None]),
        ["0001-01-01", "9999-12-31", ""],
        ["0001-01-01", "9999-12-31", None],
        ("DATE", ["0001-01-01", "9999-12-31", None]),
    ),
    "days far off": Value(
        pa.array([2**31 - 1], pa.date32()),
        FAR % "csv",
        FAR % "jsonl",
        FAR_DB + "DuckDB takes its date for infinity; correct it",
    ),
    "days in milliseconds": Value(
        pa.array([dt.date(2024, 2, 29)], pa.date64()),
        ["2024-02-29"],
        ["2024-02-29"],
        ("DATE", ["2024-02-29"]),
        parquet=pa.date32(),
    ),
    "times of day": Value(
        pa.array([1, None], pa.time64("ns")),
        ["00:00:00.000000001", ""],
        ["00:00:00.000000001", None],
        ("TIME_NS", ["00:00:00.000000001", None]),
    ),
    "durations": Value(
        pa.array([1, -90_000_000, None], pa.duration("us")),
        ["PT0.000001S", "-PT1M30S", ""],
        ["PT0.000001S", "-PT1M30S", None],
        ("INTERVAL", ["00:00:00.000001", "-00:01:30", None]),
    ),
    "durations to the nanosecond": Value(
        pa.array([1], pa.duration("ns")),
        ["PT0.000000001S"],
        ["PT0.000000001S"],
        FAR_DB + MICRO + ", at most 292,000 years of them; round it in the source",
    ),
    "durations in a struct": Value(
        pa.array([{"d": 1}], pa.struct([("d", pa.duration("ns"))])),
        ['{"d":"PT0.000000001S"}'],
        [{"d": "PT0.000000001S"}],
        FAR_DB + MICRO + ", at most 292,000 years of them; round it in the source",
    ),
    "months, days and nanoseconds": Value(
        pa.array([(1, 2, 3)], pa.month_day_nano_interval()),
        NO_JSON % "month_day_nano_interval",
        NO_JSON % "month_day_nano_interval",
        FAR_DB + MICRO + "; round it in the source",
        parquet=NO_PARQUET % "month_day_nano_interval",
    ),
    "bytes": Value(
        pa.array([b"\x00\xff", b"", None]),
        ["AP8=", "", ""],
        ["AP8=", "", None],
        ("BLOB", ["\\x00\\xFF", "", None]),
    ),
    "bytes of one length": Value(
        pa.array([b"ab", None], pa.binary(2)), ["YWI=", ""], ["YWI=", None], ("BLOB", ["ab", None])
    ),
    "texts that look like others": Value(
        pa.array(["007", "=1+1", "a\0b", "\x1b[31m", "", "null", "NaN", "😀", None]),
        ["007", "'=1+1", "a\0b", "\x1b[31m", "", "null", "NaN", "😀", ""],
        ["007", "=1+1", "a\0b", "\x1b[31m", "", "null", "NaN", "😀", None],
        ("VARCHAR", ["007", "=1+1", "a\0b", "\x1b[31m", "", "null", "NaN", "😀", None]),
    ),
    "categories": Value(
        pa.array(["a", "b", None, "a"]).dictionary_encode(),
        ["a", "b", "", "a"],
        ["a", "b", None, "a"],
        ("VARCHAR", ["a", "b", None, "a"]),
        arrow=pa.string(),
    ),
    "lists": Value(
        pa.array([[1, None], [], None]),
        ["[1,null]", "[]", ""],
        [[1, None], [], None],
        ("BIGINT[]", ["[1, NULL]", "[]", None]),
    ),
    "lists of one length": Value(
        pa.array([[1, 2], None], pa.list_(pa.int8(), 2)),
        ["[1,2]", ""],
        [[1, 2], None],
        ("TINYINT[2]", ["[1, 2]", None]),
    ),
    "structs": Value(
        pa.array([{"a": 1, "b": ["x"]}, {"a": None, "b": None}, None]),
        ['{"a":1,"b":["x"]}', '{"a":null,"b":null}', ""],
        [{"a": 1, "b": ["x"]}, {"a": None, "b": None}, None],
        ("STRUCT(a BIGINT, b VARCHAR[])", ["{'a': 1, 'b': [x]}", "{'a': NULL, 'b': NULL}", None]),
    ),
    "structs with a field twice": Value(
        pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]),
        NO_TWINS,
        NO_TWINS,
        'column "v" cannot be in out.duckdb:t_sandbox: Binder Error: Duplicate type parameter a for type '
        '"STRUCT"; cast it in the source',
    ),
    "structs without fields": Value(
        pa.array([{}, None], pa.struct([])),
        ["{}", ""],
        [{}, None],
        ("STRUCT", ["{}", None]),
        parquet=NO_PARQUET % "struct<>",
    ),
    "maps": Value(
        pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int32())),
        ['[{"key":"k","value":1}]', "[]", ""],
        [[{"key": "k", "value": 1}], [], None],
        ("MAP(VARCHAR, INTEGER)", ["{k=1}", "{}", None]),
    ),
    "nothing but null": Value(pa.nulls(2), ["", ""], [None, None], ("VARCHAR", [None, None])),
    "UUIDs": Value(
        pa.array([b"\x01" * 16, None], pa.uuid()),
        ["01010101-0101-0101-0101-010101010101", ""],
        ["01010101-0101-0101-0101-010101010101", None],
        ("UUID", ["01010101-0101-0101-0101-010101010101", None]),
    ),
    "one of several types": Value(
        pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["x", "y"])]),
        NO_JSON % "sparse_union<0: int64=0, 1: string=1>",
        NO_JSON % "sparse_union<0: int64=0, 1: string=1>",
        ('UNION("0" BIGINT, "1" VARCHAR)', ["1", "y"]),
        parquet=NO_PARQUET % "sparse_union<0: int64=0, 1: string=1>",
    ),
}


def in_files(value: Value) -> Iterator[tuple[str, pa.DataType]]:
    """The files that can hold it, each with its type there."""
    table = pa.table({"id": range(len(value.column)), "v": value.column})
    write({"r.arrow": table})
    yield "r.arrow", value.column.type
    if not isinstance(value.parquet, str):
        write({"r.parquet": table})
        yield "r.parquet", pq.read_schema("r.parquet").field("v").type


@pytest.mark.parametrize("name", VALUES)
def test_in_parquet_and_arrow_a_value_is_what_it_was(whole: Whole, name: str) -> None:
    value = VALUES[name]
    kinds = dict(in_files(value))
    for file, sink in (("r.arrow", "out.parquet"), ("r.parquet", "out.parquet"), ("r.arrow", "out.arrow")):
        changed = value.arrow if sink == "out.arrow" else value.parquet
        if file not in kinds or (file == "r.arrow" and sink == "out.parquet" and changed is None):
            continue
        if isinstance(changed, str):
            assert whole.refusal({"path": file}, sink) == changed.format(file)
            continue
        came = whole.result({"path": file}, sink, ["v"]).column("v").combine_chunks()
        assert came.type == (changed or kinds[file])
        expected = value.column.cast(came.type)
        assert came.equals(expected) or came.to_string() == expected.to_string()


@pytest.mark.parametrize("sink", ["out.csv", "out.jsonl"])
@pytest.mark.parametrize("name", VALUES)
def test_in_text_a_value_is_written_in_full_or_refused(whole: Whole, name: str, sink: str) -> None:
    expected = VALUES[name].csv if sink == "out.csv" else VALUES[name].json
    file, _ = next(in_files(VALUES[name]))
    if isinstance(expected, str):
        assert whole.refusal({"path": file}, sink) == expected.format(file)
    else:
        assert [row["v"] for row in whole.result({"path": file}, sink, ["v"])] == expected


def test_in_a_database_values_are_what_they_were(whole: Whole) -> None:
    """All that it takes, in one table."""
    taken = {name: value for name, value in VALUES.items() if not isinstance(value.database, str)}
    rows = max(len(value.column) for value in taken.values())
    columns = {
        name: pa.concat_arrays([value.column, pa.nulls(rows - len(value.column), value.column.type)])
        if not pa.types.is_union(value.column.type)
        else value.column.take(pa.array([0, 1] + [0] * (rows - 2)))
        for name, value in taken.items()
    }
    write({"r.arrow": pa.table({"id": range(rows), **columns})})
    whole.result({"path": "r.arrow"}, "out.duckdb", ["id"])
    with duckdb.connect("out.duckdb") as database:
        database.execute("SET TimeZone = 'UTC'")
        for name, value in taken.items():
            assert not isinstance(value.database, str)
            kind, texts = value.database
            found = database.sql(f'SELECT "{name}" AS v FROM t_sandbox')
            assert str(found.types[0]) == kind, name
            came = [
                text for (text,) in database.execute(f'SELECT "{name}"::VARCHAR FROM t_sandbox').fetchall()
            ]
            assert came[: len(texts)] == texts, name


@pytest.mark.parametrize("name", [name for name, value in VALUES.items() if isinstance(value.database, str)])
def test_what_a_database_cannot_hold_is_said_before_any_call(whole: Whole, name: str) -> None:
    sentence = str(VALUES[name].database)
    file, _ = next(in_files(VALUES[name]))
    assert whole.refusal({"path": file}, "out.duckdb") == sentence.format(file)


def test_nan_becomes_null_where_that_is_asked_for(whole: Whole) -> None:
    write({"r.parquet": pa.table({"id": [1, 2], "v": [math.nan, -0.0]})})
    rows = whole.result({"path": "r.parquet", "nan": "null"}, "out.jsonl", ["v"])
    assert rows == [{"v": None}, {"v": 0.0}]
    assert math.copysign(1, rows[1]["v"]) == -1


def test_what_cannot_be_sent_names_the_step_and_the_row(whole: Whole) -> None:
    write({"r.parquet": pa.table({"id": [1.5, math.nan]})})
    assert whole.refusal({"path": "r.parquet"}) == (
        "r.parquet, row 2, column 'id' cannot be sent: JSON has no NaN and no infinity; "
        'nan = "null" in [source] makes it null'
    )
    interval = pa.array([(1, 2, 3)], pa.month_day_nano_interval())
    write({"r.arrow": pa.table({"id": interval})})
    said = "step 's' reads r.arrow, whose column \"id\" has the type month_day_nano_interval, which JSON"
    assert whole.refusal({"path": "r.arrow"}, "out.arrow").startswith(said)


def test_what_cannot_be_a_key_is_said(whole: Whole) -> None:
    write({"r.parquet": pa.table({"id": [1, 2], "v": pa.array([0, 2**30], pa.date32())})})
    assert whole.refusal({"path": "r.parquet", "key": ["v"]}) == (
        "r.parquet, row 2, column 'v' cannot be a key: "
        "its date lies beyond what can be written as text; correct it"
    )
    interval = pa.array([(1, 2, 3)], pa.month_day_nano_interval())
    write({"r.arrow": pa.table({"id": [1], "v": interval})})
    said = 'source.key: column "v" has the type month_day_nano_interval, which JSON cannot hold'
    assert whole.refusal({"path": "r.arrow", "key": ["v"]}, "out.arrow").startswith(said)


def test_the_failures_of_a_run_can_be_read_whatever_the_sink_takes(whole: Whole) -> None:
    write({"r.parquet": pa.table({"id": [1], "v": [math.nan]})})
    pipeline = ob.Pipeline(
        name="looked_at",
        source={"path": "r.parquet"},
        steps=[{"name": "s", "input": ["id"], "columns": {"tag": "VARCHAR"}}],
        sink={"path": "out.jsonl"},
    )
    ob.run(pipeline, sandbox=whole.sandbox, sink="out.parquet")
    with pytest.raises(ob.OpperBatchError, match="cannot go into out"):
        ob.export(pipeline, sandbox=whole.sandbox)
    assert not list(failures(pipeline, Options(sandbox=whole.sandbox)))
