"""Where a ledger must not lie, and what it keeps when its disk or its file goes away."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from crashing import Disk
from ledger_values import answer, begun, intend, key, next_run, wait

from opper_batch.errors import MachineError
from opper_batch.ledger import Ledger, View
from opper_batch.ledger.faults import refuse_network
from opper_batch.ledger.lock import lock_path, was_begun

MOUNTS = """\
/dev/vda1 / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
tmpfs /mnt tmpfs rw 0 0
server:/home /mnt/home nfs4 rw,vers=4.2 0 0
//files/team /mnt/team\\040files cifs rw 0 0
me@host:/ /mnt/host fuse.sshfs rw 0 0
/dev/vdb /mnt/home/local xfs rw 0 0
overlay /mnt/layers overlay rw 0 0
server:/f /mnt/для\\040всех nfs rw 0 0
share /mnt/twice 9p rw 0 0
share /mnt/twice nfs rw 0 0
not a mount
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/mnt/home/state", "nfs4"),
        ("/mnt/team files/state", "cifs"),
        ("/mnt/host", "fuse.sshfs"),
        ("/mnt/twice/state", "nfs"),
        ("/mnt/для всех", "nfs"),
    ],
)
def test_a_ledger_on_a_network_file_system_is_refused(folder: str, kind: str) -> None:
    with pytest.raises(MachineError, match=rf"network file system \({kind}\).*--state-dir on a local disk"):
        refuse_network(Path(folder) / "x.ledger", MOUNTS)


@pytest.mark.parametrize(
    "folder", ["/", "/mnt", "/mnt/homes", "/mnt/home/local/state", "/mnt/layers", "here"]
)
def test_a_ledger_on_a_disk_of_this_machine_is_not(folder: str) -> None:
    refuse_network(Path(folder) / "x.ledger", MOUNTS)
    refuse_network(Path(folder) / "x.ledger", "")


def test_the_disk_of_these_tests_is_known_to_be_local(tmp_path: Path) -> None:
    refuse_network(tmp_path / "x.ledger")


def test_a_lock_remembers_a_ledger_that_was_begun_and_forgets_it_with_its_file(path: Path) -> None:
    begun(path)[0].close()
    assert was_begun(lock_path(path))
    path.unlink()
    Ledger(path).close()
    assert was_begun(lock_path(path))
    path.write_bytes(b"")
    for opened in (Ledger, View):
        with pytest.raises(MachineError, match="is empty, though runs have written to it"):
            opened(path)
    assert path.read_bytes() == b""
    path.unlink()
    with pytest.raises(MachineError, match="no ledger at"):
        View(path)


def test_a_lock_left_by_a_killed_run_still_remembers(path: Path) -> None:
    ledger, _ = begun(path)
    assert json.loads(lock_path(path).read_text())["ledger"] is True
    ledger.close()


def test_what_a_removed_ledger_held_is_written_beside_the_one_that_took_its_place(path: Path) -> None:
    ledger, journal = begun(path)
    wait(journal.record(answer(1)))
    path.unlink()
    path.write_bytes(b"another")
    wait(journal.record(answer(2)))
    with pytest.raises(MachineError, match="was removed while a run wrote to it"):
        wait(intend(journal, key(3)))
    wait(journal.record(answer(4)))
    ledger.close()
    (saved,) = path.parent.glob("*.saved")
    assert saved.stat().st_mode & 0o777 == 0o600
    with View(saved) as view:
        assert view.lookup([key(number) for number in range(9)]).keys() == {key(1), key(2), key(4)}
    assert path.read_bytes() == b"another"


def test_what_does_not_fit_in_the_room_set_aside_is_saved_when_there_is_more(disk: Disk) -> None:
    state = disk("state", "80m")
    other = state / "other"
    other.write_bytes(bytes(60 * 2**20))
    ledger, journal = begun(state / "x.ledger")
    threading.Timer(0.5, other.unlink).start()
    wait(journal.record(answer(1, reply=b"x" * 25 * 2**20)))
    with pytest.raises(MachineError, match="disk is full"):
        wait(intend(journal, key(2)))
    wait(journal.record(answer(3)))
    ledger.close()
    with View(state / "x.ledger") as view:
        assert view.lookup([key(1), key(2), key(3)]).keys() == {key(1), key(3)}
        assert view.in_doubt() == 0


def test_what_cannot_be_saved_in_time_is_told(disk: Disk) -> None:
    state = disk("state", "20m")
    with Ledger(state / "x.ledger", patience=0.3) as ledger:
        journal = next_run(ledger)
        with pytest.raises(MachineError, match="disk is full"):
            wait(journal.record(answer(1, reply=b"x" * 24 * 2**20)))
        wait(journal.record(answer(2)))
        with ledger.view() as view:
            assert view.lookup([key(1), key(2)]).keys() == {key(2)}


def test_room_is_set_aside_only_while_a_run_lives(path: Path) -> None:
    ledger, _ = begun(path)
    reserve = path.with_name(path.name + ".reserve")
    assert reserve.stat().st_size >= 2**20
    ledger.close()
    assert not reserve.exists()
