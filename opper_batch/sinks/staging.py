"""Staging beside the target, publishing by rename: what a crash leaves is either the old or the new."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from opper_batch.errors import MachineError, SinkError
from opper_batch.text import shortened

_DAY = 86_400.0


@contextmanager
def machine_errors(target: str) -> Iterator[None]:
    """A full disk, a missing permission: one sentence, exit 5."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else shortened(str(error))
        raise MachineError(
            f"{target} cannot be written ({reason}): make room or give permission, and export again"
        ) from error


@contextmanager
def staged(final: Path) -> Iterator[Path]:
    """A hidden path in ``final``'s folder to write to; whatever is still there at the end is removed."""
    _remove_forgotten(final)
    temporary = final.with_name(f".{final.name}.{secrets.token_hex(8)}.staged")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _remove_forgotten(final: Path) -> None:
    """Removes what killed processes staged here; a day old, so that nobody is still writing it."""
    prefix = f".{final.name}."
    for path in final.parent.iterdir():
        if path.name.startswith(prefix) and path.name.endswith((".staged", ".staged.wal")):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _DAY:
                    path.unlink()


def publish(temporary: Path, final: Path) -> None:
    """Puts the staged file in the target's place, durably, with the permissions of what was there."""
    if final.exists():
        temporary.chmod(stat.S_IMODE(final.stat().st_mode))
    sync(temporary)
    temporary.replace(final)
    sync(final.parent)


def publish_new(temporary: Path, final: Path) -> None:
    """Like ``publish``, but never in place of a file that came to be in the meantime: FileExistsError."""
    sync(temporary)
    try:
        final.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        temporary.rename(final)
    sync(final.parent)


def sync(path: Path) -> None:
    """Waits until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_folder(folder: Path, target: str) -> None:
    """Makes the folder if it is missing, and tries that a file can be made there."""
    with machine_errors(target):
        for parent in (folder, *folder.parents):
            if parent.exists() and not parent.is_dir():
                raise SinkError(f'{target} cannot be written: "{parent}" is a file, not a folder')
        missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for made in missing:
            sync(made.parent)
        probe = folder / f".{secrets.token_hex(8)}.staged"
        probe.touch(exist_ok=False)
        probe.unlink()


@contextmanager
def locked(folder: Path, target: str) -> Iterator[None]:
    """Holds the folder's advisory lock; raises MachineError when another process does."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise MachineError(f"{target} is being written by another process: wait for it to end") from None
    try:
        yield
    finally:
        os.close(descriptor)
