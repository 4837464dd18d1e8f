"""Texts that say they are synthetic, and texts in the formats that columns travel in."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from math import ceil
from uuid import UUID

from opper_batch.sandbox.dice import Dice
from opper_batch.sandbox.patterns import matching
from opper_batch.sandbox.rules import Rules, limits

TextMaker = Callable[[Dice], str]

_VOCABULARY = (
    "amber answer autumn bridge calm candle clear copper copy customer detail early evening example field "
    "forest garden gentle harbour invoice island journey kettle lantern letter maple meadow message morning "
    "note number orchard order paper pebble plain quiet reply request river sample short silver simple small "
    "steady stone story summer table ticket valley velvet window winter"
)
_WORDS = tuple(_VOCABULARY.split())
_EPOCH = datetime(1970, 1, 1)
_FIRST_DAY, _LAST_DAY = date(2020, 1, 1).toordinal(), date(2029, 12, 31).toordinal()
_DAY_SECONDS = 86_400


def text_maker(rules: Rules) -> TextMaker:
    """What makes texts that keep ``rules``: of their format if they name one, else words."""
    if rules.pattern is not None:
        words = _words(rules)
        if from_pattern := matching(rules.pattern, rules.min_length or 0, rules.max_length):
            return lambda dice: from_pattern(dice) or words(dice)
        return words
    return _FORMATS.get(rules.format or "", _words)(rules)


def _words(rules: Rules) -> TextMaker:
    lowest, highest = rules.min_length or 0, rules.max_length

    def make(dice: Dice) -> str:
        text = "synthetic " + " ".join(dice.pick(_WORDS) for _ in range(dice.between(2, 5)))
        while len(text) < lowest:
            text += " " + dice.pick(_WORDS)
        if highest is None or len(text) <= highest:
            return text
        # A cut may end in a blank, which readers that trim would count as too short.
        cut = text[:highest]
        return cut[:-1] + "s" if cut.endswith(" ") else cut

    return make


def _date(rules: Rules) -> TextMaker:
    low, high = limits(rules, lambda text: date.fromisoformat(text).toordinal(), _FIRST_DAY, _LAST_DAY)
    return lambda dice: date.fromordinal(dice.between(low, high)).isoformat()


def _time(rules: Rules) -> TextMaker:
    low, high = limits(rules, lambda text: _seconds(f"1970-01-01T{text}"), 0, _DAY_SECONDS - 1)
    return lambda dice: (_EPOCH + timedelta(seconds=dice.between(low, high))).time().isoformat()


def _timestamp(rules: Rules) -> TextMaker:
    first, last = (day * _DAY_SECONDS - _EPOCH.toordinal() * _DAY_SECONDS for day in (_FIRST_DAY, _LAST_DAY))
    low, high = limits(rules, _seconds, first, last)
    return lambda dice: (_EPOCH + timedelta(seconds=dice.between(low, high))).isoformat()


def _timestamptz(rules: Rules) -> TextMaker:
    moment = _timestamp(rules)
    return lambda dice: moment(dice) + "+00:00"


def _seconds(text: str) -> int:
    """Whole seconds since 1970 of a date and time; one without an offset is taken as UTC."""
    moment = datetime.fromisoformat(text)
    return ceil((moment.replace(tzinfo=moment.tzinfo or UTC) - _EPOCH.replace(tzinfo=UTC)).total_seconds())


def _decimal(rules: Rules) -> TextMaker:
    """Counted in units of the last digit, so that every draw is exact."""
    most = 10 ** min(rules.precision, rules.scale + 3) - 1
    low, high = limits(rules, lambda text: ceil(Decimal(text).scaleb(rules.scale)), 0, most)
    return lambda dice: format(Decimal(dice.between(low, high)).scaleb(-rules.scale), "f")


def _uuid(dice: Dice) -> str:
    return str(UUID(bytes=dice.below(2**128).to_bytes(16, "big"), version=4))


def _base64(dice: Dice) -> str:
    return b64encode(b"synthetic " + dice.pick(_WORDS).encode()).decode()


def _json(dice: Dice) -> str:
    return json.dumps({"synthetic": True, dice.pick(_WORDS): dice.below(100)})


_FORMATS: dict[str, Callable[[Rules], TextMaker]] = {
    "date": _date,
    "time": _time,
    "timestamp": _timestamp,
    "timestamptz": _timestamptz,
    "date-time": _timestamptz,
    "decimal": _decimal,
    "uuid": lambda rules: _uuid,
    "base64": lambda rules: _base64,
    "json": lambda rules: _json,
    "email": lambda rules: lambda dice: f"synthetic.{dice.pick(_WORDS)}@example.com",
    "uri": lambda rules: lambda dice: f"https://example.com/synthetic/{dice.pick(_WORDS)}",
}
