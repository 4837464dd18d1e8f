"""Type text, read by DuckDB itself: what it means, or one sentence saying what is wrong with it."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from opper_batch.columns.kinds import KINDS
from opper_batch.errors import DefinitionError
from opper_batch.text import printable, shown

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from duckdb.sqltypes import DuckDBPyType

# What to use instead of a type that a model cannot fill safely, or that would not come back as it went in.
_INSTEAD = {
    "map": "a list of structs, STRUCT(key VARCHAR, value VARCHAR)[]",
    "union": "JSON, or one nullable column for each member",
    "interval": "BIGINT with the unit in the column's name, such as wait_seconds",
    "bit": "VARCHAR with pattern = '^[01]+$'",
    "time with time zone": "TIMESTAMPTZ, or TIME",
    "time_ns": "TIME",
    "timestamp_s": "TIMESTAMP",
    "timestamp_ms": "TIMESTAMP",
    "timestamp_ns": "TIMESTAMP",
    "timestamptz_ns": "TIMESTAMPTZ",
    "geometry": "VARCHAR holding well-known text",
    "variant": "JSON",
    "bignum": "HUGEINT or DECIMAL(38, 0)",
}

_SIZED = re.compile(r"\b(?:(?:n?var|bp|n)?char|text|string)\s*\(", re.IGNORECASE)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_NESTED = {"decimal", "enum", "list", "array", "struct"}  # the others have no children to ask for
_ACCEPTED = KINDS.keys() | {"list", "array", "struct"}
_WORDS = {kind.upper() for kind in KINDS} - {"DECIMAL", "ENUM"}
_LITERAL = re.compile(r"'((?:[^']|'')*)'")
_ENUM = re.compile(rf"ENUM\({_LITERAL.pattern}(?:, {_LITERAL.pattern})*\)")
_DECIMAL = re.compile(r"DECIMAL\(([1-9]\d?),(0|[1-9]\d?)\)")


@dataclass(frozen=True, slots=True)
class SqlType:
    """A DuckDB type: its id in lower case (``json`` for JSON), and ``text``, as DuckDB writes it.

    ``members`` are the members of a STRUCT, or the one element (named ``element``) of a list or an array.
    """

    id: str
    text: str
    members: tuple[tuple[str, SqlType], ...] = ()
    values: tuple[str, ...] = ()
    precision: int = 0
    scale: int = 0
    size: int = 0


@lru_cache(maxsize=1024)
def sql_type(text: str) -> SqlType:
    """What ``text`` means; a DefinitionError without a place, when it is no type that a column can have."""
    return plain_type(text) or read_type(text)


def plain_type(text: str) -> SqlType | None:
    """The same for the usual types in DuckDB's own spelling: loading it would take a tenth of every start."""
    if text.endswith("[]"):
        element = plain_type(text.removesuffix("[]"))
        return SqlType("list", text, members=(("element", element),)) if element else None
    if found := _DECIMAL.fullmatch(text):
        precision, scale = int(found[1]), int(found[2])
        fits = scale <= precision <= 38
        return SqlType("decimal", text, precision=precision, scale=scale) if fits else None
    if _ENUM.fullmatch(text):
        values = tuple(value.replace("''", "'") for value in _LITERAL.findall(text))
        check_values(values)
        return SqlType("enum", text, values=values)
    return SqlType(text.lower(), text) if text in _WORDS else None


def read_type(text: str) -> SqlType:
    """The same as DuckDB reads it, whatever the spelling."""
    import duckdb

    if printable(text) != text:
        raise DefinitionError("a type's text cannot hold control characters")
    try:
        found = _connection().sqltype(text)
    except duckdb.Error as error:
        raise DefinitionError(unreadable(text, str(error))) from None
    if _SIZED.search(_QUOTED.sub("", text)):
        raise DefinitionError("DuckDB does not keep the length of a text; write VARCHAR, and max_length")
    return _from_duckdb(found)


def quoted(name: str) -> str:
    """``name`` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def check_values(values: tuple[object, ...]) -> None:
    """Refuses what cannot be the values of an enum, without a place."""
    if not values:
        raise DefinitionError("an enum needs at least one value")
    seen: set[str] = set()
    for value in values:
        if not isinstance(value, str):
            raise DefinitionError(f"an enum's values are text, not {shown(value)}; put it in quotes")
        if not value.strip():
            raise DefinitionError("an enum's value cannot be blank; use nullable = true for 'none of these'")
        if printable(value) != value:
            raise DefinitionError(f"an enum's value cannot hold control characters, as {value!a} does")
        if value in seen:
            raise DefinitionError(f"{shown(value)} is there twice; an enum's values are all different")
        seen.add(value)


@cache
def _connection() -> DuckDBPyConnection:
    """A database of our own, so that types made in the user's default one change nothing here."""
    import duckdb

    return duckdb.connect(":memory:")


def _from_duckdb(found: DuckDBPyType) -> SqlType:
    text = str(found)
    kind = "json" if text == "JSON" else found.id
    if kind not in _ACCEPTED:
        name = text if kind in _INSTEAD else kind.upper()
        instead = _INSTEAD.get(kind, "VARCHAR")
        raise DefinitionError(f"{name} cannot be filled by a model; use {instead} (README.md#columns)")
    children: list[tuple[str, Any]] = found.children if found.id in _NESTED else []
    match kind:
        case "decimal":
            return SqlType(kind, text, precision=children[0][1], scale=children[1][1])
        case "enum":
            values = tuple(children[0][1])
            check_values(values)
            return SqlType(kind, text, values=values)
        case "list":
            return SqlType(kind, text, members=(("element", _from_duckdb(children[0][1])),))
        case "array":
            element = ("element", _from_duckdb(children[0][1]))
            return SqlType(kind, text, members=(element,), size=children[1][1])
        case "struct":
            return SqlType(kind, text, members=tuple((name, _from_duckdb(child)) for name, child in children))
        case _:
            return SqlType(kind, text)


def unreadable(text: str, said: str) -> str:
    """Why ``text`` is no type, of which DuckDB has ``said`` so, with the nearest that is one."""
    unknown = re.search(r"Type with name (.+?) does not exist", said)
    if unknown:
        return f"{shown(unknown[1])} is not a DuckDB type; {_nearest(unknown[1])}"
    if said.startswith("Binder Error: ") or "duplicate value" in said:
        reason = said.splitlines()[0].partition(": ")[2]
        return f"DuckDB does not take {shown(text)}: {reason}"
    return f"{shown(text)} is not a DuckDB type; {_nearest(text)}"


def _nearest(text: str) -> str:
    rows = _connection().execute("SELECT DISTINCT type_name, logical_type FROM duckdb_types()").fetchall()
    names = [name.upper() for name, logical in rows if logical.lower() in _ACCEPTED]
    close = difflib.get_close_matches(text.strip().upper(), sorted(names), n=1)
    if close:
        return f"did you mean {close[0]}?"
    return "write it like INTEGER, DECIMAL(10,2), VARCHAR[] or STRUCT(name VARCHAR, age INTEGER)"
