"""The output: source and ledger joined in source order, counted, and published once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from opper_batch.errors import SourceError
from opper_batch.ledger import View
from opper_batch.projection import Answer, Projected
from opper_batch.records import Usage
from opper_batch.report import Counts, failures_by_reason
from opper_batch.runs.places import METADATA_TYPES, output_schema
from opper_batch.runs.setting import Setting
from opper_batch.seen import Seen

_MOST_REASONS = 1_000


class Projector:
    """Gives the output's batches and counts what goes by; answers of runs before ``run`` are cached."""

    def __init__(self, setting: Setting, view: View, *, run: int) -> None:
        self.schema = output_schema(setting.checked.schema, setting.pipeline)
        self._setting = setting
        self._view = view
        self._run = run
        self._seen = {step.name: Seen() for step in setting.steps}
        self._tally: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._rows = 0
        self._cost = 0.0

    def batches(self) -> Iterator[pa.RecordBatch]:
        for projected in self._setting.projected(self._setting.steps, self._view):
            metadata = [
                array for step in self._setting.steps for array in self._metadata(step.name, projected)
            ]
            self._rows += projected.batch.num_rows
            self._count_rows(list(projected.answers.values()))
            yield pa.RecordBatch.from_arrays([*projected.batch.columns, *metadata], schema=self.schema)
        for seen in self._seen.values():
            seen.close()
        self._check()

    @property
    def counts(self) -> Counts:
        tally = self._tally
        return Counts(
            rows=self._rows,
            ok=tally["ok"],
            failed=tally["failed"],
            skipped=tally["skipped"],
            cached=tally["cached"],
            folded=tally["folded"],
            cost=self._cost,
            failed_calls=tally["failed_calls"],
            failures=failures_by_reason(list(self._reasons.items())),
        )

    def _metadata(self, step: str, projected: Projected) -> list[pa.Array]:
        """One array for each metadata column; what an equal row above paid for is not counted twice."""
        answers = projected.answers[step]
        repeated = self._seen[step].add([answer.key if answer.known else None for answer in answers])
        rows = [self._row(answer, again) for answer, again in zip(answers, repeated, strict=True)]
        columns = zip(*rows, strict=True) if rows else [()] * len(METADATA_TYPES)
        return [pa.array(column, kind) for column, kind in zip(columns, METADATA_TYPES.values(), strict=True)]

    def _row(self, answer: Answer, repeated: bool) -> tuple[Any, ...]:
        if answer.status == "failed":
            self._count_reason(answer.error or "")
            self._tally["failed_calls"] += not repeated
        key = answer.key.hex() if answer.key else None
        if answer.known is None:
            return (answer.status, answer.error, *[None] * 8, key)
        outcome, earlier = answer.known.outcome, answer.known.run < self._run
        self._tally["folded" if repeated else "cached"] += repeated or earlier
        usage = Usage(0.0, 0, 0) if repeated else outcome.usage
        self._cost += usage.cost or 0.0
        spent = (usage.cost, usage.input_tokens, usage.output_tokens, outcome.latency_ms)
        attempts = 0 if repeated else outcome.attempts
        told = (attempts, repeated or earlier, outcome.trace, key)
        return (answer.status, answer.error, outcome.model, *spent, *told)

    def _count_reason(self, reason: str) -> None:
        if reason in self._reasons or len(self._reasons) < _MOST_REASONS:
            self._reasons[reason] += 1

    def _count_rows(self, steps: Sequence[Sequence[Answer]]) -> None:
        for answers in zip(*steps, strict=True):
            statuses = {answer.status for answer in answers}
            self._tally[next(status for status in ("failed", "skipped", "ok") if status in statuses)] += 1

    def _check(self) -> None:
        rows = self._setting.checked.rows
        if self.counts.rows != rows or not self.counts.reconciles:
            raise SourceError(
                f"{self._setting.source.name} gave {self.counts.rows:,} rows where it had {rows:,} before: "
                "it changed during the run; nothing was published, run again"
            )


def publish(setting: Setting, view: View, *, run: int) -> Counts:
    """Write the sink, all or nothing; without a sink only count."""
    projector = Projector(setting, view, run=run)
    if setting.sink is None:
        for _ in projector.batches():
            pass
        return projector.counts
    with setting.sink.open(projector.schema) as writer:
        for batch in projector.batches():
            writer.write(batch)
    return projector.counts
