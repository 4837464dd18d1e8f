"""Where a pipeline's state lies, and its latest run in it. For those who only look: needs next to nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from opper_batch.errors import DefinitionError
from opper_batch.ledger import RunRecord
from opper_batch.runs.options import Options


def state_dir(options: Options) -> Path:
    """``--state-dir``, ``OPPER_BATCH_HOME``, or ``.opper_batch`` here."""
    return Path(options.state_dir or os.environ.get("OPPER_BATCH_HOME") or ".opper_batch")


def ledger_path(pipeline: str, options: Options) -> Path:
    """A ledger for each pipeline's name, and one of its own for what the sandbox answers."""
    suffix = ".sandbox.ledger" if options.sandbox else ".ledger"
    return state_dir(options) / (pipeline + suffix)


def latest_run(runs: Sequence[RunRecord]) -> RunRecord | None:
    """The latest run of the pipeline itself; a pilot or a sample only where there is no other."""
    own = (run for run in reversed(runs) if run.kind == "run")
    return next(own, runs[-1] if runs else None)


def ledger_to_look_at(pipeline: str, options: Options) -> Path:
    """The ledger of a pipeline that has run; DefinitionError, with the way to the other one, without it."""
    path = ledger_path(pipeline, options)
    if not path.exists():
        where = f"({path} is not there){elsewhere(pipeline, options)}"
        raise DefinitionError(f"pipeline {pipeline!r} has not run yet {where}")
    return path


def elsewhere(pipeline: str, options: Options) -> str:
    """The way to the other ledger, real or the sandbox's, for one who looks in vain; empty without it."""
    other = replace(options, sandbox=not options.sandbox)
    if not ledger_path(pipeline, other).exists():
        return ""
    return "; on the sandbox it has: add --sandbox" if other.sandbox else "; for real it has: drop --sandbox"
