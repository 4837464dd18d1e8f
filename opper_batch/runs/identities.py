"""Which rows a published result has held, by the digests of their key columns: what tells changed from new.

The file beside the ledger holds eight bytes for each row, sorted: it is read where it lies, and what a run
read is merged into it when its result is out. Without it, or without key columns, every row is new.
"""

from __future__ import annotations

import mmap
import os
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

_WIDTH = 8


def identities(digests: Sequence[bytes]) -> array[int]:
    """A number for each digest of a row's key columns."""
    found = array("Q")
    found.frombytes(b"".join(digest[:_WIDTH] for digest in digests))
    return found


def identities_path(ledger: Path) -> Path:
    return ledger.with_suffix(".rows")


class Published:
    """The rows of published results; none when there is no such file."""

    def __init__(self, path: Path) -> None:
        self._sorted: Sequence[int] = ()
        with suppress(FileNotFoundError), path.open("rb") as file:
            if size := os.fstat(file.fileno()).st_size // _WIDTH * _WIDTH:
                kept = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
                self._sorted = memoryview(kept).cast("Q")

    def __len__(self) -> int:
        return len(self._sorted)

    def __contains__(self, identity: int) -> bool:
        place = bisect_left(self._sorted, identity)
        return place < len(self._sorted) and self._sorted[place] == identity


def remember(path: Path, published: array[int]) -> None:
    """Add the rows of a result that is out. Raises OSError."""
    if not published:
        return
    both = [_numbers(published.tobytes())]
    with suppress(FileNotFoundError):
        kept = path.read_bytes()
        both.append(_numbers(kept[: len(kept) // _WIDTH * _WIDTH]))
    merged = pc.unique(pa.chunked_array(both)).sort()
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(merged.buffers()[1].slice(_WIDTH * merged.offset, _WIDTH * len(merged)))
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _numbers(content: bytes) -> pa.Array:
    return pa.Array.from_buffers(pa.uint64(), len(content) // _WIDTH, [None, pa.py_buffer(content)])
