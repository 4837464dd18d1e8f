"""Opening text files strictly: UTF-8 and nothing else, said plainly where it is not."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from opper_batch.errors import SourceError
from opper_batch.sources.places import first_line, line_place

# The longest line, and so the longest cell, that is read: beyond it a quote was left open or this is no text.
LONGEST = 64 * 1024 * 1024

_CHUNK = 1024 * 1024

# UTF-32's marks begin like UTF-16's, so they are looked for first.
_OTHER_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
# Without a mark the zeros beside ASCII characters tell; text in UTF-8 does not begin with one.
_OTHER_STARTS = (
    (re.compile(rb"[^\0]\0\0\0"), "UTF-32LE"),
    (re.compile(rb"\0\0\0[^\0]"), "UTF-32BE"),
    (re.compile(rb"[^\0]\0[^\0]\0"), "UTF-16LE"),
    (re.compile(rb"\0[^\0]\0[^\0]"), "UTF-16BE"),
)
# What is no text at all, and what to do about it.
_NO_TEXT = (
    (b"\x1f\x8b", "compressed with gzip: decompress it first, or read it through sql"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd: decompress it first, or read it through sql"),
    (b"PK\x03\x04", "a zip archive or a spreadsheet: save what is in it as CSV"),
    (b"PAR1\x15", "a Parquet file: let its name end with .parquet"),
    (b"ARROW1\0\0", "an Arrow file: let its name end with .arrow"),
)


@contextmanager
def opened_text(path: str) -> Iterator[BinaryIO]:
    """The file as bytes, past its UTF-8 mark if it has one; raises SourceError, for UTF-16 and UTF-32 too."""
    try:
        with open(path, "rb") as file:
            start = file.read(8)
            _refuse_other_starts(path, start)
            file.seek(len(codecs.BOM_UTF8) if start.startswith(codecs.BOM_UTF8) else 0)
            yield file
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read: {first_line(error)}; check the file and its permissions"
        ) from error


def _refuse_other_starts(path: str, start: bytes) -> None:
    for mark, what in _NO_TEXT:
        if start.startswith(mark):
            raise SourceError(f"{path} is {what}")
    marked = (encoding for mark, encoding in _OTHER_MARKS if start.startswith(mark))
    unmarked = (encoding for pattern, encoding in _OTHER_STARTS if pattern.match(start))
    encoding = next(marked, None) or next(unmarked, None)
    if encoding:
        raise SourceError(
            f"{path} is {encoding}, not UTF-8: convert it first, "
            f"for example with  iconv -f {encoding} -t UTF-8 {path} > converted"
        )


def not_utf8_error(path: str, place: str | None = None) -> SourceError:
    """The sentence for a file that a strict decoder refused: reads it again to find the first bad byte.

    ``place`` is where that is, if it is known better than by the line.
    """
    offset, line, byte = _first_bad_byte(path)
    where = place or line_place(path, line)
    return SourceError(
        f"{where}: byte 0x{byte:02X} at offset {offset} is not UTF-8; convert it first, "
        f"for example with  iconv -f WINDOWS-1252 -t UTF-8 {path} > converted"
    )


def _first_bad_byte(path: str) -> tuple[int, int, int]:
    """Its offset in the file, the line it is on (from 1), and its value."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset, line = 0, 1
    with open(path, "rb") as file:
        while True:
            chunk = file.read(_CHUNK)
            pending = decoder.getstate()[0]
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                read = pending + chunk
                at = error.start
                return offset - len(pending) + at, line + read[:at].count(b"\n"), read[at]
            if not chunk:
                raise SourceError(f"{path} changed during the run: run again once it is no longer written to")
            offset += len(chunk)
            line += chunk.count(b"\n")
