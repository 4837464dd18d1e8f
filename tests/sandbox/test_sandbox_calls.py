from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from sandbox_asking import TICKET, Asker

from opper_batch.sandbox.catalog import cost_of

Gateway = Callable[..., Asker]


def test_the_same_requests_get_the_same_bytes_from_two_sandboxes(gateway: Gateway) -> None:
    asked = [
        {"value": number % 7, "output_schema": TICKET, "instructions": str(number % 3)}
        for number in range(40)
    ]
    script = {"failed": 0.2, "malformed": 0.2, "throttled": 0.1, "schema_breaking": 0.1, "data_as_text": 0.5}
    one, other = gateway(**script), gateway(**script)
    first = [one.call(**fields) for fields in asked]
    second = [other.call(**fields) for fields in asked]
    assert [(reply.status_code, reply.content) for reply in first] == [
        (reply.status_code, reply.content) for reply in second
    ]
    assert len({reply.status_code for reply in first}) > 2


def test_every_part_of_the_question_changes_the_answer(gateway: Gateway) -> None:
    asker = gateway()
    asked: list[dict[str, Any]] = [
        {},
        {"value": "another"},
        {"name": "other"},
        {"instructions": "other"},
        {"model": "openai/gpt-4o"},
    ]
    assert len({asker.call(**fields).json()["data"] for fields in asked}) == len(asked)
    assert asker.call(parent_span_id="s", ignored=1).json()["data"] == asker.call().json()["data"]


def test_answers_fit_the_schema_and_cost_what_their_tokens_cost(gateway: Gateway) -> None:
    asker = gateway()
    check = Draft202012Validator(TICKET)
    spent = 0.0
    for number in range(30):
        value, model = {"number": number, "text": "åäö" * number}, "anthropic/claude-sonnet-4.6"
        reply = asker.call(
            value, output_schema=TICKET, instructions="Triage.", model=[{"name": model}, "x/y"]
        )
        data, meta = reply.json()["data"], reply.json()["meta"]
        check.validate(data)
        assert meta["models_used"] == [model]
        compact = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        usage = meta["usage"]
        assert usage["input_tokens"] == pytest.approx((len(compact.encode()) + len("Triage.")) / 4, abs=1)
        assert usage["output_tokens"] == pytest.approx(
            len(json.dumps(data, separators=(",", ":"))) / 4, abs=1
        )
        assert meta["cost"] == cost_of(model, usage["input_tokens"], usage["output_tokens"])
        spent += meta["cost"]
    assert asker.sandbox.journal.spent == pytest.approx(spent)
    assert sum(record.cost or 0 for record in asker.sandbox.journal) == pytest.approx(spent)


def test_everything_says_that_it_is_synthetic(gateway: Gateway) -> None:
    asker = gateway()
    replies = [
        asker.call(),
        asker.http.get("/health"),
        asker.http.get("/nowhere"),
        asker.http.get("/v3/models"),
    ]
    replies.append(httpx.post(asker.sandbox.url + "/v3/call", json={}))
    assert [reply.headers["X-Opper-Sandbox"] for reply in replies] == ["synthetic"] * 5
    assert "synthetic" in repr(asker.sandbox)
    assert "synthetic" in asker.http.get("/v3/openapi.json").json()["info"]["description"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not valid JSON"),
        (b'{"name":"f","input":NaN}', "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b'{"input":1}', "'name' is required"),
        (b'{"name":"f"}', "'input' is required"),
        (b'{"name":1,"input":1}', "'name' must be a string"),
        (b'{"name":"f","input":1,"output_schema":[]}', "'output_schema' must be a JSON Schema object"),
        (b'{"name":"f","input":1,"output_schema":{"type":"cat"}}', "unknown type 'cat'"),
        (b'{"name":"f","input":1,"output_schema":{"type":"object","properties":[]}}', "no JSON Schema"),
        (b'{"name":"f","input":1,"output_schema":{"type":"string","pattern":[]}}', "no JSON Schema"),
        (b'{"name":"f","input":1,"model":[]}', "'model' must be"),
        (b'{"name":"f","input":1,"model":[{"options":{}}]}', "'model' must be"),
    ],
)
def test_a_body_that_makes_no_sense_is_a_400_that_says_why(gateway: Gateway, body: bytes, said: str) -> None:
    reply = gateway().http.post("/v3/call", content=body)
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "invalid_input"
    assert said in reply.json()["error"]["message"]


def test_odd_inputs_are_answered(gateway: Gateway) -> None:
    asker = gateway()
    for value in (None, "", [], {}, 0, "\ud800", "x" * 300_000):
        body = json.dumps({"name": "f", "input": value}).encode()
        assert asker.http.post("/v3/call", content=body).status_code == 200


def test_a_body_in_chunks_is_read(gateway: Gateway) -> None:
    parts = iter([b'{"name":"f",', b'"input":1}'])
    assert gateway().http.post("/v3/call", content=parts).status_code == 200


def test_unknown_paths_are_404_in_the_shape_of_their_version(gateway: Gateway) -> None:
    http = gateway().http
    assert http.get("/v3/nowhere").json()["error"]["code"] == "not_found"
    assert http.get("/v2/knowledge").json()["type"] == "NotFoundError"
    assert http.get("/v3/call").status_code == 405
    assert http.get("/v3/artifacts/art_none/status").status_code == 404
    assert http.get("/v3/functions/none/revisions").status_code == 404
    assert http.get("/v3/traces/none").status_code == 404


def test_a_key_is_asked_for_but_where_the_documents_ask_for_none(gateway: Gateway) -> None:
    url = gateway().sandbox.url
    for path in ("/health", "/v3/models", "/v3/openapi.json", "/v3/openapi.yaml"):
        assert httpx.get(url + path).status_code == 200
    for path in ("/v3/functions", "/v3/traces", "/v3/artifacts/a/status", "/v3/spans/s"):
        assert httpx.get(url + path).status_code == 401
    for authorization in ("", "Basic abc", "Bearer"):
        refused = httpx.post(url + "/v3/call", json={}, headers={"Authorization": authorization})
        assert refused.json()["error"].startswith("No API key was sent.")


def test_latency_is_kept_however_many_wait(gateway: Gateway) -> None:
    asker = gateway(latency=0.3)
    with ThreadPoolExecutor(60) as pool:
        replies = list(pool.map(asker.call, range(60)))
    assert {reply.json()["meta"]["execution_ms"] for reply in replies} == {300}
    assert asker.sandbox.journal.high_water == 60
    # Clocks and timers differ by a few milliseconds.
    assert all(0.29 <= record.answered - record.arrived < 2 for record in asker.sandbox.journal)


def test_latencies_are_drawn_from_a_distribution(gateway: Gateway) -> None:
    asker = gateway(latency=0.01, latency_sigma=0.7)
    assert len({asker.call(number).json()["meta"]["execution_ms"] for number in range(20)}) > 5


def test_the_description_lists_every_path_served(gateway: Gateway) -> None:
    paths = gateway().http.get("/v3/openapi.json").json()["paths"]
    assert "post" in paths["/v3/call"]
    assert set(paths["/v3/spans/{id}"]) == {"get", "patch", "delete"}
