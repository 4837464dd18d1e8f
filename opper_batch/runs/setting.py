"""Everything a verb needs, resolved once: the source checked, the steps prepared, the places named."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from opper_batch.calls import Step, prepare
from opper_batch.client.gateway import PRODUCTION, Gateway
from opper_batch.errors import DefinitionError, SourceError
from opper_batch.inputs import encode_inputs
from opper_batch.ledger import View
from opper_batch.pipeline import Pipeline, SinkSpec, SourceSpec
from opper_batch.projection import Projected, project
from opper_batch.protocol import digest_of
from opper_batch.seen import Seen
from opper_batch.sinks import Sink, open_sink, sandbox_path, sandbox_table
from opper_batch.sources import Checked, Source, open_source

if TYPE_CHECKING:
    from opper_batch.sandbox import Sandbox

DEFAULT_CONCURRENCY = 32
BATCH_ROWS = 8_192
_UNSAID = ("progress", "sandbox")


class Progress(NamedTuple):
    """How a run stands; ``total_rows`` and ``rows`` are those of the step that is running."""

    step: str
    rows: int
    total_rows: int
    calls: int
    failed: int
    throttled: int
    cost: float
    in_flight: int
    paused: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Options:
    """How to run: what the command line and ``ob.run`` set. Durations in seconds, money in USD.

    ``sandbox`` True starts one; a Sandbox that runs is used as it is.
    """

    limit: int | None = None
    source: str | None = None
    sink: str | None = None
    sandbox: bool | Sandbox = False
    base_url: str | None = None
    concurrency: int | None = None
    requests_per_minute: float | None = None
    max_cost: float | None = None
    deadline: float | None = None
    max_failed: float | str = 0
    retry_failed: bool = True
    refresh: bool = False
    state_dir: str | Path | None = None
    progress: Callable[[Progress], None] | None = None

    def said(self) -> dict[str, Any]:
        """What was asked for, for the ledger: plain values that differ from the defaults."""
        here = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name not in _UNSAID}
        default = {entry.name: entry.default for entry in fields(self)}
        return {name: str(value) for name, value in here.items() if value != default[name]}


@dataclass(frozen=True, slots=True)
class Setting:
    """A pipeline with its source, sink and ledger in place."""

    pipeline: Pipeline
    source: Source
    checked: Checked
    steps: tuple[Step, ...]
    sink: Sink | None
    ledger_path: Path
    sandbox: bool

    @property
    def source_columns(self) -> Sequence[str]:
        return list(self.checked.schema.names)

    def view(self) -> View:
        """The ledger for reading; an empty one when the pipeline never ran."""
        return View(self.ledger_path) if self.ledger_path.exists() else View.empty()

    def projected(self, steps: Sequence[Step], view: View) -> Iterator[Projected]:
        """The source with the columns of ``steps``, batch by batch."""
        first_row = 1
        for batch in self.source.batches(BATCH_ROWS):
            yield project(batch, steps, view, first_row=first_row)
            first_row += batch.num_rows


def resolve(pipeline: Pipeline, options: Options) -> Setting:
    """Check everything that can be checked before anything is called."""
    pipeline = overridden(pipeline, options)
    sandbox = bool(options.sandbox)
    source = _open_source(pipeline.source, options, state_dir(options))
    checked = source.check()
    origin = gateway(options, key_needed=False).origin
    steps = prepare(pipeline, checked.schema, source=source.name, origin=origin)
    _check_rows(pipeline, source, steps[0])
    sink = _open_sink(pipeline, checked.schema, sandbox)
    return Setting(pipeline, source, checked, steps, sink, ledger_path(pipeline, options), sandbox)


def overridden(pipeline: Pipeline, options: Options) -> Pipeline:
    """The pipeline with the source and sink that the options name."""
    changes: dict[str, Any] = {}
    if options.source is not None:
        changes["source"] = pipeline.source.model_copy(
            update={"path": options.source, "sql": None, "table": None}
        )
    if options.sink is not None:
        changes["sink"] = SinkSpec(path=options.sink)
    return pipeline.model_copy(update=changes)


def gateway(options: Options, *, key_needed: bool) -> Gateway:
    """Which gateway the options and the environment mean."""
    if options.sandbox:
        url = "http://127.0.0.1" if options.sandbox is True else options.sandbox.url
        return Gateway.at(url, key="sandbox", sandbox=True)
    if key_needed:
        return Gateway.from_environment(options.base_url)
    return Gateway.at(options.base_url or os.environ.get("OPPER_BASE_URL", "").strip() or PRODUCTION, key="")


def state_dir(options: Options) -> Path:
    """``--state-dir``, ``OPPER_BATCH_HOME``, or ``.opper_batch`` here."""
    return Path(options.state_dir or os.environ.get("OPPER_BATCH_HOME") or ".opper_batch")


def ledger_path(pipeline: Pipeline, options: Options) -> Path:
    """A ledger for each pipeline, and one of its own for what the sandbox answers."""
    suffix = ".sandbox.ledger" if options.sandbox else ".ledger"
    return state_dir(options) / (pipeline.name + suffix)


def _open_source(spec: SourceSpec, options: Options, spool: Path) -> Source:
    return open_source(
        path=list(spec.path) if isinstance(spec.path, tuple) else spec.path,
        sql=spec.sql,
        table=spec.table,
        types=spec.types or None,
        delimiter=spec.delimiter,
        null_text=spec.null_text,
        limit=options.limit,
        spool=spool,
    )


def _open_sink(pipeline: Pipeline, schema: pa.Schema, sandbox: bool) -> Sink | None:
    spec = pipeline.sink
    if spec is None:
        return None
    sink = open_sink(
        path=sandbox_path(spec.path) if spec.path and sandbox else spec.path,
        duckdb=spec.duckdb,
        table=sandbox_table(spec.table) if spec.table and sandbox else spec.table,
        mode=spec.mode,
        key=pipeline.source.key,
        source_columns=schema.names,
        status_columns=[f"{step.name}_status" for step in pipeline.steps],
        metadata=_metadata(pipeline, sandbox),
    )
    sink.check(output_schema(schema, pipeline))
    return sink


def output_schema(schema: pa.Schema, pipeline: Pipeline) -> pa.Schema:
    """The columns that come out: the source's, the steps', then each step's metadata."""
    fields = [*schema]
    for step in pipeline.steps:
        fields += step.columns.arrow
    for step in pipeline.steps:
        fields += [pa.field(f"{step.name}_{suffix}", kind) for suffix, kind in METADATA_TYPES.items()]
    return pa.schema(fields)


