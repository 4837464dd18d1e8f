"""Killed at each step that must not be lost or done twice, a run goes on where it was."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from crashing import APPENDED, PARQUET, PARTS, Case, Held, Starter

from opper_batch.sandbox import Sandbox

CALLING = {
    "before an intent's commit": "opper_batch.ledger.journal:Journal.intent before 9",
    "after an intent's commit, before the request": "opper_batch.client.call:Client._intended after 9",
    "after a reply, before its commit": "opper_batch.ledger.journal:Journal.record before 5",
    "in the transaction": "sqlite3:COMMIT before 8",
    "as the transaction has ended": "sqlite3:COMMIT after 8",
    "after a reply's commit": "opper_batch.ledger.journal:Journal.record after 5",
}
PENDING = {
    "after a 202, before its commit": "opper_batch.ledger.journal:Journal.pend before 3",
    "after a 202's commit, before the first poll": "opper_batch.ledger.journal:Journal.pend after 3",
    "between polls": "opper_batch.client.artifacts:Artifacts._status after 4",
    "after an operation's answer, before its commit": "opper_batch.ledger.journal:Journal.record before 2",
}
UNPUBLISHED = {
    PARQUET: {
        "while the output is half written": "opper_batch.sinks.parquet:ParquetOut.write after 1",
        "before the rename": "os:replace before 1",
    },
    PARTS: {
        "before a part has its name": "os:rename before 1",
        "before the manifest": "os:replace before 1",
    },
    APPENDED: {
        "in DuckDB's transaction": "opper_batch.sinks.duckdb_table:DuckdbSink._statements after 1",
        "before DuckDB's commit": "duckdb:COMMIT before 1",
    },
}
PUBLISHED = {
    PARQUET: {
        "after the rename": "os:replace after 1",
        "after the result, before the run's end": "opper_batch.ledger.writer:Ledger.finish before 1",
    },
    PARTS: {
        "after the manifest": "os:replace after 1",
        "before the old parts are removed": "opper_batch.sinks.folder:_remove_all_but before 1",
    },
    APPENDED: {
        "after DuckDB's commit": "duckdb:COMMIT after 1",
        "after DuckDB's commit, before the run's end": "opper_batch.ledger.writer:Ledger.finish before 1",
    },
}


def die(case: Case, starter: Starter, step: str, point: str) -> Held:
    """A run that kills itself there; gives what its ledger holds then."""
    case.begin()
    running = starter.start("run", "killed.toml", "--quiet", KILLED_AT=point)
    assert running.wait() == -signal.SIGKILL, f"{step}: {running.err}"
    return case.check_after_kill()


def go_on(case: Case, starter: Starter) -> None:
    """Run again, to the end, and judge."""
    held = case.begin()
    running = starter.start("run", "killed.toml", "--json", "--quiet")
    assert running.wait() == 0, running.err
    assert (running.said["ok"], running.said["in_doubt"]) == (case.rows, len(held.in_doubt))
    case.check()


def test_killed_while_calling(gateway: Callable[..., Sandbox], starter: Starter) -> None:
    case = Case(gateway(latency=0.01), 150)  # enough to be left for every step
    for step, point in CALLING.items():
        held = die(case, starter, step, point)
        status = starter.start("status", "killed.toml", "--json")
        assert status.wait() == 0, status.err
        assert status.said["in_doubt"] == len(held.in_doubt), step
    go_on(case, starter)


def test_killed_while_operations_are_pending(gateway: Callable[..., Sandbox], starter: Starter) -> None:
    case = Case(gateway(pending=1.0, pending_seconds=0.05), 30)
    for step, point in PENDING.items():
        held = die(case, starter, step, point)
        assert held.pending, step
    go_on(case, starter)


@pytest.mark.parametrize("sink", [PARQUET, PARTS, APPENDED], ids=["file", "folder", "DuckDB"])
def test_killed_while_publishing_the_result_is_the_old_one_or_the_new_one(
    sink: str, gateway: Callable[..., Sandbox], starter: Starter
) -> None:
    case = Case(gateway(), 24, sink=sink)
    case.begin()
    running = starter.start("run", "killed.toml", "--limit", "5", "--quiet")
    assert running.wait() == 0, running.err
    for step, point in UNPUBLISHED[sink].items():
        die(case, starter, step, point)
        assert case.output()["id"].to_pylist() == [str(number) for number in range(5)], step
    asked = case.requests
    for step, point in PUBLISHED[sink].items():
        die(case, starter, step, point)
        case.check_output()
    go_on(case, starter)
    assert case.requests == asked == 24, "all had been answered"
    if sink == PARTS:
        assert len(list(Path("out").glob("[!.]*"))) == 2, "one part and the manifest"


def test_killed_ten_times_in_a_row_while_it_recovers(
    gateway: Callable[..., Sandbox], starter: Starter
) -> None:
    case = Case(gateway(latency=0.01, pending=0.2, pending_seconds=0.05), 100)
    die(case, starter, "at first", "opper_batch.ledger.journal:Journal.record after 9")
    for number in range(1, 11):
        when = ("before", "after")[number % 2]
        die(case, starter, f"{when} commit {number}", f"sqlite3:COMMIT {when} {number}")
    go_on(case, starter)
