"""A set of digests that may grow with the table and therefore lives on disk."""

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
        self._connection.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY) WITHOUT ROWID")

    def add(self, digests: Sequence[bytes | None]) -> list[bool]:
        """Add them all; True at each place whose digest was there before, in this batch or an earlier one.

        None is nobody: never there before, never added.
        """
        known: set[bytes | None] = set(self._known([digest for digest in digests if digest is not None]))
        repeated, fresh = [], []
        for digest in digests:
            repeated.append(digest in known)
            if digest is not None and digest not in known:
                known.add(digest)
                fresh.append((digest,))
        self._connection.execute("BEGIN")
        self._connection.executemany("INSERT INTO seen VALUES (?)", sorted(fresh))
        self._connection.execute("COMMIT")
        return repeated

    def __len__(self) -> int:
        return int(self._connection.execute("SELECT count(*) FROM seen").fetchone()[0])

    def close(self) -> None:
        self._connection.close()

    def __del__(self) -> None:
        self.close()

    def _known(self, digests: list[bytes]) -> list[bytes]:
        found: list[bytes] = []
        for start in range(0, len(digests), _CHUNK):
            chunk = digests[start : start + _CHUNK]
            marks = ",".join("?" * len(chunk))
            rows = self._connection.execute(f"SELECT digest FROM seen WHERE digest IN ({marks})", chunk)
            found.extend(row[0] for row in rows)
        return found
