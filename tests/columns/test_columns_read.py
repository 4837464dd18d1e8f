"""Reading answers: what fits becomes typed values, what does not is said without a value."""

import datetime as dt
import json
import timeit
from decimal import Decimal

import pytest

from opper_batch.columns import Columns
from opper_batch.errors import BadOutput

UUID = "123e4567-e89b-12d3-a456-426614174000"


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        ("TINYINT", -128, -128),
        ("TINYINT", 3.0, 3),
        ("UBIGINT", 2**64 - 1, 2**64 - 1),
        ("HUGEINT", -(10**38 - 1), -(10**38 - 1)),
        ("DOUBLE", 3, 3.0),
        ("FLOAT", 0.1, 0.10000000149011612),
        ("BOOLEAN", False, False),
        ("VARCHAR", "", ""),
        ("VARCHAR", "a\0b", "a\0b"),
        ("DECIMAL(5,2)", "12.5", Decimal("12.50")),
        ("DECIMAL(5,2)", "-0012.5000", Decimal("-12.50")),
        ("DECIMAL(5,2)", 12, Decimal("12.00")),
        ("DECIMAL(38,0)", "9" * 38, Decimal("9" * 38)),
        ("DATE", "2024-02-29", dt.date(2024, 2, 29)),
        ("TIME", "09:30", dt.time(9, 30)),
        ("TIME", "09:30:00.123456000", dt.time(9, 30, 0, 123456)),
        ("TIMESTAMP", "2026-01-31T09:30:00.5", dt.datetime(2026, 1, 31, 9, 30, 0, 500000)),
        ("TIMESTAMP", "2026-01-31 09:30", dt.datetime(2026, 1, 31, 9, 30)),
        ("TIMESTAMPTZ", "2026-01-31T09:30:00Z", dt.datetime(2026, 1, 31, 9, 30, tzinfo=dt.UTC)),
        ("TIMESTAMPTZ", "2026-01-31T01:30:00+02:00", dt.datetime(2026, 1, 30, 23, 30, tzinfo=dt.UTC)),
        ("UUID", UUID.upper(), UUID),
        ("JSON", ' {"a": [1, null]} ', ' {"a": [1, null]} '),
        ("BLOB", "AP8=", b"\x00\xff"),
        ("BLOB", "data:image/png;base64,AP8=", b"\x00\xff"),
        ("ENUM('a','b')", "b", "b"),
        ("INT[]", [], []),
        ("INT[2]", [1, 2.0], [1, 2]),
        ("STRUCT(a INT, b DATE[])", {"b": ["2026-01-01"], "a": 1}, {"a": 1, "b": [dt.date(2026, 1, 1)]}),
    ],
)
def test_what_fits_is_read_into_typed_values(kind, given, value):
    columns = Columns.parse({"a": kind})
    alone, together = columns.read({"a": given}), columns.read_all([{"a": given}, {"a": given}])
    assert together == [alone, alone]
    for read in (alone["a"], together[0]["a"]):
        assert read == value
        assert type(read) is type(value)
        assert str(read) == str(value)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("TINYINT", 128),
        ("TINYINT", 2.5),
        ("TINYINT", "3"),
        ("TINYINT", True),
        ("TINYINT", None),
        ("UTINYINT", -1),
        ("BIGINT", 2**63),
        ("BIGINT", 2.0**60),
        ("UHUGEINT", 10**38),
        ("DOUBLE", "1.5"),
        ("DOUBLE", True),
        ("DOUBLE", float("nan")),
        ("DOUBLE", float("inf")),
        ("DOUBLE", 10**400),
        ("FLOAT", 1e39),
        ("BOOLEAN", 1),
        ("BOOLEAN", "true"),
        ("VARCHAR", 5),
        ("VARCHAR", None),
        ("VARCHAR", "a\ud800"),
        ("DECIMAL(5,2)", "1.001"),
        ("DECIMAL(5,2)", "1000"),
        ("DECIMAL(5,2)", 1.5),
        ("DECIMAL(5,2)", True),
        ("DECIMAL(5,2)", "NaN"),
        ("DECIMAL(5,2)", "Infinity"),
        ("DECIMAL(5,2)", "1_0"),
        ("DECIMAL(5,2)", " 1"),
        ("DECIMAL(5,2)", "1,5"),
        ("DECIMAL(5,2)", "١"),
        ("DATE", "2026-02-30"),
        ("DATE", "20260131"),
        ("DATE", "2026-01-31T00:00:00"),
        ("DATE", 1700000000),
        ("TIME", "24:00"),
        ("TIME", "09:30:00Z"),
        ("TIME", "09:30:00.0000001"),
        ("TIMESTAMP", "2026-01-31T09:30:00Z"),
        ("TIMESTAMP", "2026-01-31T09:30:00.1234567"),
        ("TIMESTAMP", "1700000000"),
        ("TIMESTAMP", "2026-01-31"),
        ("TIMESTAMPTZ", "2026-01-31T09:30:00"),
        ("TIMESTAMPTZ", "2026-01-31T09:30:00.0000001Z"),
        ("TIMESTAMPTZ", "0001-01-01T00:00:00+14:00"),
        ("TIMESTAMPTZ", "2026-01-31T09:30:61Z"),
        ("UUID", "123"),
        ("UUID", UUID.replace("-", "")),
        ("JSON", "{"),
        ("JSON", "NaN"),
        ("JSON", {"a": 1}),
        ("JSON", '"\\ud800"'),
        ("BLOB", "AP8"),
        ("BLOB", "AP8=\n"),
        ("BLOB", "é"),
        ("ENUM('a','b')", "A"),
        ("ENUM('a','b')", ["a"]),
        ("INT[]", [None]),
        ("INT[]", "1"),
        ("INT[2]", [1]),
        ("INT[2]", [1, 2, 3]),
        ("STRUCT(a INT)", {}),
        ("STRUCT(a INT)", {"a": 1, "b": 2}),
        ("STRUCT(a INT)", [1]),
    ],
)
def test_what_does_not_fit_is_refused_even_where_null_is_allowed(kind, given):
    with pytest.raises(BadOutput):
        Columns.parse({"a": kind}).read({"a": given})
    with pytest.raises(BadOutput):
        Columns.parse({"a": kind}).read_all([{"a": given}])
    if given is not None:
        with pytest.raises(BadOutput):
            Columns.parse({"a": {"type": kind, "nullable": True}}).read({"a": given})


