"""A program run in a process of its own: its time, its CPU, its peak of memory, and what it said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(sys.executable).with_name("opper-batch")
MOST_SECONDS = 300.0
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")


class RunFailed(Exception):
    """What was to be measured did not come to a good end."""


@dataclass(frozen=True, slots=True)
class Measured:
    """``seconds`` from start to end and ``cpu`` (user and system, all threads) in seconds, ``peak`` in MB."""

    seconds: float
    cpu: float
    peak: float
    began: float
    ended: float
    stdout: str

    @property
    def said(self) -> Mapping[str, Any]:
        """The object that ``--json`` prints last."""
        found: Mapping[str, Any] = json.loads(self.stdout.splitlines()[-1])
        return found


def measured(command: Sequence[str | Path], *, cwd: Path, home: Path | None = None) -> Measured:
    """Run ``command`` to its end. ``home`` holds the ledgers and all else that is kept between runs.

    Raises RunFailed with what it said when it fails or takes more than five minutes.
    """
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment |= {"OPPER_API_KEY": "key-for-loopback", "PYTHONPATH": str(ROOT)}
    if home is not None:
        environment |= {"OPPER_BATCH_HOME": str(home / "ledgers"), "XDG_STATE_HOME": str(home / "state")}
        environment |= {"XDG_CACHE_HOME": str(home / "cache"), "HOME": str(home)}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.time()
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=out, stderr=err)
        code, usage = _waited(process, command)
        ended = time.time()
        out.seek(0)
        err.seek(0)
        if code:
            raise RunFailed(
                f"{' '.join(map(str, command))} ended with {code}:\n{err.read().decode()[-2000:]}"
            )
        scale = 2**20 if sys.platform == "darwin" else 2**10
        cpu = usage.ru_utime + usage.ru_stime
        return Measured(ended - began, cpu, usage.ru_maxrss / scale, began, ended, out.read().decode())


def _waited(process: subprocess.Popen[bytes], command: Sequence[str | Path]) -> tuple[int, Any]:
    """The exit code and the use of this one child; ``wait`` would not tell its use."""
    latest = time.monotonic() + MOST_SECONDS
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage
        if time.monotonic() > latest:
            process.kill()
            process.wait()
            raise RunFailed(f"{' '.join(map(str, command))} took more than {MOST_SECONDS:.0f} s")
        time.sleep(0.002)


@contextmanager
def folder() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="opper_batch_benchmark_") as name:
        yield Path(name)