METADATA_TYPES: Mapping[str, pa.DataType] = {
    "status": pa.string(),
    "error": pa.string(),
    "model": pa.string(),
    "cost": pa.float64(),
    "input_tokens": pa.int64(),
    "output_tokens": pa.int64(),
    "latency_ms": pa.int64(),
    "attempts": pa.int64(),
    "cached": pa.bool_(),
    "trace_uuid": pa.string(),
    "key": pa.string(),
}


def _metadata(pipeline: Pipeline, sandbox: bool) -> dict[str, str]:
    written = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    synthetic = {"opper_batch.sandbox": "synthetic answers"} if sandbox else {}
    return {"opper_batch.pipeline": pipeline.name, "opper_batch.written": written, **synthetic}


def _check_rows(pipeline: Pipeline, source: Source, first: Step) -> None:
    """Before anything is called: the key identifies every row, and every row can be sent."""
    key = list(pipeline.source.key)
    for name in key:
        if name not in source.schema.names:
            raise SourceError(
                f"source.key: {source.name} has no column {name!r}; it has {source.schema.names}"
            )
    floats = any(_holds_floats(source.schema.field(name).type) for name in first.inputs)
    if not key and not floats:
        return
    seen, first_row = Seen(), 1
    for batch in source.batches(BATCH_ROWS):
        if key:
            _check_key(batch, key, seen, first_row, source)
        if floats:
            encode_inputs(batch, first.inputs, nan=first.nan, first_row=first_row)
        first_row += batch.num_rows
    seen.close()


def _check_key(batch: pa.RecordBatch, key: list[str], seen: Seen, first_row: int, source: Source) -> None:
    for name in key:
        column = batch.column(name)
        if column.null_count:
            row = first_row + column.is_null().to_pylist().index(True)
            raise SourceError(
                f"{source.name}, row {row}: key column {name!r} is null; a key is needed in every row"
            )
    digests: list[bytes | None] = [digest_of(value) for value in encode_inputs(batch, key, nan="null")]
    repeated = seen.add(digests)
    if any(repeated):
        row = first_row + repeated.index(True)
        raise SourceError(
            f"{source.name}, row {row}: the key ({', '.join(key)}) is that of an earlier row; "
            "make it unique, or name more columns in source.key"
        )


def _holds_floats(kind: pa.DataType) -> bool:
    if pa.types.is_floating(kind):
        return True
    if pa.types.is_dictionary(kind):
        return _holds_floats(kind.value_type)
    return any(_holds_floats(kind.field(index).type) for index in range(kind.num_fields))


def check_options(options: Options) -> None:
    """Refuse what makes no sense before a file is opened."""
    for name in ("limit", "concurrency", "requests_per_minute", "deadline"):
        value = getattr(options, name)
        if value is not None and value <= 0:
            raise DefinitionError(f"{name} = {value}: must be above 0")
    if options.max_cost is not None and options.max_cost < 0:
        raise DefinitionError(f"max_cost = {options.max_cost}: must not be below 0")
