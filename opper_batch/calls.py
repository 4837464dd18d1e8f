"""Rows to calls: what each step asks of each row, and which of it is not known yet. Sends nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from opper_batch.columns import Columns
from opper_batch.errors import DefinitionError
from opper_batch.inputs import encode_inputs, input_schema
from opper_batch.ledger import View
from opper_batch.pipeline import Pipeline, StepSpec
from opper_batch.protocol import Template, canonical
from opper_batch.records import Call
from opper_batch.sources import missing_column_error
from opper_batch.text import printable, shortened


@dataclass(frozen=True, slots=True)
class Questions:
    """What a step asks of each row of a batch, by column; of a row without a key nothing.

    A row's call is made when it is looked at: most rows are known, and need none.
    """

    keys: Sequence[bytes | None]
    inputs: Sequence[bytes]

    @classmethod
    def of(cls, calls: Sequence[Call | None]) -> Questions:
        return cls(
            [call.key if call else None for call in calls], [call.input if call else b"" for call in calls]
        )

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Call | None]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, row: int) -> Call | None:
        key = self.keys[row]
        return Call(key, self.inputs[row]) if key else None


@dataclass(frozen=True, slots=True)
class Step:
    """A step made ready for a source: what is sent, what it reads, and which earlier steps it needs."""

    spec: StepSpec
    template: Template
    inputs: tuple[str, ...]
    needs: tuple[str, ...]
    nan: Any

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def columns(self) -> Columns:
        return self.spec.columns

    def questions(self, batch: pa.RecordBatch, ready: Sequence[bool], *, first_row: int) -> Questions:
        """What is asked of each row that is ready; rows are encoded a batch at a time."""
        inputs, keys = self._encoded(batch, first_row)
        return Questions(_where(ready, keys), inputs)

    def keys(self, batch: pa.RecordBatch, ready: Sequence[bool], *, first_row: int) -> Sequence[bytes | None]:
        """By what the call of each row that is ready is known: ``questions`` without the calls."""
        _, keys = self._encoded(batch, first_row)
        return _where(ready, keys)

    def _encoded(self, batch: pa.RecordBatch, first_row: int) -> tuple[list[bytes], list[bytes]]:
        # Every row is encoded, ready or not, so that an error names the row by its place in the source.
        inputs = encode_inputs(batch, self.inputs, nan=self.nan, first_row=first_row)
        return inputs, self.template.keys(inputs)


@dataclass(frozen=True, slots=True)
class Policy:
    """Which known calls are asked again. ``run`` is this run: what it has asked is never asked again.

    ``since`` is the first run that was to refresh and did not get to its end: what it and those after it
    have asked is fresh. Answers of runs before ``fresh_from`` are too old.
    """

    run: int
    retry_failed: bool = True
    refresh: bool = False
    since: int | None = None
    fresh_from: int = 0

    def wants(self, settled: tuple[bool, int, int] | None) -> bool:
        """Whether to ask, by what ``View.settled`` says of the call."""
        if settled is None:
            return True
        ok, run, answered = settled
        if run == self.run:
            return False
        stale = self.since is None or run < self.since
        anew = self.refresh or (ok and answered < self.fresh_from)
        return (anew and stale) or (not ok and self.retry_failed)


class Asking:
    """The calls of one step that are still to be asked; equal inputs are folded into one.

    A call is open from when its batch is looked up until whoever takes its outcome calls ``ended``.
    """

    def __init__(self, view: View, policy: Policy) -> None:
        self.rows = 0
        self._view = view
        self._policy = policy
        self._open: dict[bytes, int] = {}  # and how many rows are before the first that asks it; in order

    @property
    def settled_rows(self) -> int:
        """Rows that nothing is open for; a call that stands for several counts as one."""
        return max(0, self.rows - len(self._open))

    @property
    def settled_through(self) -> int:
        """So many rows from the first one on have all that this run will bring them."""
        return next(iter(self._open.values()), self.rows)

    def calls(self, batches: Iterable[Questions]) -> Iterator[Call]:
        """One look-up for each batch; a call that a 202 answered before comes with that reply."""
        for batch in batches:
            # What is open is looked at before the ledger: what has left the one is then in the other.
            asked = zip(batch.keys, batch.inputs, strict=True)
            fresh = {key: text for key, text in asked if key and key not in self._open}
            settled = self._view.settled(list(fresh))
            wanted = [key for key in fresh if self._policy.wants(settled.get(key))]
            pending = self._view.pending(wanted)
            since = self._view.pending_since(list(pending))
            self._begin(batch.keys, wanted)
            for key in wanted:
                yield Call(key, fresh[key], pending.get(key), since.get(key))

    def ended(self, key: bytes) -> None:
        self._open.pop(key, None)

    def _begin(self, keys: Sequence[bytes | None], wanted: Sequence[bytes]) -> None:
        if wanted:
            first = dict(zip(reversed(keys), reversed(range(len(keys))), strict=True))
            self._open.update((key, self.rows + first[key]) for key in wanted)
        self.rows += len(keys)


def _where(ready: Sequence[bool], keys: Sequence[bytes]) -> Sequence[bytes | None]:
    return keys if all(ready) else [key if its else None for key, its in zip(keys, ready, strict=True)]


def prepare(pipeline: Pipeline, schema: pa.Schema, *, source: str, origin: str) -> tuple[Step, ...]:
    """Every step made ready for a source of this schema. Raises DefinitionError or SourceError."""
    _check_clashes(pipeline, schema)
    steps: list[Step] = []
    for spec in pipeline.steps:
        names = spec.input or tuple(schema.names)
        for name in names:
            if name not in schema.names:
                raise missing_column_error(schema, name, where=f"step {spec.name!r} reads {source}, which")
        try:
            sent = input_schema(schema, names, nan=pipeline.source.nan)
        except DefinitionError as error:
            raise DefinitionError(f"step {spec.name!r} reads {source}, whose {error.message}") from None
        fields = _fields(pipeline, spec, sent)
        needs = [step.name for step in steps if set(step.columns.names) & set(names)]
        template = Template(fields, origin=origin)
        steps.append(Step(spec, template, tuple(names), tuple(needs), pipeline.source.nan))
        schema = pa.schema([*schema, *spec.columns.arrow])
    return tuple(steps)


def _fields(pipeline: Pipeline, spec: StepSpec, schema: Mapping[str, Any]) -> dict[str, Any]:
    """A CallRequest without its input; what is not set is not sent."""
    model = spec.model_dump(include={"model"}, exclude_none=True).get("model")
    fields = {
        "name": pipeline.function(spec),
        "instructions": spec.instructions,
        "model": model,
        "guard": spec.guard,
        **spec.request,
        "input_schema": schema,
        "output_schema": spec.columns.json_schema,
    }
    try:
        canonical(fields)
    except (TypeError, ValueError) as error:
        reason = shortened(printable(str(error)))
        raise DefinitionError(f"step {spec.name!r}: what it sends cannot be JSON: {reason}") from None
    return {name: value for name, value in fields.items() if value is not None}


def _check_clashes(pipeline: Pipeline, schema: pa.Schema) -> None:
    taken = {name.lower() for name in schema.names}
    for step in pipeline.steps:
        for name in (*step.columns.names, *step.metadata):
            if name.lower() in taken:
                raise DefinitionError(
                    f"step {step.name!r}: the source already has a column {name!r}; "
                    "give the new one another name"
                )
