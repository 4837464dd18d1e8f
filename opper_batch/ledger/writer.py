"""The one read-write connection, owned by one thread, with group commits.

SQLite in WAL mode with ``synchronous=FULL``: a write that was waited for survives a power cut. Only one
connection ever writes, since SQLite before 3.51.3 can corrupt a WAL that two connections write. Writes
queue up while a commit is on its way to the disk and go together in the next one.

When the disk fills up, room that was set aside is given back, and what was answered is committed, at once or
as soon as there is more room; no further call may leave. The same when the file is removed: what it held is
written again at the end.
"""

from __future__ import annotations

import json
import queue
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from importlib.resources import files
from pathlib import Path
from typing import Any

from opper_batch.errors import MachineError
from opper_batch.ledger.faults import (
    VERSION,
    format_of,
    holds_something,
    is_starved,
    machine_error,
    refuse_network,
)
from opper_batch.ledger.journal import Journal
from opper_batch.ledger.lock import Lock, lock_path
from opper_batch.ledger.rescue import Place, Reserve, make_folder, make_private
from opper_batch.ledger.statements import (
    END_OF_RUN,
    INTENT,
    KEEP_REPORT,
    NEW_RUN,
    NEW_TEMPLATE,
    PROGRESS,
    STATEMENTS,
    Bulk,
    Row,
)
from opper_batch.ledger.view import View

_GROUP = 256
_PATIENCE_SECONDS = 20.0
_TRY_SECONDS = 0.25

_Statement = tuple[str | Bulk, Row]
_Write = tuple[Sequence[_Statement], "Future[int]"]


class Ledger:
    """A pipeline's ledger, open for one run; a second run meets the lock and raises MachineError.

    For ``patience`` seconds an answer is tried to be saved on a full disk.
    """

    def __init__(self, path: Path, *, patience: float = _PATIENCE_SECONDS) -> None:
        self.path = path
        refuse_network(path)
        make_folder(path)
        self._lock = Lock(lock_path(path))
        try:
            self._open(patience)
        except BaseException:
            self._lock.release()
            raise
        self.run = 0

    def _open(self, patience: float) -> None:
        """With the lock held: nothing may touch the file before."""
        if not holds_something(self.path):
            self._lock.remember(begun=False)
            make_private(self.path)
        self._reserve = Reserve(self.path)
        self._patience = patience
        self._give_up_at = float("inf")
        self._closing: MachineError | None = None  # why no further call may leave
        self._place = Place(self.path)
        self._not_rescued: MachineError | None = None
        self._writes: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._door = threading.Lock()  # between queueing a write and closing
        opened: Future[int] = Future()
        self._thread = threading.Thread(target=self._own, args=(opened,), name="ledger", daemon=True)
        self._thread.start()
        self._ended = False
        try:
            opened.result()
        except BaseException:
            self._reserve.give_back()
            raise
        self._lock.remember(begun=True)

    def begin(self, *, origin: str, options: Mapping[str, Any]) -> int:
        """A new run; gives its id, which is larger than every earlier one's."""
        self.run = self._do((NEW_RUN, (time.time(), origin, json.dumps(dict(options)))))
        return self.run

    def finish(self, *, exit_code: int, published: bool, rows: int, summary: Mapping[str, Any]) -> None:
        """The run is over."""
        ended = (time.time(), exit_code, int(published), rows, json.dumps(dict(summary)), self.run)
        self._do((END_OF_RUN, ended))

    def keep_report(self, report: str, *, whole: bool) -> None:
        """What the run tells of itself, as JSON text; ``whole`` when it came to its result."""
        self._do((KEEP_REPORT, (self.run, int(whole), report)))

    def advance(self, *, step: str, done: int, rows: int) -> None:
        """How far the run is, for those who look; not waited for."""
        self.submit((PROGRESS, (step, done, rows, self.run)))

    def journal(self, *, step: str, digest: bytes, fields: Mapping[str, Any]) -> Journal:
        """Where the calls of one step's prompt are written down."""
        self._do((NEW_TEMPLATE, (digest, step, json.dumps(dict(fields)))))
        with self.view() as view:
            template, pended = view.template(digest), view.pending_calls() > 0
        return Journal(self.submit, run=self.run, template=template, pended=pended)

    def view(self) -> View:
        """A read-only look at it, for the thread that asks."""
        return View(self.path)

    def submit(self, *statements: _Statement) -> Future[int]:
        """Queue statements as one write; the future is done when they are durable.

        In a commit the plain statements go first, in order; rows of one kind go together.
        """
        future: Future[int] = Future()
        future.set_running_or_notify_cancel()  # from now on it cannot be cancelled
        with self._door:
            if self._ended:
                raise MachineError(f"ledger {self.path} is closed")
            self._writes.put((statements, future))
        return future

    def close(self) -> None:
        """Commit what is queued and let go of the lock."""
        with self._door:
            if self._ended:
                return
            self._ended = True
            self._writes.put(None)
        self._thread.join()
        self._reserve.give_back()
        self._lock.release()
        if self._not_rescued is not None:
            raise self._not_rescued

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
            if self._closing is None and self._place.is_lost:
                self._closing = self._place.lost()
        self._rescue(connection)
        connection.close()

    def _commit(self, connection: sqlite3.Connection, group: Sequence[_Write]) -> None:
        """All of the group in one transaction; when that fails each alone, so that none fails for another."""
        while group := [write for write in group if not self._kept_back(write)]:
            try:
                last = _transaction(connection, [statement for writes, _ in group for statement in writes])
            except Exception as error:  # whatever it is, those who wait have to be told
                if is_starved(error) and self._has_patience(error):
                    continue
                if len(group) == 1:
                    group[0][1].set_exception(machine_error(self.path, error))
                else:
                    for write in group:
                        self._commit(connection, [write])
            else:
                for _, future in group:
                    future.set_result(last)
            return

    def _kept_back(self, write: _Write) -> bool:
        """Whether it would let a call leave though none may any more; who waits for it is told."""
        statements, future = write
        if self._closing is None or not any(statement is INTENT for statement, _ in statements):
            return False
        future.set_exception(self._closing)
        return True

    def _has_patience(self, error: Exception) -> bool:
        """Whether to try once more: with the room that was set aside, and then for a while."""
        if self._give_up_at == float("inf"):
            self._closing = self._closing or machine_error(self.path, error)
            self._give_up_at = time.monotonic() + self._patience
            self._reserve.give_back()
            return True
        if time.monotonic() >= self._give_up_at:
            return False
        time.sleep(_TRY_SECONDS)
        return True

    def _rescue(self, connection: sqlite3.Connection) -> None:
        if self._place.is_lost:
            try:
                self._place.write_again(connection)
            except MachineError as error:
                self._not_rescued = error

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


def _transaction(connection: sqlite3.Connection, statements: Sequence[_Statement]) -> int:
    """All of them or none; gives what ``_execute`` gives."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        last = _execute(connection, statements)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return last


def _execute(connection: sqlite3.Connection, statements: Sequence[_Statement]) -> int:
    """Do them all; gives the id of the row that the last plain one inserted."""
    last, rows = 0, dict[Bulk, list[Row]]()
    for statement, values in statements:
        if isinstance(statement, Bulk):
            rows.setdefault(statement, []).append(values)
        else:
            last = connection.execute(statement, values).lastrowid or 0
    for bulk, its_rows in rows.items():
        for text, flat in bulk.statements(its_rows):
            connection.execute(text, flat)
    return last


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=10, cached_statements=STATEMENTS)
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
