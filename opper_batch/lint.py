"""What providers are known to refuse or to ignore in an output schema, found before anybody is asked.

What columns spell is closed and typed already; a schema grows too deep, too wide or too long all the same.
The bounds are those of the strictest provider: five levels and a hundred properties in all, and five hundred
enum values (structured outputs of OpenAI; others take as much or more).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_DEEPEST = 5
_MOST_PROPERTIES = 100
_MOST_VALUES = 500
_MOST_ENUM_CHARACTERS = 7_500  # of one enum
_LONG_ENUM = 250  # values from which on their characters count
_TYPED = ("type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref")


def lint(schema: Mapping[str, Any]) -> list[str]:
    """One sentence for each thing that a provider may refuse, naming where it is."""
    parts = list(_parts(schema, ""))
    found = [said for path, part, _ in parts for said in _part_warnings(path, part)]
    depth = max(levels for _, _, levels in parts)
    if depth > _DEEPEST:
        deepest = next(path for path, _, levels in parts if levels == depth)
        found.append(f"{deepest} lies {depth} objects deep, and some providers refuse more than {_DEEPEST}")
    properties = sum(len(_mapping(part.get("properties"))) for _, part, _ in parts)
    if properties > _MOST_PROPERTIES:
        found.append(
            f"the schema has {properties:,} properties, "
            f"and some providers refuse more than {_MOST_PROPERTIES}"
        )
    values = sum(len(part["enum"]) for _, part, _ in parts if isinstance(part.get("enum"), list))
    if values > _MOST_VALUES:
        found.append(
            f"the enums have {values:,} values together, and some providers refuse more than {_MOST_VALUES}"
        )
    return found


def _part_warnings(path: str, part: Mapping[str, Any]) -> Iterator[str]:
    more = part.get("additionalProperties")
    if part.get("type") == "object" and (more or (more is None and not part.get("properties"))):
        yield f"{path} is an object with free keys, which some providers refuse; name its fields"
    if not any(name in part for name in _TYPED):
        yield f"{path} has no type, which some providers refuse; give it one"
    options = [option for union in ("anyOf", "oneOf") for option in part.get(union) or ()]
    if any(not any(name in _mapping(option) for name in _TYPED) for option in options):
        yield f"{path} may be anything in one of its alternatives, which some providers refuse; type it"
    enum = part.get("enum") or ()
    length = sum(len(str(value)) for value in enum)
    if len(enum) > _LONG_ENUM and length > _MOST_ENUM_CHARACTERS:
        yield (
            f"{path} is an enum of {len(enum):,} values and {length:,} characters, "
            f"and some providers refuse more than {_MOST_ENUM_CHARACTERS:,}"
        )


def _parts(
    schema: Mapping[str, Any], path: str, levels: int = 0
) -> Iterator[tuple[str, Mapping[str, Any], int]]:
    """Every schema in it with its path and how many objects it lies in."""
    levels += schema.get("type") == "object"
    yield path or "the answer", schema, levels
    for name, part in _mapping(schema.get("properties")).items():
        yield from _parts(_mapping(part), f"{path}.{name}" if path else name, levels)
    if "items" in schema:
        yield from _parts(_mapping(schema["items"]), f"{path}[]", levels)
    for union in ("anyOf", "oneOf"):
        for option in schema.get(union) or ():
            if any(name in _mapping(option) for name in _TYPED):
                yield from _parts(_mapping(option), path, levels)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
