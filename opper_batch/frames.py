"""The notebook's face: pipelines over tables in memory, results as frames."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from opper_batch.errors import DefinitionError
from opper_batch.pipeline import Pipeline, load
from opper_batch.report import Counts, Summary
from opper_batch.runs import Options, Plan, Progress, execute
from opper_batch.runs import export as _export
from opper_batch.runs import plan as _plan
from opper_batch.runs.publish import Projector
from opper_batch.runs.setting import Setting

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
        with self._setting.view() as view:
            projector = Projector(self._setting, view, run=self.summary.run_id)
            return pa.Table.from_batches(projector.batches(), projector.schema)

    @property
    def counts(self) -> Counts:
        return self.summary.counts or Counts()

    @property
    def cost(self) -> float:
        """USD paid in this run, as far as the gateway said."""
        return self.summary.totals.cost

    def __str__(self) -> str:
        return str(self.summary)


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
    """
    ended = execute(_loaded(pipeline), _options(sandbox=sandbox, progress=progress, **options))
    if ended.error is not None:
        raise ended.error
    return Run(ended.summary, ended.setting)


def plan(pipeline: Pipeline | str | Path, **options: Any) -> Plan:
    """What ``run`` with the same options would do: rows, calls, cost. Sends nothing."""
    return _plan(_loaded(pipeline), _options(**options))


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
