from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from sandbox_asking import TICKET, Asker

Gateway = Callable[..., Asker]


def test_throttled_calls_are_told_how_long_to_wait_and_are_not_paid(gateway: Gateway) -> None:
    asker = gateway(throttled=1.0, retry_after=1.5)
    reply = asker.call()
    assert (reply.status_code, reply.headers["Retry-After"]) == (429, "2")
    assert reply.json()["error"]["code"] == "rate_limit"
    (record,) = asker.sandbox.journal
    assert (record.status, record.fault, record.paid) == (429, "throttled", False)


def test_retry_after_takes_each_of_its_forms(gateway: Gateway) -> None:
    def headers(form: str) -> httpx.Headers:
        return gateway(throttled=1.0, retry_after=1.25, retry_after_form=form).call().headers

    assert headers("fraction")["Retry-After"] == "1.250"
    assert headers("ms")["retry-after-ms"] == "1250"
    until = parsedate_to_datetime(headers("date")["Retry-After"]).timestamp() - time.time()
    assert 1.0 <= until <= 2.5
    assert "retry-after" not in headers("none")
    mixed = gateway(throttled=1.0, retry_after=1.25, retry_after_form="mixed")
    found = {
        re.sub(
            r"^\w{3}, .*",
            "date",
            reply.headers.get("Retry-After", reply.headers.get("retry-after-ms", "none")),
        )
        for reply in map(mixed.call, range(40))
    }
    assert found == {"2", "1.250", "1250", "date", "none"}


def test_a_rate_is_kept_and_the_wait_told_is_enough(gateway: Gateway) -> None:
    asker = gateway(rpm=600, burst=2, retry_after_form="fraction")
    replies = [asker.call(number) for number in range(4)]
    assert [reply.status_code for reply in replies] == [200, 200, 429, 429]
    time.sleep(float(replies[-1].headers["Retry-After"]) + 0.001)
    assert asker.call("later").status_code == 200


def test_a_refusal_by_rate_leaves_the_faults_as_they_were(gateway: Gateway) -> None:
    free = gateway(failed=0.5)
    limited = gateway(failed=0.5, rpm=60_000, burst=1, retry_after_form="fraction")
    expected = free.statuses(30)
    for number in range(30):
        reply = limited.call(number)
        while reply.status_code == 429:
            time.sleep(float(reply.headers["Retry-After"]))
            reply = limited.call(number)
        assert reply.status_code == expected[number]


def test_failures_are_of_each_kind_and_some_are_pages(gateway: Gateway) -> None:
    asker = gateway(failed=1.0)
    replies = [asker.call(number) for number in range(40)]
    assert {reply.status_code for reply in replies} == {500, 502, 503, 504}
    assert {reply.headers["content-type"].partition(";")[0] for reply in replies} == {
        "application/json",
        "text/html",
    }
    assert not any(record.paid for record in asker.sandbox.journal)


@pytest.mark.parametrize(("fault", "paid"), [("dropped", False), ("dropped_after", True)])
def test_a_dropped_call_gets_no_answer(gateway: Gateway, fault: str, paid: bool) -> None:
    asker = gateway(**{fault: 1.0}, latency=0.01)
    for number in range(3):
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            asker.call(number)
    for record in asker.sandbox.journal:
        assert (record.status, record.fault, record.paid, record.cost is not None) == (0, fault, paid, paid)
    assert asker.http.get("/health").status_code == 200


def test_malformed_replies_are_cut_pages_or_empty(gateway: Gateway) -> None:
    asker = gateway(malformed=1.0)
    kinds: Counter[str] = Counter()
    for number in range(30):
        reply = asker.call(number, output_schema=TICKET)
        assert reply.status_code == 200
        with pytest.raises(json.JSONDecodeError):
            reply.json()
        kinds["empty" if not reply.content else "page" if reply.text.startswith("<html") else "cut"] += 1
    assert set(kinds) == {"empty", "page", "cut"}
    assert all(record.paid for record in asker.sandbox.journal)


def test_a_share_of_answers_breaks_the_schema(gateway: Gateway) -> None:
    asker = gateway(schema_breaking=0.5)
    check = Draft202012Validator(TICKET)
    fits = [check.is_valid(asker.call(number, output_schema=TICKET).json()["data"]) for number in range(40)]
    assert fits == [record.fault == "" for record in asker.sandbox.journal]
    assert 5 < sum(fits) < 35


def test_bad_requests_are_refused(gateway: Gateway) -> None:
    assert gateway(bad_request=1.0).call().json()["error"]["code"] == "invalid_input"


def test_when_the_budget_is_spent_every_call_is_402(gateway: Gateway) -> None:
    cost = gateway().call(0).json()["meta"]["cost"]
    asker = gateway(budget=cost * 1.5)
    assert asker.statuses(6) == [200, 200, 402, 402, 402, 402]


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ("none", None),
        ("string", {"error": str, "docs_url": str}),
        ("object", {"error": dict}),
    ],
)
def test_a_rejected_key_is_told_in_each_form(
    gateway: Gateway, form: str, body: dict[str, Any] | None
) -> None:
    reply = gateway(reject_key=form).call()
    assert reply.status_code == 401
    if body is None:
        assert reply.content == b""
    else:
        assert {name: type(value) for name, value in reply.json().items()} == body


