"""A pydantic model class as a column spec: its fields become columns, its validators check the answers."""

from __future__ import annotations

import datetime as dt
import math
import types
import uuid
from decimal import Decimal
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import AwareDatetime, BaseModel, NaiveDatetime, RootModel
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic.types import EncodedBytes, EncodedStr

from opper_batch.columns.column import Column, checked
from opper_batch.columns.sqltypes import quoted
from opper_batch.errors import DefinitionError

_TYPES: dict[object, str] = {
    bool: "BOOLEAN",
    int: "BIGINT",
    float: "DOUBLE",
    str: "VARCHAR",
    bytes: "BLOB",
    uuid.UUID: "UUID",
    dt.date: "DATE",
    dt.time: "TIME",
    NaiveDatetime: "TIMESTAMP",
    AwareDatetime: "TIMESTAMP WITH TIME ZONE",
}
# What else people write, and what to write instead.
_INSTEAD: dict[object, str] = {
    dt.datetime: "NaiveDatetime (a TIMESTAMP) or AwareDatetime (a TIMESTAMPTZ)",
    dt.timedelta: "int with the unit in the field's name, such as wait_seconds",
    dict: "list of a model with a key and a value, since a model cannot fill free keys safely",
    tuple: "list, or a model with a field for each place",
    set: "list",
    frozenset: "list",
    list: "list[str] or the like, which says what is in it",
}
_RULES = (
    "ge",
    "le",
    "gt",
    "lt",
    "multiple_of",
    "min_length",
    "max_length",
    "pattern",
    "max_digits",
    "decimal_places",
)


def columns_of(
    model: type[BaseModel], where: str, outer: tuple[type[BaseModel], ...] = ()
) -> tuple[Column, ...]:
    """A column for each field, under its alias where it has one; ``outer`` are the models it lies within."""
    if model in outer:
        raise DefinitionError(
            f"{where}: {model.__name__} holds itself, which no schema without references can say"
        )
    if issubclass(model, RootModel):
        raise DefinitionError(
            f"{where}: {model.__name__} is a RootModel; write a BaseModel with named fields"
        )
    try:
        model.model_rebuild()
    except (NameError, PydanticUserError) as error:
        raise DefinitionError(
            f"{where}: {model.__name__} cannot be built: {str(error).splitlines()[0]}"
        ) from None
    return tuple(
        _column(_wire_name(model, name, info, where), info, where, (*outer, model))
        for name, info in model.model_fields.items()
    )


def through(model: type[BaseModel], values: dict[str, object]) -> dict[str, object]:
    """``values`` as the class sees and dumps them; raises what its validators raise.

    The values were read strictly before, so the class may turn a UUID's text or an enum's into what it wants.
    """
    return model.model_validate(values, strict=False).model_dump(
        by_alias=True, round_trip=True, warnings=False
    )


def _wire_name(model: type[BaseModel], name: str, info: FieldInfo, where: str) -> str:
    if info.exclude:
        raise DefinitionError(f"{where}.{name}: is excluded from what {model.__name__} dumps; remove exclude")
    if info.validation_alias != info.serialization_alias:
        raise DefinitionError(
            f'{where}.{name}: is read and written under different names; use Field(alias="...")'
        )
    alias = info.validation_alias or name
    if not isinstance(alias, str):
        raise DefinitionError(
            f'{where}.{name}: has more than one alias; use Field(alias="...") with one name'
        )
    if alias != name and model.model_config.get("validate_by_alias") is False:
        raise DefinitionError(
            f"{where}.{name}: has an alias that {model.__name__} does not read; remove one of them"
        )
    return alias


def _column(name: str, info: FieldInfo, where: str, outer: tuple[type[BaseModel], ...]) -> Column:
    """The column of one field, a list's element or a struct's member."""
    where = f"{where}.{name}"
    annotation, metadata, description, nullable = _opened(info, where)
    if any(isinstance(fact, EncodedBytes | EncodedStr) for fact in metadata):
        raise DefinitionError(f"{where}: answers are decoded from base64 already; use bytes or str")
    facts = _facts(metadata)
    made = _made(name, annotation, facts, where, outer)
    rules, more = _rules(made, facts)
    words = " ".join(filter(None, [description, more]))
    column = Column(name, made.type, made.enum, words, nullable, children=made.children, **rules)
    return checked(column, where)


