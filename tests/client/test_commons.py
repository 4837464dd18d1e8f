"""The file that processes share: real files, real processes, real signals."""

from __future__ import annotations

import os
import signal
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opper_batch.client.commons import BELIEVED_SECONDS, Commons, folder
from opper_batch.pace import Learned, Pace
from opper_batch.sandbox import Sandbox

ORIGIN, KEY = "https://gateway.example", "op-canary-5f1c2a7e"
LEARNED = Learned(measured=50.0, share=0.0, places=64.0, cap=0.0)
WORKER = Path(__file__).with_name("limit_worker.py")
HOLDER = """
import sys
from opper_batch.client.commons import Commons
commons = Commons.join(sys.argv[1], sys.argv[2])
commons.take()
commons.put((1.0, 2.0, 3.0))
print("joined", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def join() -> Iterator[Callable[[], Commons]]:
    joined: list[Commons] = []

    def begin() -> Commons:
        commons = Commons.join(ORIGIN, KEY)
        assert commons
        joined.append(commons)
        return commons

    yield begin
    for commons in joined:
        commons.leave()


@pytest.fixture
def other() -> Iterator[subprocess.Popen[str]]:
    """Another process that has joined and put three numbers."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, ORIGIN, KEY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "joined\n"
    yield process
    process.kill()
    process.communicate()


def file_of(limits: Path) -> Path:
    (path,) = limits.glob("*.limit")
    return path


def until(happens: Callable[[], bool], seconds: float) -> float:
    """Seconds until it happens."""
    began = time.monotonic()
    while not happens():
        assert time.monotonic() - began < seconds
        time.sleep(0.01)
    return time.monotonic() - began


def test_what_a_run_learned_the_next_one_knows() -> None:
    for expected in (None, LEARNED):
        commons = Commons.join(ORIGIN, KEY)
        assert commons
        assert commons.learned == expected
        commons.keep(LEARNED)
        commons.leave()
    elsewhere = Commons.join(ORIGIN, "another key")
    assert elsewhere
    assert elsewhere.learned is None
    elsewhere.leave()


def test_the_file_is_the_users_alone_and_does_not_tell_the_key(
    limits: Path, join: Callable[[], Commons]
) -> None:
    join().keep(LEARNED)
    path = file_of(limits)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert KEY not in path.name
    assert KEY.encode() not in path.read_bytes()


def test_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPPER_BATCH_LIMITS")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert folder() == tmp_path / "state" / "opper_batch"
    commons = Commons.join(ORIGIN, KEY)
    assert commons
    commons.leave()
    assert stat.S_IMODE(folder().stat().st_mode) == 0o700
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert folder() == tmp_path / ".local" / "state" / "opper_batch"


@pytest.mark.parametrize("age", [-3600.0, BELIEVED_SECONDS + 60])
def test_what_is_old_or_of_the_future_is_not_believed(
    limits: Path, join: Callable[[], Commons], age: float
) -> None:
    commons = join()
    commons.keep(LEARNED)
    with file_of(limits).open("r+b") as file:
        file.seek(16)
        file.write(struct.pack("=d", time.time() - age))
    assert commons.learned is None


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage", b"\xff" * 10_000, b"obpace1\0" + b"\xff" * 1000, b"obpace1\0" + bytes(3)],
    ids=["empty", "short", "long", "not numbers", "cut"],
)
def test_a_broken_file_is_as_good_as_none(limits: Path, join: Callable[[], Commons], content: bytes) -> None:
    first = Commons.join(ORIGIN, KEY)
    assert first
    first.leave()
    file_of(limits).write_bytes(content)
    commons = join()
    assert commons.learned is None
    assert not commons.busy
    commons.keep(LEARNED)
    assert commons.learned == LEARNED


def test_a_file_that_is_cut_while_it_is_used_hurts_nobody(
    limits: Path, join: Callable[[], Commons], other: subprocess.Popen[str]
) -> None:
    commons = join()
    assert commons.busy
    os.truncate(file_of(limits), 0)
    pace, now = Pace(commons=commons), 0.0
    for _ in range(50):
        now += pace.wait(now)
        pace.sent(now)
        pace.returned(now, pace.expect(now))
    assert pace.in_flight == 0


def test_without_a_place_for_it_a_run_goes_on_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    assert Commons.join(ORIGIN, KEY, within=tmp_path / "file") is None
    assert Commons.join(ORIGIN, KEY, within=tmp_path / "file" / "below") is None
    assert Commons.join(ORIGIN, KEY, within=Path("/proc/nothing/here")) is None
    assert Commons.join(ORIGIN, KEY, within=Path("/proc/self")) is None, "it is there, but read-only"


def test_a_link_in_its_place_is_not_followed(limits: Path, tmp_path: Path) -> None:
    first = Commons.join(ORIGIN, KEY)
    assert first
    first.leave()
    path, elsewhere = file_of(limits), tmp_path / "precious"
    elsewhere.write_text("precious")
    path.unlink()
    path.symlink_to(elsewhere)
    assert Commons.join(ORIGIN, KEY) is None
    assert elsewhere.read_text() == "precious"


def test_the_second_run_of_a_process_goes_on_alone(join: Callable[[], Commons]) -> None:
    first = join()
    assert Commons.join(ORIGIN, KEY) is None
    assert not first.busy


def test_another_process_is_noticed_and_so_is_its_death(
    join: Callable[[], Commons], other: subprocess.Popen[str]
) -> None:
    commons = join()
    assert commons.busy
    assert commons.take() == (1.0, 2.0, 3.0)
    commons.put((4.0, 5.0))
    assert commons.take() == (4.0, 5.0)
    commons.put((4.0, 5.0))
    other.kill()
    assert until(lambda: not commons.busy, 2.0) < 1.0
    assert commons.take() is None, "what we know ourselves is newer now"
    commons.put((6.0,))


