"""How far the rows of an incremental source were taken: a mark that moves only when a run has published.

It is kept in the run's own summary, so that it is written in one with the word that the run has published.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from opper_batch.errors import DefinitionError
from opper_batch.ledger import View, holds_something
from opper_batch.pipeline import Pipeline
from opper_batch.protocol import canonical, digest_of
from opper_batch.report import Counts
from opper_batch.runs.options import Options
from opper_batch.sources import SinceRows, Source
from opper_batch.sources.since import scalar_of, text_of

if TYPE_CHECKING:
    from opper_batch.runs.setting import Setting


def since_rows(source: Source, pipeline: Pipeline, options: Options, *, ledger: Path, origin: str) -> Source:
    """The rows of ``source`` to be taken: from the mark on, where the pipeline has ``source.since``."""
    column = pipeline.source.since
    if column is None:
        if options.since is not None:
            raise DefinitionError("--since needs source.since, the column that tells what is new")
        return source
    if options.since is not None:
        return SinceRows(source, column, options.since)
    # A sink of the command line is written whole, and the mark is not about it.
    everything = options.all_rows or options.sink is not None
    mark = None if everything else _mark(_place(pipeline, origin), ledger)
    return SinceRows(source, column, mark)


class Held:
    """The least value of the column among rows that have no answer: the mark does not pass them."""

    def __init__(self, column: str) -> None:
        self._column = column
        self._least: pa.Scalar | None = None

    def add(self, batch: pa.RecordBatch, waiting: list[bool]) -> None:
        if True not in waiting:
            return
        least = pc.min(batch.column(self._column).filter(pa.array(waiting)))
        if least.is_valid and (self._least is None or pc.less(least, self._least).as_py()):
            self._least = least

    @property
    def text(self) -> str | None:
        return None if self._least is None else text_of(self._least)


def about_since(setting: Setting, counts: Counts | None, options: Options) -> dict[str, Any] | None:
    """What a run says of its incremental source, and of the mark from which the next one takes rows."""
    rows = setting.since
    if rows is None:
        return None
    return {
        "place": _place(setting.pipeline, setting.origin),
        "column": rows.column,
        "from": rows.mark,
        "to": _next(rows, counts, options) if counts else rows.mark,
        "moves": options.limit is None and options.sink is None and bool(counts and not counts.held_back),
        "of": rows.of,
        "nulls": rows.nulls,
        "future": rows.future,
        "held": bool(counts and counts.held and options.retry_failed),
    }


def _next(rows: SinceRows, counts: Counts, options: Options) -> str | None:
    """Never back, unless to a row without an answer that is to be asked again."""
    if options.limit is not None or options.sink is not None:
        return rows.mark
    if counts.held is not None and options.retry_failed:
        return counts.held
    if rows.latest is None or rows.mark is None:
        return rows.latest or rows.mark
    kind = rows.schema.field(rows.column).type
    further = pc.greater(scalar_of(rows.latest, kind), scalar_of(rows.mark, kind)).as_py()
    return rows.latest if further else rows.mark


def _mark(place: str, ledger: Path) -> str | None:
    """Where the last run that published from this source into this sink left it."""
    if not holds_something(ledger):
        return None
    with View(ledger) as view:
        for run in reversed(view.runs()):
            said = run.summary.get("since")
            if run.published and said and said["moves"] and said["place"] == place:
                mark: str | None = said["to"]
                return mark
    return None


def _place(pipeline: Pipeline, origin: str) -> str:
    """What a mark is about: which rows, told by which column, answered by whom and written where."""
    source, sink = pipeline.source, pipeline.sink
    rows = [source.path, source.sql, source.since]
    table = [sink.duckdb, sink.table] if sink else None
    return digest_of(canonical([rows, origin, table])).hex()
