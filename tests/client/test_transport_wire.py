"""What comes over the wire in every shape that HTTP/1.1 allows, and in some that it does not."""

from __future__ import annotations

import asyncio
import gc
import logging
import traceback
import tracemalloc
from typing import Any

import pytest
from wire import CARRIERS, Wire, Writer, echo, post, reply, saying, sent

from opper_batch.client import Request, Transport, network
from opper_batch.client.lean import LeanTransport
from opper_batch.client.over_httpx import HttpxTransport
from opper_batch.errors import BadReply, DefinitionError, OpperBatchError, Unreachable

CANARY = "op-canary-5d1f"


@pytest.fixture(params=CARRIERS)
def carrier(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def transport(carrier: Any) -> Transport:
    made: Transport = carrier(direct=True, seconds=10.0)
    return made


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked",
            b"3\r\nabc\r\n3;x=y\r\ndef\r\n0\r\nX-Late: 1\r\n\r\n",
        ),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6", b"abcdef"),
        ("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6", b"abcdef"),
        ("HTTP/1.1 200\r\nContent-Length:6", b"abcdef"),
    ],
    ids=["chunks and a trailer", "100 first", "103 first", "no reason"],
)
@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_a_response_in_any_pieces_is_the_same(
    transport: Transport, head: str, body: bytes, piece: int
) -> None:
    content = head.encode() + b"\r\n\r\n" + body

    async def pieces(request: bytes, writer: Writer) -> None:
        for start in range(0, len(content), piece):
            writer.write(content[start : start + piece])
            await writer.drain()
            await asyncio.sleep(0)

    wire = Wire(pieces)
    answers = sent(wire, post(""), post(""), transport=transport)
    assert [(answer.status, answer.body) for answer in answers] == [(200, b"abcdef")] * 2
    assert not any("late" in name or name == "link" for answer in answers for name in answer.headers)
    assert wire.connections == 1


@pytest.mark.parametrize("version", ["HTTP/1.1 200 OK\r\nConnection: close", "HTTP/1.0 200 OK"])
def test_a_body_may_end_with_its_connection(transport: Transport, version: str) -> None:
    async def answer(request: bytes, writer: Writer) -> None:
        writer.write(version.encode() + b"\r\n\r\nabc")
        await writer.drain()
        writer.close()

    wire = Wire(answer)
    answers = sent(wire, post(""), post(""), transport=transport)
    assert [answer.body for answer in answers] == [b"abc", b"abc"]
    assert wire.connections == 2


@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_a_coding_that_is_not_chunked_ends_with_its_connection(coding: str) -> None:
    async def answer(request: bytes, writer: Writer) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\nabc".encode())
        await writer.drain()
        writer.close()

    (whole,) = sent(Wire(answer), post(""), transport=LeanTransport(direct=True, seconds=10.0))
    assert whole.body == b"abc"


def test_a_header_said_twice_is_one_list(transport: Transport) -> None:
    (answer,) = sent(Wire(saying(reply(b"", "X-Limit: 1", "x-limit: 2"))), post(""), transport=transport)
    assert answer.headers["x-limit"] == "1, 2"


@pytest.mark.parametrize("late", [0.0, 0.02])
def test_an_answer_that_nobody_asked_for_is_never_taken_for_the_next_ones(late: float) -> None:
    async def twice(request: bytes, writer: Writer) -> None:
        body = request.rpartition(b"\r\n\r\n")[2]
        writer.write(reply(body) + (b"" if late else reply(b"stray")))
        if late:
            await writer.drain()
            await asyncio.sleep(late)
            writer.write(reply(b"stray"))

    async def run() -> None:
        transport = LeanTransport(direct=True, seconds=10.0)
        async with Wire(twice) as wire:
            for number in range(3):
                assert (await transport.send(post(wire.url, b"%d" % number))).body == b"%d" % number
                await asyncio.sleep(2 * late)
            assert wire.connections == 3
            await transport.close()

    asyncio.run(run())


def test_an_end_of_the_connection_that_the_loop_has_not_heard_of_costs_no_attempt() -> None:
    """The server closes its idle connection while the client's loop is busy, as it is under load."""

    async def run() -> None:
        transport = LeanTransport(direct=True, seconds=10.0)
        async with Wire(echo) as wire:
            assert (await transport.send(post(wire.url, b"0"))).body == b"0"
            wire.sever()
            assert (await transport.send(post(wire.url, b"1"))).body == b"1"
            assert (wire.connections, len(wire.requests)) == (2, 2)
            await transport.close()

    asyncio.run(run())


def test_nothing_is_ever_sent_twice(transport: Transport) -> None:
    """A connection that dies under a request is the caller's matter: only he knows whether to pay again."""

    async def second_dies(request: bytes, writer: Writer) -> None:
        if b"first" in request:
            await echo(request, writer)
        else:
            writer.transport.abort()

    async def run() -> None:
        async with Wire(second_dies) as wire:
            await transport.send(post(wire.url, b"first"))
            for _ in range(3):
                for method in ("POST", "GET"):
                    with pytest.raises(Unreachable) as caught:
                        await transport.send(Request(method, wire.url, {}, b"second"))
                    assert caught.value.paid
            assert len(wire.requests) == 7
            await transport.close()

    asyncio.run(run())


