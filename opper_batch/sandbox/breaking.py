"""Answers that do not fit, each wrong in one way that the output schema rules out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from opper_batch.sandbox.dice import Dice

_OUTSIDE = "synthetic value outside the enum"
_EXTRA = "synthetic_extra_field"


def broken(answer: Any, schema: Mapping[str, Any] | None, dice: Dice) -> Any:
    """``answer`` made wrong: a field missing, of the wrong type, outside its enum, or one too many.

    Without a schema the answer should be text, and becomes a number.
    """
    if schema is None:
        return dice.below(100)
    if not isinstance(answer, dict) or not answer:
        return _wrong(answer)
    return dice.pick(_ways(answer, schema))(answer)


def _ways(
    answer: Mapping[str, Any], schema: Mapping[str, Any]
) -> list[Callable[[dict[str, Any]], dict[str, Any]]]:
    """The ways in which this answer can be made wrong for sure; one at least."""
    properties = schema.get("properties", {})
    names = list(answer)
    ways: list[Callable[[dict[str, Any]], dict[str, Any]]] = [lambda fields: _with_wrong(fields, names[-1])]
    if required := [name for name in schema.get("required", ()) if name in answer]:
        ways.append(lambda fields: {name: value for name, value in fields.items() if name != required[0]})
    if enums := [name for name in names if "enum" in properties.get(name, {})]:
        ways.append(lambda fields: {**fields, enums[0]: _OUTSIDE})
    if schema.get("additionalProperties") is False:
        ways.append(lambda fields: {**fields, _EXTRA: 1})
    return ways


def _with_wrong(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {**fields, name: _wrong(fields[name])}


def _wrong(value: Any) -> Any:
    """Something of a type that the value is not, and hardly anything is in its place."""
    return "synthetic text" if isinstance(value, dict) else {"synthetic": {"wrong": "type"}}
