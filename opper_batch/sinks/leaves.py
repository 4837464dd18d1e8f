"""Looking at the plain values inside lists and structs, for formats that cannot hold all of a type."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.types as pt

from opper_batch.inputs import BadValue, is_list

# Why some of the values have no place; None when all have one.
Fault = Callable[[pa.Array], str | None]


def leaves_of(kind: pa.DataType, are: Callable[[pa.DataType], bool]) -> bool:
    """Whether any plain type inside ``kind`` is one of those."""
    children = [kind.field(index).type for index in range(kind.num_fields)]
    return are(kind) if not children else any(leaves_of(child, are) for child in children)


def check_leaves(batch: pa.RecordBatch, fault: Fault, *, first_row: int) -> None:
    """Raises BadValue for the first row of the first column that ``fault`` finds something in."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if _said(column, fault) is None:
            continue
        for row in range(len(column)):
            if reason := _said(column.slice(row, 1), fault):
                raise BadValue(first_row + row, name, reason)


def _said(column: pa.Array, fault: Fault) -> str | None:
    return next(filter(None, map(fault, _leaves(column))), None)


def _leaves(values: pa.Array) -> Iterator[pa.Array]:
    if pt.is_dictionary(values.type):
        yield from _leaves(values.dictionary_decode())
    elif pt.is_struct(values.type):
        for child in values.flatten():
            yield from _leaves(child)
    elif is_list(values.type) or pt.is_map(values.type):
        entries = values if is_list(values.type) else values.cast(pa.list_(values.type.field(0)))
        yield from _leaves(entries.flatten())
    else:
        yield values
