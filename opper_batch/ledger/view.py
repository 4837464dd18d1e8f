"""The ledger for reading: one look-up for a batch, running totals without a scan. Never writes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from opper_batch.errors import MachineError
from opper_batch.ledger.faults import format_of, holds_something, machine_error
from opper_batch.ledger.known import Found, Known
from opper_batch.ledger.lock import Lock, lock_path

_CHUNK = 8_192
_PART_BYTES = 2**20  # of replies

# Of several outcomes of a key an answer wins over a failure, and the later over the earlier. One that is
# not final was to be asked again: it was paid for, but settles nothing.
_SETTLED = "SELECT key, ok, run FROM outcomes WHERE key IN ({marks}) AND final"
# In the index's own order, so that nothing is sorted: of a key's outcomes the one that counts is the last.
_PLACES = """
    SELECT key, iif(final, id, -id) FROM outcomes WHERE key IN ({marks}) ORDER BY key, ok, final, run, id"""
_FIELDS = """
    key, ok, final, error, model, cost, input_tokens, output_tokens, trace, latency_ms, attempts, throttled,
    artifacts, run, id"""
_LOOKUP = f"SELECT {_FIELDS}, reply FROM outcomes WHERE id IN ({{marks}})"
_USED = f"SELECT {_FIELDS}, NULL FROM outcomes WHERE id IN ({{marks}})"
_PENDING = "SELECT key, reply FROM pending WHERE key IN ({marks})"
_PENDING_SINCE = "SELECT key, at FROM pending WHERE key IN ({marks})"
_TOTALS = """
    SELECT coalesce(sum(ok), 0), coalesce(sum(failed), 0), coalesce(sum(calls), 0),
           coalesce(sum(throttled), 0), coalesce(sum(unpriced), 0), coalesce(sum(cost), 0.0),
           coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0), coalesce(sum(latency_ms), 0)
    FROM totals"""
_RUNS = """
    SELECT id, started, origin, ended, exit_code, published, step, done, rows, options, summary
    FROM runs ORDER BY id"""
# The inner limit bounds the scan where another step's outcomes are the latest.
_RECENT_COSTS = """
    SELECT cost FROM (SELECT id, cost, template FROM outcomes ORDER BY id DESC LIMIT 20000)
    WHERE template = ? AND cost > 0 ORDER BY id DESC LIMIT 200"""
_UNPUBLISHED = "run > (SELECT coalesce(max(id), 0) FROM runs WHERE published)"
_SPENT = f"SELECT coalesce(sum(cost), 0.0), coalesce(sum(unpriced), 0) FROM totals WHERE {_UNPUBLISHED}"
_IN_FLIGHT = "SELECT key, at FROM intents WHERE run = ? ORDER BY at"  # the table holds few at any time
# The inner limit bounds the scan; what failed longer ago is found by ``failures``.
_LAST_ERRORS = """
    SELECT at, error, key FROM (SELECT id, at, error, key, run FROM outcomes ORDER BY id DESC LIMIT 5000)
    WHERE run = ? AND error IS NOT NULL ORDER BY id DESC LIMIT ?"""
_UNRECORDED = """
    SELECT reply FROM pending WHERE at > (SELECT coalesce(max(ended), 0) FROM runs WHERE published)"""
_IN_DOUBT = f"SELECT count(*) FROM intents WHERE {_UNPUBLISHED}"


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over calls; ``cost`` in USD over the known costs, ``unpriced`` counts the requests that may have
    been paid and whose cost nobody said.

    ``latency_ms`` is the sum over the answers that fit.
    """

    ok: int = 0
    failed: int = 0
    calls: int = 0
    throttled: int = 0
    unpriced: int = 0
    cost: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    latency_ms: int = 0


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as the ledger holds it; ``ended`` is None while it runs or when it was killed."""

    id: int
    started: float
    origin: str
    ended: float | None
    exit_code: int | None
    published: bool
    step: str | None
    done: int
    rows: int
    options: dict[str, Any]
    summary: dict[str, Any]

    @property
    def kind(self) -> str:
        """``run``, or ``pilot`` or ``sample`` (of a diff): these ask some of the rows and keep no summary."""
        unsaid = "sample" if self.ended and not self.summary else "run"
        return str(self.options.get("kind", unsaid))


class View:
    """A read-only connection; look-ups take any number of keys and answer for those that are there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._connection = _connect(path)
        except sqlite3.Error as error:
            raise machine_error(path, error) from None

    @classmethod
    def empty(cls) -> View:
        """What a pipeline that never ran knows: nothing."""
        view = cls.__new__(cls)
        view.path = Path("(no ledger yet)")
        view._connection = sqlite3.connect(":memory:", isolation_level=None)
        view._connection.executescript(files(__package__).joinpath("ledger.sql").read_text())
        return view

    def settled(self, keys: Sequence[bytes]) -> dict[bytes, tuple[bool, int, int]]:
        """For each key with an outcome: whether it has an answer, the last run that asked, and that answered.

        The run that answered is 0 where none did.
        """
        rows = list(self.select(_SETTLED, sorted(keys)))
        found = {key: (ok > 0, run, ok * run) for key, ok, run in rows}
        if len(found) < len(rows):
            for key, ok, run in rows:
                any_ok, latest, answered = found[key]
                found[key] = (any_ok or ok > 0, max(latest, run), max(answered, ok * run))
        return found

    def lookup(self, keys: Sequence[bytes]) -> dict[bytes, Known]:
        """For each key with an outcome: the one that counts."""
        return {found[0]: Known._make(found) for part in self.parts(keys) for found in part}

    def parts(self, keys: Sequence[bytes]) -> Iterator[list[Found]]:
        """The same as bare fields, so many together as fit into memory, however large their replies are.

        They are found in the index and then read as they lie in the file, neighbours together.
        """
        places = list(self.select(_PLACES, sorted(keys)))
        last = dict(places)
        counting = sorted(place for place in last.values() if place > 0)  # those that settle the key
        earlier = self._earlier(places, last) if len(last) < len(places) else {}
        part: list[Found] = []
        size = 0
        for found in self.select(_LOOKUP, counting):
            part.append(found if found[0] not in earlier else Known._make(found).after(earlier[found[0]]))
            size += len(found[-1] or b"")
            if size > _PART_BYTES:
                yield part
                part, size = [], 0
        yield part

    def _earlier(self, places: Sequence[tuple[bytes, int]], last: Mapping[bytes, int]) -> dict[bytes, Known]:
        """What the outcomes used that came before the last of their key."""
        before = [abs(place) for key, place in places if last[key] != place]
        used = {found.id: found for found in map(Known._make, self.select(_USED, sorted(before)))}
        found: dict[bytes, Known] = {}
        for key, place in places:
            if one := used.get(abs(place)):
                found[key] = one.after(found[key]) if key in found else one
        return found

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """What is read inside is the ledger as it is now, whatever is written meanwhile."""
        self.rows("BEGIN")
        self.rows(_RUNS)  # it begins with the first that is read
        try:
            yield
        finally:
            self.rows("COMMIT")

    def is_running(self) -> bool:
        """Whether a run holds the ledger now."""
        return Lock.is_held(lock_path(self.path))

    def pending(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """For each key with operations that have not ended: the body of the 202 that names them."""
        return dict(self.select(_PENDING, keys))

    def pending_since(self, keys: Sequence[bytes]) -> dict[bytes, float]:
        """For the same keys: when the first 202 came, in Unix seconds."""
        return dict(self.select(_PENDING_SINCE, keys))

    def template(self, digest: bytes) -> int:
        """The number of a prompt; 0 when it was never run."""
        rows = self.rows("SELECT id FROM templates WHERE digest = ?", (digest,))
        return int(rows[0][0]) if rows else 0

    def totals(self, *, run: int | None = None, template: int | None = None) -> Totals:
        """Running totals, of one run or one prompt or of all."""
        wanted = [
            (name, value) for name, value in (("run", run), ("template", template)) if value is not None
        ]
        where = " AND ".join(f"{name} = ?" for name, _ in wanted) or "1"
        values = [value for _, value in wanted]
        return Totals(*self.rows(f"{_TOTALS} WHERE {where}", values)[0])

    def spent(self) -> tuple[float, int]:
        """Since the last run that published: USD paid as far as it is known, and requests of unknown cost."""
        cost, unpriced = self.rows(_SPENT)[0]
        return float(cost), int(unpriced) + self.in_doubt()

    def unrecorded(self) -> list[bytes]:
        """202s since the last run that published that have not ended: what they cost is not in ``spent``."""
        return [row[0] for row in self.rows(_UNRECORDED)]

    def recent_costs(self, template: int) -> list[float]:
        """USD of the latest two hundred answers to a prompt, as far as it is known, the earliest first."""
        return [row[0] for row in reversed(self.rows(_RECENT_COSTS, (template,)))]

    def runs(self) -> list[RunRecord]:
        """Every run, oldest first."""
        return [_run(*row) for row in self.rows(_RUNS)]

    def in_doubt(self) -> int:
        """Calls whose end is not known: in flight now, or possibly paid by a run that was killed.

        Those of runs since the last one that published.
        """
        return int(self.rows(_IN_DOUBT)[0][0])

    def in_flight(self, run: int) -> list[tuple[bytes, float]]:
        """Key of each call that left in this run and whose end is not known, and when: the oldest first."""
        return self.rows(_IN_FLIGHT, (run,))

    def last_errors(self, run: int, count: int) -> list[tuple[float, str, bytes]]:
        """When, why and for which key an attempt failed, of the latest outcomes; the last one first."""
        return self.rows(_LAST_ERRORS, (run, count))

    def pending_calls(self) -> int:
        """Calls with operations that have not ended."""
        return int(self.rows("SELECT count(*) FROM pending")[0][0])

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> View:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"View({str(self.path)!r})"

    def select(self, statement: str, keys: Sequence[bytes] | Sequence[int]) -> Iterator[Any]:
        """The rows of a statement that has ``{marks}`` for its keys."""
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            marks = ",".join("?" * len(chunk))
            yield from self._read(statement.format(marks=marks), chunk)

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a statement."""
        return list(self._read(statement, values))

    def _read(self, statement: str, values: Sequence[Any]) -> Iterator[Any]:
        """The one place that reads: row by row, since replies may be large."""
        try:
            yield from self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise machine_error(self.path, error) from None


def _connect(path: Path) -> sqlite3.Connection:
    none_yet = MachineError(f"there is no ledger at {path} yet; run the pipeline first")
    if not holds_something(path):
        raise none_yet
    # One thread reads at a time, but not always the same one: so it is with a result's stream.
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
    )
    try:
        if not format_of(connection, path):
            raise none_yet
    except BaseException:
        connection.close()
        raise
    return connection


def _run(id: int, started: float, origin: str, ended: float | None, *rest: Any) -> RunRecord:
    exit_code, published, step, done, rows, options, summary = rest
    options, summary = json.loads(options), json.loads(summary or "{}")
    return RunRecord(
        id, started, origin, ended, exit_code, bool(published), step, done, rows, options, summary
    )
