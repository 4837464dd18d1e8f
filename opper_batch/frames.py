"""The notebook's face: pipelines over tables in memory, results as frames."""

from __future__ import annotations

import asyncio
import difflib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from opper_batch.comparison import Comparison
from opper_batch.errors import DefinitionError, OpperBatchError
from opper_batch.ledger import Ledger
from opper_batch.pipeline import Pipeline, load
from opper_batch.report import Counts, Summary
from opper_batch.runs import Options, Plan, Progress, ask_pilot, execute
from opper_batch.runs import diff as _diff
from opper_batch.runs import export as _export
from opper_batch.runs import plan as _plan
from opper_batch.runs.places import output_schema
from opper_batch.runs.publish import Projector
from opper_batch.runs.setting import Setting
from opper_batch.runs.world import REAL, World
from opper_batch.shown import card
from opper_batch.watching import watched

if TYPE_CHECKING:
    import polars

    from opper_batch.sandbox import Sandbox


@dataclass(frozen=True)
class Run:
    """A run that came to its end: its numbers and its result."""

    summary: Summary
    _setting: Setting = field(repr=False)

    @cached_property
    def frame(self) -> polars.DataFrame:
        """The whole result in source order, as the sink has it; read once, from source and ledger."""
        import polars

        frame = polars.from_arrow(self.table)
        assert isinstance(frame, polars.DataFrame)
        return frame

    @cached_property
    def table(self) -> pa.Table:
        """The whole result as Arrow."""
        reader = self.reader()
        return pa.Table.from_batches(reader, reader.schema)

    def reader(self) -> pa.RecordBatchReader:
        """The whole result, batch by batch, for what is too large to be held at once."""
        schema = output_schema(self._setting.checked.schema, self._setting.pipeline)
        return pa.RecordBatchReader.from_batches(schema, self._batches())

    @cached_property
    def failures(self) -> polars.DataFrame:
        """The failed rows: number in the source (from 1), key columns, step, reason, trace and call key."""
        import polars as pl

        found = [
            self.frame.select(
                row=pl.int_range(1, pl.len() + 1, dtype=pl.Int64),
                **{name: name for name in self._setting.pipeline.source.key if name not in _FAILURE},
                step=pl.lit(step.name),
                reason=f"{step.name}_error",
                trace_uuid=f"{step.name}_trace_uuid",
                call_key=f"{step.name}_key",
            ).filter(self.frame[f"{step.name}_status"] == "failed")
            for step in self._setting.steps
        ]
        return pl.concat(found).sort("row", maintain_order=True)

    def sample(self, n: int = 5, *, seed: int = 0) -> polars.DataFrame:
        """``n`` rows from anywhere in the result, in its order; the same ones for the same ``seed``."""
        import polars as pl

        rows = pl.int_range(self.frame.height, eager=True)
        return self.frame[rows.sample(min(n, self.frame.height), seed=seed).sort()]

    @property
    def source_columns(self) -> tuple[str, ...]:
        """The columns of the result that were there before."""
        return tuple(self._setting.checked.schema.names)

    @property
    def counts(self) -> Counts:
        return self.summary.counts or Counts()

    @property
    def cost(self) -> float:
        """USD paid in this run, as far as the gateway said."""
        return self.summary.totals.cost

    def _batches(self) -> Iterator[pa.RecordBatch]:
        with self._setting.view() as view:
            yield from Projector(self._setting, view, run=self.summary.run_id).batches()

    def __str__(self) -> str:
        return str(self.summary)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return card(f"{self.summary.pipeline}: run {self.summary.run_id}", self.summary.as_json())


_SLICE_SECONDS = 0.25
_FAILURE = ("row", "step", "reason", "trace_uuid", "call_key")


def run(
    pipeline: Pipeline | str | Path,
    *,
    sandbox: bool | Sandbox = False,
    progress: Callable[[Progress], None] | None = None,
    **options: Any,
) -> Run:
    """Call what is missing, then publish to the sink if the pipeline has one.

    ``sandbox`` True answers from an embedded gateway, synthetically; ``options`` are the fields of
    ``opper_batch.Options``. Failed rows do not raise: they are counted and say why. What stops the run
    raises (RunStopped, Refused, MachineError, KeyboardInterrupt) with all answers kept: run again to go on.
    In a notebook a line shows how far it is, unless ``progress`` is told instead.
    """
    return _run(_loaded(pipeline), progress, REAL, sandbox=sandbox, **options)


