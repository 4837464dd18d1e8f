from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from client_rig import MEDIA, Rig, Stub, ok, pending, reset, says, status
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from opper_batch.client import GateClosed
from opper_batch.client.artifacts import Polling
from opper_batch.client.downloads import plain_mime
from opper_batch.errors import AccessRefused, MachineError, RunStopped
from opper_batch.protocol import decode
from opper_batch.records import Outcome
from opper_batch.sandbox import Sandbox

Rigs = Callable[..., Rig]

POLL = "/v3/artifacts/op-1/status"
FILE = "/files/one"
FITS = '{"category": "bug", "priority": 2}'


def done(stub: Stub, mime_type: str | None = "application/json", path: str = FILE) -> Response:
    return status("completed", url=stub.url + path, mime_type=mime_type)


def file(content: str | bytes, mime_type: str = "application/json", code: int = 200) -> Response:
    return Response(content, code, media_type=mime_type)


def begun(stub: Stub, *polls: Any, content: Any = FITS) -> Stub:
    """A stub that answers calls by a 202, whose operation is polled and gives ``content``."""
    given = content if isinstance(content, Response) else file(content)
    return stub.calls(pending("op-1", kind="video")).on(POLL, *(polls or [done(stub)])).on(FILE, given)


# How it goes well.


def test_json_that_an_operation_made_is_the_answer(stub: Stub, rig: Rigs) -> None:
    client = rig(begun(stub, status("processing"), status("queued"), done(stub)).url)
    outcome = client.ask()
    assert outcome.ok
    assert outcome.reply is not None
    assert b'"bug"' in outcome.reply
    assert len(stub.at(POLL)) == 3
    assert len(stub.posts) == outcome.attempts == 1
    assert (client.pending(), client.intents()) == ({}, set())


def test_the_operations_are_durable_before_the_first_poll(stub: Stub, rig: Rigs) -> None:
    client = rig(begun(stub).url)
    found: list[dict[bytes, bytes]] = []
    stub.watch = lambda seen: found.append(client.pending()) if seen.path == POLL else None
    client.ask()
    assert list(found[0]) == [client.question().key]
    assert b'"op-1"' in found[0][client.question().key]


def test_polling_holds_no_place(stub: Stub, rig: Rigs) -> None:
    client = rig(begun(stub, status("processing"), done(stub)).url)
    inside: list[int] = []
    stub.watch = lambda seen: inside.append(client.gate.pace.in_flight)
    client.ask()
    assert inside == [1, 0, 0, 0]


@pytest.mark.parametrize("kind", ["json", "media"])
def test_the_sandboxes_operations_come_to_their_answers(
    sandbox: Callable[..., Sandbox], rig: Rigs, kind: str
) -> None:
    running = sandbox(pending=1.0, pending_seconds=0.05, operations=2)
    client = rig(running.url, columns=MEDIA | {"image": "VARCHAR"} if kind == "media" else None)
    outcomes = asyncio.run(client.asked([client.question(number) for number in range(5)]))
    assert [outcome.error for outcome in outcomes] == [None] * 5
    assert len(running.journal.calls) == 5
    if kind == "media":
        for number, outcome in enumerate(outcomes):
            key = client.question(number).key.hex()
            found = [(artifact.type, Path(artifact.path).name) for artifact in outcome.artifacts]
            assert found == [("video", f"{key}-0.mp4"), ("image", f"{key}-1.png")]
            assert Path(outcome.artifacts[0].path).read_bytes().startswith(b"\x00\x00\x00\x18ftypmp42")
        assert len(list(client.folder.iterdir())) == 10


def test_a_file_is_fetched_without_the_key(stub: Stub, rig: Rigs) -> None:
    stub = begun(stub, done(stub, "video/mp4"), content=file(b"film"))
    outcome = rig(stub.url, columns=MEDIA).ask()
    assert outcome.ok
    assert Path(outcome.artifacts[0].path).read_bytes() == b"film"
    assert outcome.artifacts[0].mime_type == "video/mp4"
    assert "authorization" in stub.at(POLL)[0].headers
    (fetched,) = stub.at(FILE)
    assert not {"authorization", "cookie"} & set(fetched.headers)
    assert fetched.headers["accept-encoding"] == "identity"


