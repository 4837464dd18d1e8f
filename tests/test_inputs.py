"""What leaves the machine: exact, canonical, described."""

from __future__ import annotations

import datetime as dt
import json
import math
import struct
import time
from base64 import b64encode
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import jsonschema
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opper_batch.errors import DefinitionError, SourceError
from opper_batch.inputs import column_texts, encode_inputs, input_schema, json_rows


def encoded(array: pa.Array, **options: Any) -> list[str]:
    """The array's values as JSON texts."""
    rows = encode_inputs(pa.record_batch([array], names=["x"]), ["x"], **options)
    assert all(row.startswith(b'{"x":') and row.endswith(b"}") for row in rows)
    return [row[5:-1].decode() for row in rows]


def described(type_: pa.DataType, *, nullable: bool = False) -> dict[str, Any]:
    return input_schema(pa.schema([pa.field("x", type_, nullable=nullable)]), ["x"])["properties"]["x"]


OSLO = ZoneInfo("Europe/Oslo")

MAPPING = [
    (pa.bool_(), [True, False], ["true", "false"]),
    (pa.int8(), [-128], ["-128"]),
    (pa.int64(), [2**53 + 1, -(2**63)], ["9007199254740993", "-9223372036854775808"]),
    (pa.uint64(), [2**64 - 1], ["18446744073709551615"]),
    (pa.float64(), [0.1, 1.0, -0.0, 1e300, 5e-324], ["0.1", "1.0", "-0.0", "1e+300", "5e-324"]),
    (pa.float32(), [0.1, 16777216.0], ["0.1", "16777216.0"]),
    (pa.string(), ['é "q" \\ \n\x00\u2028😀', ""], ['"é \\"q\\" \\\\ \\n\\u0000\u2028😀"', '""']),
    (pa.large_string(), ["x"], ['"x"']),
    (pa.string_view(), ["longer than twelve bytes"], ['"longer than twelve bytes"']),
    (pa.decimal128(10, 2), [Decimal("1.50"), Decimal("-0.05")], ['"1.50"', '"-0.05"']),
    (pa.decimal128(38, 12), [Decimal(0)], ['"0.000000000000"']),
    (pa.decimal128(5, -2), [Decimal(12300)], ['"12300"']),
    (pa.decimal256(60, 1), [Decimal("1" * 59 + ".5")], ['"' + "1" * 59 + '.5"']),
    (pa.date32(), [dt.date(2024, 2, 29), dt.date(1, 1, 1)], ['"2024-02-29"', '"0001-01-01"']),
    (pa.date64(), [dt.date(2024, 2, 29)], ['"2024-02-29"']),
    (pa.time32("s"), [dt.time(13, 5), dt.time(0)], ['"13:05:00"', '"00:00:00"']),
    (pa.time64("us"), [dt.time(13, 5, 0, 1), dt.time(13, 50)], ['"13:05:00.000001"', '"13:50:00"']),
    (pa.timestamp("s"), [dt.datetime(2024, 2, 29, 13, 5)], ['"2024-02-29T13:05:00"']),
    (pa.timestamp("ms"), [dt.datetime(2024, 2, 29, 13, 5, 10, 500_000)], ['"2024-02-29T13:05:10.5"']),
    (pa.timestamp("ns"), [1_709_211_900_123_456_789], ['"2024-02-29T13:05:00.123456789"']),
    (
        pa.timestamp("us", "Europe/Oslo"),
        [dt.datetime(2024, 2, 29, 13, 5, tzinfo=OSLO), dt.datetime(2024, 7, 1, tzinfo=OSLO)],
        ['"2024-02-29T13:05:00+01:00"', '"2024-07-01T00:00:00+02:00"'],
    ),
    (pa.timestamp("ns", "UTC"), [1], ['"1970-01-01T00:00:00.000000001+00:00"']),
    (pa.timestamp("s", "-03:30"), [0], ['"1969-12-31T20:30:00-03:30"']),
    (pa.timestamp("s", "Europe/Amsterdam"), [-4_000_000_000], ['"1843-03-31T17:12:52+00:19:32"']),
    (pa.duration("ms"), [93_784_500, -1, 0, 60_000], ['"P1DT2H3M4.5S"', '"-PT0.001S"', '"PT0S"', '"PT1M"']),
    (pa.duration("ns"), [1], ['"PT0.000000001S"']),
    (pa.uuid(), [UUID(int=5).bytes], ['"00000000-0000-0000-0000-000000000005"']),
    (pa.json_(), ['{"a": 1}'], ['"{\\"a\\": 1}"']),
    (pa.binary(), [b"\x00\xff", b""], ['"AP8="', '""']),
    (pa.large_binary(), [b"\x00"], ['"AA=="']),
    (pa.binary_view(), [b"\x00"], ['"AA=="']),
    (pa.binary(2), [b"ab"], ['"YWI="']),
    (pa.dictionary(pa.int8(), pa.string()), ["x", "y", "x"], ['"x"', '"y"', '"x"']),
    (pa.list_(pa.int8()), [[1, None], []], ["[1,null]", "[]"]),
    (pa.large_list(pa.string()), [["a"]], ['["a"]']),
    (pa.list_(pa.int8(), 2), [[1, 2]], ["[1,2]"]),
    (pa.list_view(pa.list_(pa.int8())), [[[1], None], []], ["[[1],null]", "[]"]),
    (
        pa.struct([("a%s", pa.int8()), ("ü", pa.list_(pa.date32()))]),
        [{"a%s": 1, "ü": [dt.date(2024, 2, 29)]}, {"a%s": None, "ü": None}],
        ['{"a%s":1,"ü":["2024-02-29"]}', '{"a%s":null,"ü":null}'],
    ),
    (pa.struct([]), [{}], ["{}"]),
    (
        pa.map_(pa.string(), pa.int8()),
        [[("k", 1), ("k", None)], []],
        ['[{"key":"k","value":1},{"key":"k","value":null}]', "[]"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "values", "texts"), MAPPING, ids=[str(row[0]) for row in MAPPING])
def test_every_type_has_its_documented_form(type_: pa.DataType, values: list[Any], texts: list[str]) -> None:
    array = pa.array([*values, None], type_)
    assert encoded(array) == [*texts, "null"]
    assert encoded(array[1:]) == [*texts[1:], "null"]


@pytest.mark.parametrize(("type_", "values", "texts"), MAPPING, ids=[str(row[0]) for row in MAPPING])
def test_what_is_sent_fits_the_schema_sent(type_: pa.DataType, values: list[Any], texts: list[str]) -> None:
    schema = described(type_, nullable=True)
    jsonschema.Draft202012Validator.check_schema(schema)
    for text in [*texts, "null"]:
        jsonschema.validate(json.loads(text), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(None, described(type_))


def test_run_ends_booleans_in_bytes_and_nulls_are_their_values() -> None:
    assert encoded(pc.run_end_encode(pa.array([1, 1, None]))) == ["1", "1", "null"]
    bool8 = pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0, None], pa.int8()))
    assert encoded(bool8) == ["true", "false", "null"]
    assert encoded(pa.nulls(2)) == ["null", "null"]
    assert described(pa.null(), nullable=True) == {"type": "null"}
    assert described(bool8.type) == {"type": "boolean"}


