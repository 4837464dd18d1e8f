"""Source and ledger joined: each row with its steps' columns, in source order.

batch + ledger.lookup -> answers of step 1 -> its columns -> questions of step 2 -> …
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal, cast

import pyarrow as pa

from opper_batch.calls import Questions, Step
from opper_batch.errors import CallError
from opper_batch.ledger import Found, Known, View
from opper_batch.protocol import data_of, with_artifacts

NOT_ASKED = "not asked yet; run the pipeline to fill it"

Status = Literal["ok", "failed", "skipped"]
Values = dict[str, Any]
# The fields of ``Known`` but its reply: replies may be large, and there is one of these for each row.
Facts = tuple[Any, ...]
# What is known of a row; the text says why it is not ok.
Entry = tuple[Values | None, str | None, Facts | None]
_FACTS = Known._fields[:-1]
_OK, _FILES = (_FACTS.index(name) for name in ("ok", "files"))
_NOTHING: Facts = (None,) * len(_FACTS)


@dataclass(frozen=True, slots=True)
class Answers:
    """What one step has for the rows of a batch, by column: a row is ok where it has no error.

    ``known`` is what the ledger has of the row, None where it was skipped.
    """

    errors: Sequence[str | None]
    keys: Sequence[bytes | None]
    known: Sequence[Facts | None]

    @property
    def statuses(self) -> Sequence[Status]:
        if not any(self.errors):
            return cast(Sequence[Status], ("ok",) * len(self.errors))
        return [
            "ok" if error is None else "failed" if known else "skipped"
            for error, known in zip(self.errors, self.known, strict=True)
        ]

    @property
    def facts(self) -> Mapping[str, Sequence[Any]]:
        """``known`` by field; None in each for rows that were skipped."""
        columns = zip(*(facts or _NOTHING for facts in self.known), strict=True)
        return dict(zip(_FACTS, columns, strict=False)) or dict.fromkeys(_FACTS, ())


class Projected:
    """A batch of the source, growing by the columns of one step after the other."""

    def __init__(self, batch: pa.RecordBatch, *, first_row: int) -> None:
        self.batch = batch
        self.first_row = first_row
        self.answers: dict[str, Answers] = {}

    def questions(self, step: Step) -> Questions:
        """What ``step`` asks of each row; None where a step that it needs has no answer."""
        return step.questions(self.batch, self._ready(step), first_row=self.first_row)

    def waiting_lengths(self, step: Step) -> list[int]:
        """How long the inputs of the rows are that ``questions`` has none for, as far as they are known."""
        ready = self._ready(step)
        everything = step.questions(self.batch, [True] * len(ready), first_row=self.first_row)
        return [len(text) for text, its in zip(everything.inputs, ready, strict=True) if not its]

    def join(self, step: Step, view: View) -> None:
        """Add the step's columns as the ledger has them."""
        keys = step.keys(self.batch, self._ready(step), first_row=self.first_row)
        read = _read(step, view, {key for key in keys if key})
        rows = [
            (key and read.get(key)) or (None, self._why_not(step, row, key), None)
            for row, key in enumerate(keys)
        ]
        values, errors, known = zip(*rows, strict=True) if rows else ((), (), ())
        self.answers[step.name] = Answers(errors, keys, known)
        self.batch = pa.RecordBatch.from_arrays(
            [*self.batch.columns, *step.columns.arrays(values)],
            schema=pa.schema([*self.batch.schema, *step.columns.arrow]),
        )

    def _ready(self, step: Step) -> list[bool]:
        rows = [True] * self.batch.num_rows
        for name in step.needs:
            errors = self.answers[name].errors
            rows = [ready and error is None for ready, error in zip(rows, errors, strict=True)]
        return rows

    def _why_not(self, step: Step, row: int, key: bytes | None) -> str:
        """Why a row has nothing in the ledger."""
        if key:
            return NOT_ASKED
        missing = next(name for name in step.needs if self.answers[name].errors[row] is not None)
        return f"step {missing!r} has no answer for this row"


def project(batch: pa.RecordBatch, steps: Sequence[Step], view: View, *, first_row: int) -> Projected:
    """The batch with the columns of ``steps``."""
    projected = Projected(batch, first_row=first_row)
    for step in steps:
        projected.join(step, view)
    return projected


def _read(step: Step, view: View, keys: Set[bytes]) -> dict[bytes, Entry]:
    """What is kept of each key, read anew: what is ok is decided by today's columns."""
    read: dict[bytes, Entry] = {}
    for part in view.parts(list(keys)):
        fitting = _fitting(step, part)
        for found in part:
            values, error = fitting.get(found[0]), None
            if values is None:
                values, error = _value(step, Known._make(found))
            read[found[0]] = (values, error, found[:-1])
    return read


def _fitting(step: Step, part: Sequence[Found]) -> Mapping[bytes, Values]:
    """The values of answers, read together; none where one of them does not fit: then each says it itself."""
    replies = {found[0]: found[-1] for found in part if found[_OK] and found[-1] and not found[_FILES]}
    try:
        read = step.columns.read_all([data_of(reply) for reply in replies.values()])
    except CallError:
        return {}
    return dict(zip(replies, read, strict=True))


def _value(step: Step, found: Known) -> tuple[Values | None, str | None]:
    """The values of one answer, or why there are none."""
    if not found.ok or found.reply is None:
        return None, found.error or "no answer is kept"
    try:
        answer = data_of(found.reply)
        if found.files:
            answer = with_artifacts(answer, found.artifacts, step.columns.names)
        return step.columns.read(answer), None
    except CallError as error:
        return None, f"the kept answer can no longer be taken: {error.message}; --refresh asks anew"