def _run(
    pipeline: Pipeline, progress: Callable[[Progress], None] | None, world: World, **options: Any
) -> Run:
    with watched(pipeline.name, progress) as told:
        ended = execute(pipeline, _options(progress=told, **options), world=world)
        if isinstance(ended.error, OpperBatchError | KeyboardInterrupt):
            raise ended.error.with_traceback(None)  # where in this package says nothing to who reads it
        if ended.error is not None:
            raise ended.error
        return Run(ended.summary, ended.setting)


async def run_async(
    pipeline: Pipeline | str | Path,
    *,
    progress: Callable[[Progress], None] | None = None,
    **options: Any,
) -> Run:
    """``run`` without blocking the event loop; ``progress`` is called on another thread.

    When it is cancelled nothing more is sent, calls in flight have ``grace`` seconds to end, and all that was
    answered is kept: run again to go on. A second cancellation does not wait for them.
    """
    pipeline = _loaded(pipeline)
    cancelled = threading.Event()

    def opened(path: Path) -> Ledger:
        """Tried again and again while another run holds it, where nobody is told of any progress."""
        if cancelled.is_set():
            raise KeyboardInterrupt
        return REAL.ledger(path)

    def through() -> Run | None:
        try:
            return _run(pipeline, tell, replace(REAL, ledger=opened), **options)
        except KeyboardInterrupt:
            if not cancelled.is_set():
                raise
            return None  # it was ``tell``'s; let out, it would end the event loop

    with watched(pipeline.name, progress) as told:

        def tell(now: Progress) -> None:
            if cancelled.is_set():
                raise KeyboardInterrupt
            if told is not None:
                told(now)

        running = asyncio.create_task(asyncio.to_thread(through))
        try:
            # In slices: a kernel's interrupt cancels, but wakes nobody who waits.
            while not running.done():
                await asyncio.wait([running], timeout=_SLICE_SECONDS)
        except asyncio.CancelledError:
            cancelled.set()
            while not running.done():
                await asyncio.wait([running], timeout=_SLICE_SECONDS)
            running.exception()  # looked at, since nobody else will
            raise
        ended = running.result()
        assert ended is not None  # only a cancelled run has no end
        return ended


def plan(pipeline: Pipeline | str | Path, *, pilot: int | None = None, **options: Any) -> Plan:
    """What ``run`` with the same options would do: rows, calls, cost and time with their ranges.

    Calls nothing, unless ``pilot`` is a number of rows that are really called first, and kept.
    """
    pipeline = _loaded(pipeline)
    if pilot is not None:
        ask_pilot(pipeline, _options(**options), pilot)
    return _plan(pipeline, _options(**options))


def diff(
    a: Pipeline | str | Path,
    b: Pipeline | str | Path,
    *,
    sample: int = 200,
    progress: Callable[[Progress], None] | None = None,
    **options: Any,
) -> Comparison:
    """How the answers of two pipelines differ over ``sample`` rows, chosen evenly over their one source.

    What is known is not called again; what is missing is called, and kept. ``max_cost`` is for each of them.
    """
    pipelines = _loaded(a), _loaded(b)
    with watched("diff", progress) as told:
        return _diff(*pipelines, _options(progress=told, **options), sample=sample)


def export(pipeline: Pipeline | str | Path, **options: Any) -> Summary:
    """Write the sink from what is known now. Sends nothing."""
    return _export(_loaded(pipeline), _options(**options))


def _loaded(pipeline: Pipeline | str | Path) -> Pipeline:
    return pipeline if isinstance(pipeline, Pipeline) else load(pipeline)


def _options(**options: Any) -> Options:
    """Options, with an unknown name told like every other mistake."""
    known = [entry.name for entry in fields(Options)]
    for name in options.keys() - set(known):
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
        raise DefinitionError(f"there is no option {name!r}; {hint}")
    return Options(**options)
