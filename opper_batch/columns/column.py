"""One column: what is asked of it, and the check that what is asked makes sense."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import cast

from pydantic_core import PydanticCustomError, SchemaError, SchemaValidator, core_schema

from opper_batch.columns import sqltypes
from opper_batch.columns.kinds import KINDS
from opper_batch.columns.sqltypes import SqlType, sql_type
from opper_batch.errors import DefinitionError
from opper_batch.text import printable, shown

Bound = int | float | Decimal | dt.date | dt.time | str

# Which rule is for which kind of type, and the pair that does for one what another does for the next.
_PAIRS = {"ordered": ("min", "max"), "text": ("min_length", "max_length"), "list": ("min_items", "max_items")}
_FOR = {
    "min": ("ordered", "numbers, dates and times"),
    "max": ("ordered", "numbers, dates and times"),
    "min_length": ("text", "text"),
    "max_length": ("text", "text"),
    "pattern": ("text", "text"),
    "min_items": ("list", "lists"),
    "max_items": ("list", "lists"),
}


@dataclass(frozen=True, repr=False)
class Column:
    """One column that a model fills.

    ``type`` is DuckDB type text; ``Columns.parse`` turns it into DuckDB's own spelling. ``enum`` are the
    allowed texts; it may stand without ``type``. ``min`` and ``max`` are inclusive; a date, a time or a
    decimal may be given as text. ``pattern`` is a regular expression without look-around, found anywhere in
    the text. ``children`` are the members of a STRUCT, or the one ``element`` of a list, with rules of their
    own; left out, they follow from ``type``.
    """

    name: str
    type: str = ""
    enum: tuple[str, ...] = ()
    description: str = ""
    nullable: bool = False
    min: Bound | None = None
    max: Bound | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    min_items: int | None = None
    max_items: int | None = None
    children: tuple[Column, ...] = ()

    @property
    def sql(self) -> SqlType:
        """What ``type`` means."""
        return sql_type(self.type)

    def __repr__(self) -> str:
        given = (field for field in fields(self) if getattr(self, field.name) != field.default)
        return f"Column({', '.join(f'{field.name}={getattr(self, field.name)!r}' for field in given)})"

    def __str__(self) -> str:
        rules = [f"{key}={value!r}" for key in _FOR if (value := getattr(self, key)) is not None]
        if self.enum and self.sql.id != "enum":
            rules.append(f"enum={list(self.enum)}")
        if not self.nullable:
            rules.insert(0, "NOT NULL")
        return " ".join([self.name, self.type, *rules])


def checked(column: Column, where: str) -> Column:
    """The column in its one normal form, or a DefinitionError that names the place under ``where``."""
    check_name(column.name, where)
    _check_words(column, where)
    column = _typed(column, where)
    for key in _FOR:
        if getattr(column, key) is not None:
            _check_fits(column, key, where)
    for key in ("min_length", "max_length", "min_items", "max_items"):
        _check_count(getattr(column, key), f"{where}.{key}")
    _check_pattern(column.pattern, f"{where}.pattern")
    column = replace(column, min=_bound(column, "min", where), max=_bound(column, "max", where))
    for low, high in _PAIRS.values():
        _check_order(column, low, high, where)
    return column


def check_name(name: object, where: str) -> None:
    if not isinstance(name, str):
        raise DefinitionError(f"{where}: a column's name is text, not {shown(name)}")
    if not name.strip():
        raise DefinitionError(f"{where}: a column needs a name; this one is {'blank' if name else 'empty'}")
    if printable(name) != name or "\n" in name or "\t" in name:
        raise DefinitionError(f"{where}: a column's name cannot hold control characters, as {name!a} does")


def _check_words(column: Column, where: str) -> None:
    if not isinstance(column.description, str):
        raise DefinitionError(f"{where}.description: should be text, not {shown(column.description)}")
    if printable(column.description) != column.description:
        raise DefinitionError(f"{where}.description: cannot hold control characters")
    if not isinstance(column.nullable, bool):
        raise DefinitionError(f"{where}.nullable: should be true or false, not {shown(column.nullable)}")


def _typed(column: Column, where: str) -> Column:
    """The column with type, enum and children each telling the same."""
    enum = _enum(column.enum, f"{where}.enum")
    text = column.type or ("ENUM(" + ", ".join(map(_literal, enum)) + ")" if enum else "")
    if not isinstance(text, str) or not text.strip():
        raise DefinitionError(f'{where}: needs a type, such as type = "VARCHAR", or an enum\'s values')
    try:
        sql = sql_type(text)
    except DefinitionError as error:
        raise DefinitionError(f"{where}.type: {error.message}") from None
    if enum and sql.id != "varchar" and sql.values != enum:
        raise DefinitionError(f"{where}.enum: is for text, not {sql.text}; leave type out, or write VARCHAR")
    children = _children(column, sql, where)
    return replace(column, type=sql.text, enum=enum or sql.values, children=children)


def _enum(values: object, where: str) -> tuple[str, ...]:
    if values == ():
        return ()
    if not isinstance(values, list | tuple):
        raise DefinitionError(f"{where}: should be a list of texts, not {shown(values)}")
    try:
        sqltypes.check_values(tuple(values))
    except DefinitionError as error:
        raise DefinitionError(f"{where}: {error.message}") from None
    return tuple(values)


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _children(column: Column, sql: SqlType, where: str) -> tuple[Column, ...]:
    given = column.children or tuple(Column(name, kind.text) for name, kind in sql.members)
    children = tuple(checked(child, f"{where}.{child.name}") for child in given)
    if tuple((child.name, child.type) for child in children) != tuple((n, t.text) for n, t in sql.members):
        raise DefinitionError(
            f"{where}.children: do not agree with the type {sql.text}; leave one of them out"
        )
    return children


def _family(column: Column) -> str:
    """Which of the ``_PAIRS`` of rules the column may have; '' for none."""
    if column.sql.id == "varchar":
        return "" if column.enum else "text"
    if column.sql.id == "list":
        return "list"
    kind = KINDS.get(column.sql.id)
    return "ordered" if kind and kind.ordered else ""


def _check_fits(column: Column, key: str, where: str) -> None:
    wanted, things = _FOR[key]
    family = _family(column)
    if family == wanted:
        return
    said = "an enum" if column.enum else column.type
    instead = f"remove {key}"
    if family and key != "pattern":
        instead = f"use {_PAIRS[family][key.startswith('max')]}"
    raise DefinitionError(f"{where}.{key}: is for {things}, and this column is {said}; {instead}")


def _check_count(count: object, where: str) -> None:
    if count is not None and (type(count) is not int or count < 0):
        raise DefinitionError(f"{where}: should be a whole number, 0 or more, not {shown(count)}")


def _check_pattern(pattern: object, where: str) -> None:
    if pattern is None:
        return
    if not isinstance(pattern, str):
        raise DefinitionError(f"{where}: should be a regular expression as text, not {shown(pattern)}")
    if printable(pattern) != pattern:
        raise DefinitionError(f"{where}: cannot hold control characters; write them as escapes")
    try:
        SchemaValidator(core_schema.str_schema(pattern=pattern))
    except SchemaError as error:
        reason = str(error).splitlines()[-1].removeprefix("error: ")
        raise DefinitionError(
            f"{where}: {shown(pattern)} is not a regular expression that can be used: {reason}"
        ) from None


def _bound(column: Column, key: str, where: str) -> Bound | None:
    """The bound as a value of the column's type; it has to be one itself."""
    bound = getattr(column, key)
    if bound is None:
        return None
    kind = KINDS[column.sql.id]
    if column.sql.id == "decimal" and isinstance(bound, float):
        # TOML can write 0.05 only as a float; its shortest digits are what is meant.
        bound = format(Decimal(repr(bound)), "f")
    try:
        value = kind.reader(column.sql)(bound)
    except PydanticCustomError as error:
        raise DefinitionError(
            f"{where}.{key}: {shown(bound)} is no {column.type}: it {error.message()}"
        ) from None
    return cast(Bound, kind.bound(bound) if kind.bound else value)


def _check_order(column: Column, low: str, high: str, where: str) -> None:
    least, most = getattr(column, low), getattr(column, high)
    if least is not None and most is not None and least > most:
        raise DefinitionError(f"{where}.{low}: is above {high}, so nothing would fit; swap them")
