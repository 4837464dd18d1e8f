from __future__ import annotations

import re
from typing import Any

import pytest

from opper_batch.columns import Columns
from opper_batch.lint import lint


def schema(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


TEXT = {"type": "string"}


def test_what_columns_spell_is_taken_by_everybody() -> None:
    spec = {"a": "VARCHAR[]", "b": {"type": "STRUCT(x DATE, y INTEGER)", "nullable": True}, "c": ["x", "y"]}
    assert lint(Columns.parse(spec, where="columns").json_schema) == []


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"type": "object"}, "a is an object with free keys"),
        ({"type": "object", "additionalProperties": TEXT}, "a is an object with free keys"),
        ({"description": "anything"}, "a has no type"),
        ({"anyOf": [TEXT, {}]}, "a may be anything in one of its alternatives"),
        ({"type": "array", "items": {"type": "object"}}, r"a\[\] is an object with free keys"),
        ({"enum": [str(number) for number in range(600)]}, "the enums have 600 values"),
        ({"enum": [f"{number:040d}" for number in range(300)]}, "a is an enum of 300 values and 12,000"),
    ],
)
def test_what_a_provider_may_refuse_is_one_sentence_that_names_the_place(part: Any, said: str) -> None:
    (found,) = lint(schema(a=part, b=TEXT))
    assert re.match(said, found), found


def test_depth_and_breadth_are_counted() -> None:
    deep = TEXT
    for _ in range(6):
        deep = schema(x=deep)
    assert lint(deep) == ["x.x.x.x.x lies 6 objects deep, and some providers refuse more than 5"]
    (wide,) = lint(schema(**{f"c{number}": TEXT for number in range(101)}))
    assert "101 properties" in wide
