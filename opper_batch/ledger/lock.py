"""One run at a time: a lock on a file beside the ledger, held as long as the process lives.

The file also remembers that a ledger was begun: one that is empty then has lost what it held.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from opper_batch.errors import Locked, MachineError
from opper_batch.text import printable

_TRIES = 20
_MOMENT_SECONDS = 0.005


def lock_path(ledger: Path) -> Path:
    """The lock's file for a ledger's."""
    return ledger.with_name(ledger.name + ".lock")


def was_begun(path: Path) -> bool:
    """Whether the lock's file says that its ledger held something."""
    return _said(path).get("ledger") is True


class Lock:
    """Held from creation to ``release``; the system frees it when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unlockable(path, error) from None
        try:
            _seize(self._file)
            self._begun = was_begun(path)
            self._sign(_myself())
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

    def remember(self, *, begun: bool) -> None:
        """Whether the ledger holds something from now on."""
        if self._begun != begun:
            self._begun = begun
            self._sign(_myself())

    def release(self) -> None:
        self._sign({})
        os.close(self._file)

    def _sign(self, said: dict[str, Any]) -> None:
        """Written over what was there, which needs no room on a full disk."""
        said = {**said, "ledger": True} if self._begun else said
        text = json.dumps(said).encode() if said else b""
        os.pwrite(self._file, text, 0)
        os.ftruncate(self._file, len(text))


def _seize(file: int) -> None:
    """Lock it; BlockingIOError when a run holds it. Whoever asks ``is_held`` has it for a moment, too."""
    for left in reversed(range(_TRIES)):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not left:
                raise
            time.sleep(_MOMENT_SECONDS)


def _myself() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%F %T")}


def _held(path: Path) -> Locked:
    holder = _holder(path)
    return Locked(
        f"{path} is held by another run ({holder}); wait for it to end (--if-locked wait), or stop it "
        "(README.md#scheduled-runs)",
        holder=holder,
    )


def _unlockable(path: Path, error: OSError) -> MachineError:
    return MachineError(
        f"{path} cannot be locked ({error.strerror}); free the disk or the folder, then run again"
    )


def _holder(path: Path) -> str:
    name = _said(path)
    try:
        return printable(f"process {name['pid']} on {name['host']} since {name['since']}")
    except KeyError:
        return "process unknown"


def _said(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}
