"""What keeps paid answers when the disk fills up, or the ledger's file goes away, during a run."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from opper_batch.errors import MachineError
from opper_batch.ledger.faults import machine_error

RESERVE_BYTES = 16 * 2**20


class Reserve:
    """Room beside a ledger that a run sets aside and gives back when the disk is full.

    What was paid for and is still in memory, or on its way, is saved in it. Without that much room no call
    is made: raises MachineError.
    """

    def __init__(self, ledger: Path) -> None:
        self._path = ledger.with_name(ledger.name + ".reserve")
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                _allocate(file)
            finally:
                os.close(file)
        except OSError as error:
            self.give_back()
            raise MachineError(
                f"{ledger.parent} has no room for a run's answers ({error.strerror}); "
                "free the disk, then run again"
            ) from None

    def give_back(self) -> None:
        with suppress(OSError):
            self._path.unlink()


class Place:
    """Where a ledger's file was when it was opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity = _identity(path)

    @property
    def is_lost(self) -> bool:
        """Whether the file was removed or replaced."""
        try:
            return _identity(self._path) != self._identity
        except FileNotFoundError:
            return True
        except OSError:
            return False  # it cannot be known now

    def lost(self) -> MachineError:
        return MachineError(
            f"ledger {self._path} was removed while a run wrote to it, so nothing more is sent; "
            "what it held is written there again: run again to go on"
        )

    def write_again(self, connection: sqlite3.Connection) -> Path:
        """What the connection still holds, written where it was, or beside what has taken its place."""
        path = self._path
        if path.exists():
            path = path.with_name(f"{path.name}.{os.getpid()}.saved")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            connection.execute("VACUUM INTO ?", (str(path),))
            path.chmod(0o600)
            sync(path)
            sync(path.parent)
        except (OSError, sqlite3.Error) as error:
            raise machine_error(path, error) from None
        return path


def make_private(path: Path) -> None:
    """The folder 0700 and the file 0600 before SQLite touches it; its side files take the file's mode."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        sync(path.parent)
    except OSError as error:
        raise machine_error(path, error) from None


def make_folder(path: Path) -> None:
    """A ledger's folder, 0700, there also after a power cut."""
    folder = path.parent
    try:
        missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for made in missing:
            sync(made.parent)
    except OSError as error:
        raise machine_error(path, error) from None


def sync(path: Path) -> None:
    """Waits until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _identity(path: Path) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _allocate(file: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, RESERVE_BYTES)
    else:
        os.pwrite(file, bytes(RESERVE_BYTES), 0)