def test_without_a_mime_type_in_the_status_the_files_own_counts(stub: Stub, rig: Rigs) -> None:
    stub = begun(stub, done(stub, None), content=file(b"png", "image/png; charset=binary"))
    (artifact,) = rig(stub.url, columns=MEDIA).ask().artifacts
    assert (artifact.mime_type, Path(artifact.path).suffix) == ("image/png", ".png")


@pytest.mark.parametrize(
    ("hostile", "kept"),
    [
        ("../../../etc/passwd", None),
        ("video/../../x", None),
        ("video/mp4/../../x", None),
        ("text/html", "text/html"),
        ("application/x-sh", "application/x-sh"),
        ("video/mp4\x1b[31m", None),
        ("VIDEO/MP4 ; codecs=x", "video/mp4"),
        ("x" * 5000 + "/y", None),
        ("/", None),
    ],
)
def test_a_mime_type_decides_nothing_but_a_known_suffix(
    stub: Stub, rig: Rigs, hostile: str, kept: str | None
) -> None:
    client = rig(begun(stub, done(stub, hostile), content=file(b"x", "image/png")).url, columns=MEDIA)
    (artifact,) = client.ask().artifacts
    assert artifact.mime_type == kept == (plain_mime(hostile) or None)
    name = client.question().key.hex() + "-0" + (".mp4" if kept == "video/mp4" else ".bin")
    assert [path.name for path in client.folder.iterdir()] == [name]


def test_the_address_in_the_202_is_not_trusted(stub: Stub, rig: Rigs) -> None:
    other = Stub().start()
    try:
        other.on("/v3/artifacts/op-1/status", done(other)).on(FILE, file(FITS))
        begun(stub).calls(pending("op-1", status_url=f"{other.url}{POLL}"))
        assert rig(stub.url).ask().ok
        assert other.seen == []
    finally:
        other.stop()


# What it costs.


def priced(stub: Stub, *polls: Any, cost: float = 0.5) -> Stub:
    begun(stub, *polls)
    meta = {"status": "pending", "cost": cost, "pending_operations": [{"id": "op-1", "type": "video"}]}
    return stub.calls(says(202, {"data": None, "meta": meta}))


def recorded(client: Rig) -> float:
    return client.rows("SELECT sum(cost) FROM totals")[0][0]


def test_what_a_202_states_is_paid_when_it_arrives(stub: Stub, rig: Rigs) -> None:
    client = rig(priced(stub, status("processing")).url, cap=2.0)
    paid: list[float] = []
    stub.watch = lambda seen: paid.append(client.budget.paid) if seen.path == POLL else client.gate.close()
    with pytest.raises(GateClosed):
        client.ask()
    assert (paid, client.budget.paid) == ([0.5], 0.5)


@pytest.mark.parametrize("end", ["completed", "failed"])
def test_what_a_202_cost_is_counted_once_however_it_ends(stub: Stub, rig: Rigs, end: str) -> None:
    client = rig(priced(stub, done(stub) if end == "completed" else status("failed")).url, cap=2.0)
    outcome = client.ask()
    assert outcome.ok is (end == "completed")
    assert (outcome.usage.cost, client.budget.paid, recorded(client)) == (0.5, 0.5, 0.5)


def test_a_202_that_ends_in_a_later_run_is_counted_once_by_the_ledger(stub: Stub, rig: Rigs) -> None:
    client = rig(priced(stub, *[says(404)] * 6, done(stub)).url)
    assert client.ask().usage.cost == 0.5
    (left,) = client.pending().values()
    assert asyncio.run(client.asked([client.question(pending=left)]))[0].ok
    assert (recorded(client), client.budget.paid) == (0.5, 0.5)


def test_a_202_of_a_run_that_was_stopped_counts_to_the_run_that_polls_it(stub: Stub, rig: Rigs) -> None:
    client = rig(priced(stub).url)
    left = stub.answers["/v3/call"][0].body  # type: ignore[union-attr]
    assert client.ask(pending=left).usage.cost == 0.5
    assert recorded(client) == 0.5
    assert client.budget.paid == 0.0, "the run that takes it over knows it from the start"


# What a restart does.


def test_a_pending_call_is_polled_and_never_posted(stub: Stub, rig: Rigs) -> None:
    client = rig(begun(stub).url)
    outcome = client.ask(pending=pending("op-1").body)
    assert outcome.ok
    assert stub.posts == []
    assert (outcome.attempts, client.gate.pace.in_flight) == (0, 0)


