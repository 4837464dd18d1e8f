"""What a schema asks of a value, read from its keywords and from the words of its description.

Many providers refuse bounds, patterns and formats as keywords, so schemas say them in words ("From 1 to 5.",
"Date written as YYYY-MM-DD."); the sandbox takes them at their word, as a model would.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from typing import Any, TypeVar

Number = TypeVar("Number", int, float, Decimal)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a value has to keep; None where nothing is asked. Bounds are inclusive.

    ``low`` and ``high`` are as they were written, for they bound numbers, decimals, dates and times alike.
    """

    low: str | None = None
    high: str | None = None
    multiple_of: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    min_items: int | None = None
    max_items: int | None = None
    pattern: str | None = None
    format: str | None = None
    precision: int = 18
    scale: int = 2


def read_rules(schema: Mapping[str, Any]) -> Rules:
    """The rules in ``schema``; a keyword goes before words."""
    said = _said(str(schema.get("description") or ""))
    for rule, keywords in _KEYWORDS.items():
        for keyword in keywords:
            value = schema.get(keyword)
            if value is not None and not isinstance(value, bool):
                said[rule] = _inclusive(value, keyword, schema) if rule in ("low", "high") else value
    if schema.get("contentEncoding") == "base64":
        said["format"] = "base64"
    return _checked(said)


_KEYWORDS = {
    "low": ("minimum", "exclusiveMinimum"),
    "high": ("maximum", "exclusiveMaximum"),
    "multiple_of": ("multipleOf",),
    "min_length": ("minLength",),
    "max_length": ("maxLength",),
    "min_items": ("minItems",),
    "max_items": ("maxItems",),
    "pattern": ("pattern",),
    "format": ("format",),
}

_PATTERN = re.compile(r"Matches the regular expression (.+)$", re.DOTALL)
_BOUND = r"[-+]?\d\S*?"
_UNIT = r"(?:\s+(?P<unit>characters|entries|items))?(?=[.,;)]*(?:\s|$))"
_RANGES = tuple(
    re.compile(rf"\b{words}{_UNIT}", re.IGNORECASE)
    for words in (
        rf"(?:from|between)\s+(?P<low>{_BOUND})\s+(?:to|and)\s+(?P<high>{_BOUND})",
        rf"at\s+least\s+(?P<low>{_BOUND})",
        rf"at\s+most\s+(?P<high>{_BOUND})",
        rf"exactly\s+(?P<low>(?P<high>{_BOUND}))",
    )
)
_UNITS = {
    "": ("low", "high"),
    "characters": ("min_length", "max_length"),
    "entries": ("min_items", "max_items"),
    "items": ("min_items", "max_items"),
}
_DECIMAL = re.compile(
    r"decimal number written as text, with at most (\d+) digits before the point and at most (\d+)",
    re.IGNORECASE,
)
# How opper_batch's own columns say a format; and, where none of these is said, what else may tell it.
_SENTENCES = {
    "Date and time with its offset from UTC, written as": "timestamptz",
    "Date and time written as": "timestamp",
    "Date written as": "date",
    "Time of day written as": "time",
    "UUID.": "uuid",
    "Any JSON, written as text": "json",
    "Bytes written as base64 text": "base64",
}
_TELLING = (
    ("timestamptz", re.compile(r"YYYY-MM-DDTHH:MM:SS(?:Z|\+)|RFC ?3339|\bISO 8601 (?:date-?time|timestamp)")),
    ("timestamp", re.compile(r"YYYY-MM-DD[T ]HH:MM")),
    ("date", re.compile(r"YYYY-MM-DD|\bISO 8601 date\b")),
    ("time", re.compile(r"HH:MM:SS")),
    ("uuid", re.compile(r"\bUUID\b")),
    ("json", re.compile(r"\bJSON text\b")),
    ("base64", re.compile(r"\bbase64\b", re.IGNORECASE)),
)


def _said(words: str) -> dict[str, Any]:
    """The rules in a description. Its writer's own words come first, so what is said last counts."""
    said: dict[str, Any] = {}
    if pattern := _PATTERN.search(words):
        said["pattern"] = pattern[1]
        words = words[: pattern.start()]
    if decimals := list(_DECIMAL.finditer(words)):
        whole, scale = int(decimals[-1][1]), int(decimals[-1][2])
        said |= {"format": "decimal", "scale": scale, "precision": whole + scale}
        words = words[decimals[-1].end() :]
    else:
        said["format"] = _format_said(words)
    for match in sorted((found for form in _RANGES for found in form.finditer(words)), key=re.Match.start):
        groups = match.groupdict()
        low, high = _UNITS[(groups["unit"] or "").lower()]
        for rule, bound in ((low, groups.get("low")), (high, groups.get("high"))):
            if bound is not None:
                said[rule] = bound
    return said


def _format_said(words: str) -> str | None:
    last = max(_SENTENCES, key=words.rfind)
    if last in words:
        return _SENTENCES[last]
    return next((name for name, telling in _TELLING if telling.search(words)), None)


def _inclusive(value: Any, keyword: str, schema: Mapping[str, Any]) -> str:
    """An inclusive bound for an exclusive one; for a fraction, what is drawn never lies on its bounds."""
    if schema.get("type") == "integer" and keyword.startswith("exclusive"):
        return str(value + 1 if keyword.endswith("Minimum") else value - 1)
    return str(value)


def _checked(said: dict[str, Any]) -> Rules:
    """The rules without those that make no sense: prose may look like a rule and be none."""
    for name in ("min_length", "max_length", "min_items", "max_items"):
        try:
            said[name] = max(0, int(said[name]))
        except (KeyError, ValueError, TypeError):
            said.pop(name, None)
    return Rules(**{name: value for name, value in said.items() if value is not None})


def limits(rules: Rules, read: Callable[[str], Number], first: Number, last: Number) -> tuple[Number, Number]:
    """Lowest and highest value to draw: the rules' bounds, else from ``first`` to ``last``, the usual range.

    A far wider range than the usual one, such as a type's own, narrows to what both have in common.
    ``read`` turns a bound's text into a number; a text that is none is no bound.
    """
    low, high, span = _bound(rules.low, read), _bound(rules.high, read), last - first
    if low is not None and high is not None and high - low <= 2 * span:
        return low, max(low, high)
    if low is not None and low > last:
        return low, low + span if high is None else min(high, low + span)
    if high is not None and high < first:
        return high - span if low is None else max(low, high - span), high
    return first if low is None else max(low, first), last if high is None else min(high, last)


def _bound(text: str | None, read: Callable[[str], Number]) -> Number | None:
    try:
        bound = None if text is None else read(text)
        return bound if bound is None or isfinite(bound) else None
    except (ValueError, ArithmeticError):
        return None
