"""The machine fails: one sentence, exit 5, nothing lost; and running again works once the cause is gone."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from crashing import Case, Disk, Started, Starter, filled, until

from opper_batch.sandbox import Sandbox


def run(starter: Starter, *options: str) -> Started:
    return starter.start("run", "killed.toml", "--json", "--quiet", *options)


def stopped(running: Started, *words: str) -> None:
    """It ended with exit 5 and one sentence that holds these words."""
    assert running.wait() == 5, running.err
    assert running.err.count("\n") == 1, running.err
    for word in words:
        assert word in running.err


def goes_on(case: Case, starter: Starter) -> None:
    """Run again: every row is there, and nothing was asked twice."""
    case.begin()
    running = run(starter)
    assert running.wait() == 0, running.err
    case.check()
    assert len({digest for _, digest in case.asked()}) == len(case.asked()) == case.rows


# A disk that is full.


def test_on_a_full_disk_what_is_in_flight_is_saved_first(
    disk: Disk, gateway: Callable[..., Sandbox], starter: Starter
) -> None:
    case = Case(gateway(latency=0.1), 60)
    state = disk(".opper_batch", "20m")
    case.begin()
    running = run(starter)
    until(lambda: case.requests >= 10)
    filler = filled(state)
    stopped(running, "disk is full", "run again")
    held = case.held()
    assert held.answered.keys() == {digest for _, digest in case.asked()}, "what was paid for is saved"
    assert held.in_doubt == ()
    assert 10 <= len(held.answered) < 60

    filled(state)
    stopped(run(starter), "No space left", "run again")
    assert case.requests == len(held.answered), "nothing more is bought that could not be kept"
    filler.unlink()
    goes_on(case, starter)


def test_a_result_that_finds_no_room_can_be_written_later_without_a_call(
    disk: Disk, gateway: Callable[..., Sandbox], starter: Starter
) -> None:
    case = Case(gateway(), 300, sink='path = "out/result.csv"')
    folder = disk("out", "16k")
    case.begin()
    stopped(run(starter), "out/result.csv cannot be written (No space left on device)")
    assert [path.name for path in folder.iterdir()] == ["result.csv.report.json"]
    subprocess.run(["mount", "-o", "remount,size=4m", "out"], check=True)
    asked = case.requests
    assert run(starter).wait() == 0
    assert len((folder / "result.csv").read_text().splitlines()) == 301
    assert case.requests == asked == 300


# A place that may not be written, or goes away.


@pytest.mark.parametrize("place", [".opper_batch", "out"])
def test_a_folder_that_may_not_be_written_is_told_before_any_call(
    place: str, disk: Disk, gateway: Callable[..., Sandbox], starter: Starter
) -> None:
    case = Case(gateway(), 5, sink='path = "out/result.csv"')
    disk(place, "1m", "ro")
    stopped(run(starter), place, "Read-only file system")
    assert case.requests == 0


def test_a_ledger_that_is_removed_during_the_run_is_written_again(
    gateway: Callable[..., Sandbox], starter: Starter
) -> None:
    case = Case(gateway(latency=0.05), 100)
    case.begin()
    running = run(starter)
    until(lambda: case.requests >= 20)
    shutil.rmtree(".opper_batch")
    stopped(running, "was removed", "run again to go on")
    assert case.held().answered.keys() == {digest for _, digest in case.asked()}
    assert len(case.asked()) < 100
    goes_on(case, starter)


def test_an_output_folder_that_is_removed_during_the_run_is_made_again(
    gateway: Callable[..., Sandbox], starter: Starter
) -> None:
    case = Case(gateway(latency=0.05), 40, sink='path = "out/result.csv"')
    running = run(starter)
    until(lambda: case.requests >= 10)
    shutil.rmtree("out")
    assert running.wait() == 0, running.err
    assert len(Path("out/result.csv").read_text().splitlines()) == 41


# A ledger that is not what it was.


def cut_to(size: float) -> Callable[[Path], None]:
    def cut(ledger: Path) -> None:
        content = ledger.read_bytes()
        ledger.write_bytes(content[: int(size * len(content)) // 4096 * 4096])

    return cut


def newer(ledger: Path) -> None:
    with closing(sqlite3.connect(ledger)) as connection:
        connection.execute("PRAGMA user_version = 99")


SPOILED = {
    "empty": (cut_to(0.0), "is empty, though runs have written to it; restore it from a copy, or delete it"),
    "cut at its first page": (cut_to(0.1), "restore it from a copy"),
    "cut near its end": (cut_to(0.9), "restore it from a copy"),
    "garbage": (lambda ledger: ledger.write_bytes(b"garbage" * 5_000), "file is not a database"),
    "newer": (newer, "written by a newer opper_batch (format 99"),
}


def test_a_spoiled_ledger_is_never_taken_for_a_new_one(
    gateway: Callable[..., Sandbox], starter: Starter
) -> None:
    case = Case(gateway(), 60)
    case.begin()
    assert run(starter).wait() == 0
    copy = case.ledger.read_bytes()
    for spoil, words in SPOILED.values():
        spoil(case.ledger)
        stopped(run(starter), words)
        for verb in ("plan", "status", "export"):
            stopped(starter.start(verb, "killed.toml"), words)
        case.ledger.write_bytes(copy)
    assert case.requests == 60, "nothing was asked"
    goes_on(case, starter)


def test_a_ledger_that_was_deleted_is_begun_anew(gateway: Callable[..., Sandbox], starter: Starter) -> None:
    case = Case(gateway(), 10)
    for times in (1, 2):
        assert run(starter).wait() == 0
        assert case.requests == 10 * times
        case.ledger.unlink()


def test_a_run_killed_before_its_ledger_was_begun_is_no_loss(
    gateway: Callable[..., Sandbox], starter: Starter
) -> None:
    case = Case(gateway(), 10)
    point = "opper_batch.ledger.writer:_connect before 1"
    assert starter.start("run", "killed.toml", KILLED_AT=point).wait() == -9
    assert case.ledger.stat().st_size == 0
    goes_on(case, starter)
