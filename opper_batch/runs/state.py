"""Where a pipeline's state lies. Imported by those who only look, so it needs next to nothing."""

from __future__ import annotations

import os
from pathlib import Path

from opper_batch.runs.options import Options


def state_dir(options: Options) -> Path:
    """``--state-dir``, ``OPPER_BATCH_HOME``, or ``.opper_batch`` here."""
    return Path(options.state_dir or os.environ.get("OPPER_BATCH_HOME") or ".opper_batch")


def ledger_path(pipeline: str, options: Options) -> Path:
    """A ledger for each pipeline's name, and one of its own for what the sandbox answers."""
    suffix = ".sandbox.ledger" if options.sandbox else ".ledger"
    return state_dir(options) / (pipeline + suffix)
