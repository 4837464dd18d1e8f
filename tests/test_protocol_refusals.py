"""Refusals in every shape that is known, and every spelling of how long to wait."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opper_batch.errors import (
    AccessRefused,
    CallError,
    CallRefused,
    ServerFault,
    Throttled,
)
from opper_batch.protocol import (
    decode,
    error_text,
    retry_after,
)


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [(status, AccessRefused, False) for status in (401, 402, 403)]
    + [(status, CallRefused, False) for status in (400, 404, 405, 409, 410, 413, 415, 422, 451)]
    + [(status, CallRefused, False) for status in (301, 302, 303, 304, 307, 308)]
    + [(status, ServerFault, True) for status in (408, 425, 500, 501, 502, 503, 504, 520, 529, 599)]
    + [(429, Throttled, True)],
)
def test_every_status_is_the_error_that_it_means(status: int, kind: type[CallError], retryable: bool) -> None:
    with pytest.raises(CallError) as caught:
        decode(status, {}, body(error={"code": "c", "message": "because"}))
    assert type(caught.value) is kind
    assert caught.value.retryable is retryable
    assert caught.value.message.startswith(str(status))


def test_only_what_may_have_been_done_may_have_been_paid() -> None:
    paid = {}
    for status in (429, 400, 404, 422, 500, 504):
        with pytest.raises(CallError) as caught:
            decode(status, {}, b"")
        paid[status] = caught.value.paid
    assert paid == {429: False, 400: False, 404: False, 422: False, 500: True, 504: True}


def test_the_status_that_stops_a_run_is_kept() -> None:
    with pytest.raises(AccessRefused) as caught:
        decode(402, {}, b"")
    assert caught.value.status == 402


def test_a_redirect_says_what_to_do_and_not_where_it_points() -> None:
    with pytest.raises(CallRefused, match="base URL") as caught:
        decode(307, {"location": "https://evil.example"}, b"")
    assert "evil" not in caught.value.message


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (body(error={"code": "c", "message": "field is required", "details": {}}), "field is required"),
        (body(error="invalid bearer token. Look here"), "invalid bearer token. Look here"),
        (body(type="NotFoundError", message="no such thing", detail=None), "no such thing"),
        (body(detail="not there"), "not there"),
        (body(detail=[{"loc": ["a"], "msg": "b"}]), '[{"loc": ["a"], "msg": "b"}]'),
        (body(type="error", error={"type": "x", "message": "inner"}), "inner"),
        (body(errors=[{"type": "HTTPException", "message": "all wrong"}]), "all wrong"),
        (body(errors=[{"type": "HTTPException"}]), "HTTPException"),
        (body(error={"code": "only_a_code"}), '{"code": "only_a_code"}'),
        (body(error={"message": {"nested": 1}}), '{"nested": 1}'),
        (body(error={"message": "<title> is required"}), "<title> is required"),
        (body(error="", message="", detail="last"), "last"),
        (body(error=None), '{"error": null}'),
        (body(errors=[]), '{"errors": []}'),
        (body(error=True), "true"),
        (b"", "Bad Gateway"),
        (b" \n ", "Bad Gateway"),
        (b"<html><body>502</body></html>", "Bad Gateway (a page of HTML)"),
        (b"\n<!DOCTYPE html>", "Bad Gateway (a page of HTML)"),
        (b"upstream timed out", "upstream timed out"),
        (b'{"cut": ', '{"cut":'),
        (b"[1, 2]", "[1, 2]"),
        (b"\xff\xfe", "��"),
        (b"a\x1b[31mb\nc", "a\\x1b[31mb c"),
        (body(error="a\x1b[2Jb\u202e"), "a\\x1b[2Jb\\u202e"),
        (b'{"error": "\\ud800"}', '{"error": "\\ud800"}'),
        (b'{"error": ' + b"1" * 4000 + b"}", "1" * 299 + "…"),
        (b'{"error": NaN}', "NaN"),
        (b"[" * 100_000, "[" * 299 + "…"),
        (body(error="x" * 5000), "x" * 299 + "…"),
    ],
)
def test_what_a_refusal_says_is_found_in_every_shape_of_it(raw: bytes, said: str) -> None:
    assert error_text(502, raw) == said


def test_a_status_that_has_no_name_says_so() -> None:
    assert error_text(599, b"") == "no reason given"


# Retry-After.

NOW = datetime(2026, 10, 21, 7, 28, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("1", 1.0),
        ("120", 120.0),
        ("  7 ", 7.0),
        ("007", 7.0),
        ("0.5", 0.5),
        (".25", 0.25),
        ("3.", 3.0),
        ("1.500", 1.5),
        ("999999999", 999_999_999.0),
        ("9" * 400, 1e9),
        ("9" * 5000 + ".5", 1e9),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30.0),
        ("Wednesday, 21-Oct-26 07:28:30 GMT", 30.0),
        ("Wed Oct 21 07:28:30 2026", 30.0),
        ("  Wed, 21 Oct 2026 07:28:30 GMT ", 30.0),
        ("Wed, 21 Oct 2026 07:28:30 +0000", 30.0),
        ("Wed, 21 Oct 2026 09:28:30 +0200", 30.0),
        ("Wed, 21 Oct 2026 07:28:30 -0000", 30.0),
        ("Wed, 21 Oct 2026 07:28:30", 30.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 1e9),
        ("Fri, 31 Dec 9999 23:59:59 -2300", 1e9),
        ("Wed, 21 Oct 99999999999 07:28:00 GMT", None),
        ("Wed, 45 Oct 2026 07:28:00 GMT", None),
        ("Wed, 21 Foo 2026 07:28:00 GMT", None),
        ("Wed, 21 Oct 2026 77:28:00 GMT", None),
        ("Wed, 21 Oct 2026 07:28:00 +99999999", None),
        ("", None),
        ("   ", None),
        ("-5", None),
        ("+5", None),
        ("1e3", None),
        ("0x10", None),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("5 seconds", None),
        ("5, 10", None),
        ("1.2.3", None),
        ("1,5", None),
        ("²", None),
        (",", None),
        ("(", None),
        ("\x00", None),
    ],
)
def test_retry_after_is_read_in_every_spelling(value: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": value}, now=NOW) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": " 250.5 "}, 0.2505),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "2"}, 2.0),
        ({"retry-after-ms": "-1"}, None),
        ({"retry-after-ms": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
    ],
)
def test_milliseconds_go_before_seconds_when_they_are_a_number(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(headers, now=NOW) == seconds


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("Wed, 21 Oct 2026 07:27:58 GMT", 30.0),  # whole seconds, and a network's delay: ours is exact
        ("Wed, 21 Oct 2026 08:28:10 GMT", 0.0),
        ("Wed, 21 Oct 2026 07:20:00 GMT", 510.0),  # ours is eight minutes ahead
        ("yesterday", 30.0),
    ],
)
def test_a_date_is_by_the_clock_of_whoever_said_it(said: str, seconds: float) -> None:
    assert retry_after({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": said}, now=NOW) == seconds


@settings(max_examples=500)
@given(st.text(st.characters(max_codepoint=255), max_size=40))
def test_no_retry_after_whatever_raises_or_asks_for_a_wait_that_is_none(value: str) -> None:
    seconds = retry_after({"retry-after": value, "retry-after-ms": value}, now=NOW)
    assert seconds is None or 0 <= seconds <= 1e9


@pytest.mark.parametrize(("status", "kind"), [(429, Throttled), (503, ServerFault)])
def test_the_wait_asked_for_travels_with_the_error(
    status: int, kind: type[Throttled] | type[ServerFault]
) -> None:
    with pytest.raises(kind) as caught:
        decode(status, {"retry-after": "2.5"}, b"")
    assert caught.value.retry_after == 2.5
    with pytest.raises(kind) as caught:
        decode(status, {}, b"")
    assert caught.value.retry_after is None