def test_a_forbidden_model_is_403_unless_the_chain_has_another(gateway: Gateway) -> None:
    asker = gateway(forbidden_models=("openai/gpt-4o",))
    assert asker.call(model="openai/gpt-4o").status_code == 403
    chain = ["openai/gpt-4o", {"name": "groq/qwen3-32b"}]
    assert asker.call(model=chain).json()["meta"]["models_used"] == ["groq/qwen3-32b"]


def test_a_no_may_come_after_so_many_fine_calls(gateway: Gateway) -> None:
    assert gateway(reject_key="none", fine_calls=2).statuses(4) == [200, 200, 401, 401]
    forbidding = gateway(forbidden_models=("openai/gpt-4o",), fine_calls=3)
    assert forbidding.statuses(5, model="openai/gpt-4o") == [200, 200, 200, 403, 403]


def test_a_stalled_call_is_answered_late_and_paid(gateway: Gateway) -> None:
    asker = gateway(stalled=1.0, stall_seconds=0.3)
    began = time.monotonic()
    assert asker.call().status_code == 200
    assert time.monotonic() - began >= 0.3
    (record,) = asker.sandbox.journal
    assert (record.fault, record.paid) == ("stalled", True)


def test_parts_of_meta_can_be_left_out(gateway: Gateway) -> None:
    assert set(gateway(omit=("meta",)).call().json()) == {"data"}
    meta = gateway(omit=("cost", "usage", "models_used", "trace_uuid")).call().json()["meta"]
    assert set(meta) == {
        "function_name",
        "script_cached",
        "execution_ms",
        "llm_calls",
        "tts_calls",
        "image_gen_calls",
    }


def test_data_may_come_as_json_text(gateway: Gateway) -> None:
    data = gateway(data_as_text=1.0).call(output_schema=TICKET).json()["data"]
    Draft202012Validator(TICKET).validate(json.loads(data))


def _settled(asker: Asker, operation: dict[str, str]) -> dict[str, str]:
    """The operation's status once it is not processing any more."""
    for _ in range(200):
        status: dict[str, str] = asker.http.get(operation["status_url"]).json()
        if status["status"] != "processing":
            return status
        time.sleep(0.01)
    raise AssertionError("the operation did not end")


def test_a_pending_call_ends_in_a_file_with_the_answer(gateway: Gateway) -> None:
    asker = gateway(pending=1.0, pending_seconds=0.1, operations=2)
    reply = asker.call(output_schema=TICKET)
    assert reply.status_code == 202
    assert reply.json()["data"] is None
    operations = reply.json()["meta"]["pending_operations"]
    assert len({operation["id"] for operation in operations}) == 2
    assert asker.http.get(operations[0]["status_url"]).json() == {
        "id": operations[0]["id"],
        "status": "processing",
    }
    for operation in operations:
        assert operation["type"] == "json"
        status = _settled(asker, operation)
        assert (status["status"], status["mime_type"]) == ("completed", "application/json")
        file = httpx.get(status["url"])
        Draft202012Validator(TICKET).validate(file.json())
        assert file.headers["content-type"] == "application/json"
    assert asker.sandbox.journal.calls[0].paid


def test_a_presigned_address_refuses_a_key_and_a_forged_signature(gateway: Gateway) -> None:
    asker = gateway(pending=1.0, pending_seconds=0.0)
    url = _settled(asker, asker.call().json()["meta"]["pending_operations"][0])["url"]
    leaked = asker.http.get(url)
    assert (leaked.status_code, leaked.json()["error"]["code"]) == (400, "key_leaked")
    assert httpx.get(url.partition("?")[0] + "?sig=forged").status_code == 403
    assert httpx.get(url.replace("art_", "art_x")).status_code == 404
    assert httpx.get(url).status_code == 200


def test_operations_may_fail_or_never_end(gateway: Gateway) -> None:
    failing = gateway(pending=1.0, pending_seconds=0.0, pending_failed=1.0)
    status = _settled(failing, failing.call().json()["meta"]["pending_operations"][0])
    assert status["status"] == "failed"
    assert status["error"]
    endless = gateway(pending=1.0, pending_seconds=0.0, pending_endless=1.0)
    operation = endless.call().json()["meta"]["pending_operations"][0]
    assert endless.http.get(operation["status_url"]).json()["status"] == "processing"


def test_operations_may_be_unknown_for_a_while(gateway: Gateway) -> None:
    asker = gateway(pending=1.0, pending_seconds=0.0, pending_unknown=1.0, unknown_seconds=0.3)
    operation = asker.call().json()["meta"]["pending_operations"][0]
    assert asker.http.get(operation["status_url"]).status_code == 404
    time.sleep(0.3)
    assert asker.http.get(operation["status_url"]).json()["status"] == "completed"


@pytest.mark.parametrize(
    ("kind", "mime_type"), [("video", "video/mp4"), ("image", "image/png"), ("audio", "audio/mpeg")]
)
def test_media_pend_as_what_their_schema_names(gateway: Gateway, kind: str, mime_type: str) -> None:
    asker = gateway(pending=1.0, pending_seconds=0.0)
    schema = {"type": "object", "properties": {kind: {"type": "string"}, "mime_type": {"type": "string"}}}
    (operation,) = asker.call(output_schema=schema).json()["meta"]["pending_operations"]
    assert operation["type"] == kind
    status = _settled(asker, operation)
    file = httpx.get(status["url"])
    assert (status["mime_type"], file.headers["content-type"]) == (mime_type, mime_type)
    assert b"synthetic" in file.content