def test_a_row_is_compact_and_its_keys_are_in_the_order_asked_for() -> None:
    batch = pa.record_batch({"a": [1, 2], "b": ["x", None], 'c"%s': [True, False]})
    assert encode_inputs(batch, ['c"%s', "a"]) == [b'{"c\\"%s":true,"a":1}', b'{"c\\"%s":false,"a":2}']
    assert json_rows(batch)[1] == b'{"a":2,"b":null,"c\\"%s":false}'
    assert encode_inputs(batch, []) == [b"{}", b"{}"]
    assert encode_inputs(batch.slice(0, 0), ["a"]) == []


def test_the_schema_of_a_row_is_written_out() -> None:
    schema = pa.schema(
        [
            pa.field("id", pa.int64(), nullable=False),
            pa.field("tags", pa.list_(pa.field("item", pa.string(), nullable=False))),
            pa.field("address", pa.struct([pa.field("zip", pa.string(), nullable=False)]), nullable=False),
            pa.field("photo", pa.binary(), nullable=False),
            pa.field("left_out", pa.month_day_nano_interval()),
        ]
    )
    address = {"type": "object", "properties": {"zip": {"type": "string"}}, "required": ["zip"]}
    assert input_schema(schema, ["tags", "id", "address", "photo"]) == {
        "type": "object",
        "properties": {
            "tags": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]},
            "id": {"type": "integer"},
            "address": address,
            "photo": {"type": "string", "contentEncoding": "base64"},
        },
        "required": ["tags", "id", "address", "photo"],
    }
    assert "YYYY-MM-DD" in described(pa.date32())["description"]


def test_floats_that_may_become_null_are_described_so() -> None:
    schema = pa.schema([pa.field("x", pa.float64(), nullable=False)])
    assert input_schema(schema, ["x"])["properties"]["x"] == {"type": "number"}
    nullable = {"anyOf": [{"type": "number"}, {"type": "null"}]}
    assert input_schema(schema, ["x"], nan="null")["properties"]["x"] == nullable


@pytest.mark.parametrize(
    "type_",
    [
        pa.month_day_nano_interval(),
        pa.dense_union([pa.field("a", pa.int8())]),
        pa.list_(pa.month_day_nano_interval()),
        pa.fixed_shape_tensor(pa.int8(), [2]),
    ],
    ids=str,
)
def test_types_that_cannot_be_sent_are_refused_with_what_to_do(type_: pa.DataType) -> None:
    with pytest.raises(DefinitionError, match=r'column "x" has the type .* CAST'):
        described(type_)


