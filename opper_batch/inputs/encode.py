"""Record batches as canonical JSON, and as the bare texts of a text file's cells."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from json.encoder import encode_basestring
from typing import Literal

import pyarrow as pa
import pyarrow.types as pt

from opper_batch.errors import SourceError
from opper_batch.inputs.plain import NotJson, Texts, kind_of, plain
from opper_batch.text import printable

Nan = Literal["refuse", "null"]


class BadValue(SourceError):
    """A value that has no place where it shall go: its row (from 1), its column, and why, with what to do."""

    def __init__(self, row: int, column: str, reason: str) -> None:
        super().__init__(f"row {row}, column {printable(column)!r}: {reason}")
        self.row = row
        self.column = column
        self.reason = reason


def encode_inputs(
    batch: pa.RecordBatch, names: Sequence[str], *, nan: Nan = "refuse", first_row: int = 1
) -> list[bytes]:
    """One compact UTF-8 JSON object per row, its keys in the order of ``names``.

    ``first_row`` is the number of the batch's first row, for messages. Raises BadValue, naming row and
    column, for a value that JSON cannot hold; types are ``input_schema``'s to refuse.
    """
    if not names:
        return [b"{}"] * batch.num_rows
    columns = []
    for name in names:
        column = batch.column(name)
        with _located(column, name, nan, first_row):
            columns.append(_fragments(column, nan))
    template = _object_template(names)
    return [(template % row).encode() for row in zip(*columns, strict=True)]


def json_rows(batch: pa.RecordBatch, *, nan: Nan = "refuse", first_row: int = 1) -> list[bytes]:
    """``encode_inputs`` of every column."""
    return encode_inputs(batch, batch.schema.names, nan=nan, first_row=first_row)


def column_texts(batch: pa.RecordBatch, *, nan: Nan = "null", first_row: int = 1) -> list[list[str | None]]:
    """Every column's values as bare text, None for null: what a text file's cells hold.

    Like the JSON, but without quotes around text; floats may be ``nan``, ``inf``, ``-inf``;
    nested values are JSON, and only for the floats in them it matters what ``nan`` is.
    """
    columns = []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        with _located(column, name, nan, first_row):
            columns.append(_bare_texts(column, nan))
    return columns


@contextmanager
def _located(column: pa.Array, name: str, nan: Nan, first_row: int) -> Iterator[None]:
    """Names the row of a value that cannot be encoded, found by going through the rows one by one."""
    try:
        yield
    except (NotJson, UnicodeDecodeError) as error:
        row = first_row + next(row for row in range(len(column)) if _fails(column.slice(row, 1), nan))
        no_text = isinstance(error, UnicodeDecodeError)
        raise BadValue(row, name, "its text is not UTF-8; repair it" if no_text else str(error)) from None


def _fails(value: pa.Array, nan: Nan) -> bool:
    try:
        _fragments(value, nan)
    except (NotJson, UnicodeDecodeError):
        return True
    return False


def _fragments(array: pa.Array, nan: Nan) -> list[str]:
    """The array's values as JSON texts."""
    array = plain(array)
    kind = kind_of(array.type)
    if kind is None:
        return _nested_fragments(array, nan)
    if pt.is_floating(array.type):
        array = _finite(array, nan)
    texts = kind.texts(array)
    if kind.quoted:
        return ["null" if text is None else encode_basestring(text) for text in texts]
    return ["null" if text is None else text for text in texts]


def _bare_texts(array: pa.Array, nan: Nan) -> Texts:
    array = plain(array)
    if kind := kind_of(array.type):
        return kind.texts(array)
    return [None if text == "null" else text for text in _nested_fragments(array, nan)]


def _nested_fragments(array: pa.Array, nan: Nan) -> list[str]:
    if pt.is_struct(array.type):
        return _objects(array, nan)
    import pyarrow.compute as pc

    values = iter(_fragments(array.flatten(), nan))  # flatten leaves out what null lists hide
    lengths = pc.list_value_length(array).to_pylist()
    return ["null" if length is None else f"[{','.join(islice(values, length))}]" for length in lengths]


def _objects(array: pa.Array, nan: Nan) -> list[str]:
    names = [array.type.field(index).name for index in range(array.type.num_fields)]
    template = _object_template(names)
    children = [_fragments(child, nan) for child in array.flatten()]
    rows = zip(*children, strict=True) if children else iter([()] * len(array))
    there = array.is_valid().to_pylist()
    return [template % row if valid else "null" for row, valid in zip(rows, there, strict=True)]


def _object_template(names: Sequence[str]) -> str:
    keys = (json.dumps(name, ensure_ascii=False).replace("%", "%%") for name in names)
    return "{" + ",".join(f"{key}:%s" for key in keys) + "}"


def _finite(array: pa.Array, nan: Nan) -> pa.Array:
    import pyarrow.compute as pc

    finite = pc.is_finite(array)
    if pc.all(finite).as_py() is not False:
        return array
    if nan == "refuse":
        raise NotJson('JSON has no NaN and no infinity; nan = "null" in [source] makes it null')
    return pc.if_else(finite, array, pa.scalar(None, array.type))
