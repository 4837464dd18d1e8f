"""Everything a verb needs, resolved once: the source checked, the steps prepared, the places named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opper_batch.calls import Step, prepare
from opper_batch.ledger import View
from opper_batch.pipeline import Pipeline, SinkSpec, SourceSpec
from opper_batch.projection import Projected, project
from opper_batch.runs.options import Options
from opper_batch.runs.places import checked_sink, latest_origin, ledger_path, origin
from opper_batch.runs.preflight import BATCH_ROWS, check_rows
from opper_batch.sinks import Sink
from opper_batch.sources import Checked, Source, open_source


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

    def view(self) -> View:
        """The ledger for reading; an empty one when the pipeline never ran."""
        return View(self.ledger_path) if self.ledger_path.exists() else View.empty()

    def projected(self, steps: Sequence[Step], view: View) -> Iterator[Projected]:
        """The source with the columns of ``steps``, batch by batch."""
        first_row = 1
        for batch in self.source.batches(BATCH_ROWS):
            yield project(batch, steps, view, first_row=first_row)
            first_row += batch.num_rows


def resolve(pipeline: Pipeline, options: Options, *, looking: bool = False) -> Setting:
    """Check everything that can be checked before anything is called.

    ``looking`` is for verbs that look at what was answered: they mean the latest run's gateway.
    """
    pipeline = overridden(pipeline, options)
    path = ledger_path(pipeline, options)
    source = _open_source(pipeline.source, options)
    checked = source.check()
    asked = latest_origin(path, options) if looking else origin(options)
    steps = prepare(pipeline, checked.schema, source=source.name, origin=asked)
    sink = checked_sink(pipeline, checked.schema, sandbox=bool(options.sandbox))
    check_rows(source, key=pipeline.source.key, steps=steps)
    return Setting(pipeline, source, checked, steps, sink, path, asked, bool(options.sandbox))


def overridden(pipeline: Pipeline, options: Options) -> Pipeline:
    """The pipeline with the source and sink that the options name."""
    changes: dict[str, Any] = {}
    if options.source is not None:
        elsewhere = {"path": options.source, "sql": None, "table": None}
        changes["source"] = pipeline.source.model_copy(update=elsewhere)
    if options.sink is not None:
        changes["sink"] = SinkSpec(path=options.sink)
    return pipeline.model_copy(update=changes)


def _open_source(spec: SourceSpec, options: Options) -> Source:
    return open_source(
        path=spec.path,
        sql=spec.sql,
        table=spec.table,
        types=spec.types or None,
        delimiter=spec.delimiter,
        null_text=spec.null_text,
        limit=options.limit,
    )
