"""One call from a table to the same table with more columns.

    table -> a pipeline of one step -> run -> the new columns, joined to the table as it came

The kinds are told by module and protocol, so that no library is imported only to ask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from opper_batch.errors import DefinitionError
from opper_batch.frames import Run, run
from opper_batch.pipeline import Pipeline, StepSpec

if TYPE_CHECKING:
    from pydantic import BaseModel

    from opper_batch.columns import Column

T = TypeVar("T")

NAME = "enrich"


def enrich(
    table: T,
    *,
    columns: Mapping[str, Any] | Sequence[Column] | type[BaseModel],
    instructions: str | None = None,
    input: str | Sequence[str] | None = None,
    model: Any = None,
    name: str = NAME,
    key: str | Sequence[str] = (),
    **options: Any,
) -> T:
    """``table`` with the ``columns`` that a model fills for each row, and what each row cost, in its order.

    A polars DataFrame or LazyFrame, pandas DataFrame, pyarrow Table, RecordBatch or RecordBatchReader, or a
    DuckDB relation comes back as what it is; anything else with ``__arrow_c_stream__`` as a pyarrow Table.
    ``input`` names the columns that are sent, all without it. ``name`` is that of pipeline and step: its
    ledger, and how its metadata columns begin; two that run at the same time need two. ``options`` are
    those of ``opper_batch.run``. The calls are made now, for a LazyFrame too. Raises as ``run`` does; a
    second time, only what is missing is asked.
    """
    fields = {"columns": columns, "instructions": instructions, "input": input, "model": model}
    step = {"name": name, **{field: value for field, value in fields.items() if value is not None}}
    return mapped(table, step, key=key, **options)


def mapped(
    table: T, step: Mapping[str, Any] | StepSpec, *, key: str | Sequence[str] = (), **options: Any
) -> T:
    """``enrich`` with a step as pipelines have it; without a name it is called ``enrich``."""
    for option in ("source", "sink"):
        if options.get(option) is not None:
            raise DefinitionError(f"there is no option {option!r} here: a table goes in and comes back")
    spelled = _spelled(step)
    name = spelled.name if isinstance(spelled, StepSpec) else spelled["name"]
    pipeline = Pipeline(name=name, source={"table": table, "key": _names(key)}, steps=[spelled])
    returned: T = _like(table, run(pipeline, **options))
    return returned


def _spelled(step: object) -> dict[str, Any] | StepSpec:
    if isinstance(step, StepSpec):
        return step
    if not isinstance(step, Mapping):
        kind = type(step).__name__
        raise DefinitionError(f'a step is a dict such as {{"columns": {{"good": "BOOLEAN"}}}}, not {kind}')
    spelled = {"name": NAME, **step}
    if "input" in step:
        spelled["input"] = _names(step["input"])
    return spelled


def _names(names: Any) -> Any:
    """One name may be given as it is."""
    return (names,) if isinstance(names, str) else names


def _like(table: Any, run: Run) -> Any:
    """The run's result as the kind of table that ``table`` is."""
    module, kind = type(table).__module__.split(".")[0], type(table).__name__
    if (module, kind) == ("polars", "DataFrame"):
        return run.frame
    if (module, kind) == ("polars", "LazyFrame"):
        return run.frame.lazy()
    if (module, kind) == ("pandas", "DataFrame"):
        return _like_pandas(table, run)
    if module in ("duckdb", "_duckdb"):
        return _like_relation(table, run)
    if isinstance(table, pa.RecordBatchReader):
        return run.reader()
    if isinstance(table, pa.RecordBatch):
        columns = [_one_chunk(column) for column in run.table.combine_chunks().columns]
        return pa.RecordBatch.from_arrays(columns, schema=run.table.schema)
    return run.table


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)


def _like_pandas(frame: Any, run: Run) -> Any:
    """Its index is kept. The new columns have Arrow's types: pandas' own make floats of whole numbers."""
    import pandas

    new = run.table.drop(list(run.source_columns)).to_pandas(types_mapper=pandas.ArrowDtype)
    rows = frame.head(run.counts.rows)
    return pandas.concat([rows, new.set_axis(rows.index)], axis="columns")


def _like_relation(relation: Any, run: Run) -> Any:
    """On the relation's own connection, so that it can be joined with what else is there."""
    import duckdb

    opper_batch_result = run.table
    try:
        # DuckDB finds the variable by its name; the view that it makes of the relation is not looked at.
        return relation.query("opper_batch_source", "SELECT * FROM opper_batch_result")
    except duckdb.CatalogException:  # the connection does not look at variables
        return duckdb.from_arrow(opper_batch_result)
