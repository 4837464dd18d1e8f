"""However many answers come at once, what they hold together is bounded, and all of them arrive."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
from client_rig import TICKET, Rig, Stub, ok, pending, says, status
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from wire import CARRIERS, Wire, Writer, post, reply, saying, sent

from opper_batch.client import Transport
from opper_batch.client.artifacts import Polling
from opper_batch.client.bodies import SMALL, Bodies
from opper_batch.client.transport import OTHER_CAP
from opper_batch.errors import BadReply

MEGABYTE = 1 << 20
Rigs = Callable[..., Rig]


def test_who_finds_no_room_waits_until_another_is_done() -> None:
    bodies, told = Bodies(room=10 * MEGABYTE), list[str]()
    first, second, third = (bodies.share() for _ in range(3))
    first.grew(6 * MEGABYTE)
    second.grew(4 * MEGABYTE)
    assert not second.holds_up(lambda: told.append("second")), "it just fits"
    third.grew(SMALL + 1)
    assert third.holds_up(lambda: told.append("third"))
    second.done()
    assert told == ["third"]
    third.done()
    first.done()
    assert repr(bodies) == f"Bodies(large=0, waiting=0, free={10 * MEGABYTE:,})"


def test_the_first_is_never_held_up_and_then_the_next_is_the_first() -> None:
    bodies, told = Bodies(room=MEGABYTE), list[str]()
    first, second, third = (bodies.share() for _ in range(3))
    for share, name in ((first, "first"), (second, "second"), (third, "third")):
        share.grew(2 * MEGABYTE)
        assert share.holds_up(lambda name=name: told.append(name)) == (name != "first")
    first.grew(16 * MEGABYTE)
    assert not first.holds_up(lambda: told.append("first"))
    first.done()
    assert told == ["second"], "there is room for one more only because it is the first now"
    second.done()
    assert told == ["second", "third"]


def test_small_answers_take_no_room() -> None:
    bodies = Bodies(room=0)
    for _ in range(1000):
        share = bodies.share()
        share.grew(SMALL)
        assert not share.holds_up(lambda: None)
        share.done()


@pytest.mark.parametrize("carrier", CARRIERS)
def test_large_answers_at_once_all_arrive_and_hold_no_more_than_there_is_room_for(
    carrier: type[Transport],
) -> None:
    many, size, room = 24, 2 * MEGABYTE, 4 * MEGABYTE
    content = b"x" * size

    async def large(request: bytes, writer: Writer) -> None:
        writer.write(reply(content))

    async def run() -> None:
        bodies, least = Bodies(room), room
        transport = carrier(direct=True)

        async def ask(url: str) -> None:
            nonlocal least
            share = bodies.share()
            response = await transport.send(replace(post(url), share=share))
            least = min(least, bodies._free)
            assert response.body == content
            await asyncio.sleep(0.01)  # until it is durable
            share.done()

        async with Wire(large) as wire:
            await asyncio.gather(*(ask(wire.url) for _ in range(many)))
            await transport.close()
        assert least < 0, "they did meet"
        assert -least <= size + many * 2 * 256 * 1024, "far from all of them"
        assert repr(bodies) == f"Bodies(large=0, waiting=0, free={room:,})"

    asyncio.run(asyncio.wait_for(run(), 20))


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_connection_that_was_held_up_carries_the_next_answer(carrier: type[Transport]) -> None:
    async def large(request: bytes, writer: Writer) -> None:
        writer.write(reply(b"y" * MEGABYTE))

    async def run() -> None:
        bodies, transport = Bodies(room=0), carrier(direct=True)
        first = bodies.share()
        first.grew(MEGABYTE)
        async with Wire(large) as wire:
            for _ in range(3):
                share = bodies.share()
                asking = asyncio.create_task(transport.send(replace(post(wire.url), share=share)))
                while not bodies._waiting:
                    await asyncio.sleep(0.001)
                first.done()
                assert len((await asking).body) == MEGABYTE
                first = share
            assert wire.connections == 1
            await transport.close()

    asyncio.run(asyncio.wait_for(run(), 20))


@pytest.mark.parametrize("carrier", CARRIERS)
def test_one_that_is_given_up_while_it_is_held_up_leaves_nothing(carrier: type[Transport]) -> None:
    async def large(request: bytes, writer: Writer) -> None:
        writer.write(reply(b"y" * MEGABYTE))

    async def run() -> None:
        bodies, transport = Bodies(room=0), carrier(direct=True)
        first, share = bodies.share(), bodies.share()
        first.grew(MEGABYTE)
        async with Wire(large) as wire:
            asking = asyncio.create_task(transport.send(replace(post(wire.url), share=share)))
            while not bodies._waiting:
                await asyncio.sleep(0.001)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            share.done()
            first.done()
            await transport.close()
        assert repr(bodies) == "Bodies(large=0, waiting=0, free=0)"

    asyncio.run(asyncio.wait_for(run(), 20))


def test_what_operations_made_takes_its_room_too_and_all_of_it_arrives(stub: Stub, rig: Rigs) -> None:
    """More of them than there are places to poll and fetch from, each with a link that breaks first."""
    whole = json.dumps({"category": "bug", "priority": 2, "space": " " * (5 * SMALL)}).encode()

    async def broken(request: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield whole[: 2 * SMALL]
            await asyncio.sleep(0.01)
            request.scope["state"]["transport"].abort()
            yield whole[2 * SMALL :]

        return StreamingResponse(parts(), headers={"content-length": str(len(whole))})

    async def polled(request: Request) -> Response:
        path = "/files/broken" if len(stub.at(request.url.path)) == 1 else "/files/whole"
        return status("completed", url=stub.url + path, mime_type="application/json")

    columns, polling = {**TICKET, "space": "VARCHAR"}, Polling(first=0.01, longest=0.02, deadline=25.0)
    client = rig(stub.url, columns=columns, bodies=Bodies(room=MEGABYTE), polling=polling)
    stub.on("/files/broken", broken).on("/files/whole", Response(whole, media_type="application/json"))
    for number in range(40):
        stub.on(f"/v3/artifacts/op-{number}/status", polled)
        stub.on(f"/v3/artifacts/second-{number}/status", polled)
    calls = [
        client.question(number, pending=pending(f"op-{number}", f"second-{number}").body)
        for number in range(40)
    ]
    outcomes = asyncio.run(asyncio.wait_for(client.asked(calls), 30))
    assert [outcome.error for outcome in outcomes] == [None] * 40
    assert repr(client.bodies) == f"Bodies(large=0, waiting=0, free={MEGABYTE:,})"


def test_what_is_no_reply_is_kept_as_far_as_a_person_reads(stub: Stub, rig: Rigs) -> None:
    client = rig(stub.calls(says(200, "x" * (3 * MEGABYTE))).url)
    outcome = client.ask()
    assert (outcome.error, outcome.reply) == ("the gateway's answer is not JSON", b"x" * SMALL)
    assert client.known(client.question()).reply == outcome.reply


def test_an_answer_that_was_paid_for_is_kept_whole_though_it_does_not_fit(stub: Stub, rig: Rigs) -> None:
    odd = ok({"category": "x" * (3 * MEGABYTE), "priority": 3})
    client = rig(stub.calls(odd).url, repair=0)
    assert client.ask().cause == "answer"
    assert client.known(client.question()).reply == odd.body


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("code", [308, 400, 401, 404, 429, 500, 503])
def test_a_refusal_is_cut_and_its_status_counts(carrier: type[Transport], code: int) -> None:
    wire = Wire(saying(reply(b"no " * MEGABYTE, "Retry-After: 7", status=f"{code} No")))
    (response,) = sent(wire, post(""), transport=carrier(direct=True))
    assert (response.status, len(response.body)) == (code, OTHER_CAP)
    assert response.headers["retry-after"] == "7"


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("code", [201, 202, 206])
def test_what_names_operations_is_refused_when_it_is_large(carrier: type[Transport], code: int) -> None:
    wire = Wire(saying(reply(b" " * (OTHER_CAP + 1), status=f"{code} Yes")))
    with pytest.raises(BadReply, match="larger than 1 MB"):
        sent(wire, post(""), transport=carrier(direct=True))
