"""Source and ledger joined: each row with its steps' columns, in source order.

batch + ledger.lookup -> answers of step 1 -> its columns -> questions of step 2 -> …
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from opper_batch.calls import Step
from opper_batch.errors import CallError
from opper_batch.ledger import Known, View
from opper_batch.protocol import data_of, with_artifacts
from opper_batch.records import Call

NOT_ASKED = "not asked yet; run the pipeline to fill it"


class Answer(NamedTuple):
    """What one step has for one row: ``values`` when it is ok, else why not."""

    status: Literal["ok", "failed", "skipped"]
    error: str | None = None
    values: dict[str, Any] | None = None
    known: Known | None = None
    key: bytes | None = None


class Projected:
    """A batch of the source, growing by the columns of one step after the other."""

    def __init__(self, batch: pa.RecordBatch, *, first_row: int) -> None:
        self.batch = batch
        self.first_row = first_row
        self.answers: dict[str, list[Answer]] = {}

    def questions(self, step: Step) -> list[Call | None]:
        """What ``step`` asks of each row; None where a step that it needs has no answer."""
        return step.questions(self.batch, self._ready(step), first_row=self.first_row)

    def waiting_lengths(self, step: Step) -> list[int]:
        """How long the inputs of the rows are that ``questions`` has none for, as far as they are known."""
        ready = self._ready(step)
        everything = step.questions(self.batch, [True] * len(ready), first_row=self.first_row)
        return [len(call.input) for call, its in zip(everything, ready, strict=True) if call and not its]

    def join(self, step: Step, view: View) -> None:
        """Add the step's columns as the ledger has them."""
        keys = step.keys(self.batch, self._ready(step), first_row=self.first_row)
        known = view.each(list({key for key in keys if key}))
        read = {found.key: _read(step, found) for found in known}
        answers = [
            (read.get(key) or Answer("skipped", NOT_ASKED, key=key)) if key else self._skipped(step, row)
            for row, key in enumerate(keys)
        ]
        arrays = step.columns.arrays([answer.values for answer in answers])
        self.answers[step.name] = answers
        self.batch = pa.RecordBatch.from_arrays(
            [*self.batch.columns, *arrays], schema=pa.schema([*self.batch.schema, *step.columns.arrow])
        )

    def _ready(self, step: Step) -> list[bool]:
        rows = [True] * self.batch.num_rows
        for name in step.needs:
            rows = [
                ready and answer.status == "ok"
                for ready, answer in zip(rows, self.answers[name], strict=True)
            ]
        return rows

    def _skipped(self, step: Step, row: int) -> Answer:
        missing = next(name for name in step.needs if self.answers[name][row].status != "ok")
        return Answer("skipped", f"step {missing!r} has no answer for this row")


def project(batch: pa.RecordBatch, steps: Sequence[Step], view: View, *, first_row: int) -> Projected:
    """The batch with the columns of ``steps``."""
    projected = Projected(batch, first_row=first_row)
    for step in steps:
        projected.join(step, view)
    return projected


def _read(step: Step, found: Known) -> Answer:
    """The kept reply, read anew: what is ok is decided by today's columns."""
    known = found.without_reply()
    if not found.ok or found.reply is None:
        return Answer("failed", found.error, known=known, key=found.key)
    try:
        answer = data_of(found.reply)
        if found.files:
            answer = with_artifacts(answer, found.artifacts, step.columns.names)
        return Answer("ok", None, step.columns.read(answer), known, found.key)
    except CallError as error:
        reason = f"the kept answer can no longer be taken: {error.message}; --refresh asks anew"
        return Answer("failed", reason, known=known, key=found.key)
