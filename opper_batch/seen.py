"""What was seen before, for tables of any length: digests on disk, small numbers as bits in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

_CHUNK = 8_192


class Seen:
    """Remembers 16-byte digests in a private temporary file that goes away with it; memory stays flat."""

    def __init__(self) -> None:
        # An empty name is SQLite's own private temporary database: cached up to cache_size, then on disk.
        self._connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=OFF")
        self._connection.execute("PRAGMA cache_size=-32768")
        self._connection.execute(
            "CREATE TABLE seen (digest BLOB PRIMARY KEY, batch INTEGER NOT NULL) WITHOUT ROWID"
        )
        self._batch = 0

    def add(self, digests: Sequence[bytes | None]) -> list[bool]:
        """Add them all; True at each place whose digest was there before, in this batch or an earlier one.

        None is nobody: never there before, never added.
        """
        # Sorted, so that neighbours land on the same page.
        known = self._repeated(sorted({digest for digest in digests if digest is not None}))
        repeated = []
        for digest in digests:
            repeated.append(digest in known)
            if digest is not None:
                known.add(digest)
        return repeated

    def __len__(self) -> int:
        return int(self._connection.execute("SELECT count(*) FROM seen").fetchone()[0])

    def close(self) -> None:
        self._connection.close()

    def __del__(self) -> None:
        self.close()

    def _repeated(self, digests: list[bytes]) -> set[bytes | None]:
        """Adds them, and gives those that an earlier batch had; mostly the count of the new ones tells."""
        connection, before = self._connection, self._connection.total_changes
        self._batch += 1
        connection.execute("BEGIN")
        rows = [(digest, self._batch) for digest in digests]
        connection.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?)", rows)
        connection.execute("COMMIT")
        found: set[bytes | None] = set()
        if connection.total_changes - before == len(digests):
            return found
        for start in range(0, len(digests), _CHUNK):
            chunk = digests[start : start + _CHUNK]
            marks = ",".join("?" * len(chunk))
            earlier = f"SELECT digest FROM seen WHERE digest IN ({marks}) AND batch < ?"
            found.update(row[0] for row in connection.execute(earlier, [*chunk, self._batch]))
        return found


class Numbers:
    """Remembers whole numbers from 0 on, a bit for each up to the largest: a million take 125 kB."""

    def __init__(self) -> None:
        self._bits = bytearray()

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return len(self._bits)

    def add(self, numbers: Sequence[int | None]) -> list[bool]:
        """As ``Seen.add``."""
        largest = max((number for number in numbers if number is not None), default=0)
        self._bits.extend(bytes(max(0, largest // 8 + 1 - len(self._bits))))
        bits, repeated = self._bits, []
        for number in numbers:
            place, bit = (0, 0) if number is None else (number >> 3, 1 << (number & 7))
            repeated.append(bits[place] & bit != 0)
            bits[place] |= bit
        return repeated
