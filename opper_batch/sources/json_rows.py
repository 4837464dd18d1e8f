"""One JSONL file as objects, strictly: each line is one object, and JSON as RFC 8259 has it.

Refused are duplicate keys at any depth, NaN and Infinity, numbers too large for a double, lone surrogates,
and blank lines other than at the end of the file.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from typing import Any

from opper_batch.errors import SourceError
from opper_batch.sources.contract import TEXT_PER_BATCH
from opper_batch.sources.places import first_line, line_place, quoted
from opper_batch.sources.text_files import LONGEST, not_utf8_error, opened_text

_DIGITS = 17  # as many tell every double from every other


@dataclass(slots=True)
class Block:
    """Objects from consecutive lines, the first of them on ``first_line``."""

    first_line: int
    objects: list[dict[str, Any]] = field(default_factory=list)


class WrittenFloat(float):
    """A JSON number with how it was written, so that 1.10 can still become DECIMAL or text without loss."""

    text: str

    def __new__(cls, text: str) -> WrittenFloat:
        number = super().__new__(cls, text)
        number.text = text
        return number


class InexactFloat(WrittenFloat):
    """A number with digits that no double keeps, which only a declared column can take."""


class _NotJson(ValueError):
    """Legal for Python's json module, but not for us."""


def read_blocks(path: str, size: int, *, keep_written: bool) -> Iterator[Block]:
    """At most ``size`` objects to a block, bounded in bytes; ``keep_written`` makes floats WrittenFloats."""
    decode = _decoder(keep_written)
    block, weight = Block(1), 0
    for line, text in _without_trailing_blanks(path):
        block.objects.append(_object(path, line, text, decode))
        weight += len(text)
        if len(block.objects) == size or weight > TEXT_PER_BATCH:
            yield block
            block, weight = Block(line + 1), 0
    if block.objects:
        yield block


def _decoder(keep_written: bool) -> json.JSONDecoder:
    return json.JSONDecoder(
        object_pairs_hook=_without_duplicates,
        parse_constant=_refuse_constant,
        parse_float=_written if keep_written else _finite,
    )


def _object(path: str, line: int, text: str, decoder: json.JSONDecoder) -> dict[str, Any]:
    where = line_place(path, line)
    try:
        value = decoder.decode(text)
        if "\\u" in text:  # the only way for half a character to get in
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        said = error.msg.removesuffix(" at")
        raise SourceError(
            f"{where}, character {error.colno} is not JSON ({said}): {_advice(error)}"
        ) from None
    except UnicodeEncodeError:
        raise SourceError(
            f"{where} holds half a surrogate pair (\\ud800 to \\udfff): write whole characters"
        ) from None
    except RecursionError:
        raise SourceError(f"{where} is nested too deeply: flatten it") from None
    except ValueError as error:
        raise SourceError(f"{where}: {first_line(error)}") from None
    if not isinstance(value, dict):
        raise SourceError(
            f"{where} holds {_kind(value)} where an object should be: write one object on each line"
        )
    return value


def _advice(error: json.JSONDecodeError) -> str:
    if re.search(r"[:,\[]\s*-?0$", error.doc[: error.pos]) and error.doc[error.pos].isdigit():
        return "a number has no leading zeros; write it as text, in quotes"
    if error.doc.startswith("["):
        return "it begins a list; write one whole object on each line, for example with  jq -c '.[]'"
    return "write one whole object on each line"


def _without_trailing_blanks(path: str) -> Iterator[tuple[int, str]]:
    blank = 0
    for line, text in _lines(path):
        if not text.strip(" \t\r\n"):
            blank = blank or line
        elif blank:
            raise SourceError(
                f"{line_place(path, blank)} is blank: remove it; only the end of the file may be blank"
            )
        else:
            yield line, text


def _lines(path: str) -> Iterator[tuple[int, str]]:
    with opened_text(path) as file:
        for line, raw in enumerate(iter(lambda: file.readline(LONGEST), b""), start=1):
            if len(raw) == LONGEST:
                raise SourceError(f"{line_place(path, line)} is longer than {LONGEST:,} bytes")
            try:
                yield line, raw.decode()
            except UnicodeDecodeError:
                raise not_utf8_error(path) from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise _NotJson(f"the key {quoted(twice)} comes twice in one object; keep one")
    return found


def _refuse_constant(name: str) -> Any:
    raise _NotJson(f"{name} is not JSON; write null, or a number")


def _finite(text: str) -> float:
    return _inexact(text) if len(text) > _DIGITS else _checked_finite(float(text), text)


def _written(text: str) -> float:
    return _inexact(text) if len(text) > _DIGITS else _checked_finite(WrittenFloat(text), text)


def _inexact(text: str) -> float:
    """A double as it may be written in full, to the last digit; or a number that is no such thing."""
    number = WrittenFloat(text)
    _checked_finite(number, text)
    with localcontext() as context:
        written = Decimal(text)
        context.prec = max(_DIGITS, len(written.as_tuple().digits))
        exact = context.create_decimal(Decimal(float(number))) == written
        few = len(written.normalize().as_tuple().digits) <= _DIGITS
    return number if exact or few else InexactFloat(text)


def _checked_finite(number: float, text: str) -> float:
    if math.isinf(number):
        raise _NotJson(f"the number {quoted(text, 30)} is too large for a double; write it as text")
    if number == 0.0 and text.lower().partition("e")[0].strip("-0."):
        raise _NotJson(f"the number {quoted(text, 30)} is too small for a double; write it as text")
    return number


def _kind(value: object) -> str:
    kinds = {str: "text", list: "a list", type(None): "null", bool: "true or false"}
    return kinds.get(type(value), "a number")
