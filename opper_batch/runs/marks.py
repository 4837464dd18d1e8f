"""How far the rows of an incremental source were taken: a mark that moves only when a run has published.

It is kept in the run's own summary, so that it is written in one with the word that the run has published.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

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


def since_rows(
    source: Source, pipeline: Pipeline, options: Options, *, ledger: Path, origin: str, looking: bool = False
) -> Source:
    """The rows of ``source`` to be taken: from the mark on, where the pipeline has ``source.since``.

    When ``looking`` they are those that the last run took.
    """
    column = pipeline.source.since
    if column is None:
        if options.since is not None:
            raise DefinitionError("--since needs source.since, the column that tells what is new")
        return source
    if options.since is not None:
        return SinceRows(source, column, options.since)
    # A sink of the command line is written whole, and the mark is not about it.
    everything = options.all_rows or options.sink is not None
    mark = None if everything else _mark(_place(pipeline, origin), ledger, "from" if looking else "to")
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
    place, kept = _place(setting.pipeline, setting.origin), rows.mark
    if options.since is not None:  # it says which rows are taken, and not how far earlier runs came
        kept = _of_kind(rows, _mark(place, setting.ledger_path, "to"))
    partial = options.limit is not None or options.sink is not None or _leaves_out(rows, kept)
    stays = partial or counts is None or counts.held_back
    to = kept if stays or counts is None else _next(rows, kept, counts, options)
    return {
        "place": place,
        "column": rows.column,
        "from": rows.mark,
        "to": to,
        "moves": not stays,
        "of": rows.of,
        "nulls": rows.nulls,
        "future": rows.future,
        "held": bool(counts and counts.held and options.retry_failed and to == counts.held),
    }


def _of_kind(rows: SinceRows, mark: str | None) -> str | None:
    """The mark, unless the column has become of another type since."""
    with suppress(DefinitionError):
        return mark and text_of(scalar_of(mark, rows.schema.field(rows.column).type))
    return None


def _leaves_out(rows: SinceRows, kept: str | None) -> bool:
    """Whether rows between the mark and those that were taken would never be, if it moved."""
    return kept is not None and rows.mark is not None and _less(rows, kept, rows.mark)


def _next(rows: SinceRows, kept: str | None, counts: Counts, options: Options) -> str | None:
    """Never back, unless to a row without an answer that is to be asked again."""
    if rows.latest is None:
        return kept
    if counts.held is not None and options.retry_failed and not _less(rows, rows.latest, counts.held):
        return counts.held
    return kept if kept is not None and _less(rows, rows.latest, kept) else rows.latest


def _less(rows: SinceRows, one: str, other: str) -> bool:
    kind = rows.schema.field(rows.column).type
    return bool(pc.less(scalar_of(one, kind), scalar_of(other, kind)).as_py())


def _mark(place: str, ledger: Path, end: Literal["from", "to"]) -> str | None:
    """Where the last run that published from this source into this sink took it up, or left it."""
    if not holds_something(ledger):
        return None
    with View(ledger) as view:
        for run in reversed(view.runs()):
            said = run.summary.get("since")
            if run.published and said and said["moves"] and said["place"] == place:
                mark: str | None = said[end]
                return mark
    return None


def _place(pipeline: Pipeline, origin: str) -> str:
    """What a mark is about: which rows, told by which column, answered by whom and written where."""
    source, sink = pipeline.source, pipeline.sink
    rows = [source.path, source.sql, source.since]
    table = [sink.duckdb, sink.table] if sink else None
    return digest_of(canonical([rows, origin, table])).hex()
