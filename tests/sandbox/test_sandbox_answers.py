from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from opper_batch.columns import Columns
from opper_batch.sandbox.answers import answer_maker
from opper_batch.sandbox.breaking import broken
from opper_batch.sandbox.dice import Dice
from opper_batch.sandbox.refusals import Refusal

DRAWS = 60


def _answers(schema: dict[str, Any] | None, count: int = DRAWS) -> list[Any]:
    make = answer_maker(schema)
    return [make(Dice(str(number).encode())) for number in range(count)]


def test_every_type_an_api_of_ours_declares_is_answered_in_its_kind() -> None:
    every = [
        "BOOLEAN",
        *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"),
        *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"),
        *("FLOAT", "DOUBLE", "DECIMAL(10,2)", "DECIMAL(3,3)", "DECIMAL(38,0)", "DECIMAL(38,38)"),
        *("VARCHAR", "DATE", "TIME", "TIMESTAMP", "TIMESTAMPTZ", "UUID", "JSON", "BLOB"),
        *("VARCHAR[]", "INTEGER[3]", "STRUCT(a DATE, b STRUCT(c DECIMAL(5,1)[], d UUID))[]"),
    ]
    spec: dict[str, object] = {f"c{n}": kind for n, kind in enumerate(every)}
    spec |= {f"n{n}": {"type": kind, "nullable": True} for n, kind in enumerate(every)}
    columns = Columns.parse(spec)
    answers = _answers(dict(columns.json_schema))
    for answer in answers:
        columns.read(answer)  # raises when a value does not fit
    assert {answer["n0"] for answer in answers} == {True, False, None}


@pytest.mark.parametrize(
    "column",
    [
        {
            "type": "TINYINT",
            "min": 1,
            "max": 5,
            "description": "between 7 and 9, from 1000 to 2000 as it were",
        },
        {"type": "INTEGER", "min": 1_000_000},
        {"type": "BIGINT", "max": -5},
        {"type": "UHUGEINT", "min": 10**30, "max": 10**30 + 1},
        {"type": "DOUBLE", "min": 0.001, "max": 0.002},
        {"type": "FLOAT", "min": -1.5, "max": -1.0},
        {"type": "DECIMAL(10,2)", "min": "0.05", "max": "0.06"},
        {"type": "DECIMAL(10,2)", "min": "5000"},
        {
            "type": "DATE",
            "min": "2024-02-28",
            "max": "2024-03-01",
            "description": "Date and time? Only the day!",
        },
        {"type": "DATE", "max": "1999-12-31"},
        {"type": "TIME", "min": "09:00:00", "max": "17:30:00"},
        {"type": "TIMESTAMP", "min": "2024-05-17T09:00:00", "max": "2024-05-17T09:00:05"},
        {"type": "TIMESTAMPTZ", "min": "2031-01-01T00:00:00+02:00"},
        {"type": "VARCHAR", "min_length": 1, "max_length": 3},
        {"type": "VARCHAR", "min_length": 300},
        {"type": "VARCHAR", "max_length": 0},
        {"type": "VARCHAR", "pattern": r"^[A-Z]{3}-\d{4}(x|yy)?$", "description": "A code."},
        {"type": "VARCHAR", "pattern": r"^\w+@\w+\.(com|se)$", "max_length": 9},
        {"type": "VARCHAR", "pattern": r"^[^a-z ]\S{2,}", "description": "From 1 to 2."},
        {"type": "VARCHAR[]", "min_items": 2, "max_items": 2},
        {"type": "VARCHAR[]", "min_items": 7},
        {"type": "VARCHAR[]", "max_items": 0},
    ],
    ids=str,
)
def test_rules_that_a_column_says_in_words_are_kept(column: dict[str, object]) -> None:
    columns = Columns.parse({"value": column, "again": {**column, "nullable": True}})
    for answer in _answers(dict(columns.json_schema)):
        columns.read(answer)


