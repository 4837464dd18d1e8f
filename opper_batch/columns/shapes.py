"""A column, three ways: the JSON Schema that is sent, the reader of the answer, the Arrow field it fills.

Each is one walk over the column and its children; what differs from type to type stands in ``kinds``.
"""

from __future__ import annotations

import pyarrow as pa
from pydantic_core import CoreSchema, core_schema

from opper_batch.columns.column import Column
from opper_batch.columns.kinds import KINDS
from opper_batch.columns.scalars import Reader, bounded, choice_reader, said

TYPE_KEY = b"opper_batch.type"
DESCRIPTION_KEY = b"description"
_SAID = 2**32


def wire_object(columns: tuple[Column, ...]) -> dict[str, object]:
    """A closed object with every property required: what all providers take."""
    return {
        "type": "object",
        "properties": {column.name: wire_schema(column) for column in columns},
        "required": [column.name for column in columns],
        "additionalProperties": False,
    }


def wire_schema(column: Column) -> dict[str, object]:
    """The column as JSON Schema: types, enums and descriptions only.

    Ranges, lengths, patterns and formats are said in the description, since some providers answer 400 to the
    keywords for them.
    """
    schema = _wire_type(column)
    if column.nullable:
        schema = {"anyOf": [schema, {"type": "null"}]}
    words = description(column)
    return {**schema, "description": words} if words else schema


def _wire_type(column: Column) -> dict[str, object]:
    if column.enum:
        return {"type": "string", "enum": list(column.enum)}
    match column.sql.id:
        case "struct":
            return wire_object(column.children)
        case "list" | "array":
            return {"type": "array", "items": wire_schema(column.children[0])}
        case kind:
            return {"type": KINDS[kind].wire}


def description(column: Column) -> str:
    """The user's description, then the rules, each as a sentence."""
    sql = column.sql
    kind = KINDS.get(sql.id)
    words = [_sentence(column.description), _sentence(kind.words(sql) if kind else "")]
    words.append(_range(*_range_said(column)))
    words.append(_range(column.min_length, column.max_length, "characters"))
    items = (sql.size, sql.size) if sql.id == "array" else (column.min_items, column.max_items)
    words.append(_range(*items, "entries"))
    if column.pattern is not None:
        words.append(f"Matches the regular expression {column.pattern}")
    return " ".join(word for word in words if word)


def _range_said(column: Column) -> tuple[object, object]:
    """The bounds worth saying: the column's own, else the type's, but not those of 19 or 38 digits."""
    kind = KINDS.get(column.sql.id)
    low, high = column.min, column.max
    if kind and low is None and kind.low is not None and abs(kind.low) <= _SAID:
        low = kind.low
    if kind and high is None and kind.high is not None and kind.high <= _SAID:
        high = kind.high
    return low, high


def _range(low: object, high: object, unit: str = "") -> str:
    if low is None and high is None:
        return ""
    if low is None:
        words = f"At most {said(high)}"
    elif high is None:
        words = f"At least {said(low)}"
    elif low == high:
        words = f"Exactly {said(low)}"
    else:
        words = f"From {said(low)} to {said(high)}"
    return f"{words} {unit}.".replace(" .", ".")


def _sentence(words: str) -> str:
    words = words.strip()
    return words if not words or words[-1] in ".!?:…" else words + "."


def read_object(columns: tuple[Column, ...], *, quick: bool = False) -> CoreSchema:
    """Reads a closed object; what comes out has the columns' order.

    The ``quick`` one is for parsed JSON: it reads in a third of the time what most answers are, refuses the
    rest of what fits, and does not say why.
    """
    fields = {
        column.name: core_schema.typed_dict_field(read_schema(column, quick=quick)) for column in columns
    }
    return core_schema.typed_dict_schema(fields, extra_behavior="forbid", strict=True)


def read_schema(column: Column, *, quick: bool = False) -> CoreSchema:
    """Reads the column's JSON into values that ``pa.array`` takes, exactly and strictly."""
    schema = _read_type(column, quick)
    return core_schema.nullable_schema(schema) if column.nullable else schema


def _read_type(column: Column, quick: bool) -> CoreSchema:
    sql = column.sql
    if column.enum:
        if quick:
            return core_schema.literal_schema(list(column.enum))
        return core_schema.no_info_plain_validator_function(choice_reader(column.enum))
    match sql.id:
        case "struct":
            return read_object(column.children, quick=quick)
        case "list" | "array":
            low, high = (sql.size, sql.size) if sql.id == "array" else (column.min_items, column.max_items)
            element = read_schema(column.children[0], quick=quick)
            return core_schema.list_schema(element, min_length=low, max_length=high, strict=True)
        case "varchar":
            # A length, even 0, makes pydantic look into the text, and so refuse unpaired surrogates.
            least = column.min_length or 0
            return core_schema.str_schema(
                min_length=least, max_length=column.max_length, pattern=column.pattern, strict=True
            )
        case _:
            found = _quick_scalar(column) if quick else None
            return found or core_schema.no_info_plain_validator_function(_scalar(column))


def _quick_scalar(column: Column) -> CoreSchema | None:
    kind = KINDS[column.sql.id]
    if kind.quick is None:
        return None
    lows = [low for low in (kind.low, column.min) if isinstance(low, int)]
    highs = [high for high in (kind.high, column.max) if isinstance(high, int)]
    return kind.quick(max(lows, default=None), min(highs, default=None))


def _scalar(column: Column) -> Reader:
    read = KINDS[column.sql.id].reader(column.sql)
    # The bounds are read like values: a FLOAT is compared as it is stored.
    low, high = (None if bound is None else read(bound) for bound in (column.min, column.max))
    return bounded(read, low, high)


def arrow_field(column: Column) -> pa.Field:
    """The Arrow field, its exact DuckDB type in the metadata; nullable, since a failed row has no values."""
    facts = {TYPE_KEY: column.type.encode()}
    if column.description:
        facts[DESCRIPTION_KEY] = column.description.encode()
    return pa.field(column.name, arrow_type(column), nullable=True, metadata=facts)


def arrow_type(column: Column) -> pa.DataType:
    sql = column.sql
    match sql.id:
        case "struct":
            return pa.struct([pa.field(child.name, arrow_type(child)) for child in column.children])
        case "list":
            return pa.list_(_element(column))
        case "array":
            return pa.list_(_element(column), sql.size)
        case kind:
            return KINDS[kind].arrow(sql)


def _element(column: Column) -> pa.Field:
    """Named as Parquet names it, so that a schema comes back from a file as it was."""
    return pa.field("element", arrow_type(column.children[0]))
