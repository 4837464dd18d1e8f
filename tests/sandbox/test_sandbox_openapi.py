"""What the sandbox replies, against the official OpenAPI document, where that is at hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from jsonschema import Draft202012Validator
from sandbox_asking import TICKET, Asker

DOCUMENT = Path(__file__).parents[3] / "shared" / "reference" / "opper-openapi-v3.yaml"
pytestmark = pytest.mark.skipif(not DOCUMENT.exists(), reason=f"the OpenAPI document is not at {DOCUMENT}")

Gateway = Callable[..., Asker]


@cache
def _document() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load(DOCUMENT.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return loaded


def _check(path: str, reply: httpx.Response, status: int = 200) -> Any:
    """The reply's body, having the status and the shape that the document declares for this path."""
    assert reply.status_code == status, reply.text
    operation = _document()["paths"][path][reply.request.method.lower()]
    declared = operation["responses"].get(str(status)) or operation["responses"]["400"]
    schema = {**declared["content"]["application/json"]["schema"], "components": _document()["components"]}
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(reply.json())
    return reply.json()


def _check_request(name: str, body: object) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": _document()["components"]}
    Draft202012Validator(schema).validate(body)


def test_replies_to_calls_are_as_documented(gateway: Gateway) -> None:
    asker = gateway()
    _check_request("CallRequest", {"name": "triage", "input": 1, "output_schema": TICKET})
    _check("/v3/call", asker.call(output_schema=TICKET))
    _check("/v3/call", asker.call())
    for omitted in ("meta", "cost", "usage", "models_used", "trace_uuid"):
        _check("/v3/call", gateway(omit=(omitted,)).call())
    _check("/v3/functions/{name}/call", asker.http.post("/v3/functions/triage/call", json={"input": 1}))


def test_pending_replies_and_statuses_are_as_documented(gateway: Gateway) -> None:
    for script, settled in (
        ({}, "completed"),
        ({"pending_failed": 1.0}, "failed"),
        ({"pending_endless": 1.0}, "processing"),
    ):
        asker = gateway(pending=1.0, pending_seconds=0.0, operations=2, **script)
        pending = _check("/v3/call", asker.call(), 202)
        for operation in pending["meta"]["pending_operations"]:
            reply = asker.http.get(operation["status_url"])
            status = _check("/v3/artifacts/{id}/status", reply)
            assert status["status"] == settled
            assert ("url" in status, "error" in status) == (settled == "completed", settled == "failed")


def test_errors_are_as_documented(gateway: Gateway) -> None:
    _check("/v3/call", gateway().http.post("/v3/call", json={}), 400)
    _check("/v3/call", gateway(bad_request=1.0).call(), 400)
    _check("/v3/call", gateway(throttled=1.0).call(), 429)
    _check("/v3/call", gateway(budget=0.0).call(), 402)
    _check("/v3/call", gateway(forbidden_models=("openai/gpt-4o-mini",)).call(), 403)
    failing = gateway(failed=1.0)
    failed = [reply for number in range(20) if (reply := failing.call(number)).status_code == 500]
    assert failed
    for reply in failed:
        _check("/v3/call", reply, 500)
    assert "content" not in _document()["paths"]["/v3/call"]["post"]["responses"]["401"]
    assert gateway(reject_key="none").call().content == b""


def test_models_functions_and_the_system_are_as_documented(gateway: Gateway) -> None:
    asker = gateway()
    _check("/v3/models", asker.http.get("/v3/models", params={"limit": 500}))
    _check("/v3/models", asker.http.get("/v3/models", params={"limit": 0}), 400)
    _check("/health", asker.http.get("/health"))
    _check("/v3/openapi.json", asker.http.get("/v3/openapi.json"))
    asker.call(output_schema=TICKET)
    _check("/v3/functions", asker.http.get("/v3/functions"))
    _check("/v3/functions/{name}", asker.http.get("/v3/functions/triage"))
    _check("/v3/functions/{name}", asker.http.get("/v3/functions/none"), 404)
    _check("/v3/functions/{name}/revisions", asker.http.get("/v3/functions/triage/revisions"))
    assert asker.http.delete("/v3/functions/triage").status_code == 204


def test_spans_and_traces_are_as_documented(gateway: Gateway) -> None:
    asker = gateway()
    fields = {
        "name": "batch",
        "input": "{}",
        "tags": {"a": "b"},
        "start_time": "2026-01-01T00:00:00Z",
        "meta": {},
    }
    span = _check("/v3/spans", asker.http.post("/v3/spans", json=fields))["data"]
    asker.call(parent_span_id=span["id"])
    assert asker.http.patch(f"/v3/spans/{span['id']}", json={"error": "it broke"}).status_code == 200
    assert _check("/v3/spans/{id}", asker.http.get(f"/v3/spans/{span['id']}"))["data"]["status"] == "error"
    trace = _check("/v3/traces/{id}", asker.http.get(f"/v3/traces/{span['trace_id']}"))["data"]
    assert (trace["span_count"], trace["status"]) == (2, "error")
    listed = asker.http.get("/v3/traces", params={"limit": 1}).json()
    schema = {"$ref": "#/components/schemas/ListTracesItem", "components": _document()["components"]}
    Draft202012Validator(schema).validate(listed["data"][0])
    assert listed["meta"] == {"total_count": 1}
    _check("/v3/spans", asker.http.post("/v3/spans", json={}), 400)
