"""HTML made so that nothing can be forgotten: whatever is not markup already is escaped, here."""

from __future__ import annotations

from html import escape

from opper_batch.text import printable


class Markup(str):
    """Text that is HTML; made by ``element`` and ``page_of`` only."""

    __slots__ = ()


def element(name: str, /, *children: object, **attributes: object) -> Markup:
    """``<name attributes>children</name>``; None is left out, ``class_`` is class, ``_`` is a hyphen."""
    said = "".join(
        f' {key.strip("_").replace("_", "-")}="{_escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{said}>{together(*children)}</{name}>")


def together(*children: object) -> Markup:
    """The children one after the other."""
    return Markup("".join(_escaped(child) for child in children if child is not None))


def _escaped(value: object) -> str:
    return value if isinstance(value, Markup) else escape(printable(str(value)))
