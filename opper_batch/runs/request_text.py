"""A request as a person looks at it: every part on a line of its own, the long ones cut."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

_WIDTH = 110
_DEEPEST = 3  # a schema's properties
_MOST = 10  # parts of one object
_CUT = "…"


def request_text(request: dict[str, Any]) -> str:
    """Some thirty lines at most; what is cut ends in ``…``, and where all of it is stands last."""
    lines = list(_lines("", request, 0))
    if any(line.endswith(_CUT) for line in lines):
        lines.append("(… is cut here; plan --json holds all of it)")
    return "\n".join(lines)


def _lines(name: str, value: Any, depth: int) -> Iterator[str]:
    indent = "  " * depth
    head = f"{indent}{json.dumps(name, ensure_ascii=False)}: " if name else indent
    line = head + json.dumps(value, ensure_ascii=False)
    if depth and (len(line) <= _WIDTH or depth == _DEEPEST or not isinstance(value, dict)):
        yield line if len(line) <= _WIDTH else line[: _WIDTH - 1] + _CUT
        return
    yield head + "{"
    for part in list(value)[:_MOST]:
        yield from _lines(part, value[part], depth + 1)
    if len(value) > _MOST:
        yield f"{indent}  and {len(value) - _MOST:,} more {_CUT}"
    yield indent + "}"
