"""Where things are: the gateway, the ledger, the sink. The sandbox's are never those of a real run."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pyarrow as pa

from opper_batch.client.gateway import PRODUCTION, SANDBOX_ORIGIN, Gateway
from opper_batch.ledger import View
from opper_batch.pipeline import METADATA, Pipeline
from opper_batch.runs.options import Options
from opper_batch.runs.state import latest_run
from opper_batch.sinks import (
    Sink,
    open_sink,
    rejected_path,
    rejected_table,
    sandbox_path,
    sandbox_table,
)

_METADATA_TYPES = (
    pa.string(),  # status
    pa.string(),  # error
    pa.string(),  # model
    pa.float64(),  # cost
    pa.int64(),  # input_tokens
    pa.int64(),  # output_tokens
    pa.int64(),  # latency_ms
    pa.int64(),  # attempts
    pa.bool_(),  # cached
    pa.string(),  # trace_uuid
    pa.string(),  # key
)
METADATA_TYPES = dict(zip(METADATA, _METADATA_TYPES, strict=True))


def callable_gateway(options: Options) -> Gateway:
    """The gateway to call; DefinitionError without a key. With a sandbox it is the one that runs."""
    if options.sandbox and options.sandbox is not True:
        return Gateway.at(options.sandbox.url, key="sandbox", sandbox=True)
    return Gateway.from_environment(options.base_url)


def origin(options: Options) -> str:
    """The gateway that a run with these options would ask; no key is needed to know."""
    if options.sandbox:
        return SANDBOX_ORIGIN
    url = options.base_url or os.environ.get("OPPER_BASE_URL", "").strip() or PRODUCTION
    return Gateway.at(url, key="").origin


def latest_origin(path: Path, options: Options) -> str:
    """The gateway whose answers are looked at: the one named, or that of the latest run."""
    if options.base_url is None and path.exists():
        with View(path) as view:
            if run := latest_run(view.runs()):
                return run.origin
    return origin(options)


def output_schema(schema: pa.Schema, pipeline: Pipeline) -> pa.Schema:
    """The columns that come out: the source's, the steps', then each step's metadata."""
    fields = [*schema]
    for step in pipeline.steps:
        fields += step.columns.arrow
    for step in pipeline.steps:
        fields += [pa.field(f"{step.name}_{suffix}", kind) for suffix, kind in METADATA_TYPES.items()]
    return pa.schema(fields)


def sink_of(pipeline: Pipeline, schema: pa.Schema, *, sandbox: bool, rejected: bool = False) -> Sink | None:
    """The pipeline's sink for a source of this schema, untouched; None when it has none.

    ``rejected`` is the place beside it for a result that its checks hold back.
    """
    spec = pipeline.sink
    if spec is None:
        return None
    path = sandbox_path(spec.path) if spec.path and sandbox else spec.path
    table = sandbox_table(spec.table) if spec.table and sandbox else spec.table
    return open_sink(
        path=rejected_path(path) if path and rejected else path,
        duckdb=spec.duckdb,
        table=rejected_table(table) if table and rejected else table,
        mode="replace" if rejected else spec.mode,
        key=pipeline.source.key,
        source_columns=schema.names,
        status_columns=[f"{step.name}_status" for step in pipeline.steps],
        metadata=_file_metadata(pipeline, sandbox),
    )


def _file_metadata(pipeline: Pipeline, sandbox: bool) -> dict[str, str]:
    written = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    synthetic = {"opper_batch.sandbox": "synthetic answers"} if sandbox else {}
    return {"opper_batch.pipeline": pipeline.name, "opper_batch.written": written, **synthetic}
