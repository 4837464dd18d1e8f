"""Addresses that a hostile gateway gives: nobody but the configured origin is asked, or gets the key."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from client_rig import KEY, MEDIA, Rig, Seen, Stub, ok, pending, says, status
from starlette.responses import Response

from opper_batch.client.offers import offers
from opper_batch.errors import CallError, OpperBatchError

Rigs = Callable[..., Rig]

POLL = "/v3/artifacts/op-1/status"
FILE = "/files/one"
REDIRECTS = [300, 301, 302, 303, 304, 305, 306, 307, 308]


@pytest.fixture
def other() -> Iterator[Stub]:
    """Another host on this machine, which would answer anything."""
    other = Stub().start()
    for path in ("/", "/v3/call", "/v3/models", POLL, FILE):
        other.on(path, says(200, {"data": {"category": "bug", "priority": 1}, "status": "failed"}))
    yield other
    other.stop()


def keys(seen: list[Seen]) -> list[Seen]:
    return [request for request in seen if KEY in repr(request)]


def file(content: bytes, mime_type: str) -> Response:
    return Response(content, media_type=mime_type)


# What a 202 says its status is to be asked at.


@pytest.mark.parametrize(
    "spelling",
    [
        "http://{other}/v3/artifacts/op-1/status",
        "HTTP://{OTHER}/v3/artifacts/op-1/status",
        "//{other}/v3/artifacts/op-1/status",
        "\\\\{other}\\v3\\artifacts\\op-1\\status",
        "/\\{other}/v3/artifacts/op-1/status",
        "http:{other}/v3/artifacts/op-1/status",
        "http:\\\\{other}/v3/artifacts/op-1/status",
        "http://{own}@{other}/v3/artifacts/op-1/status",
        "http://{own}%40{other}/v3/artifacts/op-1/status",
        "http://{other}#@{own}/v3/artifacts/op-1/status",
        "http://{other}\\@{own}/v3/artifacts/op-1/status",
        "http://{other}?@{own}/v3/artifacts/op-1/status",
        "http://{own}\t@{other}/v3/artifacts/op-1/status",
        " http://{other}/v3/artifacts/op-1/status",
        "http://１２７.0.0.1:{port}/v3/artifacts/op-1/status",
        "http://127。0。0。1:{port}/v3/artifacts/op-1/status",
        "http://2130706433:{port}/v3/artifacts/op-1/status",
        "http://0x7f.1:{port}/v3/artifacts/op-1/status",
        "http://[::ffff:127.0.0.1]:{port}/v3/artifacts/op-1/status",
        "http://localhost.:{port}/v3/artifacts/op-1/status",
        "http://127.0.0.1:0{port}/v3/artifacts/op-1/status",
        "http://{own}:{port}/v3/artifacts/op-1/status",
        "{own}\r\nHost: {other}/v3/artifacts/op-1/status",
        "../../../..//{other}/",
    ],
)
def test_the_address_in_a_202_leads_nowhere_however_it_is_spelled(
    stub: Stub, other: Stub, rig: Rigs, spelling: str
) -> None:
    there = other.url.removeprefix("http://")
    names = {"other": there, "OTHER": there.upper(), "port": there.rpartition(":")[2]}
    said = spelling.format(own=stub.url.removeprefix("http://"), **names)
    stub.calls(pending("op-1", status_url=said)).on(FILE, says(200, {"category": "bug", "priority": 2}))
    stub.on(POLL, status("completed", url=stub.url + FILE, mime_type="application/json"))
    outcome = rig(stub.url).ask()
    assert outcome.ok
    assert [seen.path for seen in stub.seen] == ["/v3/call", POLL, FILE]
    assert other.seen == []


def test_a_hosts_name_in_a_request_is_our_own_whatever_was_said_before(stub: Stub, rig: Rigs) -> None:
    told = {"Host": "evil.example", "Alt-Svc": 'h2="evil.example:443"', "Refresh": "0; url=//evil.example"}
    answer = ok()
    answer.headers.update({**told, "Content-Location": "//evil.example/v3/call", "Set-Cookie": "a=b"})
    first, second = rig(stub.calls(answer).url).ask_each(1, 2)
    assert (first.error, second.error) == (None, None)
    assert {seen.headers["host"] for seen in stub.posts} == {stub.url.removeprefix("http://")}
    assert "cookie" not in stub.posts[1].headers


# Redirects to another host.


@pytest.mark.parametrize("code", REDIRECTS)
def test_a_call_that_is_redirected_fails_its_row_alone(stub: Stub, other: Stub, rig: Rigs, code: int) -> None:
    stub.calls(ok(), says(code, "", location=f"{other.url}/v3/call"), ok())
    before, redirected, after = rig(stub.url).ask_each(1, 2, 3)
    assert redirected.error == (
        f"{code}: the gateway redirects, which is not followed; set the base URL it now has"
    )
    assert (before.ok, after.ok) == (True, True)
    assert len(stub.posts) == 3, "it is not asked again: it would be redirected again"
    assert other.seen == []


@pytest.mark.parametrize("code", REDIRECTS)
def test_a_poll_that_is_redirected_fails_its_row_and_keeps_the_operation(
    stub: Stub, other: Stub, rig: Rigs, code: int
) -> None:
    stub.calls(pending("op-1"), ok()).on(POLL, says(code, "", location=other.url + POLL))
    client = rig(stub.url)
    redirected, after = client.ask_each(1, 2)
    assert redirected.error is not None
    assert redirected.error.startswith(f"polling op-1: {code}: the gateway redirects")
    assert after.ok
    assert list(client.pending()) == [client.question(1).key]
    assert other.seen == []


@pytest.mark.parametrize("code", REDIRECTS)
def test_a_presigned_link_that_redirects_is_not_followed_either(
    stub: Stub, other: Stub, rig: Rigs, code: int
) -> None:
    """No key could leak there; but a link that was checked must not lead on to where no check looks."""
    other.on(FILE, file(b"film", "video/mp4"))
    stub.calls(pending("op-1", kind="video"), ok({"video": "v", "mime_type": "m"}))
    stub.on(POLL, status("completed", url=stub.url + FILE, mime_type="video/mp4"))
    stub.on(FILE, says(code, "", location=other.url + FILE))
    client = rig(stub.url, columns=MEDIA)
    redirected, after = client.ask_each(1, 2)
    assert redirected.error == f"artifact op-1 cannot be fetched: its link gives {code}"
    assert after.ok
    assert list(client.pending()) == [client.question(1).key]
    assert list(client.folder.glob("*")) == []
    assert other.seen == []


@pytest.mark.parametrize("code", REDIRECTS)
def test_a_listing_of_models_that_is_redirected_is_a_sentence(
    stub: Stub, other: Stub, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setenv("OPPER_API_KEY", KEY)
    stub.on("/v3/models", says(code, "", location=f"{other.url}/v3/models"))
    with pytest.raises(OpperBatchError, match="redirects, which is not followed") as caught:
        offers(stub.url)
    assert not isinstance(caught.value, CallError)
    assert other.seen == []


def test_a_presigned_link_at_another_host_is_fetched_without_key_or_cookie(
    stub: Stub, other: Stub, rig: Rigs
) -> None:
    """As it is with every storage: the other host counts what reaches it, so the tests above can fail."""
    other.on(FILE, file(b"film", "video/mp4"))
    completed = status("completed", url=other.url + FILE, mime_type="video/mp4")
    completed.set_cookie("session", "op-session")
    stub.calls(pending("op-1", kind="video")).on(POLL, completed)
    assert rig(stub.url, columns=MEDIA).ask().ok
    (fetched,) = other.seen
    assert not {"authorization", "cookie", "referer", "proxy-authorization"} & set(fetched.headers)
    assert keys(other.seen) == []
    assert keys(stub.seen), "the configured origin does get it"


# Ids of operations.


@pytest.mark.parametrize(
    "odd",
    [
        "../../v3/functions",
        "..",
        "op-1/../../functions",
        "op%2f..%2f..",
        "%2e%2e",
        "//evil.example",
        "op-1?x=/status#",
        "op-1\r\nX-Injected: 1",
        "",
        "o" * 10_000,
        "\u043ep-1",  # its first letter is Cyrillic
        "op-1\x00",
    ],
)
def test_an_id_that_is_none_is_never_asked_after_and_fails_its_row_alone(
    stub: Stub, rig: Rigs, odd: str
) -> None:
    client = rig(stub.calls(pending(odd), ok()).url)
    refused, after = client.ask_each(1, 2)
    assert refused.error == "the gateway named a pending operation by an id that is not one"
    assert (refused.cause, after.ok) == ("answer", True)
    assert [(seen.method, seen.path) for seen in stub.seen] == [("POST", "/v3/call")] * 2


def test_a_202_of_more_operations_than_anybody_would_wait_for_fails_its_row(stub: Stub, rig: Rigs) -> None:
    client = rig(stub.calls(pending(*[f"op-{number}" for number in range(20_000)]), ok()).url)
    refused, after = client.ask_each(1, 2)
    assert refused.error == "the gateway named more than 100 operations"
    assert after.ok
    assert len(stub.seen) == 2
