"""What every transport promises, over real connections."""

from __future__ import annotations

import asyncio
import gzip
import os
import resource
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from wire import CARRIERS, Wire, Writer, echo, free_port, post, reply, saying, sent

from opper_batch.client import Request, Transport
from opper_batch.errors import BadReply, MachineError, Unreachable
from opper_batch.protocol import decode


@pytest.fixture(params=CARRIERS)
def carrier(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def transport(carrier: Any) -> Transport:
    made: Transport = carrier(direct=True, seconds=10.0)
    return made


def test_a_refused_connection_was_not_paid(transport: Transport) -> None:
    with pytest.raises(Unreachable) as caught:
        asyncio.run(transport.send(post(f"http://127.0.0.1:{free_port()}/v3/call")))
    assert not caught.value.paid
    assert caught.value.retryable


def test_a_host_that_does_not_exist_was_not_paid(transport: Transport) -> None:
    with pytest.raises(Unreachable) as caught:
        asyncio.run(transport.send(post("http://nowhere.invalid/v3/call")))
    assert not caught.value.paid


@pytest.mark.parametrize(
    "half",
    [
        b"",
        b"HTTP/1.1 200",
        reply(b"0123456789")[:-4],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
    ids=["no answer", "cut head", "cut body", "cut chunk"],
)
@pytest.mark.parametrize("end", ["abort", "close"])
def test_a_connection_lost_after_sending_may_have_been_paid(
    transport: Transport, half: bytes, end: str
) -> None:
    async def answer(request: bytes, writer: Writer) -> None:
        writer.write(half)
        await writer.drain()
        getattr(writer.transport, end)()

    with pytest.raises(Unreachable) as caught:
        sent(Wire(answer), post(""), transport=transport)
    assert caught.value.paid


def test_what_is_not_http_may_have_been_paid(transport: Transport) -> None:
    with pytest.raises(Unreachable) as caught:
        sent(Wire(saying(b"220 mail.example ESMTP\r\n\r\n")), post(""), transport=transport)
    assert caught.value.paid


async def _never(request: bytes, writer: Writer) -> None:
    await asyncio.sleep(5)


async def _dripping(request: bytes, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(100):
        writer.write(b"x")
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("answer", [_never, _dripping])
def test_an_exchange_has_an_end_however_slowly_bytes_come(
    carrier: Any,
    answer: Callable[[bytes, Writer], Awaitable[None]],
) -> None:
    async def run() -> None:
        transport = carrier(direct=True, seconds=0.2)
        wire = Wire(answer)
        async with wire:
            began = time.monotonic()
            with pytest.raises(Unreachable, match=r"no answer in 0\.2 s") as caught:
                await transport.send(post(wire.url))
            assert 0.2 <= time.monotonic() - began < 1.0
            assert caught.value.paid

    asyncio.run(run())


def test_a_body_may_be_as_large_as_the_cap_and_no_larger(transport: Transport) -> None:
    wire = Wire(saying(reply(b"x" * 1000)))
    (answer,) = sent(wire, post("", body_cap=1000), transport=transport)
    assert answer.body == b"x" * 1000
    with pytest.raises(BadReply, match="larger than"):
        sent(wire, post("", body_cap=999), transport=transport)


def test_an_endless_body_is_left_at_the_cap(transport: Transport) -> None:
    written = 0

    async def endless(request: bytes, writer: Writer) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            await writer.drain()
            written += 0x10000

    with pytest.raises(BadReply):
        sent(Wire(endless), post("", body_cap=1_000_000), transport=transport)
    assert written < 20_000_000


def test_a_compressed_answer_is_not_inflated(transport: Transport) -> None:
    bomb = gzip.compress(b'{"data": "' + b"a" * 5_000_000 + b'"}')
    (answer,) = sent(Wire(saying(reply(bomb, "Content-Encoding: gzip"))), post(""), transport=transport)
    assert answer.body == bomb
    with pytest.raises(BadReply):
        decode(answer.status, answer.headers, answer.body)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_redirects_are_not_followed_and_the_key_reaches_nobody_else(
    transport: Transport, status: str
) -> None:
    async def run() -> None:
        async with Wire(echo) as other:
            async with Wire(saying(reply(b"", f"Location: {other.url}", status=status))) as wire:
                answer = await transport.send(post(wire.url))
                await transport.close()
            assert answer.status == int(status[:3])
            assert other.connections == 0

    asyncio.run(run())


def test_header_names_are_lower_case(transport: Transport) -> None:
    (answer,) = sent(Wire(saying(reply(b"", "Retry-AFTER: 7"))), post(""), transport=transport)
    assert set(answer.headers) == {"content-length", "retry-after"}
    assert answer.headers["retry-after"] == "7"


def test_no_cookie_is_kept(transport: Transport) -> None:
    wire = Wire(saying(reply(b"", "Set-Cookie: session=1; Path=/")))
    sent(wire, post(""), post(""), transport=transport)
    assert len(wire.requests) == 2
    assert not any(b"cookie" in request.lower() for request in wire.requests)


def test_a_cancelled_request_closes_its_connection_and_the_next_gets_its_own_answer(
    transport: Transport,
) -> None:
    async def slowly(request: bytes, writer: Writer) -> None:
        await asyncio.sleep(0.1 if b"first" in request else 0)
        await echo(request, writer)

    async def run() -> None:
        async with Wire(slowly) as wire:
            first = asyncio.create_task(transport.send(post(wire.url, b"first")))
            await asyncio.sleep(0.05)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            assert "idle=0" in repr(transport)
            answers = [await transport.send(post(wire.url, b"%d" % number)) for number in range(3)]
            assert [answer.body for answer in answers] == [b"0", b"1", b"2"]
            await asyncio.sleep(0.1)
            assert (wire.connections, wire.closed) == (2, 1)
            await transport.close()

    asyncio.run(run())


@pytest.mark.parametrize("moment", [0.0, 0.005, 0.02, 0.045, 0.055])
def test_requests_cancelled_at_any_moment_leave_nothing_that_hangs(
    transport: Transport, moment: float
) -> None:
    async def in_parts(request: bytes, writer: Writer) -> None:
        answer = reply(request.rpartition(b"\r\n\r\n")[2])
        for part in (answer[:9], answer[9:-1], answer[-1:]):
            await asyncio.sleep(0.015)
            writer.write(part)

    async def run() -> None:
        async with Wire(in_parts) as wire:
            first = [asyncio.create_task(transport.send(post(wire.url, b"cancelled"))) for _ in range(5)]
            await asyncio.sleep(moment)
            for task in first:
                task.cancel()
            await asyncio.gather(*first, return_exceptions=True)
            bodies = [b"%d" % number for number in range(10)]
            async with asyncio.timeout(5):
                answers = await asyncio.gather(*(transport.send(post(wire.url, body)) for body in bodies))
            assert [answer.body for answer in answers] == bodies
            await transport.close()

    asyncio.run(run())


def test_a_failed_exchange_leaves_nothing_behind_for_the_next(transport: Transport) -> None:
    async def moody(request: bytes, writer: Writer) -> None:
        if b"break" in request:
            writer.write(reply(b"0123456789")[:-5])
            await writer.drain()
            writer.transport.abort()
        else:
            await echo(request, writer)

    async def run() -> None:
        async with Wire(moody) as wire:
            for number in range(3):
                with pytest.raises(Unreachable):
                    await transport.send(post(wire.url, b"break"))
                with pytest.raises(BadReply):
                    await transport.send(post(wire.url, b"too large", body_cap=3))
                assert "idle=0" in repr(transport)
                assert (await transport.send(post(wire.url, b"%d" % number))).body == b"%d" % number
            await transport.close()

    asyncio.run(run())


def test_requests_one_after_the_other_share_one_connection(transport: Transport) -> None:
    wire = Wire(echo)
    answers = sent(wire, *[post("", b"%d" % number) for number in range(1500)], transport=transport)
    assert [answer.body for answer in answers] == [b"%d" % number for number in range(1500)]
    assert wire.connections == 1


def test_requests_at_once_have_a_connection_each_and_reuse_it(transport: Transport) -> None:
    async def run() -> None:
        async with Wire(echo) as wire:
            for _ in range(20):
                await asyncio.gather(*(transport.send(post(wire.url)) for _ in range(10)))
            assert wire.connections == 10
            await transport.close()
            await asyncio.sleep(0.05)
            assert wire.closed == 10

    asyncio.run(run())


def test_a_connection_that_the_server_closed_while_idle_is_not_used_again(transport: Transport) -> None:
    async def once(request: bytes, writer: Writer) -> None:
        await echo(request, writer)
        await writer.drain()
        writer.close()

    async def run() -> None:
        async with Wire(once) as wire:
            for number in range(3):
                assert (await transport.send(post(wire.url, b"%d" % number))).body == b"%d" % number
                await asyncio.sleep(0.02)
            assert wire.connections == 3
            await transport.close()

    asyncio.run(run())


def test_running_out_of_files_is_the_machines_fault_and_says_what_to_do(carrier: Any) -> None:
    async def scene() -> None:
        transport, held = carrier(direct=True), []
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, before[1]))
        try:
            with suppress(OSError):
                while True:
                    held.append(os.dup(0))
            with pytest.raises(MachineError, match="ulimit -n"):
                await transport.send(Request("GET", "http://127.0.0.1:9/x"))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
            for number in held:
                os.close(number)
            await transport.close()

    asyncio.run(scene())
