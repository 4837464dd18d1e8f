"""What asks the program to end: each is an interrupt with an exit code of its own, and a run drains first."""

from __future__ import annotations

import os
import signal
import stat
from types import FrameType
from typing import NoReturn


class Terminated(KeyboardInterrupt):
    """SIGTERM."""

    exit_code = 143


class HungUp(KeyboardInterrupt):
    """SIGHUP: the terminal was closed, or the connection to it broke."""

    exit_code = 129


def listen() -> None:
    """From now on signals are raised as these, in the main thread; ``nohup`` is left as it was asked for."""
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _hang_up)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def _hang_up(number: int, frame: FrameType | None) -> NoReturn:
    """Once only: a shell passes it on and the kernel tells it again, which is nobody's second wish."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for file in (1, 2):
        # A terminal that is gone is still a device, and not a terminal any more: to write there is an error.
        if stat.S_ISCHR(os.fstat(file).st_mode) and not os.isatty(file):
            os.dup2(os.open(os.devnull, os.O_WRONLY), file)
    raise HungUp
