"""Source and ledger joined without a run: export and failures. Nothing here calls the gateway."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from opper_batch.errors import DefinitionError
from opper_batch.pipeline import Pipeline
from opper_batch.report import Summary
from opper_batch.runs.options import Options
from opper_batch.runs.publish import Projector, publish
from opper_batch.runs.setting import resolve
from opper_batch.runs.state import latest_run, ledger_to_look_at


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
    ledger_to_look_at(pipeline.name, options)
    setting = resolve(pipeline, options, looking=True)
    if setting.sink is None:
        raise DefinitionError(f"pipeline {pipeline.name!r} has no sink; add one, or give --sink")
    with setting.view() as view:
        if not any(view.template(step.template.digest) for step in setting.steps):
            raise DefinitionError(
                f"nothing is known of {setting.source.name} yet, so nothing is written; run first"
            )
        latest = latest_run(view.runs())
        assert latest is not None
        run, spans = latest.id, {name: latest.summary.get(name) for name in ("span_id", "trace_id")}
        about = {"run": str(run), **{name: found for name, found in spans.items() if found}}
        counts = publish(Projector(setting, view, run=run), about=about)
        return Summary(
            run_id=run,
            pipeline=pipeline.name,
            counts=counts,
            seconds=time.monotonic() - started,
            output=None if counts.held_back else setting.sink.target,
            exit=int(counts.held_back),
            in_doubt=view.in_doubt(),
            sandbox=setting.sandbox,
        )


def failures(pipeline: Pipeline, options: Options) -> Iterator[Failure]:
    """Every failed row, in source order."""
    ledger_to_look_at(pipeline.name, options)
    setting = resolve(pipeline, options, looking=True, writing=False)
    with setting.view() as view:
        for projected in setting.projected(setting.steps, view):
            batch, key = projected.batch, setting.pipeline.source.key
            for step, answers in projected.answers.items():
                traces = answers.facts["trace"]
                for index, (error, its_key) in enumerate(zip(answers.errors, answers.keys, strict=True)):
                    if error is not None and its_key and answers.known[index]:
                        values = tuple(batch.column(name)[index].as_py() for name in key)
                        number = projected.first_row + index
                        yield Failure(number, values, step, error, traces[index], its_key.hex())