def test_columns_that_cannot_be_sent_are_named() -> None:
    twice = pa.schema([("a", pa.int8()), ("a", pa.int8())])
    with pytest.raises(DefinitionError, match='"a" is there 2 times'):
        input_schema(twice, ["a"])
    with pytest.raises(DefinitionError, match='no column "b" to send: the columns are a'):
        input_schema(pa.schema([("a", pa.int8())]), ["b"])
    with pytest.raises(DefinitionError, match="two fields of one name"):
        described(pa.struct([("a", pa.int8()), ("a", pa.int8())]))
    with pytest.raises(DefinitionError, match='time zone "Nowhere/Land"'):
        described(pa.timestamp("s", "Nowhere/Land"))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused_with_its_row_or_sent_as_null(value: float) -> None:
    array = pa.array([1.0, None, value])
    for column in (array, pa.array([[1.0], [], [value]]), array.cast(pa.float32())):
        with pytest.raises(SourceError, match=r"row 12, column 'x': .* nan = \"null\" in \[source\]"):
            encoded(column, first_row=10)
    assert encoded(array, nan="null") == ["1.0", "null", "null"]


def test_text_that_is_not_utf8_is_refused_with_its_row() -> None:
    buffers = [None, pa.py_buffer(struct.pack("3i", 0, 1, 3)), pa.py_buffer(b"a\xff\xfe")]
    with pytest.raises(SourceError, match="row 2, column 'x': its text is not UTF-8"):
        encoded(pa.Array.from_buffers(pa.string(), 2, buffers))


def test_a_date_that_cannot_be_written_is_refused_with_its_row() -> None:
    with pytest.raises(SourceError, match="row 2, column 'x': its date lies beyond"):
        encoded(pa.array([0, 2**31 - 1], pa.date32()))


def test_bare_texts_have_no_quotes_and_keep_what_is_no_number() -> None:
    batch = pa.record_batch(
        {"t": ['a"', None], "n": [math.nan, -math.inf], "l": [["a"], None], "d": [dt.date(2024, 2, 29), None]}
    )
    assert column_texts(batch) == [['a"', None], ["nan", "-inf"], ['["a"]', None], ["2024-02-29", None]]


def test_three_text_columns_take_less_than_six_microseconds_a_row() -> None:
    texts = pa.array([f"a support ticket of some length, number {n}" for n in range(20_000)])
    batch = pa.record_batch([texts, texts, texts], names=["a", "b", "c"])

    def seconds() -> float:
        start = time.perf_counter()
        encode_inputs(batch, ["a", "b", "c"])
        return time.perf_counter() - start

    assert min(seconds() for _ in range(5)) / 20_000 < 6e-6


_PLAIN = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.string(): st.text(max_size=6),
    pa.bool_(): st.booleans(),
    pa.float64(): st.floats(allow_nan=False, allow_infinity=False),
    pa.binary(): st.binary(max_size=4),
    pa.date32(): st.dates(),
    pa.timestamp("us"): st.datetimes(),
}


def _nested(inner: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.DataType]:
    structs = st.tuples(inner, inner).map(lambda pair: pa.struct(list(zip("ab", pair, strict=True))))
    return inner.map(pa.list_) | structs


_TYPES = st.recursive(st.sampled_from(list(_PLAIN)), _nested, max_leaves=4)


def _values(type_: pa.DataType) -> st.SearchStrategy[Any]:
    if type_ in _PLAIN:
        return st.none() | _PLAIN[type_]
    if pa.types.is_list(type_):
        return st.none() | st.lists(_values(type_.value_type), max_size=3)
    fields = {type_.field(index).name: _values(type_.field(index).type) for index in range(type_.num_fields)}
    return st.none() | st.fixed_dictionaries(fields)


def _expected(value: Any) -> Any:
    """What JSON gives back for a Python value."""
    match value:
        case list():
            return [_expected(part) for part in value]
        case dict():
            return {name: _expected(part) for name, part in value.items()}
        case bytes():
            return b64encode(value).decode()
        case dt.date():
            text = value.isoformat()
            return text.rstrip("0") if "." in text else text
        case _:
            return value


@st.composite
def _columns(draw: st.DrawFn) -> tuple[pa.DataType, list[Any]]:
    type_ = draw(_TYPES)
    return type_, draw(st.lists(_values(type_), min_size=1, max_size=6))


@settings(max_examples=200, deadline=None)
@given(_columns())
def test_json_gives_the_values_back_and_equal_values_are_equal_bytes(
    column: tuple[pa.DataType, list[Any]],
) -> None:
    type_, values = column
    array = pa.array(values, type_)
    rows = encode_inputs(pa.record_batch([array], names=["x"]), ["x"])
    values = array.to_pylist()
    assert [json.loads(row)["x"] for row in rows] == [_expected(value) for value in values]
    assert all(b" " not in row for row in rows if b'"' not in row[5:])
    assert encode_inputs(pa.record_batch([pa.array(values[::-1], type_)], names=["x"]), ["x"]) == rows[::-1]
    for value, row in zip(values, rows, strict=True):
        for other, other_row in zip(values, rows, strict=True):
            # repr tells -0.0 from 0.0 and True from 1, as the bytes do.
            assert (repr(value) == repr(other)) == (row == other_row)
    jsonschema.validate(json.loads(rows[0])["x"], described(type_, nullable=True))
