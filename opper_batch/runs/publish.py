"""The output: source and ledger joined in source order, counted, and published once.

Rows that are settled are joined ahead, while others are still asked, so that little is left to do at the end.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from opper_batch.errors import SourceError
from opper_batch.ledger import View
from opper_batch.projection import Answers, Projected
from opper_batch.report import Counts, failures_by_reason
from opper_batch.runs.judging import publish_judged
from opper_batch.runs.marks import Held
from opper_batch.runs.places import METADATA_TYPES, output_schema
from opper_batch.runs.preflight import BATCH_ROWS
from opper_batch.runs.setting import Setting
from opper_batch.seen import Numbers

_MOST_REASONS = 1_000
# Ahead so many rows at a time, which take a hundredth of a second, as long as they fit into memory.
_AHEAD_ROWS = 512
_AHEAD_BYTES = 32 * 2**20


class Projector:
    """Gives the output's batches once and counts what goes by; answers of runs before ``run`` are cached.

    ``seen`` gets every batch.
    """

    def __init__(
        self,
        setting: Setting,
        view: View,
        *,
        run: int,
        seen: Callable[[pa.RecordBatch], None] = lambda _: None,
    ) -> None:
        self.schema = output_schema(setting.checked.schema, setting.pipeline)
        self.setting = setting
        self.view = view
        self._run = run
        self._saw = seen
        self._seen = {step.name: Numbers() for step in setting.steps}
        self._tally: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self.rows = 0  # that are joined
        self._cost = 0.0
        self._held = Held(setting.since.column) if setting.since else None
        self._most = _AHEAD_ROWS
        self._joined = self._join()
        self._ahead: deque[pa.RecordBatch] = deque()
        self._ahead_bytes = 0

    def ahead(self, settled: int) -> None:
        """Join what can be joined: ``settled`` rows from the first one on will not change any more."""
        while settled - self.rows >= _AHEAD_ROWS and self._ahead_bytes < _AHEAD_BYTES:
            batch = next(self._joined)
            self._ahead.append(batch)
            self._ahead_bytes += batch.nbytes

    def batches(self) -> Iterator[pa.RecordBatch]:
        while self._ahead:
            yield self._ahead.popleft()
        self._most = BATCH_ROWS
        yield from self._joined

    def _join(self) -> Iterator[pa.RecordBatch]:
        steps = self.setting.steps
        for projected in self.setting.projected(steps, self.view, most=lambda: self._most):
            metadata = [array for step in steps for array in self._metadata(step.name, projected)]
            self.rows += projected.batch.num_rows
            self._count_rows(projected.batch, list(projected.answers.values()))
            batch = pa.RecordBatch.from_arrays([*projected.batch.columns, *metadata], schema=self.schema)
            self._saw(batch)
            yield batch
        self._check()

    @property
    def counts(self) -> Counts:
        tally = self._tally
        return Counts(
            rows=self.rows,
            ok=tally["ok"],
            failed=tally["failed"],
            skipped=tally["skipped"],
            cached=tally["cached"],
            folded=tally["folded"],
            cost=self._cost,
            failed_calls=tally["failed_calls"],
            failures=failures_by_reason(list(self._reasons.items())),
            held=self._held.text if self._held else None,
        )

    def _metadata(self, step: str, projected: Projected) -> list[pa.Array]:
        """One array for each metadata column; what an equal row above paid for is not counted twice."""
        answers = projected.answers[step]
        facts = answers.facts
        repeated = self._seen[step].add(facts["id"])
        columns = _columns(answers, facts, repeated, run=self._run)
        self._count(answers, repeated, columns)
        return list(columns.values())

    def _count(self, answers: Answers, repeated: Sequence[bool], columns: Mapping[str, pa.Array]) -> None:
        again = sum(repeated)
        self._tally["folded"] += again
        self._tally["cached"] += columns["cached"].true_count - again
        self._cost += pc.sum(columns["cost"]).as_py() or 0.0
        for error, known, counted in zip(answers.errors, answers.known, repeated, strict=True):
            if error is not None and known:
                self._tally["failed_calls"] += not counted
                self._count_reason(error)

    def _count_reason(self, reason: str) -> None:
        known = reason in self._reasons or len(self._reasons) < _MOST_REASONS
        self._reasons[reason if known else "other reasons"] += 1

    def _count_rows(self, batch: pa.RecordBatch, steps: Sequence[Answers]) -> None:
        """A row is as far as the step that is behind: failed before skipped before ok."""
        rows = list(zip(*(answers.statuses for answers in steps), strict=True))
        if self._held:
            self._held.add(batch, [set(statuses) != {"ok"} for statuses in rows])
        for statuses, count in Counter(rows).items():
            self._tally[next(kind for kind in ("failed", "skipped", "ok") if kind in statuses)] += count

    def _check(self) -> None:
        rows = self.setting.checked.rows
        if self.counts.rows != rows or not self.counts.reconciles:
            raise SourceError(
                f"{self.setting.source.name} gave {self.counts.rows:,} rows where it had {rows:,} before: "
                "it changed during the run; nothing was published, run again"
            )


def publish(
    projector: Projector,
    *,
    about: Mapping[str, str] | None = None,
    told: Callable[[int], None] = lambda _: None,
) -> Counts:
    """Write the sink, all or nothing; without a sink only count. What fails a check goes beside the sink.

    ``about`` is said of the run in the file's metadata; ``told`` hears how many rows are written.
    """
    setting = projector.setting
    said = {f"opper_batch.{name}": value for name, value in (about or {}).items()}
    schema = projector.schema.with_metadata(said or None)
    with projector.view.snapshot():
        if setting.pipeline.checks:
            verdicts, rejected = publish_judged(setting, schema, _telling(projector, told))
            return replace(projector.counts, checks=verdicts, rejected=rejected)
        if setting.sink is None:
            for _ in _telling(projector, told):
                pass
            return projector.counts
        with setting.sink.open(schema) as writer:
            for batch in _telling(projector, told):
                writer.write(batch)
    return projector.counts


def _telling(projector: Projector, told: Callable[[int], None]) -> Iterator[pa.RecordBatch]:
    rows = 0
    for batch in projector.batches():
        yield batch
        rows += batch.num_rows
        told(rows)


def _columns(
    answers: Answers, facts: Mapping[str, Sequence[Any]], repeated: Sequence[bool], *, run: int
) -> dict[str, pa.Array]:
    """The metadata columns of one step, whole columns at a time. A repeated answer was paid for above."""
    values = {
        **facts,
        "status": answers.statuses,
        "error": answers.errors,
        "cached": [
            None if asked is None else again or asked < run
            for asked, again in zip(facts["run"], repeated, strict=True)
        ],
        "trace_uuid": facts["trace"],
        "key": [key.hex() if key else None for key in answers.keys],
    }
    columns = {name: pa.array(values[name], kind) for name, kind in METADATA_TYPES.items()}
    if True in repeated:
        for name in ("cost", "input_tokens", "output_tokens", "attempts"):
            free = pa.scalar(0, columns[name].type)
            columns[name] = pc.if_else(pa.array(repeated, pa.bool_()), free, columns[name])
    return columns
