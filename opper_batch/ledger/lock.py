"""One run at a time: a lock on a file beside the ledger, held as long as the process lives."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from pathlib import Path

from opper_batch.errors import MachineError
from opper_batch.text import printable


def lock_path(ledger: Path) -> Path:
    """The lock's file for a ledger's."""
    return ledger.with_name(ledger.name + ".lock")


class Lock:
    """Held from creation to ``release``; the system frees it when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unlockable(path, error) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._sign()
        except OSError as error:
            fault = _held(path) if isinstance(error, BlockingIOError) else _unlockable(path, error)
            os.close(self._file)
            raise fault from None

    @staticmethod
    def is_held(path: Path) -> bool:
        """Whether a process holds it now."""
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(file)
        return False

    def release(self) -> None:
        os.ftruncate(self._file, 0)
        os.close(self._file)

    def _sign(self) -> None:
        name = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%F %T")}
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps(name).encode(), 0)


def _held(path: Path) -> MachineError:
    return MachineError(
        f"{path} is held by another run ({_holder(path)}); wait for it to end, or stop it and run again"
    )


def _unlockable(path: Path, error: OSError) -> MachineError:
    return MachineError(
        f"{path} cannot be locked ({error.strerror}); free the disk or the folder, then run again"
    )


def _holder(path: Path) -> str:
    try:
        name = json.loads(path.read_text())
        return printable(f"process {name['pid']} on {name['host']} since {name['since']}")
    except (OSError, ValueError, KeyError, TypeError):
        return "process unknown"
