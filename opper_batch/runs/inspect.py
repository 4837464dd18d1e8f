"""Looking at a pipeline's ledger: export, status, failures. Nothing here calls the gateway."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opper_batch.errors import DefinitionError, MachineError
from opper_batch.ledger import RunRecord, Totals, View
from opper_batch.pipeline import Pipeline
from opper_batch.report import Report, Summary, duration, totals_text
from opper_batch.runs.options import Options
from opper_batch.runs.places import ledger_path, state_dir
from opper_batch.runs.publish import publish
from opper_batch.runs.setting import resolve


@dataclass(frozen=True, slots=True)
class Failure:
    """A row that a step failed: its number in the source (from 1), its key columns, and why."""

    row: int
    key: tuple[Any, ...]
    step: str
    reason: str
    trace_uuid: str | None
    call_key: str


def export(pipeline: Pipeline, options: Options) -> Summary:
    """Write the sink from what the ledger holds now; rows that were not asked yet are skipped, saying so."""
    started = time.monotonic()
    setting = resolve(pipeline, options, looking=True)
    if setting.sink is None:
        raise DefinitionError(f"pipeline {pipeline.name!r} has no sink; add one, or give --sink")
    with setting.view() as view:
        if not any(view.template(step.template.digest) for step in setting.steps):
            raise DefinitionError(
                f"nothing is known of {setting.source.name} yet, so nothing is written; run first"
            )
        run = max((record.id for record in view.runs()), default=0)
        counts = publish(setting, view, run=run)
        return Summary(
            run_id=run,
            pipeline=pipeline.name,
            counts=counts,
            seconds=time.monotonic() - started,
            output=setting.sink.target,
            in_doubt=view.in_doubt(),
            sandbox=setting.sandbox,
        )


def failures(pipeline: Pipeline, options: Options) -> Iterator[Failure]:
    """Every failed row, in source order."""
    setting = resolve(pipeline, options, looking=True, writing=False)
    with setting.view() as view:
        for projected in setting.projected(setting.steps, view):
            batch, key = projected.batch, setting.pipeline.source.key
            for step, answers in projected.answers.items():
                for index, answer in enumerate(answers):
                    if answer.status == "failed" and answer.key:
                        values = tuple(batch.column(name)[index].as_py() for name in key)
                        trace = answer.known.outcome.trace if answer.known else None
                        number = projected.first_row + index
                        yield Failure(number, values, step, answer.error or "", trace, answer.key.hex())


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
        doubt = f", {self.in_doubt:,} sent and not answered" if self.in_doubt else ""
        pending = f", {self.pending:,} pending" if self.pending else ""
        place = " (sandbox)" if self.sandbox else ""
        head = (
            f"{self.pipeline}{place}: run {self.run.id} {self.state}, {duration(seconds)}, {rate:.1f} calls/s"
        )
        left = self.run.rows - self.run.done
        rows = f"  rows: {self.run.done:,} of {self.run.rows:,} done, {left:,} left, at step {self.run.step}"
        return f"{head}\n{rows}\n  {totals_text(self.totals)}{pending}{doubt}"


def status(pipeline: Pipeline, options: Options) -> Status:
    """How the pipeline's latest run stands."""
    path = ledger_path(pipeline, options)
    if not path.exists():
        raise DefinitionError(f"pipeline {pipeline.name!r} has not run yet ({path} is not there)")
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


def report_of(pipeline: Pipeline, options: Options) -> Report:
    """The latest run that ended: what it said of itself, and how long and by whom it was answered."""
    path = ledger_path(pipeline, options)
    if path.exists():
        with View(path) as view:
            for record in reversed(view.runs()):
                if record.summary:
                    return Report(record.summary, view.latencies(record.id), view.models(record.id))
    raise DefinitionError(f"pipeline {pipeline.name!r} has no finished run to report; run it first")


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
