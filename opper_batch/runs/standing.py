"""How pipelines stand and stood, from their ledgers' running totals: nothing but the ledger is read."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opper_batch.errors import DefinitionError, MachineError
from opper_batch.ledger import RunRecord, Totals, View
from opper_batch.report import Report, duration, totals_text
from opper_batch.runs.options import Options
from opper_batch.runs.state import ledger_path, state_dir


@dataclass(frozen=True, slots=True)
class Status:
    """How a pipeline stands, from its ledger's running totals."""

    pipeline: str
    run: RunRecord
    totals: Totals
    in_doubt: int
    pending: int
    sandbox: bool
    running: bool

    @property
    def state(self) -> str:
        if self.run.ended is None:
            return "running" if self.running else "was killed; run again to go on"
        return {0: "done", 1: "done, with failed rows"}.get(
            self.run.exit_code or 0, f"stopped ({self.run.exit_code})"
        )

    def as_json(self) -> dict[str, Any]:
        names = ("ok", "failed", "calls", "throttled", "unpriced", "cost", "input_tokens", "output_tokens")
        return {
            "pipeline": self.pipeline,
            "sandbox": self.sandbox,
            "run_id": self.run.id,
            "state": self.state,
            "started": self.run.started,
            "ended": self.run.ended,
            "step": self.run.step,
            "rows": self.run.rows,
            "done": self.run.done,
            "left": self.run.rows - self.run.done,
            **{name: getattr(self.totals, name) for name in names},
            "pending": self.pending,
            "in_doubt": self.in_doubt,
        }

    def __str__(self) -> str:
        seconds = (self.run.ended or time.time()) - self.run.started
        rate = self.totals.calls / seconds if seconds > 0 else 0.0
        doubtful = "in flight" if self.running else "possibly paid, answer unknown"
        doubt = f", {self.in_doubt:,} {doubtful}" if self.in_doubt else ""
        pending = f", {self.pending:,} pending" if self.pending else ""
        place = " (sandbox)" if self.sandbox else ""
        head = (
            f"{self.pipeline}{place}: run {self.run.id} {self.state}, {duration(seconds)}, {rate:.1f} calls/s"
        )
        left = self.run.rows - self.run.done
        rows = f"  rows: {self.run.done:,} of {self.run.rows:,} done, {left:,} left, at step {self.run.step}"
        return f"{head}\n{rows}\n  {totals_text(self.totals)}{pending}{doubt}"


def status(pipeline: str, options: Options) -> Status:
    """How the pipeline's latest run stands."""
    path = ledger_path(pipeline, options)
    if not path.exists():
        raise DefinitionError(f"pipeline {pipeline!r} has not run yet ({path} is not there)")
    with View(path) as view:
        return _status(path, view)


def statuses(options: Options) -> list[Status]:
    """How every pipeline of the state folder stands; with ``sandbox`` only what ran there."""
    found = []
    pattern = "*.sandbox.ledger" if options.sandbox else "*.ledger"
    for path in sorted(path for path in state_dir(options).glob(pattern) if path.stat().st_size):
        with View(path) as view:
            if view.runs():
                found.append(_status(path, view))
    return found


def report_of(pipeline: str, options: Options) -> Report:
    """The latest run that ended: what it said of itself, and how long and by whom it was answered."""
    path = ledger_path(pipeline, options)
    if path.exists():
        with View(path) as view:
            for record in reversed(view.runs()):
                if record.summary:
                    return Report(record.summary, view.latencies(record.id), view.models(record.id))
    raise DefinitionError(f"pipeline {pipeline!r} has no finished run to report; run it first")


def _status(path: Path, view: View) -> Status:
    runs = view.runs()
    if not runs:
        raise MachineError(f"ledger {path} holds no run; run the pipeline again")
    run = runs[-1]
    return Status(
        pipeline=path.name.split(".")[0],
        run=run,
        totals=view.totals(run=run.id),
        in_doubt=view.in_doubt(),
        pending=view.pending_calls(),
        sandbox=path.name.endswith(".sandbox.ledger"),
        running=view.is_running(),
    )
