"""The spellings of a column spec, as TOML and Python give them, made into columns."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from opper_batch.columns.column import Column, check_name, checked
from opper_batch.errors import DefinitionError
from opper_batch.text import shown

_KEYS = tuple(field.name for field in fields(Column) if field.name not in ("name", "children"))
# What JSON Schema and pydantic call these.
_ELSEWHERE = {
    "minimum": "min",
    "maximum": "max",
    "ge": "min",
    "le": "max",
    "optional": "nullable",
    "values": "enum",
    "choices": "enum",
    "regex": "pattern",
}


def columns_of(spec: object, where: str) -> tuple[Column, ...]:
    """The columns of a mapping or a sequence of ``Column``; anything wrong with them is a DefinitionError."""
    if isinstance(spec, Mapping):
        return together([_named(name, entry, where) for name, entry in spec.items()], where)
    if isinstance(spec, Sequence) and not isinstance(spec, str | bytes):
        return together([_listed(entry, f"{where}[{index}]") for index, entry in enumerate(spec)], where)
    raise DefinitionError(
        f"{where}: should be a table of names and types, a list of Column or a pydantic model class, "
        f"not {type(spec).__name__}"
    )


def together(columns: Sequence[Column], where: str) -> tuple[Column, ...]:
    """The columns checked, each alone and all together."""
    if not columns:
        raise DefinitionError(f'{where}: needs at least one column, such as category = ["billing", "other"]')
    done = tuple(checked(column, f"{where}.{column.name}") for column in columns)
    seen: dict[str, str] = {}
    for column in done:
        twin = seen.get(column.name.lower())
        if twin is not None:
            same = "is there twice" if twin == column.name else f"is {twin!r} too, as SQL ignores case"
            raise DefinitionError(f"{where}.{column.name}: {same}; rename one")
        seen[column.name.lower()] = column.name
    return done


def _listed(entry: object, where: str) -> Column:
    if isinstance(entry, Column):
        return entry
    raise DefinitionError(
        f"{where}: should be a Column, not {type(entry).__name__}; or give a dict of names and types"
    )


def _named(name: object, entry: object, where: str) -> Column:
    check_name(name, where)
    name, where = str(name), f"{where}.{name}"
    if isinstance(entry, str):
        return Column(name, _text(entry, where))
    if isinstance(entry, Mapping):
        return Column(name, **_rules(entry, where))
    if isinstance(entry, Column):
        if entry.name == name:
            return entry
        raise DefinitionError(f"{where}: holds a Column named {entry.name!r}; give both the same name")
    if isinstance(entry, list | tuple):
        if entry:
            return Column(name, enum=tuple(entry))
        raise DefinitionError(f"{where}: an enum needs at least one value")
    raise DefinitionError(
        f"{where}: should be type text, a list of an enum's values or a table of rules, not {shown(entry)}"
    )


def _text(text: str, where: str) -> str:
    if text.strip():
        return text
    raise DefinitionError(f"{where}: the type is empty; write one such as VARCHAR")


def _rules(entry: Mapping[Any, Any], where: str) -> dict[str, Any]:
    for key in entry:
        if key not in _KEYS:
            name = key if str(key).isidentifier() else shown(key)
            raise DefinitionError(f"{where}.{name}: there is no such rule; {_nearest(str(key))}")
    rules = {key: value for key, value in entry.items() if value is not None}
    if "type" in rules:
        if not isinstance(rules["type"], str):
            raise DefinitionError(
                f'{where}.type: should be type text such as "VARCHAR", not {shown(rules["type"])}'
            )
        _text(rules["type"], f"{where}.type")
    if "enum" in rules and not rules["enum"]:
        raise DefinitionError(f"{where}.enum: an enum needs at least one value")
    return rules


def _nearest(key: str) -> str:
    known = _ELSEWHERE.get(key.strip().lower())
    close = [known] if known else difflib.get_close_matches(key.lower(), _KEYS, n=1)
    return f"did you mean {close[0]}?" if close else f"a column has {', '.join(_KEYS)}"
