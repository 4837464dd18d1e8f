"""Asking something of a run that is going on, from another process."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from opper_batch.errors import DefinitionError, MachineError
from opper_batch.ledger.lock import Lock, lock_path
from opper_batch.runs import wishes
from opper_batch.runs.options import Options
from opper_batch.runs.state import ledger_path


def wish(pipeline: str, what: Mapping[str, Any], options: Options) -> str:
    """The run's own answer. DefinitionError when nothing runs, MachineError when it is silent."""
    ledger = ledger_path(pipeline, options)
    if not _runs(ledger):
        raise _nothing_runs(pipeline, options)
    try:
        name = wishes.append(ledger, what)
    except OSError as error:
        raise MachineError(f"{wishes.wishes_path(ledger)} cannot be written ({error.strerror})") from None
    until = time.monotonic() + wishes.ANSWER_SECONDS
    while time.monotonic() < until:
        if (said := wishes.answer(ledger, name, seconds=0.2)) is not None:
            return said
        if not _runs(ledger):
            wishes.forget(ledger)  # or it would lie there
            raise DefinitionError(f"the run of {pipeline!r} has just ended, so nothing was changed")
    raise MachineError(
        f"the run of {pipeline!r} has not answered for {wishes.ANSWER_SECONDS:.0f} s; it will heed this when "
        "it goes on, see opper-batch status"
    )


def _nothing_runs(pipeline: str, options: Options) -> DefinitionError:
    other = replace(options, sandbox=not options.sandbox)
    hint = ""
    if _runs(ledger_path(pipeline, other)):
        hint = "; the sandbox's is: add --sandbox" if other.sandbox else "; the real one is: drop --sandbox"
    return DefinitionError(f"pipeline {pipeline!r} is not running, so nothing was changed{hint}")


def _runs(ledger: Path) -> bool:
    return Lock.is_held(lock_path(ledger))
