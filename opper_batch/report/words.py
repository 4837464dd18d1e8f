"""Numbers as people read them: money, time, shares, and what a column holds."""

from __future__ import annotations

from datetime import datetime, timedelta
from math import floor, log10
from typing import Any

_EPOCH = datetime(1970, 1, 1)


def money(dollars: float) -> str:
    """US dollars with as many decimals as the amount needs to be seen, at least two of its digits."""
    if dollars >= 10 or dollars == 0:
        return f"${dollars:,.2f}"
    return f"${dollars:.{max(4, 1 - floor(log10(abs(dollars))))}f}"


def duration(seconds: float) -> str:
    """``0.8 s``, ``42 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def percent(part: float, whole: float) -> str:
    """``12.5 %``; what is there is never said to be 0."""
    share = part / whole if whole else 0.0
    return "under 0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def spread(numbers: dict[str, Any], *, times: bool) -> list[str]:
    """Smallest, middle and largest; of dates the middle is a date too."""
    said = [as_number(numbers[name], times=times) for name in ("min", "median", "max")]
    days = times and len(said[0]) == len(said[2]) == len("2026-01-01")
    return [text[:10] for text in said] if days else said


def as_number(value: float, *, times: bool = False) -> str:
    """A number of a column; with ``times`` it is Unix seconds, said as a date."""
    if not times:
        return f"{value:,.0f}" if value == round(value) and abs(value) < 1e15 else f"{value:,.4g}"
    moment = _EPOCH + timedelta(seconds=value)
    return f"{moment:%Y-%m-%d}" if value % 86_400 == 0 else f"{moment:%Y-%m-%d %H:%M:%S}"
