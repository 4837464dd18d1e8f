"""What a definition holds and what is written for others to read does not: headers may hold secrets."""

from __future__ import annotations

from typing import Any


def without_secrets(value: Any) -> Any:
    """``value`` with the names of its headers, and not what they are."""
    if isinstance(value, dict):
        return {
            name: dict.fromkeys(inner, "(not told)")
            if name.endswith("headers") and isinstance(inner, dict)
            else without_secrets(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_secrets(inner) for inner in value]
    return value
