"""The type of a JSONL column, found from every value of every file and never from a sample.

Text, booleans, numbers, lists and objects each have their type; a column that mixes them is refused with
both places. Integers are BIGINT (UBIGINT when they need it); integers among floats become DOUBLE only when a
double holds each of them exactly. A column that is always null is text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

import pyarrow as pa

from opper_batch.errors import SourceError
from opper_batch.sources.json_rows import InexactFloat, WrittenFloat
from opper_batch.sources.places import line_place, quoted

# More keys than this are data that was written as keys: a table of that width is of no use to anybody.
_MOST_KEYS = 2000

_EXACT = 2**53  # every integer up to here is a double

_KINDS = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    WrittenFloat: "a number",
    InexactFloat: "a number",
    list: "a list",
    dict: "an object",
}
_NUMBERS = {"a whole number", "a number"}


@dataclass(frozen=True, slots=True)
class _Place:
    file: str
    line: int


class Shape:
    """What was seen at one path, such as ``address.zip`` or ``tags[]``, in all rows so far."""

    def __init__(self, path: str, column: str) -> None:
        self._path = path
        self._column = column
        self._first: dict[str, _Place] = {}  # where each kind of value was first seen
        self._integers: dict[str, _Place] = {}  # where each range of integers was first left
        self._element: Shape | None = None
        self._fields: dict[str, Shape] = {}

    def observe(self, values: Sequence[Any], lines: Sequence[int], file: str) -> None:
        """Take in the values on these lines; raises SourceError as soon as two kinds do not go together."""
        kinds = dict.fromkeys(map(type, values))
        for kind in kinds:
            if kind is not type(None):
                self._admit(kind, values, lines, file)
        if InexactFloat in kinds:
            line = next(
                line for value, line in zip(values, lines, strict=True) if type(value) is InexactFloat
            )
            raise self._error(_Place(file, line), "holds a number with more digits than a DOUBLE keeps")
        if int in kinds:
            self._observe_integers(values, lines, file)
        if list in kinds:
            self._observe_lists(values, lines, file)
        if dict in kinds:
            self._observe_objects(values, lines, file)

    def resolve(self) -> pa.DataType:
        """The one type that holds every value exactly; raises SourceError when there is none."""
        if not self._first or "text" in self._first:
            return pa.string()
        if "true or false" in self._first:
            return pa.bool_()
        if self._element is not None:
            return pa.list_(self._element.resolve())
        if "an object" in self._first:
            return self._struct()
        return self._double() if "a number" in self._first else self._integer()

    def _admit(self, kind: type, values: Sequence[Any], lines: Sequence[int], file: str) -> None:
        name = _KINDS[kind]
        if name in self._first:
            return
        line = next(line for value, line in zip(values, lines, strict=True) if type(value) is kind)
        for other, place in self._first.items():
            if {name, other} != _NUMBERS:
                there = line_place(place.file, place.line) if place.file != file else f"line {place.line}"
                raise self._error(_Place(file, line), f"holds {name}, and {other} on {there}")
        self._first[name] = _Place(file, line)

    def _observe_integers(self, values: Sequence[Any], lines: Sequence[int], file: str) -> None:
        found = [(value, line) for value, line in zip(values, lines, strict=True) if type(value) is int]
        low, high = min(found)[0], max(found)[0]
        if low >= 0 and high <= _EXACT:
            return
        for mark, is_outside in _RANGES.items():
            if mark not in self._integers:
                line = next((line for value, line in found if is_outside(value)), None)
                if line is not None:
                    self._integers[mark] = _Place(file, line)

    def _observe_lists(self, values: Sequence[Any], lines: Sequence[int], file: str) -> None:
        found = [(value, line) for value, line in zip(values, lines, strict=True) if value is not None]
        elements = list(chain.from_iterable(value for value, _ in found))
        places = list(chain.from_iterable(repeat(line, len(value)) for value, line in found))
        self._element = self._element or Shape(f"{self._path}[]", self._column)
        self._element.observe(elements, places, file)

    def _observe_objects(self, values: Sequence[Any], lines: Sequence[int], file: str) -> None:
        found = [(value, line) for value, line in zip(values, lines, strict=True) if value is not None]
        objects = [value for value, _ in found]
        places = [line for _, line in found]
        for key in new_keys(objects, self._fields, file):
            self._fields[key] = Shape(f"{self._path}.{key}", self._column)
        for key, shape in self._fields.items():
            shape.observe([value.get(key) for value in objects], places, file)

    def _struct(self) -> pa.DataType:
        if not self._fields:
            raise self._error(
                self._first["an object"], "is always an empty object, which no table format keeps"
            )
        return pa.struct([(key, shape.resolve()) for key, shape in self._fields.items()])

    def _double(self) -> pa.DataType:
        if "inexact" in self._integers:
            raise self._error(
                self._integers["inexact"], "mixes decimals with an integer that no DOUBLE holds exactly"
            )
        return pa.float64()

    def _integer(self) -> pa.DataType:
        beyond = self._integers.get("beyond") or (
            "negative" in self._integers and self._integers.get("unsigned")
        )
        if beyond:
            raise self._error(beyond, "holds an integer that does not fit 64 bits with the others")
        return pa.uint64() if "unsigned" in self._integers else pa.int64()

    def _error(self, place: _Place, what: str) -> SourceError:
        where = line_place(place.file, place.line, self._path)
        return SourceError(
            f'{where} {what}: declare {quoted(self._column)} in types, for example as "VARCHAR"'
        )


def new_keys(objects: Sequence[Mapping[str, Any]], known: Mapping[str, Any], file: str) -> list[str]:
    """Keys that are not ``known`` yet, in order of appearance; refuses data written as keys."""
    new: dict[str, None] = {}
    for one in objects:
        if not one.keys() <= known.keys():
            new.update((key, None) for key in one if key not in known)
    if len(known) + len(new) > _MOST_KEYS:
        raise SourceError(
            f"{file} has objects with more than {_MOST_KEYS:,} different keys: "
            "keys are column names here, so write what varies as values"
        )
    return list(new)


def _is_inexact(value: int) -> bool:
    try:
        return int(float(value)) != value
    except OverflowError:
        return True


_RANGES: dict[str, Callable[[int], bool]] = {
    "negative": lambda value: value < 0,
    "unsigned": lambda value: value >= 2**63,
    "beyond": lambda value: value < -(2**63) or value >= 2**64,
    "inexact": _is_inexact,
}
