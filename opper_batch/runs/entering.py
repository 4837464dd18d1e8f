"""Into a pipeline's ledger, where another run may be at work."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from opper_batch.errors import Locked, RunStopped, Skipped
from opper_batch.ledger import Ledger
from opper_batch.runs.options import Options

_SLICE_SECONDS = 0.25  # short, so that an interrupt is seen soon


def entered(path: Path, options: Options, *, open: Callable[[Path], Ledger] = Ledger) -> tuple[Ledger, float]:
    """The ledger, open, and for how many seconds another run was waited for.

    When another run holds it, as ``options.if_locked`` says: raises Locked, or Skipped, or waits, and raises
    RunStopped when the deadline passes meanwhile. ``open`` opens it.
    """
    began, holder = time.monotonic(), ""
    while True:
        try:
            return open(path), time.monotonic() - began if holder else 0.0
        except Locked as error:
            if options.if_locked == "fail":
                raise
            if options.if_locked == "skip":
                raise Skipped(f"another run is under way ({error.holder}), so this one did nothing") from None
            if error.holder != holder:
                holder = error.holder
                options.tell("waiting", holder=holder)
        if options.deadline is not None and time.monotonic() - began >= options.deadline:
            raise RunStopped(f"the deadline has passed, and another run is under way ({holder})")
        time.sleep(_SLICE_SECONDS)
