"""v3 without I/O: every shape of answer that is known, and those that a hostile one might have."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opper_batch.errors import (
    BadReply,
    CallError,
    OperationFailed,
)
from opper_batch.protocol import (
    Template,
    canonical,
    data_of,
    decode,
    digest_of,
)
from opper_batch.records import Usage

FIELDS: dict[str, Any] = {
    "name": "triage",
    "instructions": "Triage the ticket.",
    "model": ["a/b", {"name": "c/d", "options": {"temperature": 0}}],
    "guard": {"input": [{"type": "pii"}]},
    "route": {"prefer": "cheap"},
    "input_schema": {"type": "object"},
    "output_schema": {"type": "object", "properties": {"b": {}, "a": {}}},
}


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


# What is sent.


def test_the_body_is_the_fields_and_the_input_as_json() -> None:
    sent = Template(FIELDS, origin="o").body('{"text":"Grüße \\" \\n","n":1.50}'.encode())
    assert json.loads(sent) == {**FIELDS, "input": {"text": 'Grüße " \n', "n": 1.5}}
    assert b'"n":1.50' in sent


def test_the_key_is_blake2b_128_over_origin_request_and_input() -> None:
    template = Template({"name": "f"}, origin="https://g")
    expected = hashlib.blake2b(b'["https://g",{"name":"f"}]{"x":1}', digest_size=16).digest()
    assert template.key(b'{"x":1}') == expected
    assert template.key(b'{"x":1}') == expected
    assert digest_of(b"x") == hashlib.blake2b(b"x", digest_size=16).digest()


@pytest.mark.parametrize("name", FIELDS)
def test_the_key_depends_on_every_field(name: str) -> None:
    template = Template(FIELDS, origin="o")
    changed = Template({**FIELDS, name: "another"}, origin="o")
    without = Template({key: value for key, value in FIELDS.items() if key != name}, origin="o")
    assert len({one.key(b"{}") for one in (template, changed, without)}) == 3
    assert len({one.digest for one in (template, changed, without)}) == 3


def test_the_key_depends_on_the_gateway_and_on_the_input() -> None:
    here, there = Template(FIELDS, origin="https://a"), Template(FIELDS, origin="https://b")
    assert len({here.key(b"{}"), there.key(b"{}"), here.key(b'{"a":1}'), here.digest, there.digest}) == 5


def test_the_order_of_a_schema_is_part_of_what_is_asked() -> None:
    turned = {**FIELDS, "output_schema": {"type": "object", "properties": {"a": {}, "b": {}}}}
    assert Template(turned, origin="o").digest != Template(FIELDS, origin="o").digest


def test_where_a_call_is_traced_is_sent_and_not_part_of_the_key() -> None:
    plain, traced = Template(FIELDS, origin="o"), Template({**FIELDS, "parent_span_id": "s"}, origin="o")
    assert json.loads(traced.body(b"{}"))["parent_span_id"] == "s"
    assert traced.key(b"{}") == plain.key(b"{}")
    assert traced.digest == plain.digest


def test_a_repair_says_what_was_wrong_beside_the_instructions_and_the_same_input() -> None:
    template = Template(FIELDS, origin="o")
    row = b'{"text":"4111-1111 secret"}'
    repair = json.loads(template.body(row, problems=[("topics[2].name", "is missing"), ("due", "is late")]))
    plain = json.loads(template.body(row))
    assert repair["instructions"].startswith(FIELDS["instructions"] + "\n\n")
    assert "topics[2].name: is missing; due: is late" in repair["instructions"]
    assert "4111" not in repair["instructions"]
    assert {**repair, "instructions": ""} == {**plain, "instructions": ""}


def test_a_repair_needs_no_instructions_to_begin_with() -> None:
    repair = json.loads(Template({"name": "f"}, origin="o").body(b"{}", problems=[("a", "is missing")]))
    assert repair["instructions"].startswith("Your previous answer")


def test_what_json_cannot_hold_is_never_sent() -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON"):
            canonical({"temperature": value})


# Answers.


def test_a_full_reply_is_read_whole() -> None:
    raw = body(
        data={"brand": "ACME"},
        meta={
            "function_name": "f",
            "script_cached": True,
            "execution_ms": 812,
            "llm_calls": 2,
            "cost": 0.000143,
            "usage": {"input_tokens": 311, "output_tokens": 41, "reasoning_tokens": 7},
            "models_used": ["openai/gpt-4o-mini", "anthropic/claude-sonnet-4.6"],
            "trace_uuid": "6f3c",
        },
    )
    reply = decode(200, {}, raw)
    assert reply.raw == raw
    assert reply.data == {"brand": "ACME"}
    assert reply.usage == Usage(0.000143, 311, 41)
    assert reply.model == "anthropic/claude-sonnet-4.6", "the last one is who answered"
    assert reply.trace == "6f3c"
    assert reply.operations == ()


@pytest.mark.parametrize(
    "meta",
    [
        None,
        5,
        "x",
        [],
        {},
        {"cost": None, "usage": None, "models_used": None, "trace_uuid": None},
        {"cost": [], "usage": [], "models_used": {}, "trace_uuid": 5},
        {"usage": {}, "models_used": [], "trace_uuid": ""},
        {"usage": {"input_tokens": "7", "output_tokens": None}, "models_used": [None, 5]},
        {"status": "completed", "message": None, "pending_operations": None},
    ],
)
def test_meta_or_any_part_of_it_may_be_missing_or_of_another_type(meta: Any) -> None:
    reply = decode(200, {}, body(data={"a": 1}, meta=meta))
    assert (reply.data, reply.usage, reply.model, reply.trace) == ({"a": 1}, Usage(), None, None)
    assert decode(200, {}, body(data={"a": 1})).usage == Usage()


@pytest.mark.parametrize(
    ("cost", "known"),
    [
        ("0", 0.0),
        ("0.25", 0.25),
        ("3", 3.0),
        ("-0.01", None),
        ("true", None),
        ('"0.25"', None),
        ("1e999", None),
        ("-1e999", None),
        ("1" + "0" * 4000, None),
        ("{}", None),
        ("null", None),
    ],
)
def test_a_cost_that_cannot_be_one_is_unknown_and_not_zero(cost: str, known: float | None) -> None:
    raw = f'{{"data":1,"meta":{{"cost":{cost},"usage":{{"input_tokens":{cost}}}}}}}'.encode()
    usage = decode(200, {}, raw).usage
    assert usage.cost == known
    assert usage.input_tokens == (None if known is None else int(known))


@pytest.mark.parametrize("data", ["text", "", '{"a": 1}', None, 5, [1], False, {"a": {"b": "\u0000é😀"}}])
def test_data_may_be_anything_that_json_holds(data: Any) -> None:
    assert decode(200, {}, body(data=data)).data == data


@pytest.mark.parametrize("status", [200, 201, 202, 203, 204, 206, 299])
@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "empty"),
        (b" \r\n", "empty"),
        (b"<!doctype html><p>502", "HTML"),
        (b"  <html>", "HTML"),
        (b'{"data": {"a": 1', "not JSON"),
        (b"data", "not JSON"),
        (b'{"data": NaN}', "not JSON"),
        (b'{"data": -Infinity}', "not JSON"),
        (b'{"data": "\xff"}', "not JSON"),
        (b'{"data": "\\ud800"}', "not JSON"),
        (b'{"data": "\x00"}', "not JSON"),
        (b'{"data": ' + b"[" * 5000 + b"]" * 5000 + b"}", "not JSON"),
        (b'{"data": ' + b"1" * 10_000 + b"}", "not JSON"),
        (b"[1]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"meta": {}}', "data|pending"),
        (b'{"error": "but with a good status"}', "data|pending"),
    ],
)
def test_a_good_status_without_a_reply_is_a_bad_reply_that_may_have_been_paid(
    status: int, raw: bytes, said: str
) -> None:
    with pytest.raises(BadReply, match=said) as caught:
        decode(status, {}, raw)
    assert caught.value.retryable
    assert caught.value.paid


@settings(max_examples=300)
@given(st.integers(100, 599), st.binary(max_size=200))
def test_no_body_whatever_is_read_as_more_than_it_is(status: int, raw: bytes) -> None:
    try:
        said = decode(status, {}, raw).raw.decode()
    except CallError as error:
        said = error.message
    said.encode()
    assert len(said) < 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
PARTS = ("cost", "usage", "models_used", "trace_uuid", "status", "pending_operations")
META = st.fixed_dictionaries({}, optional=dict.fromkeys(PARTS, JSON))


@settings(max_examples=300)
@given(st.sampled_from([200, 202]), st.fixed_dictionaries({}, optional={"data": JSON, "meta": META | JSON}))
def test_no_meta_whatever_breaks_the_reading(status: int, fields: dict[str, Any]) -> None:
    try:
        reply = decode(status, {}, body(**fields))
    except (BadReply, OperationFailed):
        return
    assert reply.usage.cost is None or 0 <= reply.usage.cost < 2**53
    assert reply.model is None or isinstance(reply.model, str)


def test_what_the_gateway_calls_model_and_trace_is_one_short_printable_line() -> None:
    meta = {"models_used": ["m/\x1b[31mred\n" + "x" * 500], "trace_uuid": "t\r\nfake\u202e"}
    reply = decode(200, {}, json.dumps({"data": 1, "meta": meta}).encode())
    assert reply.model is not None
    assert reply.model.startswith("m/\\x1b[31mred x")
    assert len(reply.model) == 200
    assert reply.trace == "t\\r fake\\u202e"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
_META = _JSON | st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(["pending", "done"]) | _JSON,
        "pending_operations": st.lists(st.fixed_dictionaries({"id": st.sampled_from(["a", "/"]) | _JSON})),
    },
)
_BODIES = st.binary(max_size=8) | st.fixed_dictionaries(
    {}, optional={"data": _JSON, "meta": _META, "error": _JSON}
).map(lambda fields: json.dumps(fields).encode())


@settings(max_examples=300)
@given(_BODIES)
def test_the_data_alone_is_what_the_whole_reply_has_and_is_refused_for_the_same_reason(raw: bytes) -> None:
    def said(read: Any) -> Any:
        try:
            return read()
        except CallError as error:
            return type(error), error.message

    assert said(lambda: data_of(raw)) == said(lambda: decode(200, {}, raw).data)