@pytest.mark.parametrize(
    ("rules", "fits", "fails", "rule"),
    [
        ({"type": "TINYINT", "min": 1, "max": 5}, [1, 5], [0, 6], r"should be at (least 1|most 5)"),
        ({"type": "DOUBLE", "max": 0.5}, [0.5, -1e300], [0.5000001], "should be at most 0.5"),
        ({"type": "FLOAT", "max": 0.1}, [0.1], [0.11], "should be at most 0.1"),
        ({"type": "DECIMAL(4,1)", "min": "1.5"}, ["1.5", 2], ["1.4"], "should be at least 1.5"),
        (
            {"type": "DATE", "min": "2026-01-01"},
            ["2026-01-01"],
            ["2025-12-31"],
            "should be at least 2026-01-01",
        ),
        ({"type": "TEXT", "min_length": 2, "max_length": 3}, ["éé", "abc"], ["a", "abcd"], "characters"),
        (
            {"type": "TEXT", "pattern": "^[A-Z]{2}$"},
            ["AB"],
            ["AB\n", "abc"],
            "should match the regular expression",
        ),
        ({"type": "TEXT", "enum": ["x", "y"]}, ["x"], ["z", 3], "should be one of 'x', 'y'"),
        ({"type": "INT[]", "min_items": 1, "max_items": 2}, [[1]], [[], [1, 2, 3]], "entries"),
        ({"type": "INT", "nullable": True}, [None, 1], ["x"], "should be a whole number"),
    ],
)
def test_rules_are_kept(rules, fits, fails, rule):
    columns = Columns.parse({"a": rules})
    for value in fits:
        columns.read({"a": value})
    for value in fails:
        with pytest.raises(BadOutput, match=rule):
            columns.read({"a": value})


def test_problems_say_paths_and_rules_and_never_a_value_or_an_invented_name():
    columns = Columns.parse({"topics": "STRUCT(name TEXT, score TINYINT)[]", "due": "DATE", "tag": ["x"]})
    answer = {
        "topics": [{"name": "SECRET", "score": 1}, {"name": 5, "score": 999, "SECRET": 1}],
        "due": "SECRET",
        "tag": "SECRET",
        "SECRET": {"SECRET": "SECRET"},
        "due ": "SECRET",
    }
    with pytest.raises(BadOutput) as caught:
        columns.read(answer)
    problems = dict(caught.value.problems)
    assert problems["topics[1].name"] == "should be text"
    assert problems["topics[1].score"] == "should be at most 127"
    assert problems["topics[1]"] == "has an unknown field"
    assert problems["due"] == "should be a date like '2026-01-31'"
    assert len(caught.value.problems) == 5
    assert "SECRET" not in str(caught.value)
    assert "999" not in str(caught.value)


def test_a_missing_and_an_unknown_field_are_said():
    with pytest.raises(BadOutput) as caught:
        Columns.parse({"a": "INT"}).read({"b": 1})
    assert caught.value.problems == (("a", "is missing"), ("answer", "has an unknown field"))


def test_json_text_is_read_like_its_value():
    columns = Columns.parse({"a": "INT", "b": "TEXT"})
    answer = {"a": 1, "b": "é"}
    assert columns.read(json.dumps(answer)) == columns.read(answer) == answer


@pytest.mark.parametrize("answer", [None, 5, [], "", "5", '{"a": 1', '{"a": NaN}', "[1]", '"{}"', "\ud800"])
def test_what_is_no_object_is_refused(answer):
    with pytest.raises(BadOutput):
        Columns.parse({"a": "DOUBLE"}).read(answer)


def test_values_come_in_the_columns_order():
    assert list(Columns.parse({"b": "INT", "a": "INT"}).read({"a": 1, "b": 2})) == ["b", "a"]


def test_arrays_have_the_declared_types_whatever_the_rows_hold():
    columns = Columns.parse(
        {"a": "TINYINT", "b": "STRUCT(x DATE[2])", "c": {"type": "HUGEINT", "nullable": True}}
    )
    rows = [None, columns.read({"a": 1, "b": {"x": ["2026-01-01", "2026-01-02"]}, "c": None})]
    for given in (rows, [None, None], []):
        arrays = columns.arrays(given)
        assert [array.type for array in arrays] == columns.arrow.types
        assert [len(array) for array in arrays] == [len(given)] * 3
    assert [array.null_count for array in columns.arrays(rows)] == [1, 1, 2]


def test_a_row_of_five_columns_is_read_in_well_under_30_microseconds():
    columns = Columns.parse({"a": ["x"], "b": "TINYINT", "c": "TEXT[]", "d": "DECIMAL(10,2)", "e": "DATE"})
    answer = {"a": "x", "b": 1, "c": ["p", "q"], "d": "1.5", "e": "2026-01-31"}
    columns.read(answer)
    assert min(timeit.repeat(lambda: columns.read(answer), number=200, repeat=20)) / 200 < 30e-6
