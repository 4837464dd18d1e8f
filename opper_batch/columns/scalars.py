"""Reading single values, strictly: from JSON, or already of the right Python type.

A reader takes anything and gives the typed value, or raises ``misfit(rule)``; the rule never holds the value.
The Python types are taken too, because that is what bounds and a user's own model class hold.
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import math
import re
import struct
import uuid
from collections.abc import Callable
from enum import Enum
from typing import Any

from pydantic_core import PydanticCustomError, from_json

Reader = Callable[[object], object]

MISFIT = "misfit"
_EXACT = 2**53  # up to here every whole number is a double of its own

# fromisoformat cuts digits below the microsecond, so they are checked here; zeros there are harmless.
_DAY = r"\d{4}-\d{2}-\d{2}"
_CLOCK = r"\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6}0*)?)?"
_DATE = re.compile(_DAY, re.ASCII)
_TIME = re.compile(_CLOCK, re.ASCII)
_MOMENT = re.compile(rf"{_DAY}[T ]{_CLOCK}(?:Z|[+-]\d{{2}}(?::?\d{{2}})?)?", re.ASCII)
_DECIMAL = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DATA_URL = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)


def misfit(rule: str) -> PydanticCustomError:
    """What a reader raises: ``rule`` says what the value should be."""
    return PydanticCustomError(MISFIT, "{rule}", {"rule": rule})


def read_boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise misfit("should be true or false")


def read_whole(value: object) -> int:
    """3, and 3.0, which JSON Schema calls an integer too; never a boolean, never text."""
    if type(value) is int:
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        return int(value)
    raise misfit("should be a whole number")


def read_double(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
        raise misfit("should be a finite number")
    raise misfit("should be a number")


def read_single(value: object) -> float:
    """Rounded to the 32 bits that will be stored, so that what was accepted comes back equal."""
    try:
        rounded: float = struct.unpack("<f", struct.pack("<f", read_double(value)))[0]
    except OverflowError:  # only '<f' looks; the machine's own 'f' makes it infinite
        raise misfit("should be a number that a 32-bit FLOAT can hold") from None
    return rounded


def decimal_reader(precision: int, scale: int) -> Reader:
    """Reads DECIMAL(precision, scale) exactly: digits that would be lost are refused, but not zeros."""
    exact = decimal.Context(prec=precision, traps=[decimal.Inexact, decimal.InvalidOperation])
    step = decimal.Decimal((0, (1,), -scale))
    digits = f"at most {precision - scale} digits before the point and {scale} after it"

    def read(value: object) -> decimal.Decimal:
        number = _decimal(value)
        try:
            return number.quantize(step, context=exact)
        except decimal.DecimalException:
            raise misfit(f"should have {digits}") from None

    return read


def _decimal(value: object) -> decimal.Decimal:
    if isinstance(value, decimal.Decimal):
        return value
    if type(value) is int or (isinstance(value, str) and _DECIMAL.fullmatch(value)):
        return decimal.Decimal(value)
    raise misfit("should be a decimal number written as text, like '-12.5'")


def read_date(value: object) -> dt.date:
    if type(value) is dt.date:
        return value
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            return dt.date.fromisoformat(value)
        except ValueError:
            pass
    raise misfit("should be a date like '2026-01-31'")


def read_time(value: object) -> dt.time:
    if isinstance(value, dt.time) and value.tzinfo is None:
        return value
    if isinstance(value, str) and _TIME.fullmatch(value):
        try:
            return dt.time.fromisoformat(value)
        except ValueError:
            pass
    raise misfit("should be a time of day like '09:30:00', without offset, at most to the microsecond")


def read_timestamp(value: object) -> dt.datetime:
    """A date and time that says nothing about its offset."""
    moment = _moment(value)
    if moment is not None and moment.tzinfo is None:
        return moment
    raise misfit(
        "should be a date and time like '2026-01-31T09:30:00', without offset, at most to the microsecond"
    )


def read_timestamptz(value: object) -> dt.datetime:
    """A date and time with its offset, as UTC."""
    moment = _moment(value)
    if moment is not None and moment.utcoffset() is not None:
        try:
            return moment.astimezone(dt.UTC)
        except OverflowError:
            pass
    raise misfit(
        "should be a date and time with its offset, like '2026-01-31T09:30:00Z', at most to the microsecond"
    )


def _moment(value: object) -> dt.datetime | None:
    if isinstance(value, dt.datetime):
        return value
    if isinstance(value, str) and _MOMENT.fullmatch(value):
        try:
            return dt.datetime.fromisoformat(value)
        except ValueError:
            return None
    return None


def read_uuid(value: object) -> str:
    """The canonical text, in lower case: Arrow has no UUID of its own that everybody reads."""
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, str) and _UUID.fullmatch(value):
        return value.lower()
    raise misfit("should be a UUID like '123e4567-e89b-12d3-a456-426614174000'")


def read_json(value: object) -> str:
    """JSON text, kept as it is."""
    if isinstance(value, str):
        try:
            from_json(value.encode(), allow_inf_nan=False)
        except ValueError:
            pass
        else:
            return value
    raise misfit("should be JSON written as text")


def read_blob(value: object) -> bytes:
    """Bytes from base64, bare or as a data URL."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        prefix = _DATA_URL.match(value)
        try:
            return base64.b64decode(value[prefix.end() :] if prefix else value, validate=True)
        except ValueError:
            pass
    raise misfit("should be bytes written as base64 text")


def choice_reader(values: tuple[str, ...]) -> Reader:
    """One of ``values``, or a Python enum's member that stands for one."""
    allowed = {value: value for value in values}
    rule = "should be one of " + ", ".join(repr(value) for value in values)

    def read(value: object) -> str:
        known = value.value if isinstance(value, Enum) else value
        if isinstance(known, str) and known in allowed:
            return allowed[known]
        raise misfit(rule)

    return read


def bounded(read: Reader, low: Any, high: Any) -> Reader:
    """``read``, and then refuse what is below ``low`` or above ``high``; None is no bound."""
    if low is None and high is None:
        return read

    def read_within(value: object) -> object:
        found: Any = read(value)
        if low is not None and found < low:
            raise misfit(f"should be at least {said(low)}")
        if high is not None and found > high:
            raise misfit(f"should be at most {said(high)}")
        return found

    return read_within


def said(value: object) -> str:
    """A bound, as a person writes it."""
    return value.isoformat() if isinstance(value, dt.date | dt.time) else str(value)