def test_a_pending_call_that_fails_again_is_not_said_to_be_free(stub: Stub, rig: Rigs) -> None:
    outcome = rig(begun(stub, status("failed")).url).ask(pending=pending("op-1").body)
    assert outcome.usage.cost is None


def test_a_run_that_stops_while_polling_keeps_the_operations(stub: Stub, rig: Rigs) -> None:
    client = rig(begun(stub, status("processing")).url)

    async def scene() -> None:
        asking = asyncio.create_task(client.one(client.question()))
        while len(stub.at(POLL)) < 2:
            await asyncio.sleep(0.01)
        client.gate.close()
        with pytest.raises(GateClosed):
            await asking
        await client.client.close()

    asyncio.run(scene())
    assert list(client.pending()) == [client.question().key]
    assert client.settled() == {}


# Polls that go wrong.


@pytest.mark.parametrize(
    "fault",
    [says(404), says(500), says(502, "<html>"), says(200, "<html>"), says(200, ""), reset],
    ids=["404", "500", "502", "html", "empty", "reset"],
)
def test_a_few_polls_may_go_wrong(stub: Stub, rig: Rigs, fault: Any) -> None:
    client = rig(begun(stub, *[fault] * 5, status("processing"), *[fault] * 5, done(stub)).url)
    assert client.ask().ok
    assert len(stub.posts) == 1


def test_too_many_in_a_row_fail_the_row_and_keep_the_operation(stub: Stub, rig: Rigs) -> None:
    client = rig(begun(stub, says(404)).url)
    outcome = client.ask()
    assert outcome.error is not None
    assert "op-1" in outcome.error
    assert len(stub.at(POLL)) == 6
    assert client.settled() == {client.question().key: False}
    assert list(client.pending()) == [client.question().key]


def test_an_operation_that_is_unknown_long_after_its_202_is_lost(stub: Stub, rig: Rigs) -> None:
    """It has an end, or its row would fail in every run and nobody could drop it."""
    client = rig(begun(stub, says(404)).url)
    outcome = client.ask(pending=pending("op-1").body, since=time.time() - 601)
    assert outcome.error is not None
    assert "operation op-1 is lost" in outcome.error
    assert "possibly paid" in outcome.error
    assert outcome.usage.cost is None, "what it cost nobody knows"
    assert (client.pending(), client.settled()) == ({}, {client.question().key: False})
    assert stub.posts == []


@pytest.mark.parametrize(
    ("fault", "age"), [(says(404), 590), (says(500), 6000), (reset, 6000)], ids=["young", "500", "reset"]
)
def test_no_operation_is_taken_for_lost_too_early_or_without_being_told(
    stub: Stub, rig: Rigs, fault: Any, age: float
) -> None:
    client = rig(begun(stub, says(404), fault, fault, fault, fault, fault).url)
    asked = client.question(pending=pending("op-1").body, since=time.time() - age)

    async def pended() -> Outcome:
        await client.journal().pend(asked.key, decode(202, {}, pending("op-1").body))
        return (await client.asked([asked]))[0]

    assert "lost" not in (asyncio.run(pended()).error or "")
    assert list(client.pending()) == [asked.key]


def test_a_202_that_is_written_again_is_as_old_as_it_was(stub: Stub, rig: Rigs) -> None:
    client = rig(stub.url)
    key, journal = client.question().key, client.journal()

    async def pended() -> None:
        await journal.pend(key, decode(202, {}, pending("op-1").body))
        before = client.rows("SELECT at FROM pending")
        await journal.pend(key, decode(202, {}, pending("op-2").body))
        assert client.rows("SELECT at FROM pending") == before

    asyncio.run(pended())
    assert b"op-2" in client.pending()[key]


def test_an_operation_that_failed_fails_the_row_for_good(stub: Stub, rig: Rigs) -> None:
    client = rig(begun(stub, status("failed", error="too \x1b[31mviolent")).url)
    outcome = client.ask()
    assert outcome.error == "operation op-1 failed: too \\x1b[31mviolent"
    assert (outcome.cause, client.pending()) == ("answer", {})
    assert client.settled() == {client.question().key: False}


