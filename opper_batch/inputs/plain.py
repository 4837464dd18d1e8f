"""Plain Arrow types: how each is described in JSON Schema, and how its values become bare text.

``KINDS`` is the table. Lists, structs and maps are not in it: they are put together from their children.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

import pyarrow as pa
import pyarrow.types as pt

Texts = list[str | None]

_TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


class NotJson(ValueError):
    """A value that JSON cannot hold; where it is, the caller knows."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A plain type: its JSON Schema, and its values as bare text."""

    schema: Mapping[str, str]
    texts: Callable[[pa.Array], Texts]

    @property
    def quoted(self) -> bool:
        return self.schema["type"] == "string"


@lru_cache(maxsize=256)
def kind_of(type_: pa.DataType) -> Kind | None:
    """The plain kind of a type, None for nested types and for those that cannot be sent."""
    extension = getattr(type_, "extension_name", None)
    if extension == "arrow.uuid":
        return Kind({"type": "string", "description": "UUID"}, _uuids)
    if extension == "arrow.json":
        return Kind({"type": "string", "description": "JSON text"}, lambda array: _strings(array.storage))
    return next((kind for fits, kind in KINDS if fits(type_)), None)


def plain(array: pa.Array) -> pa.Array:
    """The same values without what only says how Arrow stores them."""
    type_ = array.type
    if pt.is_dictionary(type_):
        return plain(array.dictionary_decode())
    if pt.is_run_end_encoded(type_):
        import pyarrow.compute as pc

        return plain(pc.run_end_decode(array))
    if pt.is_map(type_):
        entry = pa.struct(
            [pa.field("key", type_.key_type, nullable=False), type_.item_field.with_name("value")]
        )
        return array.cast(pa.list_(pa.field("entry", entry, nullable=False)))
    if getattr(type_, "extension_name", None) == "arrow.bool8":
        return array.storage.cast(pa.bool_())
    return array


def is_list(type_: pa.DataType) -> bool:
    kinds = (pt.is_list, pt.is_large_list, pt.is_fixed_size_list, pt.is_list_view, pt.is_large_list_view)
    return any(is_kind(type_) for is_kind in kinds)


def is_text(type_: pa.DataType) -> bool:
    return bool(pt.is_string(type_) or pt.is_large_string(type_) or pt.is_string_view(type_))


def always_sendable(type_: pa.DataType) -> bool:
    """Text and whole numbers have JSON for every value; floats (NaN), dates (year 10000) have not."""
    if pt.is_dictionary(type_):
        return always_sendable(type_.value_type)
    return is_text(type_) or bool(pt.is_integer(type_) or pt.is_boolean(type_))


def _is_bytes(type_: pa.DataType) -> bool:
    kinds = (pt.is_binary, pt.is_large_binary, pt.is_fixed_size_binary, pt.is_binary_view)
    return any(is_kind(type_) for is_kind in kinds)


def _is_naive(type_: pa.DataType) -> bool:
    return bool(pt.is_timestamp(type_)) and type_.tz is None


def _strings(array: pa.Array) -> Texts:
    texts: Texts = array.to_pylist()
    return texts


def _cast_texts(array: pa.Array) -> Texts:
    return _strings(array.cast(pa.string()))


def _floats(array: pa.Array) -> Texts:
    # Below 64 bits Python's own shortest text would show the digits that widening adds: 0.10000000149011612.
    values = array if array.type == pa.float64() else array.cast(pa.string())
    return [None if value is None else repr(float(value)) for value in values.to_pylist()]


def _decimals(array: pa.Array) -> Texts:
    return [None if value is None else format(value, "f") for value in array.to_pylist()]


def _uuids(array: pa.Array) -> Texts:
    return [None if raw is None else str(UUID(bytes=raw)) for raw in array.storage.to_pylist()]


def _base64(array: pa.Array) -> Texts:
    return [None if raw is None else b64encode(raw).decode() for raw in array.to_pylist()]


def _clock_texts(array: pa.Array) -> Texts:
    """Dates, times and naive timestamps as Arrow writes them, in ISO's form."""
    texts = _cast_texts(array)
    if any(text is not None and text.startswith("<") for text in texts):
        raise NotJson("its date lies beyond what can be written as text; correct it")
    return [None if text is None else _trimmed(text.replace(" ", "T")) for text in texts]


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def _zoned_texts(array: pa.Array) -> Texts:
    import pyarrow.compute as pc

    clock = _clock_texts(pc.local_timestamp(array))
    return [
        None if text is None or offset is None else text + _offset_text(offset)
        for text, offset in zip(clock, utc_offsets(array), strict=True)
    ]


def utc_offsets(array: pa.Array) -> list[int | None]:
    """How many seconds the zone's clock is ahead of UTC at each moment; long ago not whole minutes.

    Raises pyarrow.ArrowInvalid for a zone that is not known.
    """
    import pyarrow.compute as pc

    local = pc.local_timestamp(array).cast(pa.int64())
    ahead = pc.subtract(local, array.cast(pa.int64()))
    offsets: list[int | None] = pc.divide(ahead, _TICKS[array.type.unit]).to_pylist()
    return offsets


@lru_cache(maxsize=256)
def _offset_text(seconds: int) -> str:
    minutes, second = divmod(abs(seconds), 60)
    text = f"{'-' if seconds < 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}"
    return f"{text}:{second:02d}" if second else text


def _durations(array: pa.Array) -> Texts:
    ticks = _TICKS[array.type.unit]
    return [
        None if value is None else _iso_duration(value, ticks) for value in array.cast(pa.int64()).to_pylist()
    ]


def _iso_duration(value: int, ticks: int) -> str:
    """``value`` ticks, of which ``ticks`` make a second, as ISO 8601."""
    seconds, rest = divmod(abs(value), ticks)
    days, seconds = divmod(seconds, 86_400)
    digits = round(math.log10(ticks))
    second = _trimmed(f"{seconds % 60}.{rest:0{digits}d}") if rest else str(seconds % 60)
    parts = ((str(seconds // 3600), "H"), (str(seconds // 60 % 60), "M"), (second, "S"))
    clock = "".join(number + unit for number, unit in parts if number != "0")
    day = f"{days}D" if days else ""
    if not day and not clock:
        return "PT0S"
    return f"{'-' if value < 0 else ''}P{day}{'T' + clock if clock else ''}"


def _described(description: str) -> dict[str, str]:
    return {"type": "string", "description": description}


KINDS: tuple[tuple[Callable[[pa.DataType], bool], Kind], ...] = (
    (pt.is_null, Kind({"type": "null"}, lambda array: [None] * len(array))),
    (pt.is_boolean, Kind({"type": "boolean"}, _cast_texts)),
    (pt.is_integer, Kind({"type": "integer"}, _cast_texts)),
    (pt.is_floating, Kind({"type": "number"}, _floats)),
    (is_text, Kind({"type": "string"}, _strings)),
    (pt.is_decimal, Kind(_described("exact decimal number"), _decimals)),
    (pt.is_date, Kind(_described("date, YYYY-MM-DD"), _clock_texts)),
    (
        pt.is_time,
        Kind(_described("time of day, HH:MM:SS, with a fraction where there is one"), _clock_texts),
    ),
    (_is_naive, Kind(_described("date and time without a zone, YYYY-MM-DDTHH:MM:SS"), _clock_texts)),
    (pt.is_timestamp, Kind(_described("date and time with UTC offset, ISO 8601"), _zoned_texts)),
    (pt.is_duration, Kind(_described("duration, ISO 8601"), _durations)),
    (_is_bytes, Kind({"type": "string", "contentEncoding": "base64"}, _base64)),
)
