"""Where a pipeline's state lies. Imported by those who only look, so it needs next to nothing."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from opper_batch.runs.options import Options


def state_dir(options: Options) -> Path:
    """``--state-dir``, ``OPPER_BATCH_HOME``, or ``.opper_batch`` here."""
    return Path(options.state_dir or os.environ.get("OPPER_BATCH_HOME") or ".opper_batch")


def ledger_path(pipeline: str, options: Options) -> Path:
    """A ledger for each pipeline's name, and one of its own for what the sandbox answers."""
    suffix = ".sandbox.ledger" if options.sandbox else ".ledger"
    return state_dir(options) / (pipeline + suffix)


def elsewhere(pipeline: str, options: Options) -> str:
    """The way to the other ledger, real or the sandbox's, for one who looks in vain; empty without it."""
    other = replace(options, sandbox=not options.sandbox)
    if not ledger_path(pipeline, other).exists():
        return ""
    return "; on the sandbox it has: add --sandbox" if other.sandbox else "; for real it has: drop --sandbox"
