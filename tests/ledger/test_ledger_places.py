"""A ledger's files: one writer, any number of readers, private, and never mistaken for something else."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from ledger_values import answer, begun, key, wait

from opper_batch.errors import MachineError
from opper_batch.ledger import Ledger, View
from opper_batch.ledger.lock import Lock

HOLDING = """
import sys, time
from pathlib import Path
from opper_batch.ledger import Ledger

ledger = Ledger(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def held_elsewhere(path: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", HOLDING, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


# One writer.


def test_a_second_run_is_told_who_holds_the_ledger(ledger: Ledger, path: Path) -> None:
    with pytest.raises(
        MachineError, match=f"held by another run .process {os.getpid()} on .* since 2"
    ) as told:
        Ledger(path)
    assert told.value.exit_code == 5
    with ledger.view() as view:
        assert len(view.runs()) == 1


def test_a_run_of_another_process_holds_the_ledger_until_it_is_killed(path: Path) -> None:
    with held_elsewhere(path) as holder:
        with pytest.raises(MachineError, match=f"process {holder.pid} on "):
            Ledger(path)
        holder.kill()
        holder.wait()
        Ledger(path).close()


def test_a_ledger_that_was_closed_can_be_opened_again(path: Path) -> None:
    for run in (1, 2, 3):
        with Ledger(path) as ledger:
            assert ledger.begin(origin="https://gateway", options={}) == run


def test_a_ledger_that_could_not_be_opened_is_not_held(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a ledger" * 1000)
    for _ in range(2):
        with pytest.raises(MachineError, match="not a database"):
            Ledger(path)
    path.unlink()
    Ledger(path).close()


def test_a_lock_file_that_says_nothing_does_not_hide_that_it_is_held(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    lock = Lock(path)
    for said in ("", "[]", '{"pid": 1}', "\x00"):
        path.write_text(said)
        with pytest.raises(MachineError, match="process unknown"):
            Lock(path)
    lock.release()
    Lock(path).release()
    assert path.read_text() == ""


def test_who_only_looks_whether_it_is_held_is_no_other_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.lock"
    Lock(path).release()
    looking = os.open(path, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)  # as is_held does for a moment, which is over at the first try
    monkeypatch.setattr(time, "sleep", lambda _: fcntl.flock(looking, fcntl.LOCK_UN))
    Lock(path).release()
    os.close(looking)


# Readers.


def test_a_view_cannot_write(view: View) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        view._connection.execute("DELETE FROM runs")


def test_a_view_follows_what_is_written_and_goes_on_when_the_writer_has_closed(path: Path) -> None:
    ledger, journal = begun(path)
    with View(path) as early:
        for number in range(5):
            wait(journal.record(answer(number)))
            assert early.totals().ok == number + 1
        ledger.close()
        assert len(early.lookup([key(number) for number in range(5)])) == 5
        with View(path) as late:
            assert late.totals().ok == 5


def test_a_view_sees_what_another_process_wrote(path: Path) -> None:
    ledger, journal = begun(path)
    wait(journal.record(answer(1)))
    code = "import sys; from pathlib import Path; from opper_batch.ledger import View"
    code += "; print(View(Path(sys.argv[1])).totals().ok)"
    seen = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert seen.stdout == "1\n"
    ledger.close()


def test_a_path_that_looks_like_a_uri_is_only_a_path(tmp_path: Path) -> None:
    path = tmp_path / "a?mode=rwc#b %41.ledger"
    ledger, journal = begun(path)
    wait(journal.record(answer(1)))
    ledger.close()
    with View(path) as view:
        assert view.totals().ok == 1


# Private.


@pytest.mark.parametrize("umask", [0o022, 0o000, 0o077])
def test_nobody_else_may_read_it(path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        ledger, journal = begun(path)
    finally:
        os.umask(before)
    wait(journal.record(answer(1)))
    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}
    ledger.close()
    names = [path.name + suffix for suffix in ("", "-shm", "-wal", ".lock", ".reserve")]
    assert modes == dict.fromkeys(names, 0o600)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


# Never mistaken.


def test_a_pipeline_that_never_ran_has_no_ledger_to_look_at(path: Path) -> None:
    with pytest.raises(MachineError, match=r"no ledger at .* yet; run the pipeline first"):
        View(path)
    assert not path.parent.exists()


def test_a_file_that_was_begun_and_never_filled_is_no_ledger_yet(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    with pytest.raises(MachineError, match="run the pipeline first"):
        View(path)
    with Ledger(path) as ledger:
        ledger.begin(origin="https://gateway", options={})
    with View(path) as view:
        assert len(view.runs()) == 1


def test_a_ledger_of_a_newer_version_is_left_alone(path: Path) -> None:
    begun(path)[0].close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version=2")
    before = path.read_bytes()
    for opened in (Ledger, View):
        with pytest.raises(MachineError, match=r"newer opper_batch \(format 2, this one reads 1\)"):
            opened(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("opened", [Ledger, View])
def test_a_file_that_is_no_ledger_is_said_to_be_none_and_left_alone(
    path: Path, opened: type[Ledger] | type[View]
) -> None:
    path.parent.mkdir()
    path.write_bytes(b"ticket_id,subject\n" * 500)
    with pytest.raises(MachineError, match=r"cannot be used \(file is not a database\); restore it") as told:
        opened(path)
    assert str(path) in told.value.message
    assert path.read_bytes() == b"ticket_id,subject\n" * 500


@pytest.fixture
def filled(path: Path) -> Path:
    ledger, journal = begun(path)
    wait(*(journal.record(answer(number, reply=b"x" * 2_000)) for number in range(500)))
    ledger.close()
    return path


@pytest.mark.parametrize("opened", [Ledger, View])
def test_a_ledger_that_was_cut_short_is_not_opened(filled: Path, opened: type[Ledger] | type[View]) -> None:
    os.truncate(filled, filled.stat().st_size // 2)
    with pytest.raises(MachineError, match=r"cannot be used .* restore it from a copy"):
        opened(filled)


def test_damage_that_is_noticed_late_is_told_as_plainly(filled: Path) -> None:
    size = filled.stat().st_size
    with filled.open("r+b") as file:
        file.seek(40_960)
        file.write(b"\xaa" * (size - 40_960))
    keys = [key(number) for number in range(500)]
    with View(filled) as view:
        for look in (view.lookup, view.settled):
            with pytest.raises(MachineError, match="restore it from a copy"):
                look(keys)


def test_a_place_that_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(MachineError, match=r"state/x.ledger cannot be used .*(File exists|Not a directory)"):
        Ledger(tmp_path / "state" / "x.ledger")
    (tmp_path / "y.ledger").mkdir()
    with pytest.raises(MachineError, match=r"y.ledger cannot be used"):
        Ledger(tmp_path / "y.ledger")


def test_a_lock_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.ledger.lock").mkdir()
    with pytest.raises(MachineError, match=r"x.ledger.lock cannot be locked \(Is a directory\)"):
        Ledger(tmp_path / "x.ledger")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(path: Path) -> None:
    path.parent.mkdir(mode=0o500)
    with pytest.raises(MachineError, match=r"cannot be used .*Permission denied"):
        Ledger(path)
