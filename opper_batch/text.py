"""Text from rows and models is hostile: here it is made fit to be shown."""

from __future__ import annotations

import datetime as dt
import re

# Control characters but newline and tab, line ends that only some programs take for one, the bidirectional
# overrides that reorder what a person reads, and the byte order mark: a name with one looks like another.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def printable(text: str) -> str:
    """``text`` without what a terminal would obey: control characters become ``\\xNN``."""
    if text.isprintable():  # nearly always, and quickly said
        return text
    return _UNSAFE.sub(lambda match: repr(match.group())[1:-1], text)


def shortened(text: str, limit: int = 300) -> str:
    """``text`` on one line, cut to ``limit`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def iso_time(at: float | None = None) -> str:
    """``at`` (seconds since 1970; now by default) as RFC 3339 in UTC."""
    moment = dt.datetime.now(dt.UTC) if at is None else dt.datetime.fromtimestamp(at, dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def counted(number: int, noun: str) -> str:
    """``1 row``, ``2,000 rows``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def shown(value: object, limit: int = 40) -> str:
    """A value of a definition as its file spells it, on one line, cut to ``limit`` characters."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = value.isoformat() if isinstance(value, dt.date | dt.time) else printable(repr(value))
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
