"""Text that matches a regular expression, for answers whose schema or description asks for one."""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from importlib import import_module
from typing import Any

from opper_batch.sandbox.dice import Dice

_PRINTABLE = string.ascii_letters + string.digits + " _-.,"
_CATEGORIES = {
    "CATEGORY_DIGIT": string.digits,
    "CATEGORY_WORD": string.ascii_letters + string.digits + "_",
    "CATEGORY_SPACE": " ",
}
# How far beyond its least count a repetition goes, attempt by attempt: what fits is neither too long nor too
# short, and where lengths are bounded, first none and then many may be what is needed.
_FURTHER = (3, 3, 3, 3, 0, 1, 2, 10, 100)


def matching(
    pattern: str, lowest: int = 0, highest: int | None = None
) -> Callable[[Dice], str | None] | None:
    """What makes texts of ``lowest`` to ``highest`` characters that ``pattern`` is found in.

    None for a pattern that cannot be read. A text is checked before it is given; where no attempt fits,
    None is given in its place.
    """
    try:
        compiled = re.compile(pattern)
        # The standard library's own reading of patterns. It has no public name, hence the late import.
        parsed = import_module("re._parser").parse(pattern)
    except (re.error, ImportError):
        return None

    def make(dice: Dice) -> str | None:
        try:
            for further in _FURTHER:
                text = _text(parsed, dice, further)
                if (
                    lowest <= len(text)
                    and (highest is None or len(text) <= highest)
                    and compiled.search(text)
                ):
                    return text
        except _CannotFollow:
            pass
        return None

    return make


class _CannotFollow(Exception):
    """A part of a pattern, such as a look-ahead, that says what not to write rather than what to write."""


def _text(parts: Any, dice: Dice, further: int) -> str:
    return "".join(_part(str(kind), argument, dice, further) for kind, argument in parts)


def _part(kind: str, argument: Any, dice: Dice, further: int) -> str:
    if kind == "LITERAL":
        return chr(argument)
    if kind in ("IN", "NOT_LITERAL", "ANY"):
        return dice.pick(_letters(kind, argument))
    if kind in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        least, most, parts = argument
        times = dice.between(least, min(int(most), least + further))
        return "".join(_text(parts, dice, further) for _ in range(times))
    if kind == "SUBPATTERN":
        return _text(argument[3], dice, further)
    if kind == "BRANCH":
        return _text(dice.pick(argument[1]), dice, further)
    if kind == "AT":
        return ""
    raise _CannotFollow


def _letters(kind: str, argument: Any) -> str:
    if kind == "ANY":
        return _PRINTABLE
    if kind == "NOT_LITERAL":
        return _PRINTABLE.replace(chr(argument), "")
    negated = str(argument[0][0]) == "NEGATE"
    members = "".join(_members(str(kind), value) for kind, value in argument[negated:])
    if negated:
        members = "".join(letter for letter in _PRINTABLE if letter not in members)
    if not members:
        raise _CannotFollow
    return members


def _members(kind: str, value: Any) -> str:
    if kind == "LITERAL":
        return chr(value)
    if kind == "RANGE":
        low, high = value
        return "".join(map(chr, range(low, min(high, low + 255) + 1)))
    if kind == "CATEGORY":
        name = str(value)
        if name in _CATEGORIES:
            return _CATEGORIES[name]
        letters = _CATEGORIES.get(name.replace("_NOT_", "_"), "")
        return "".join(letter for letter in _PRINTABLE if letter not in letters)
    raise _CannotFollow
