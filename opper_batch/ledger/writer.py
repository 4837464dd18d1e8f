"""The one read-write connection, owned by one thread, with group commits.

SQLite in WAL mode with ``synchronous=FULL``: a write that was waited for survives a power cut. Only one
connection ever writes, since SQLite before 3.51.3 can corrupt a WAL that two connections write. Writes
queue up while a commit is on its way to the disk and go together in the next one.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from opper_batch.errors import MachineError
from opper_batch.ledger.faults import VERSION, format_of, machine_error
from opper_batch.ledger.lock import Lock, lock_path
from opper_batch.ledger.view import View
from opper_batch.records import Outcome, Reply

_GROUP = 256

_Statement = tuple[str, tuple[Any, ...]]
_Write = tuple[Sequence[_Statement], "Future[int]"]

_RUN = "INSERT INTO runs (started, origin, options) VALUES (?, ?, ?)"
_OUTCOME = """
    INSERT INTO outcomes (key, run, template, ok, final, error, reply, model, cost, input_tokens,
        output_tokens, latency_ms, attempts, throttled, trace, artifacts, at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_FORGET_INTENT = "DELETE FROM intents WHERE key = ? AND run = ?"
_TOTALS = """
    INSERT INTO totals
        (run, template, ok, failed, calls, throttled, unpriced, cost, input_tokens, output_tokens,
         latency_ms)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (run, template) DO UPDATE SET
        ok = ok + excluded.ok, failed = failed + excluded.failed, calls = calls + excluded.calls,
        throttled = throttled + excluded.throttled, unpriced = unpriced + excluded.unpriced,
        cost = cost + excluded.cost, input_tokens = input_tokens + excluded.input_tokens,
        output_tokens = output_tokens + excluded.output_tokens,
        latency_ms = latency_ms + excluded.latency_ms"""


class Ledger:
    """A pipeline's ledger, open for one run; a second run meets the lock and raises MachineError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        _private(path)
        self._lock = Lock(lock_path(path))
        self._writes: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        opened: Future[int] = Future()
        self._thread = threading.Thread(target=self._own, args=(opened,), name="ledger", daemon=True)
        self._thread.start()
        self._ended = False
        try:
            opened.result()
        except BaseException:
            self._lock.release()
            raise
        self.run = 0

    def begin(self, *, origin: str, options: Mapping[str, Any]) -> int:
        """A new run; gives its id, which is larger than every earlier one's."""
        self.run = self._do((_RUN, (time.time(), origin, json.dumps(dict(options)))))
        return self.run

    def finish(self, *, exit_code: int, published: bool, rows: int, summary: Mapping[str, Any]) -> None:
        """The run is over."""
        statement = (
            "UPDATE runs SET ended=?, exit_code=?, published=?, rows=max(rows, ?), summary=? WHERE id=?"
        )
        ended = (time.time(), exit_code, int(published), rows, json.dumps(dict(summary)), self.run)
        self._do((statement, ended))

    def advance(self, *, step: str, done: int, rows: int) -> None:
        """How far the run is, for those who look; not waited for."""
        self.submit(("UPDATE runs SET step=?, done=?, rows=? WHERE id=?", (step, done, rows, self.run)))

    def journal(self, *, step: str, digest: bytes, fields: Mapping[str, Any]) -> Journal:
        """Where the calls of one step's prompt are written down."""
        insert = (
            "INSERT INTO templates (digest, step, fields) VALUES (?, ?, ?) ON CONFLICT (digest) DO NOTHING"
        )
        self._do((insert, (digest, step, json.dumps(dict(fields)))))
        with self.view() as view:
            return Journal(self, view.template(digest))

    def view(self) -> View:
        """A read-only look at it, for the thread that asks."""
        return View(self.path)

    def submit(self, *statements: _Statement) -> Future[int]:
        """Queue statements as one write; the future is done when they are durable."""
        if self._ended:
            raise MachineError(f"ledger {self.path} is closed")
        future: Future[int] = Future()
        future.set_running_or_notify_cancel()  # from now on it cannot be cancelled
        self._writes.put((statements, future))
        return future

    def close(self) -> None:
        """Commit what is queued and let go of the lock."""
        if not self._ended:
            self._ended = True
            self._writes.put(None)
            self._thread.join()
            self._lock.release()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Ledger({str(self.path)!r}, run={self.run})"

    def _do(self, *statements: _Statement) -> int:
        return self.submit(*statements).result()

    def _own(self, opened: Future[int]) -> None:
        try:
            connection = _connect(self.path)
        except (sqlite3.Error, OSError, MachineError) as error:
            opened.set_exception(machine_error(self.path, error))
            return
        opened.set_result(0)
        open_for_more = True
        while open_for_more:
            group, open_for_more = self._next_group()
            self._commit(connection, group)
        connection.close()

    def _commit(self, connection: sqlite3.Connection, group: Sequence[_Write]) -> None:
        """All of the group in one transaction; when that fails each alone, so that none fails for another."""
        results: list[int] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            for statements, _ in group:
                results.append(max(connection.execute(*statement).lastrowid or 0 for statement in statements))
            connection.execute("COMMIT")
        except Exception as error:  # whatever it is, those who wait have to be told
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if len(group) == 1:
                group[0][1].set_exception(machine_error(self.path, error))
                return
            for write in group:
                self._commit(connection, [write])
        else:
            for (_, future), result in zip(group, results, strict=True):
                future.set_result(result)

    def _next_group(self) -> tuple[list[_Write], bool]:
        group: list[_Write] = []
        while len(group) < _GROUP:
            try:
                write = self._writes.get(block=not group)
            except queue.Empty:
                return group, True
            if write is None:
                return group, False
            group.append(write)
        return group, True


class Journal:
    """The ledger as a client sees it: what must be durable before a call goes on. One for each step."""

    def __init__(self, ledger: Ledger, template: int) -> None:
        self._ledger = ledger
        self._template = template

    async def intend(self, key: bytes) -> None:
        """Before a request leaves: from now on it may have been paid."""
        insert = "INSERT OR REPLACE INTO intents VALUES (?, ?, ?)"
        await self._durable((insert, (key, self._ledger.run, time.time())))

    async def pend(self, key: bytes, reply: Reply) -> None:
        """Before the first poll: a 202's operations, so that the call is never posted again."""
        insert = "INSERT OR REPLACE INTO pending VALUES (?, ?, ?)"
        await self._durable(
            (insert, (key, reply.raw, time.time())), (_FORGET_INTENT, (key, self._ledger.run))
        )

    async def retract(self, key: bytes) -> None:
        """The gateway refused to do the call: nothing was paid and nothing is known."""
        await self._durable((_FORGET_INTENT, (key, self._ledger.run)))

    async def record(self, outcome: Outcome, *, final: bool = True, still_pending: bool = False) -> None:
        """An answer or an end; ``final`` is False for an answer that will be asked for again.

        ``still_pending`` keeps the call's operations, to be polled by the next run.
        """
        statements = [self._outcome(outcome, final), self._counts(outcome, final)]
        if final:
            statements.append((_FORGET_INTENT, (outcome.key, self._ledger.run)))
        if not still_pending:
            statements.append(("DELETE FROM pending WHERE key = ?", (outcome.key,)))
        await self._durable(*statements)

    async def _durable(self, *statements: _Statement) -> None:
        # Shielded: what has left this thread is committed even when the one who waits is cancelled.
        await asyncio.shield(asyncio.wrap_future(self._ledger.submit(*statements)))

    def _outcome(self, outcome: Outcome, final: bool) -> _Statement:
        usage = outcome.usage
        artifacts = (
            json.dumps([asdict(artifact) for artifact in outcome.artifacts]) if outcome.artifacts else None
        )
        return _OUTCOME, (
            outcome.key,
            self._ledger.run,
            self._template,
            outcome.ok,
            final,
            outcome.error,
            outcome.reply,
            outcome.model,
            usage.cost,
            usage.input_tokens,
            usage.output_tokens,
            outcome.latency_ms,
            outcome.attempts,
            outcome.throttled,
            outcome.trace,
            artifacts,
            time.time(),
        )

    def _counts(self, outcome: Outcome, final: bool) -> _Statement:
        usage = outcome.usage
        return _TOTALS, (
            self._ledger.run,
            self._template,
            int(outcome.ok),
            int(final and not outcome.ok),
            outcome.attempts,
            outcome.throttled,
            int(usage.cost is None and outcome.attempts > 0),
            usage.cost or 0.0,
            usage.input_tokens or 0,
            usage.output_tokens or 0,
            (outcome.latency_ms or 0) if outcome.ok else 0,
        )


def _private(path: Path) -> None:
    """The folder 0700 and the file 0600 before SQLite touches it; its side files take the file's mode."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise machine_error(path, error) from None


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    try:
        format_of(connection, path)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.executescript(files(__package__).joinpath("ledger.sql").read_text())
        connection.execute(f"PRAGMA user_version={VERSION}")
    except BaseException:
        connection.close()
        raise
    return connection