def test_who_was_alone_notices_whoever_joins(limits: Path, join: Callable[[], Commons]) -> None:
    commons = join()
    assert not commons.busy
    late = subprocess.Popen(
        [sys.executable, "-c", HOLDER, ORIGIN, KEY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert late.stdout
    assert late.stdout.readline() == "joined\n"
    assert until(lambda: commons.busy, 2.0) < 1.0
    assert commons.take() is None
    commons.put((7.0,))
    late.communicate("")


@pytest.mark.parametrize("instead", ["pipe", "/dev/full"])
def test_a_disk_that_vanishes_or_fills_up_stops_no_run(
    join: Callable[[], Commons], other: subprocess.Popen[str], instead: str
) -> None:
    commons = join()
    pace, now = Pace(commons=commons), 0.0
    for call in range(100):
        if call == 50:
            assert commons.busy
            gone = os.pipe()[0] if instead == "pipe" else os.open(instead, os.O_RDWR)
            os.dup2(gone, commons._file)
        now += pace.wait(now)
        pace.sent(now)
        pace.returned(now, pace.expect(now))
    assert not commons.busy, "alone from there on"
    commons.keep(LEARNED)
    assert commons.learned is None


def test_who_is_stopped_in_its_turn_stops_nobody(join: Callable[[], Commons]) -> None:
    commons = join()
    holder = HOLDER.replace('print("joined"', 'commons.take(); print("joined"')
    stopped = subprocess.Popen(
        [sys.executable, "-c", holder, ORIGIN, KEY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert stopped.stdout
    assert stopped.stdout.readline() == b"joined\n"
    stopped.send_signal(signal.SIGSTOP)
    until(lambda: commons.busy, 2.0)
    pace, now, began, cpu = Pace(commons=commons), 0.0, time.monotonic(), time.process_time()
    for _ in range(200):
        now += 0.01
        pace.wait(now)
        pace.sent(now)
        pace.returned(now, pace.expect(now))
    assert time.monotonic() - began < 0.5
    assert time.process_time() - cpu < 0.1
    stopped.kill()
    stopped.communicate()


def test_what_nobody_used_for_a_month_is_removed(limits: Path) -> None:
    old, new = limits / "old.limit", limits / "new.limit"
    for path, age in ((old, 31), (new, 29)):
        path.write_bytes(b"")
        os.utime(path, (time.time() - age * 86_400,) * 2)
    commons = Commons.join(ORIGIN, KEY)
    assert commons
    commons.leave()
    assert (old.exists(), new.exists()) == (False, True)


def test_alone_it_costs_next_to_nothing_and_shared_a_few_microseconds(
    join: Callable[[], Commons], other: subprocess.Popen[str]
) -> None:
    """Generous bounds, in CPU time: a machine may be busy."""

    def cost(pace: Pace) -> float:
        began, now = time.process_time(), 0.0
        for _ in range(5000):
            now += 0.01
            assert pace.wait(now) < 1
            pace.sent(now)
            pace.returned(now, pace.expect(now))
        return (time.process_time() - began) / 5000

    assert cost(Pace(commons=join())) < 50e-6
    other.kill()
    assert cost(Pace()) < 30e-6


@pytest.mark.slow
def test_four_processes_share_a_real_limit_and_a_killed_one_leaves_its_part(
    tmp_path: Path, sandbox: Callable[..., Sandbox]
) -> None:
    gateway = sandbox(rpm=3000, burst=50, latency=0.3, latency_sigma=0.3, retry_after_form="fraction")
    outs = [tmp_path / str(number) for number in range(4)]
    workers = [
        subprocess.Popen([sys.executable, str(WORKER), gateway.url, "24", str(out)], stdout=subprocess.PIPE)
        for out in outs
    ]
    for worker in workers:
        assert worker.stdout
        assert worker.stdout.readline() == b"ready\n"
    began = time.monotonic()
    time.sleep(16)
    workers[1].kill()
    died = time.monotonic()
    for worker in workers:
        worker.communicate(timeout=60)
    lines = [[line.split() for line in out.read_text().splitlines()] for out in outs]
    seen = [[(float(at), said) for at, said in part if said in ("ok", "no")] for part in lines]

    def passed(part: list[tuple[float, str]], begin: float, end: float) -> int:
        return sum(said == "ok" and begin <= at < end for at, said in part)

    parts = [passed(part, began + 8, died - 0.5) for part in seen]
    seconds = died - 0.5 - began - 8
    assert sum(parts) >= 0.95 * 50 * seconds
    for number in parts:
        assert number == pytest.approx(50 * seconds / 4, rel=0.2)
    left = [passed(seen[number], died + 1, died + 7) for number in (0, 2, 3)]
    assert sum(left) >= 0.95 * 50 * 6
    refused = sum(said == "no" and at >= began + 8 for part in seen for at, said in part)
    assert refused < max(6, 0.01 * 50 * 16)


def test_whoever_has_left_writes_into_nobody_elses_file(tmp_path: Path) -> None:
    commons = Commons.join("https://gateway", "key", within=tmp_path / "state")
    assert commons is not None
    commons.leave()
    stranger = tmp_path / "stranger"
    with stranger.open("w+b"):  # takes the number that was just freed
        commons.keep(Learned(50.0, 0.0, 8.0, 0.0))
        commons.put((1.0, 2.0))
        assert commons.take() is None
        assert commons.learned is None
        assert not commons.busy
    assert stranger.read_bytes() == b""