def test_an_operation_that_never_ends_fails_the_row_and_is_kept_for_the_next_run(
    stub: Stub, rig: Rigs
) -> None:
    polling = Polling(first=0.02, longest=0.05, deadline=0.3)
    client = rig(begun(stub, status("processing")).url, polling=polling)
    began = time.monotonic()
    outcome = client.ask()
    assert time.monotonic() - began < 1.0
    assert outcome.error is not None
    assert "did not end" in outcome.error
    assert list(client.pending()) == [client.question().key]
    assert client.settled() == {client.question().key: False}
    assert 4 < len(stub.at(POLL)) < 15


def test_polls_become_rarer_up_to_the_longest_wait(stub: Stub, rig: Rigs) -> None:
    times: list[float] = []
    stub.watch = lambda seen: times.append(time.monotonic()) if seen.path == POLL else None
    polling = Polling(first=0.04, longest=0.1)
    rig(begun(stub, *[status("processing")] * 5, done(stub)).url, polling=polling).ask()
    waits = [later - earlier for earlier, later in pairwise(times)]
    for wait, expected in zip(waits, [0.04, 0.06, 0.09, 0.1, 0.1], strict=True):
        assert expected <= wait < expected + 0.04


def test_a_429_on_polling_pauses_everybody(stub: Stub, rig: Rigs) -> None:
    client = rig(begun(stub, says(429, retry_after="0.4"), done(stub)).url)
    arrived: list[tuple[str, float]] = []
    stub.watch = lambda seen: arrived.append((seen.path, time.monotonic()))

    async def scene() -> None:
        first = asyncio.create_task(client.one(client.question(1)))
        while not client.gate.paused_for:
            await asyncio.sleep(0.005)
        stub.calls(ok())
        outcomes = await asyncio.gather(first, client.one(client.question(2)))
        assert all(outcome.ok for outcome in outcomes)
        await client.client.close()

    asyncio.run(scene())
    refused = next(at for path, at in arrived if path == POLL)
    assert all(at - refused >= 0.4 for _, at in arrived[2:])
    assert len(stub.posts) == 2


def test_a_429_on_polling_of_more_than_ten_minutes_stops_the_run(stub: Stub, rig: Rigs) -> None:
    client = rig(begun(stub, says(429, retry_after="3600")).url)
    with pytest.raises(RunStopped):
        client.ask()
    assert list(client.pending()) == [client.question().key]


def test_a_refused_key_on_polling_stops_the_run_and_keeps_the_operation(stub: Stub, rig: Rigs) -> None:
    client = rig(begun(stub, says(401)).url)
    with pytest.raises(AccessRefused):
        client.ask()
    assert list(client.pending()) == [client.question().key]
    assert client.settled() == {}


# Links that go wrong.


def test_a_link_that_has_gone_stale_is_asked_for_anew(stub: Stub, rig: Rigs) -> None:
    begun(stub, done(stub, path="/files/stale"), done(stub)).on("/files/stale", says(403))
    assert rig(stub.url).ask().ok
    assert len(stub.at(POLL)) == 2


@pytest.mark.parametrize(
    "fault",
    [says(403), says(500), says(302, location="/files/elsewhere"), reset, file(b"", "video/mp4")],
    ids=["403", "500", "302", "reset", "empty"],
)
def test_links_that_keep_failing_fail_the_row_and_keep_the_operation(
    stub: Stub, rig: Rigs, fault: Any
) -> None:
    client = rig(begun(stub, done(stub, "video/mp4")).on(FILE, fault).url, columns=MEDIA)
    outcome = client.ask()
    assert outcome.error is not None
    assert "cannot be fetched" in outcome.error
    assert len(stub.at(FILE)) == 3
    assert stub.at("/files/elsewhere") == []
    assert list(client.pending()) == [client.question().key]
    assert list(client.folder.glob("*")) == []