_SCALARS = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "minLength": 5, "maxLength": 12},
        {"type": "string", "enum": ["a", "b", "c"]},
        {"enum": [1, "two", None]},
        {"const": {"fixed": [1]}},
        {"type": "integer"},
        {"type": "integer", "minimum": -3, "exclusiveMaximum": 2},
        {"type": "integer", "multipleOf": 7, "minimum": 1},
        {"type": "number", "exclusiveMinimum": 0, "maximum": 0.5},
        {"type": ["integer", "null"]},
        {"type": "boolean"},
        {"type": "null"},
        {"type": "string", "format": "date"},
        {"type": "string", "format": "date-time"},
        {"type": "string", "format": "uuid"},
        {"type": "string", "format": "email"},
        {},
    ]
)


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.builds(
        lambda entry, low: {"type": "array", "items": entry, "minItems": low, "maxItems": low + 1},
        inner,
        st.integers(0, 3),
    )
    objects = st.builds(
        lambda fields, needed: {
            "type": "object",
            "properties": fields,
            "required": sorted(fields)[:needed],
            "additionalProperties": False,
        },
        st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
        st.integers(0, 4),
    )
    unions = st.builds(
        lambda options: {"anyOf": [*options, {"type": "null"}]}, st.lists(inner, min_size=1, max_size=2)
    )
    return lists | objects | unions


@settings(max_examples=150, deadline=None)
@given(st.recursive(_SCALARS, _containers, max_leaves=8), st.binary(max_size=8))
def test_any_schema_is_answered_by_what_it_allows(schema: dict[str, Any], seed: bytes) -> None:
    answer = answer_maker(schema)(Dice(seed))
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(answer)
    assert answer_maker(schema)(Dice(seed)) == answer


def test_references_are_followed_and_endless_ones_refused() -> None:
    address = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    schema = {
        "$defs": {"Address": address},
        "type": "array",
        "items": {"$ref": "#/$defs/Address"},
        "minItems": 1,
    }
    for answer in _answers(schema, 5):
        Draft202012Validator(schema).validate(answer)
    for reference in ("#/$defs/Nowhere", "https://example.com/schema", "#/$defs/Loop"):
        with pytest.raises(Refusal, match="output_schema"):
            answer_maker({"$defs": {"Loop": {"$ref": "#/$defs/Loop"}}, "$ref": reference})


def test_without_a_schema_the_answer_is_text_that_says_it_is_synthetic() -> None:
    answers = _answers(None)
    assert all(answer.startswith("synthetic ") for answer in answers)
    assert len(set(answers)) > DRAWS * 0.8


def test_base64_is_base64_and_distinct_entries_are_distinct() -> None:
    for answer in _answers({"type": "string", "contentEncoding": "base64"}, 5):
        assert base64.b64decode(answer, validate=True).startswith(b"synthetic")
    picks = {"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": True, "minItems": 2}
    assert all(len(set(answer)) == len(answer) >= 2 for answer in _answers(picks))


def test_free_keys_are_made_up() -> None:
    schema = {"type": "object", "additionalProperties": {"type": "integer"}}
    answers = _answers(schema)
    assert any(answers)
    for answer in answers:
        Draft202012Validator(schema).validate(answer)


def test_a_pattern_that_cannot_be_followed_gives_words() -> None:
    assert _answers({"type": "string", "pattern": r"^(?!a)b(?=c)$"}, 1)[0].startswith("synthetic")
    assert _answers({"type": "string", "pattern": "("}, 1)[0].startswith("synthetic")


@pytest.mark.parametrize("negated", [r"^[^0-9]{5}$", r"^\D\S\W$", r"^[^\W\d]{3}$"])
def test_negated_patterns_are_followed(negated: str) -> None:
    assert all(re.search(negated, answer) for answer in _answers({"type": "string", "pattern": negated}, 20))


def test_a_broken_answer_breaks_the_schema_in_each_of_the_ways() -> None:
    schema = {
        "type": "object",
        "properties": {"kind": {"type": "string", "enum": ["a", "b"]}, "size": {"type": "integer"}},
        "required": ["kind", "size"],
        "additionalProperties": False,
    }
    make, check = answer_maker(schema), Draft202012Validator(schema)
    rules = set()
    for number in range(DRAWS):
        answer = broken(make(Dice(b"x")), schema, Dice(str(number).encode()))
        rules.add(next(check.iter_errors(answer)).validator)
    assert rules == {"required", "type", "enum", "additionalProperties"}


@pytest.mark.parametrize(
    "schema", [None, {"type": "array"}, {"type": "integer"}, {"type": "object"}], ids=json.dumps
)
def test_answers_that_are_no_objects_are_broken_too(schema: dict[str, Any] | None) -> None:
    answer = broken(answer_maker(schema)(Dice(b"x")), schema, Dice(b"y"))
    assert not Draft202012Validator(schema or {"type": "string"}).is_valid(answer)
