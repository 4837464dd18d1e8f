"""Numbers as a small HTML table, for notebooks: generic over what it is given, everything escaped.

It has no colours of its own, so that it reads in light and dark alike.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from html import escape
from typing import Any

from opper_batch.text import printable

_LONGEST = 120  # beyond it a text waits behind a click
_MOST = 20  # entries of a list
_CELL = "text-align:left;vertical-align:top;padding:2px 10px;border-bottom:1px solid rgba(128,128,128,.35)"


def card(title: str, numbers: Mapping[str, Any]) -> str:
    """One row for each entry that is not None; nested mappings and lists become tables in their row."""
    return f'<div style="overflow-x:auto"><strong>{_safe(title)}</strong>{_entries(numbers)}</div>'


def _entries(numbers: Mapping[str, Any], within: str = "") -> str:
    """``within`` is the name of what they are parts of: the parts of a cost are costs."""
    rows = [
        f"<tr>{_cell('th', _safe(str(name)))}{_cell('td', _value(f'{within}.{name}', value))}</tr>"
        for name, value in numbers.items()
        if value is not None and value not in ([], (), {})
    ]
    return f'<table style="border-collapse:collapse;margin:2px 0">{"".join(rows)}</table>'


def _cell(kind: str, content: str) -> str:
    return f'<{kind} style="{_CELL}">{content}</{kind}>'


def _value(name: str, value: Any) -> str:
    if name.endswith("schema"):  # a document, to be read as one
        return _long(json.dumps(value, indent=2, ensure_ascii=False, default=str))
    if isinstance(value, Mapping):
        return _entries(value, name)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return _listed(name, value)
    text = _text(name, value)
    return _long(text) if len(text) > _LONGEST else _safe(text)


def _listed(name: str, values: Sequence[Any]) -> str:
    if len(values) > _MOST:
        return f"{_listed(name, values[:_MOST])}and {len(values) - _MOST:,} more"
    if all(isinstance(value, Mapping) for value in values):
        return "".join(_entries(value) for value in values)
    if all(isinstance(value, str) for value in values):
        return _safe(", ".join(values))
    rows = []
    for value in values:
        parts = value if isinstance(value, list | tuple) else [value]
        cells = "".join(_cell("td", _value(name, part)) for part in parts)
        rows.append(f"<tr>{cells}</tr>")
    return f'<table style="border-collapse:collapse">{"".join(rows)}</table>'


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and "cost" in name:
        return f"${Decimal(f'{value:.4g}'):,f}"
    if isinstance(value, int | float):
        return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
    return str(value)


def _long(text: str) -> str:
    head, whole = _safe(" ".join(text.split())[:60]), _safe(text)
    return f'<details><summary>{head} …</summary><pre style="white-space:pre-wrap">{whole}</pre></details>'


def _safe(text: str) -> str:
    return escape(printable(text))
