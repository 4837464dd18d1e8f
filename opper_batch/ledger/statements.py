"""What is written to the ledger, as text, and how many rows go in one statement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

_MOST_ROWS = 64
_ANY_COUNT = 16  # up to here each count of rows is a text of its own
STATEMENTS = 256  # texts, of all kinds, that a connection keeps prepared

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Bulk:
    """A statement over any number of rows: ``head``, the rows, ``tail``.

    SQLite hands the interpreter's lock over at every statement, and to get it back from a busy event loop
    takes longer than the row itself: so rows of one kind go together. Many go in powers of two, so that
    their few texts are prepared once.
    """

    head: str
    width: int
    tail: str = ""

    def statements(self, rows: Sequence[Row]) -> Iterator[tuple[str, list[Any]]]:
        """Statements with their values, for all of ``rows``."""
        start = 0
        while left := len(rows) - start:
            count = left if left <= _ANY_COUNT else min(_MOST_ROWS, 1 << (left.bit_length() - 1))
            yield self.text(count), [value for row in rows[start : start + count] for value in row]
            start += count

    def text(self, rows: int) -> str:
        marks = f"({','.join('?' * self.width)})"
        return f"{self.head} {','.join([marks] * rows)} {self.tail}"


class Sums(Bulk):
    """A statement that adds to what is there: rows of one run and template go as one, summed."""

    def statements(self, rows: Sequence[Row]) -> Iterator[tuple[str, list[Any]]]:
        parts: dict[Row, list[Row]] = {}
        for row in rows:
            parts.setdefault(row[:2], []).append(row[2:])
        sums = [(*key, *map(sum, zip(*its, strict=True))) for key, its in parts.items()]
        yield from super().statements(sums)


OUTCOME = Bulk(
    "INSERT INTO outcomes (key, run, template, ok, final, error, reply, model, cost, input_tokens,"
    " output_tokens, latency_ms, attempts, throttled, trace, artifacts, at) VALUES",
    17,
)
TOTALS = Sums(
    "INSERT INTO totals (run, template, ok, failed, calls, throttled, unpriced, cost, input_tokens,"
    " output_tokens, latency_ms) VALUES",
    11,
    """ON CONFLICT (run, template) DO UPDATE SET
        ok = ok + excluded.ok, failed = failed + excluded.failed, calls = calls + excluded.calls,
        throttled = throttled + excluded.throttled, unpriced = unpriced + excluded.unpriced,
        cost = cost + excluded.cost, input_tokens = input_tokens + excluded.input_tokens,
        output_tokens = output_tokens + excluded.output_tokens,
        latency_ms = latency_ms + excluded.latency_ms""",
)
INTENT = Bulk("INSERT OR REPLACE INTO intents (key, run, at) VALUES", 3)
# Written again it is still as old as it is: ``at`` stays.
PENDING = Bulk(
    "INSERT INTO pending (key, reply, at) VALUES", 3, "ON CONFLICT (key) DO UPDATE SET reply = excluded.reply"
)
FORGET_PENDING = Bulk("DELETE FROM pending WHERE key IN (VALUES", 1, ")")

NEW_RUN = "INSERT INTO runs (started, origin, options) VALUES (?, ?, ?)"
END_OF_RUN = "UPDATE runs SET ended=?, exit_code=?, published=?, rows=max(rows, ?), summary=? WHERE id=?"
KEEP_REPORT = "INSERT OR REPLACE INTO reports (run, whole, report) VALUES (?, ?, ?)"
PROGRESS = "UPDATE runs SET step=?, done=?, rows=? WHERE id=?"
NEW_TEMPLATE = "INSERT INTO templates (digest, step, fields) VALUES (?, ?, ?) ON CONFLICT (digest) DO NOTHING"


def forget_intent(run: int) -> Bulk:
    """Takes back intents of one run: with the run among the rows, SQLite would not use the index."""
    return Bulk(f"DELETE FROM intents WHERE run = {run:d} AND key IN (VALUES", 1, ")")
