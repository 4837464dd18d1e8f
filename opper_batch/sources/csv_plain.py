"""CSV text without quotes, read by Arrow many rows at a time; all other text is for the strict reader.

What Arrow makes of such text is what the strict reader would make of it, in a tenth of the time.
"""

from __future__ import annotations

import pyarrow as pa

from opper_batch.sources.contract import TEXT_PER_BATCH

# What may begin or end a cell or a row in a way of its own; a blank line is a fault, or the end.
_NOT_PLAIN = ('"', "\r", "\0", "\n\n")
# Arrow leaves out a mark wherever text begins; here it can only be a character of the first cell.
_NOT_AT_START = ("\n", "\ufeff")


def plain_columns(text: str, delimiter: str, width: int) -> list[pa.Array] | None:
    """The ``width`` columns of some whole lines; None where the text is not plain, or not that wide."""
    if len(text) > TEXT_PER_BATCH or not delimiter.isascii():
        return None
    text = text.replace("\r\n", "\n")
    if text.startswith(_NOT_AT_START) or any(mark in text for mark in _NOT_PLAIN):
        return None
    from pyarrow import csv

    data = text.encode()
    names = [str(index) for index in range(width)]
    try:
        table = csv.read_csv(
            pa.BufferReader(data),
            read_options=csv.ReadOptions(column_names=names, block_size=len(data) + 1, use_threads=False),
            parse_options=csv.ParseOptions(delimiter=delimiter, quote_char=False),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), check_utf8=False
            ),
        )
    except pa.ArrowInvalid:
        return None
    return [column.combine_chunks() for column in table.columns]