def test_an_answer_before_the_request_was_whole_counts_and_its_connection_does_not() -> None:
    async def too_large(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply(b"{}", status="413 Too Large"))
        await gone.wait()
        writer.transport.abort()

    gone = asyncio.Event()

    async def run() -> None:
        transport = LeanTransport(direct=True, seconds=10.0)
        server = await asyncio.start_server(too_large, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v3/call"
        assert (await transport.send(post(url, b"x" * 30_000_000))).status == 413
        assert "idle=0" in repr(transport)
        gone.set()
        await transport.close()
        server.close()
        await server.wait_closed()

    asyncio.run(run())


@pytest.mark.parametrize(
    "flood",
    [
        b"X-Flood: " + b"x" * 65536,
        b"X-Flood: " + b"x" * 65527 + b"\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 2500,
    ],
    ids=["one header", "many headers", "many continues"],
)
def test_an_endless_head_is_left_early(flood: bytes) -> None:
    written = 0

    async def endless(request: bytes, writer: Writer) -> None:
        nonlocal written
        writer.write(b"" if flood.startswith(b"HTTP") else b"HTTP/1.1 200 OK\r\n")
        while not writer.is_closing():
            writer.write(flood)
            await writer.drain()
            written += len(flood)

    with pytest.raises(BadReply, match="nearly all framing"):
        sent(Wire(endless), post(""), transport=LeanTransport(direct=True, seconds=10.0))
    assert written < 20_000_000


def test_chunks_that_hold_next_to_nothing_are_left_early() -> None:
    chunks = (b"1;" + b"x" * 1000 + b"\r\na\r\n") * 2000
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
    with pytest.raises(BadReply, match="nearly all framing"):
        sent(Wire(saying(answer)), post(""), transport=LeanTransport(direct=True, seconds=10.0))


def test_an_answer_past_the_cap_is_never_held_whole(transport: Transport) -> None:
    wire = Wire(saying(reply(b"x" * 30_000_000)))
    tracemalloc.start()
    try:
        with pytest.raises(BadReply):
            sent(wire, post("", body_cap=1000), transport=transport)
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert held < 70_000_000  # the server's two copies are among it


def test_requests_in_flight_fail_when_the_transport_closes() -> None:
    async def never(request: bytes, writer: Writer) -> None:
        asked.set()
        await asyncio.Event().wait()

    asked = asyncio.Event()

    async def run() -> None:
        transport = LeanTransport(direct=True, seconds=10.0)
        async with Wire(never) as wire:
            sending = asyncio.create_task(transport.send(post(wire.url)))
            await asked.wait()
            await transport.close()
            with pytest.raises(Unreachable) as caught:
                await sending
            assert caught.value.paid
            assert repr(transport) == "LeanTransport(idle=0, open=0)"

    asyncio.run(run())
    gc.collect()


def test_a_line_break_in_a_header_is_refused(transport: Transport) -> None:
    async def run() -> None:
        async with Wire(echo) as wire:
            with pytest.raises((ValueError, OpperBatchError)):
                await transport.send(Request("POST", wire.url, {"X": "1\r\nY: 2"}, b""))
            assert wire.requests == []
            await transport.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    "answer",
    [b"", b"220 mail.example ESMTP\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n12"],
    ids=["reset", "garbage", "cut"],
)
def test_no_error_and_no_log_shows_the_key(
    transport: Transport, caplog: pytest.LogCaptureFixture, answer: bytes
) -> None:
    caplog.set_level(logging.DEBUG)
    asyncio.run(_fails(transport, answer, told := []))
    shown = "".join(traceback.format_exception(told[0])) + repr(told[0]) + repr(transport) + caplog.text
    assert CANARY not in shown
    assert CANARY not in repr(told[0].__dict__)


async def _fails(transport: Transport, answer: bytes, told: list[OpperBatchError]) -> None:
    async def breaking(request: bytes, writer: Writer) -> None:
        writer.write(answer)
        await writer.drain()
        writer.transport.abort()

    asyncio.get_running_loop().set_debug(True)
    async with Wire(breaking) as wire:
        request = Request("POST", wire.url, {"Authorization": f"Bearer {CANARY}"}, b"{}")
        assert CANARY not in repr(request)
        try:
            await transport.send(request)
        except OpperBatchError as error:
            told.append(error)
        await transport.close()


@pytest.mark.parametrize(
    ("asked", "kind"), [("", LeanTransport), ("lean", LeanTransport), ("httpx", HttpxTransport)]
)
def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch, asked: str, kind: type[object]) -> None:
    monkeypatch.setenv("OPPER_BATCH_TRANSPORT", asked)
    assert isinstance(network(direct=True), kind)


def test_a_transport_that_does_not_exist_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPPER_BATCH_TRANSPORT", "pigeon")
    with pytest.raises(DefinitionError, match="OPPER_BATCH_TRANSPORT is 'pigeon'; say lean or httpx"):
        network()
