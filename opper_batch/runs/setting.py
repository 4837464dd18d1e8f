"""Everything a verb needs, resolved once: the source checked, the steps prepared, the places named."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opper_batch.calls import Step, prepare
from opper_batch.checks import refuse_wrong
from opper_batch.errors import DefinitionError
from opper_batch.ledger import View, holds_something
from opper_batch.pipeline import Pipeline, SinkSpec, SourceSpec
from opper_batch.projection import Projected, project
from opper_batch.runs.identities import Published, identities_path
from opper_batch.runs.marks import since_rows
from opper_batch.runs.options import Options
from opper_batch.runs.places import latest_origin, origin, output_schema, sink_of
from opper_batch.runs.preflight import BATCH_ROWS, check_rows
from opper_batch.runs.state import ledger_path
from opper_batch.sinks import Sink
from opper_batch.sources import Checked, FirstRows, SinceRows, Source, open_source

_FIRST_ROWS = 4  # of 16 MB each, at worst
_PART_BYTES = 8 * 2**20  # of which several copies are held: replies, values, columns, the file's group


@dataclass(frozen=True, slots=True)
class Setting:
    """A pipeline with its source, sink and ledger in place; ``origin`` is the gateway that is meant."""

    pipeline: Pipeline
    source: Source
    checked: Checked
    steps: tuple[Step, ...]
    sink: Sink | None
    ledger_path: Path
    origin: str
    sandbox: bool
    identities: array[int]  # of every row, by its key columns; empty without any
    since: SinceRows | None = None

    @property
    def published(self) -> Published:
        """The rows that results have held that were published before."""
        return Published(identities_path(self.ledger_path))

    def view(self) -> View:
        """The ledger for reading; an empty one when the pipeline never ran."""
        return View(self.ledger_path) if holds_something(self.ledger_path) else View.empty()

    def projected(
        self, steps: Sequence[Step], view: View, *, most: Callable[[], int] = lambda: BATCH_ROWS
    ) -> Iterator[Projected]:
        """The source with the columns of ``steps``, batch by batch, each of ``most()`` rows at most.

        Answers may be large, images for instance: how many rows come together follows from those before.
        """
        first_row, fitting = 1, _FIRST_ROWS
        for batch in self.source.batches(BATCH_ROWS):
            start = 0
            while start < batch.num_rows:
                part = batch.slice(start, min(fitting, most()))
                found = project(part, steps, view, first_row=first_row + start)
                yield found
                rows = found.batch.num_rows
                start += rows
                fitting = 1 + rows * _PART_BYTES // (1 + found.batch.nbytes)
            first_row += batch.num_rows


def resolve(pipeline: Pipeline, options: Options, *, looking: bool = False, writing: bool = True) -> Setting:
    """Check everything that can be checked before anything is called.

    ``looking`` is for verbs that look at what was answered: they mean the latest run's gateway. Without
    ``writing`` the sink is not touched.
    """
    pipeline = overridden(pipeline, options)
    path = ledger_path(pipeline.name, options)
    asked = latest_origin(path, options) if looking else origin(options)
    whole = opened_source(pipeline.source)
    rows = since_rows(whole, pipeline, options, ledger=path, origin=asked, looking=looking)
    source = rows if options.limit is None else FirstRows(rows, options.limit)
    checked = source.check()
    steps = prepare(pipeline, checked.schema, source=source.name, origin=asked)
    sink = sink_of(pipeline, checked.schema, sandbox=bool(options.sandbox))
    if sink is not None and writing:
        twin = [sink_of(pipeline, checked.schema, sandbox=bool(options.sandbox), rejected=True)]
        for place in [sink, *(twin if pipeline.checks else ())]:
            assert place is not None
            _refuse_own_source(place, checked)
            place.check(output_schema(checked.schema, pipeline))
    refuse_wrong(pipeline.checks, output_schema(checked.schema, pipeline), folder=path.parent)
    stored = sink if writing or not looking else None
    identities = check_rows(source, key=pipeline.source.key, steps=steps, sink=stored)
    since = rows if isinstance(rows, SinceRows) else None
    return Setting(
        pipeline, source, checked, steps, sink, path, asked, bool(options.sandbox), identities, since
    )


def overridden(pipeline: Pipeline, options: Options) -> Pipeline:
    """The pipeline with the source and sink that the options name."""
    changes: dict[str, Any] = {}
    if options.source is not None:
        elsewhere = {"path": options.source, "sql": None, "table": None}
        changes["source"] = pipeline.source.model_copy(update=elsewhere)
    if options.sink is not None:
        changes["sink"] = SinkSpec(path=str(options.sink))
    return pipeline.model_copy(update=changes)


def _refuse_own_source(sink: Sink, checked: Checked) -> None:
    """A result never takes the place of the rows it was made from."""
    target = os.path.realpath(sink.target)
    for file in checked.files:
        path = os.path.realpath(file.path)
        if path == target or os.path.dirname(path) == target:
            raise DefinitionError(f"the sink {sink.target} is where the source is read; write it elsewhere")


def opened_source(spec: SourceSpec) -> Source:
    """The rows that are meant, of a spec that the options have overridden."""
    return open_source(
        path=spec.path,
        sql=spec.sql,
        table=spec.table,
        types=spec.types or None,
        delimiter=spec.delimiter,
        null_text=spec.null_text,
    )
