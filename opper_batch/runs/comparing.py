"""Two pipelines over the same sampled rows.

one source -> rows chosen evenly -> each pipeline's missing calls, kept in its ledger -> answers -> comparison
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from opper_batch.comparison import Answered, Comparison, Side
from opper_batch.errors import DefinitionError
from opper_batch.ledger import paid
from opper_batch.pipeline import Pipeline, SourceSpec
from opper_batch.runs.execution import Ended, execute
from opper_batch.runs.marks import since_rows
from opper_batch.runs.options import Options
from opper_batch.runs.setting import opened_source, overridden
from opper_batch.sources import FirstRows, Source

_READ_ALIKE = ("sql", "types", "delimiter", "null_text")


def diff(
    a: Pipeline,
    b: Pipeline,
    options: Options,
    *,
    sample: int = 200,
    names: tuple[str, str] | None = None,
) -> Comparison:
    """How the answers of two pipelines differ over ``sample`` rows, chosen evenly over their source.

    What is known is not called again, failures included; what is missing is called, and kept as in any run.
    ``options.max_cost`` is for each of the two. Raises DefinitionError when the sources differ, and what
    stops either run.
    """
    a, b = overridden(a, options), overridden(b, options)
    _refuse_other_rows(a.source, b.source)
    taken = options if options.since is not None else replace(options, all_rows=True)
    source = since_rows(opened_source(a.source), a, taken, ledger=Path(), origin="")
    if options.limit is not None:
        source = FirstRows(source, options.limit)
    total = source.check().rows
    places, table = _sampled(source, total, sample)
    alone = replace(
        options, source=None, since=None, all_rows=False, sink=None, limit=None, retry_failed=False
    )
    sides = [
        _side(pipeline, table, alone, name)
        for pipeline, name in zip((a, b), names or (a.name, b.name), strict=True)
    ]
    key = a.source.key or b.source.key
    rows = table.select(key).to_pylist() if key else [{"row": place + 1} for place in places]
    return Comparison(sides[0], sides[1], rows, total, source.name)


def _refuse_other_rows(a: SourceSpec, b: SourceSpec) -> None:
    same = all(getattr(a, name) == getattr(b, name) for name in _READ_ALIKE) and a.table is b.table
    if not same or _paths(a) != _paths(b):
        raise DefinitionError(
            f"the two pipelines read different sources ({_named(a)} and {_named(b)}), so there is nothing to "
            "compare; give both the same [source], or name one with --source"
        )


def _paths(spec: SourceSpec) -> list[str]:
    paths = [spec.path] if isinstance(spec.path, str) else spec.path or ()
    return [os.path.realpath(path) for path in paths]


def _named(spec: SourceSpec) -> str:
    if spec.path is not None:
        return spec.path if isinstance(spec.path, str) else ", ".join(spec.path)
    return "a query" if spec.sql is not None else "a table"


def _sampled(source: Source, total: int, sample: int) -> tuple[list[int], pa.Table]:
    """The places of so many rows (from 0), evenly spread, and the rows."""
    count = min(sample, total)
    places = [(2 * number + 1) * total // (2 * count) for number in range(count)]
    batches, start, done = [], 0, 0
    for batch in source.batches():
        end = done
        while end < count and places[end] < start + batch.num_rows:
            end += 1
        if end > done:
            batches.append(batch.take(pa.array([place - start for place in places[done:end]])))
        start, done = start + batch.num_rows, end
    return places, pa.Table.from_batches(batches, source.schema)


def _side(pipeline: Pipeline, table: pa.Table, options: Options, name: str) -> Side:
    """One pipeline asked of the rows, and what it made of them."""
    source = SourceSpec(table=table, key=pipeline.source.key, nan=pipeline.source.nan)
    sampled = pipeline.model_copy(update={"source": source, "sink": None, "checks": ()})
    ended = execute(sampled, options, sample=True)
    if ended.error is not None:
        raise ended.error
    columns = tuple(name for step in pipeline.steps for name in step.columns.names)
    answers, numbers = _answers(ended, columns)
    totals = ended.summary.totals
    return Side(name, columns, answers, **numbers, paid=totals.cost, calls=totals.calls)


def _answers(ended: Ended, columns: Sequence[str]) -> tuple[list[Answered], dict[str, Any]]:
    """Each row's columns, and the sums over its answers; an answer that rows share counts once."""
    answers: list[Answered] = []
    known: set[bytes] = set()
    with ended.setting.view() as view:
        for projected in ended.setting.projected(ended.setting.steps, view):
            values = projected.batch.select(list(columns)).to_pylist()
            steps = projected.answers.values()
            for row, errors in zip(values, zip(*(of.errors for of in steps), strict=True), strict=True):
                wrong = next(filter(None, errors), None)
                answers.append(Answered(None, wrong) if wrong else Answered(row))
            known.update(key for of in steps for key in of.facts["key"] if key)
        counted = paid(view, list(known))  # a row that was refreshed was paid before, too
    return answers, {
        "cost": sum(one.cost or 0.0 for one in counted),
        "unpriced": sum(one.cost is None for one in counted),
        "input_tokens": sum(one.input_tokens for one in counted),
        "output_tokens": sum(one.output_tokens for one in counted),
        "latencies": [one.latency_ms for one in counted if one.latency_ms is not None],
    }