def _opened(info: FieldInfo, where: str) -> tuple[Any, list[Any], str, bool]:
    """Annotation, metadata, description, nullable; with ``| None`` and ``Annotated`` taken off."""
    annotation, metadata, description = info.annotation, list(info.metadata), info.description or ""
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation, metadata, description, False
    kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
    if len(kinds) > 1 or len(kinds) == len(get_args(annotation)):
        raise DefinitionError(f"{where}: is a union; use one type, or a nullable field for each")
    inner, deeper, inner_description, _ = _opened(FieldInfo.from_annotation(kinds[0]), where)
    return inner, [*metadata, *deeper], description or inner_description, True


def _facts(metadata: list[Any]) -> dict[str, Any]:
    """Constraints by name, whichever of pydantic's and annotated-types' ways they were written in."""
    found = ((rule, getattr(fact, rule, None)) for fact in metadata for rule in _RULES)
    return {rule: value for rule, value in found if value is not None}


def _made(
    name: str, kind: Any, facts: dict[str, Any], where: str, outer: tuple[type[BaseModel], ...]
) -> Column:
    """The column's type, enum and children, from the annotation alone."""
    if kind in _TYPES:
        return Column(name, _TYPES[kind])
    if kind is Decimal:
        return Column(name, _decimal(facts, where))
    if get_origin(kind) is Literal or (isinstance(kind, type) and issubclass(kind, Enum)):
        return Column(name, enum=_choices(kind, where))
    if get_origin(kind) is list:
        element = _column("element", FieldInfo.from_annotation(get_args(kind)[0]), where, outer)
        return Column(name, f"{element.type}[]", children=(element,))
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        children = columns_of(kind, where, outer)
        return Column(name, _struct(children, kind, where), children=children)
    raise DefinitionError(f"{where}: {_called(kind)} cannot be a column; use {_instead(kind)}")


def _decimal(facts: dict[str, Any], where: str) -> str:
    try:
        return f"DECIMAL({facts['max_digits']}, {facts['decimal_places']})"
    except KeyError:
        raise DefinitionError(
            f"{where}: a Decimal needs its size; write Field(max_digits=10, decimal_places=2)"
        ) from None


def _choices(kind: Any, where: str) -> tuple[str, ...]:
    values = [member.value for member in kind] if get_origin(kind) is None else list(get_args(kind))
    if not values or not all(isinstance(value, str) for value in values):
        raise DefinitionError(f"{where}: an enum's values are text; write Literal or an Enum of str only")
    return tuple(map(str, values))


def _struct(children: tuple[Column, ...], model: type[BaseModel], where: str) -> str:
    if not children:
        raise DefinitionError(f"{where}: {model.__name__} has no fields; give it one, or remove it")
    return "STRUCT(" + ", ".join(f"{quoted(child.name)} {child.type}" for child in children) + ")"


def _rules(made: Column, facts: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The column's rules, and in words those that only the class itself checks."""
    pattern = facts.get("pattern")
    if made.children:
        rules = {"min_items": facts.get("min_length"), "max_items": facts.get("max_length")}
    elif made.type == "VARCHAR":
        rules = {"min_length": facts.get("min_length"), "max_length": facts.get("max_length")}
        rules["pattern"] = getattr(pattern, "pattern", pattern)
    elif made.type == "BIGINT":
        rules = {"min": _least(facts), "max": _most(facts)}
        facts = {"multiple_of": facts.get("multiple_of")}
    else:
        rules = {"min": facts.get("ge"), "max": facts.get("le")}
    said = {
        "More than": facts.get("gt"),
        "Less than": facts.get("lt"),
        "A multiple of": facts.get("multiple_of"),
    }
    return rules, " ".join(f"{words} {value}." for words, value in said.items() if value is not None)


def _least(facts: dict[str, Any]) -> int | None:
    """The smallest whole number allowed."""
    least = [math.ceil(facts["ge"])] if "ge" in facts else []
    least += [math.floor(facts["gt"]) + 1] if "gt" in facts else []
    return max(least, default=None)


def _most(facts: dict[str, Any]) -> int | None:
    most = [math.floor(facts["le"])] if "le" in facts else []
    most += [math.ceil(facts["lt"]) - 1] if "lt" in facts else []
    return min(most, default=None)


def _called(kind: Any) -> str:
    return getattr(kind, "__name__", None) or str(kind)


def _instead(kind: Any) -> str:
    usual = "str, int, float, bool, Decimal, date, time, UUID, bytes, Literal, Enum, list or another model"
    return _INSTEAD.get(get_origin(kind) or kind, usual)