def test_a_download_that_breaks_leaves_no_part_and_is_tried_again(stub: Stub, rig: Rigs) -> None:
    async def cut(request: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"fi"
            await asyncio.sleep(0.05)
            parts_there.extend(client.folder.iterdir())
            request.scope["state"]["transport"].abort()

        return StreamingResponse(parts(), headers={"content-length": "4"}, media_type="video/mp4")

    parts_there: list[Path] = []
    begun(stub, done(stub, "video/mp4")).on(FILE, cut, file(b"film", "video/mp4"))
    client = rig(stub.url, columns=MEDIA)
    assert client.ask().ok
    assert [path.suffix for path in parts_there] == [".part"]
    assert [path.read_bytes() for path in client.folder.iterdir()] == [b"film"]


@pytest.mark.parametrize(
    "link",
    [
        "http://storage.example/x",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "http://[::1",
        "/relative",
        "https://",
        "http://127.0.0.1:99999/x",
        "https://h:70000/",
        "https://h:0/",
    ],
)
def test_a_link_that_is_not_https_is_not_followed(stub: Stub, rig: Rigs, link: str) -> None:
    client = rig(begun(stub, status("completed", url=link, mime_type="video/mp4")).url, columns=MEDIA)
    outcome = client.ask()
    assert outcome.error == "the artifact's link is not an https address that can be used"
    assert (client.pending(), client.settled()) == ({}, {client.question().key: False})


def test_links_are_fetched_and_operations_asked_after_by_a_bounded_number_at_once(
    stub: Stub, rig: Rigs
) -> None:
    there, most = 0, 0

    def counted(answer: Callable[[], Response]) -> Callable[[Request], Awaitable[Response]]:
        async def answered(request: Request) -> Response:
            nonlocal there, most
            there, most = there + 1, max(most, there + 1)
            await asyncio.sleep(0.02)
            there -= 1
            return answer()

        return answered

    begun(stub).on(POLL, counted(lambda: done(stub))).on(FILE, counted(lambda: file(FITS)))
    client = rig(stub.url)
    calls = [client.question(number, pending=pending("op-1").body) for number in range(150)]
    assert all(outcome.ok for outcome in asyncio.run(client.asked(calls)))
    assert most <= 32


def test_running_out_of_files_stops_the_run_with_a_sentence(stub: Stub, rig: Rigs) -> None:
    client = rig(begun(stub, done(stub, "video/mp4"), content=file(b"film")).url, columns=MEDIA)
    held: list[Any] = []
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    def exhaust(seen: Any) -> None:
        if seen.path == POLL:
            resource.setrlimit(resource.RLIMIT_NOFILE, (200, before[1]))
            with suppress(OSError):
                while True:
                    held.append(os.dup(0))

    stub.watch = exhaust
    try:
        with pytest.raises(MachineError, match="ulimit -n"):
            client.ask()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for number in held:
            os.close(number)
    assert list(client.pending()) == [client.question().key]


def test_completed_without_a_link_is_waited_for(stub: Stub, rig: Rigs) -> None:
    assert rig(begun(stub, status("completed"), done(stub)).url).ask().ok


# Answers that go wrong.


@pytest.mark.parametrize("content", ["{cut", "", "<html>"])
def test_json_that_is_none_fails_the_row(stub: Stub, rig: Rigs, content: str) -> None:
    client = rig(begun(stub, content=content).url)
    outcome = client.ask()
    assert outcome.error is not None
    assert (outcome.cause, len(stub.posts)) == ("answer", 1)
    assert client.settled() == {client.question().key: False}


def test_json_that_does_not_fit_fails_the_row_and_is_not_asked_again(stub: Stub, rig: Rigs) -> None:
    client = rig(begun(stub, content='{"category": "Jane", "priority": 2}').url, repair=2)
    outcome = client.ask()
    assert (outcome.cause, len(stub.posts)) == ("answer", 1)
    assert outcome.reply is not None
    assert b"Jane" in outcome.reply
    assert client.pending() == {}


def test_an_id_that_is_none_is_not_asked_after(stub: Stub, rig: Rigs) -> None:
    stub.calls(pending("../../v3/functions"))
    outcome = rig(stub.url).ask()
    assert outcome.error is not None
    assert [seen.method for seen in stub.seen] == ["POST"]


def test_a_folder_that_cannot_be_written_stops_the_run_and_keeps_the_operation(stub: Stub, rig: Rigs) -> None:
    client = rig(begun(stub, done(stub, "video/mp4"), content=file(b"film")).url, columns=MEDIA)
    client.folder.write_text("a file where the folder should be")
    with pytest.raises(MachineError, match="cannot be written"):
        client.ask()
    assert list(client.pending()) == [client.question().key]
