"""Answers that fit an output schema, drawn from dice: the schema is read once, then makes any number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from math import ceil
from typing import Any

from opper_batch.sandbox.dice import Dice
from opper_batch.sandbox.refusals import Refusal
from opper_batch.sandbox.rules import Rules, limits, read_rules
from opper_batch.sandbox.texts import text_maker

Maker = Callable[[Dice], Any]

_DEEPEST = 30
_LONGEST_LIST = 3
_NULL_CHANCE = 0.25
_OPTIONAL_CHANCE = 0.5
_TEXT = Rules()


def answer_maker(schema: Mapping[str, Any] | None) -> Maker:
    """What makes answers that fit ``schema``; texts when there is none.

    Raises Refusal (400) for a schema that cannot be followed: a reference to nowhere, or one without end.
    """
    if schema is None:
        return text_maker(_TEXT)
    try:
        return _Reading(schema).maker(schema, 0)
    except (AttributeError, TypeError, ValueError):
        raise _bad_schema("it is no JSON Schema") from None


class _Reading:
    """One schema being read; keeps the root, where references point into."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root

    def maker(self, schema: Any, depth: int) -> Maker:
        """What makes a value for ``schema``, the most telling keyword first."""
        if depth > _DEEPEST:
            raise _bad_schema("it is nested without end")
        if not isinstance(schema, dict):
            return text_maker(_TEXT)
        if "$ref" in schema:
            return self.maker(self._target(str(schema["$ref"])), depth + 1)
        if "const" in schema:
            return lambda dice: schema["const"]
        if schema.get("enum"):
            return lambda dice: dice.pick(schema["enum"])
        for union in ("anyOf", "oneOf"):
            if schema.get(union):
                return self._choice([_inherit(schema, option) for option in schema[union]], depth)
        if isinstance(schema.get("type"), list):
            return self._choice([{**schema, "type": kind} for kind in schema["type"]], depth)
        return self._typed(_kind(schema), schema, depth)

    def _typed(self, kind: str, schema: Mapping[str, Any], depth: int) -> Maker:
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "integer":
                return _integer(read_rules(schema))
            case "number":
                return _number(read_rules(schema))
            case "boolean":
                return lambda dice: dice.below(2) == 1
            case "null":
                return lambda dice: None
            case "string":
                return text_maker(read_rules(schema))
        raise _bad_schema(f"it has an unknown type {kind!r}")

    def _choice(self, options: list[Any], depth: int) -> Maker:
        """One of ``options``; null, where it is one of them, less often than the others together."""
        others = [self.maker(option, depth + 1) for option in options if not _is_null(option)]
        if not others:
            return lambda dice: None
        null_chance = _NULL_CHANCE if len(others) < len(options) else 0.0
        return lambda dice: None if dice.happens(null_chance) else dice.pick(others)(dice)

    def _object(self, schema: Mapping[str, Any], depth: int) -> Maker:
        required = set(schema.get("required", ()))
        makers = {name: self.maker(part, depth + 1) for name, part in schema.get("properties", {}).items()}
        more = schema.get("additionalProperties")
        if not makers and isinstance(more, dict):
            value = self.maker(more, depth + 1)
            return lambda dice: {f"synthetic_{n}": value(dice) for n in range(dice.between(0, 2))}
        if required.issuperset(makers):
            return lambda dice: {name: make(dice) for name, make in makers.items()}
        return lambda dice: {
            name: make(dice)
            for name, make in makers.items()
            if name in required or dice.happens(_OPTIONAL_CHANCE)
        }

    def _array(self, schema: Mapping[str, Any], depth: int) -> Maker:
        rules = read_rules(schema)
        entry = self.maker(schema.get("items", {"type": "string"}), depth + 1)
        least = rules.min_items or 0
        most = (
            max(least, _LONGEST_LIST)
            if rules.max_items is None
            else max(least, min(rules.max_items, least + 3))
        )
        if schema.get("uniqueItems"):
            return lambda dice: _distinct(entry, least, most, dice)
        return lambda dice: [entry(dice) for _ in range(dice.between(least, most))]

    def _target(self, reference: str) -> Any:
        """Where a local reference such as ``#/$defs/Address`` points."""
        found: Any = self._root
        for step in reference.removeprefix("#").strip("/").split("/"):
            name = step.replace("~1", "/").replace("~0", "~")
            if not reference.startswith("#/") or not isinstance(found, dict) or name not in found:
                raise _bad_schema(f"{reference!r} refers to nothing in it")
            found = found[name]
        return found


def _kind(schema: Mapping[str, Any]) -> str:
    for kind, telling in (("object", "properties"), ("array", "items")):
        if telling in schema:
            return str(schema.get("type", kind))
    return str(schema.get("type", "string"))


def _inherit(schema: Mapping[str, Any], option: Any) -> Any:
    """``option`` with the description that stands beside a union: hints are often said there."""
    if isinstance(option, dict) and "description" in schema:
        said = " ".join(filter(None, (option.get("description"), schema["description"])))
        return {**option, "description": said}
    return option


def _is_null(option: Any) -> bool:
    return isinstance(option, dict) and option.get("type") == "null"


def _integer(rules: Rules) -> Maker:
    step = max(1, ceil(rules.multiple_of or 1))
    low, high = limits(rules, lambda text: ceil(Decimal(text) / step), 0, 100 // step)
    return lambda dice: step * dice.between(low, high)


def _number(rules: Rules) -> Maker:
    low, high = limits(rules, float, 0.0, 100.0)

    def make(dice: Dice) -> float:
        value = low + (high - low) * dice.between(1, 999) / 1000
        rounded = round(value, 2)
        return rounded if low < rounded < high else value

    return make


def _distinct(entry: Maker, least: int, most: int, dice: Dice) -> list[Any]:
    found: list[Any] = []
    wanted = dice.between(least, most)
    for _ in range(20 * most):
        value = entry(dice)
        if len(found) < wanted and value not in found:
            found.append(value)
    return found


def _bad_schema(why: str) -> Refusal:
    return Refusal(400, "invalid_input", f"field 'output_schema' cannot be followed: {why}")
