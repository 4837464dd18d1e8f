"""Arrow data is believed only after a look: text that is UTF-8, lists that lie within what they point to."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from opper_batch.errors import SourceError
from opper_batch.sources.places import first_line, quoted


def check_values(batches: Iterable[pa.RecordBatch], name: str, *, rows: int) -> None:
    """Goes through all of ``batches``; raises SourceError for the first value that is not what its type says.

    Whoever wrote them may not have looked, and whoever reads them later would stop halfway, or crash.
    ``rows`` is how many there shall be: of a broken file, fewer may come without a word.
    """
    first_row = 1
    for batch in batches:
        for column, values in zip(batch.schema.names, batch.columns, strict=True):
            if fault := _fault(values):
                raise _invalid(fault, values, name, quoted(column), first_row)
        first_row += batch.num_rows
    if first_row - 1 != rows:
        raise SourceError(f"{name} says it has {rows:,} rows and has {first_row - 1:,}: write it anew")


def _fault(values: pa.Array) -> str | None:
    try:
        values.validate(full=True)
    except pa.ArrowException as error:
        return first_line(error)
    return None


def _invalid(fault: str, values: pa.Array, name: str, column: str, first_row: int) -> SourceError:
    if "UTF8" not in fault:  # where offsets lie, looking closer would crash
        return SourceError(f"{name}, column {column} is broken ({fault}): write it anew")
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    # Taken, not sliced: a slice of a list still has the elements of all rows.
    rows = (first_row + row for row in range(len(values)) if _fault(values.take(pa.array([row]))))
    row = next(rows, None)  # none has a category that only later rows have, if any
    where = name if row is None else f"{name}, row {row}"
    return SourceError(
        f"{where}, column {column} holds text that is not UTF-8: repair it, or keep it as bytes"
    )
