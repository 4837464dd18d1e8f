"""What stands in the way of a ledger, said in one sentence."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from opper_batch.errors import MachineError

VERSION = 1


def machine_error(path: Path, error: Exception) -> MachineError:
    """The error as it is to be told; a damaged file and one that cannot be used now need different things."""
    if isinstance(error, MachineError):
        return error
    damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
    remedy = "restore it from a copy, or name another --state-dir" if damaged else "free the disk or the file"
    return MachineError(f"ledger {path} cannot be used ({error}); {remedy}, then run again")


def format_of(connection: sqlite3.Connection, path: Path) -> int:
    """The version of its tables, 0 before they are made; MachineError when it is not known here."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise MachineError(
            f"ledger {path} was written by a newer opper_batch (format {version}, this one reads {VERSION}); "
            "install that version, or name another --state-dir"
        )
    return version
