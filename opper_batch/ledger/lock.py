"""One run at a time: a lock on a file beside the ledger, held as long as the process lives."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import time
from pathlib import Path

from opper_batch.errors import MachineError
from opper_batch.text import printable


class Lock:
    """Held from creation to ``release``; the system frees it when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = _holder(path)
            os.close(self._file)
            raise MachineError(
                f"{path} is held by another run ({holder}); wait for it to end, or stop it and run again"
            ) from None
        self._sign()

    def release(self) -> None:
        os.ftruncate(self._file, 0)
        os.close(self._file)

    def _sign(self) -> None:
        host, command = socket.gethostname(), " ".join(sys.argv)[:200]
        name = {"pid": os.getpid(), "host": host, "since": time.strftime("%F %T"), "command": command}
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps(name).encode(), 0)


def _holder(path: Path) -> str:
    try:
        name = json.loads(path.read_text())
        return printable(f"process {name['pid']} on {name['host']} since {name['since']}")
    except (OSError, ValueError, KeyError, TypeError):
        return "process unknown"
