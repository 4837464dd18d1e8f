"""What stands in the way of a ledger, said in one sentence."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from opper_batch.errors import MachineError
from opper_batch.ledger.lock import lock_path, was_begun

VERSION = 1

# SQLite's write-ahead log needs memory that its processes share, which no network file system gives.
_NETWORK = ("nfs", "cifs", "smb", "afs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs", "ocfs2", "gfs2")
_NETWORK_OVER_FUSE = (
    "sshfs",
    "s3fs",
    "gcsfuse",
    "rclone",
    "goofys",
    "blobfuse",
    "ceph",
    "glusterfs",
    "juicefs",
)
# Codes of SQLite for a disk that cannot take more, or cannot be written for now.
_STARVED = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
}


def machine_error(path: Path, error: Exception) -> MachineError:
    """The error as it is to be told; a damaged file and one that cannot be used now need different things."""
    if isinstance(error, MachineError):
        return error
    damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
    remedy = "restore it from a copy, or name another --state-dir" if damaged else "free the disk or the file"
    return MachineError(f"ledger {path} cannot be used ({error}); {remedy}, then run again")


def is_starved(error: Exception) -> bool:
    """Whether the disk is full or cannot be written: what may pass."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _STARVED


def format_of(connection: sqlite3.Connection, path: Path) -> int:
    """The version of its tables, 0 before they are made; MachineError when it is not known here."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise MachineError(
            f"ledger {path} was written by a newer opper_batch (format {version}, this one reads {VERSION}); "
            "install that version, or name another --state-dir"
        )
    return version


def holds_something(path: Path) -> bool:
    """Whether there is a ledger that was begun; MachineError when it is empty and was not before.

    A file that was deleted is no ledger: that is how one begins anew.
    """
    if not path.exists():
        return False
    if path.stat().st_size:
        return True
    if was_begun(lock_path(path)) or path.with_name(path.name + "-wal").exists():
        raise MachineError(
            f"ledger {path} is empty, though runs have written to it; restore it from a copy, "
            "or delete it to ask and pay for everything again"
        )
    return False


def refuse_network(path: Path, mounts: str | None = None) -> None:
    """MachineError for a place on a network file system, as far as ``mounts``, the system's list, tells."""
    kind = _file_system(path.absolute().resolve(), _mounts() if mounts is None else mounts)
    name = kind.removeprefix("fuse.")
    known = _NETWORK_OVER_FUSE if kind.startswith("fuse.") else _NETWORK
    if any(name.startswith(network) for network in known):
        raise MachineError(
            f"ledger {path} would lie on a network file system ({kind}), where SQLite cannot keep it safe; "
            "name a --state-dir on a local disk, then run again"
        )


def _mounts() -> str:
    try:
        return Path("/proc/self/mounts").read_text(errors="surrogateescape")
    except OSError:
        return ""  # not Linux


def _file_system(path: Path, mounts: str) -> str:
    """The type of the file system that holds the path; empty when it is not known."""
    kind, longest = "", -1
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[1]))
        if path.is_relative_to(point) and len(point.parts) >= longest:  # of one place, the last mount is seen
            kind, longest = fields[2], len(point.parts)
    return kind
