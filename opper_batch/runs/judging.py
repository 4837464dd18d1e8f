"""Publishing with checks: the result is staged beside the ledger and judged, and what does not hold is put
beside the output instead.

batches -> staged result -> verdicts -> the sink, and its .rejected twin goes; or the twin alone
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from opper_batch.checks import judge
from opper_batch.errors import OpperBatchError
from opper_batch.pipeline import Verdict
from opper_batch.runs.places import sink_of
from opper_batch.runs.setting import Setting
from opper_batch.sinks import Sink, report_place
from opper_batch.sinks.arrow import ArrowFormat
from opper_batch.sinks.files import written
from opper_batch.sinks.staging import machine_errors, staged


def publish_judged(
    setting: Setting, schema: pa.Schema, batches: Iterator[pa.RecordBatch]
) -> tuple[tuple[Verdict, ...], str | None]:
    """The verdicts, and where the result went instead when one of its checks does not hold."""
    place = setting.ledger_path.with_name(setting.ledger_path.name + ".result")
    sink, rejected = setting.sink, None
    with staged(place) as path:
        with written(ArrowFormat(), path, schema, str(place)) as writer:
            for batch in batches:
                writer.write(batch)
        with machine_errors(str(place)):
            verdicts = judge(setting.pipeline.checks, path, folder=place.parent)
        twin = sink_of(setting.pipeline, setting.checked.schema, sandbox=setting.sandbox, rejected=True)
        holds = all(verdict.ok for verdict in verdicts)
        if not holds:
            sink, rejected = twin, twin.target if twin else None
        if sink is not None:
            with sink.open(schema) as out:
                for batch in _batches(path, schema):
                    out.write(batch)
    if holds and twin is not None:
        with suppress(OSError, OpperBatchError):  # the result is out; what cannot be removed is only stale
            _remove(twin)
    return verdicts, rejected


def _remove(twin: Sink) -> None:
    """What an earlier run held back, and what was told of it: nobody shall take it for the latest."""
    for ending in (".json", ".html"):
        Path(f"{report_place(twin.artifacts)}{ending}").unlink(missing_ok=True)
    twin.remove()


def _batches(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The staged rows with the types they had: a file holds dictionaries as their values."""
    with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
        for index in range(reader.num_record_batches):
            batch = reader.get_batch(index)
            yield from pa.Table.from_batches([batch]).cast(schema).to_batches()
