"""A run as one trace at the gateway: every call under a span of it, and no run waits or fails for it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet
import pytest
from program import KEY
from raw_gateway import Asked, Said, raw_gateway

import opper_batch as ob
from opper_batch.client import Gateway, Transport, network
from opper_batch.client.trace import Trace
from opper_batch.protocol import END
from opper_batch.sandbox import Sandbox


def pipeline(rows: int = 12, **step: Any) -> ob.Pipeline:
    table = pa.table({"text": [f"matter {number}" for number in range(rows)]})
    steps = [{"name": "tag", "columns": {"tag": ["a", "b"]}, **step}]
    return ob.Pipeline(name="kept", source={"table": table}, steps=steps, sink={"path": "out.parquet"})


def got(sandbox: Sandbox, path: str) -> Any:
    answer = httpx.get(f"{sandbox.url}{path}", headers={"Authorization": f"Bearer {KEY}"})
    return answer.raise_for_status().json()["data"]


def used(trace: Trace, gateway: Gateway, use: Callable[[Transport], Awaitable[None]]) -> None:
    async def run() -> None:
        transport = network(direct=True)
        try:
            await trace.begin(transport)
            await use(transport)
        finally:
            await transport.close()

    asyncio.run(run())


def test_the_calls_of_a_run_are_one_trace_closed_with_its_numbers(gateway: Callable[..., Sandbox]) -> None:
    sandbox = gateway()
    summary = ob.run(pipeline()).summary
    span = got(sandbox, f"/v3/spans/{summary.span_id}")
    assert json.loads(span["input"]) == {"pipeline": "kept", "run": 1, "rows": 12}
    output = json.loads(span["output"])
    assert (output["calls"], output["ok"], output["cost"]) == (12, 12, summary.as_json()["cost"])
    assert not output.keys() & {"failures", "stopped", "checks", "output"}, "no text leaves with the numbers"
    assert span["status"] == "ok"
    assert span["end_time"] >= span["start_time"]
    trace = got(sandbox, f"/v3/traces/{summary.trace_id}")
    assert [each.get("parent_id") for each in trace["spans"]] == [None] + 12 * [summary.span_id]
    metadata = pa.parquet.read_metadata("out.parquet").metadata
    assert metadata[b"opper_batch.span_id"] == (summary.span_id or "").encode()
    assert metadata[b"opper_batch.run"] == b"1"


def test_a_run_that_asks_nothing_or_was_told_not_to_has_no_trace(gateway: Callable[..., Sandbox]) -> None:
    sandbox = gateway()
    assert ob.run(pipeline(), trace=False).summary.span_id is None
    asked = len(sandbox.journal)
    run = ob.run(pipeline())
    assert (run.summary.span_id, run.counts.cached, len(sandbox.journal)) == (None, 12, asked)


def test_where_a_call_is_traced_is_no_part_of_what_is_asked(gateway: Callable[..., Sandbox]) -> None:
    sandbox = gateway()
    ob.run(pipeline(4))
    ob.run(pipeline(8))
    assert len(sandbox.journal.calls) == 8


def test_a_span_that_the_pipeline_names_goes_before(gateway: Callable[..., Sandbox]) -> None:
    sandbox = gateway()
    ours = got_new_span(sandbox)
    summary = ob.run(pipeline(3, request={"parent_span_id": ours["id"]})).summary
    parents = [span.get("parent_id") for span in got(sandbox, f"/v3/traces/{ours['trace_id']}")["spans"]]
    assert parents == [None] + 3 * [ours["id"]]
    assert summary.exit == 0


def got_new_span(sandbox: Sandbox) -> Any:
    headers = {"Authorization": f"Bearer {KEY}"}
    return httpx.post(f"{sandbox.url}/v3/spans", json={"name": "ours"}, headers=headers).json()["data"]


def test_after_so_many_calls_the_next_go_under_another_span_of_the_same_trace(here: Path) -> None:
    with Sandbox() as sandbox:
        at = Gateway.at(sandbox.url, key=KEY)
        trace = Trace(at, name="batch:x", about={}, calls=10)
        ends: list[bytes] = []

        async def leave(transport: Transport) -> None:
            for _ in range(35):
                ends.append(trace.end(transport))
                if trace._asking:
                    await trace._asking

        used(trace, at, leave)
        trace.close({"calls": 35}, error=ob.RunStopped("x"))
        spans = got(sandbox, f"/v3/traces/{trace.trace_id}")["spans"]
    assert [ends.count(end) for end in dict.fromkeys(ends)] == [11, 10, 10, 4]
    assert [span.get("parent_id") for span in spans] == [None] + 3 * [trace.span_id]
    assert [span["status"] for span in spans] == ["error", "ok", "ok", "ok"]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"data":7}', b'{"data":{"id":"a/../b","trace_id":"t"}}', b'{"data":{"id":"a"}}']
)
def test_an_answer_that_names_no_span_means_none(here: Path, body: bytes) -> None:
    assert told_by(lambda asked: Said(200, body)) == (END, None)


def test_a_gateway_that_says_nothing_of_spans_is_not_waited_for(here: Path) -> None:
    def silent(asked: Asked) -> Said:
        time.sleep(1)
        return Said(200, b'{"data":{"id":"a","trace_id":"t"}}')

    assert told_by(silent) == (END, None)


def told_by(answer: Callable[[Asked], Said]) -> tuple[bytes, str | None]:
    ends: list[bytes] = []

    async def leave(transport: Transport) -> None:
        ends.append(trace.end(transport))

    with raw_gateway(answer, spans=True) as raw:
        at = Gateway.at(raw.url, key=KEY)
        trace = Trace(at, name="batch:x", about={}, seconds=0.1)
        used(trace, at, leave)
        trace.close({}, error=None)
    return ends[0], trace.span_id
