"""To which address connections are made."""

from __future__ import annotations

import asyncio
import gc
import socket
from asyncio.sslproto import SSLProtocol
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from wire import Wire, echo, post

from opper_batch.client.lean import LeanTransport
from opper_batch.errors import Unreachable

HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"


@pytest.fixture(autouse=True)
def two_addresses() -> None:
    with socket.socket() as there:
        try:
            there.bind((ELSEWHERE, 0))
        except OSError as error:
            pytest.skip(f"this machine has no second loopback address: {error}")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names.answer)
    return names


class Names:
    """A name server that knows gateway.example, at ``addresses``, and counts how often it is asked for it."""

    def __init__(self) -> None:
        self.addresses = [HERE]
        self.asked = 0
        self._true = socket.getaddrinfo

    def answer(self, host: str, port: int, *args: Any, **more: Any) -> list[Any]:
        if host != "gateway.example":
            return self._true(host, port, *args, **more)
        self.asked += 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.addresses]


async def together(transport: LeanTransport, wire: Wire, count: int) -> None:
    """So many requests at once, each over a connection of its own."""
    url = f"http://gateway.example:{wire.port}/v3/call"
    await asyncio.gather(*(transport.send(post(url)) for _ in range(count)))


@pytest.mark.parametrize(("seconds", "asked"), [(10.0, 1), (0.0, 21)])
def test_the_name_is_asked_for_once_while_its_address_is_known(
    told: Names, monkeypatch: pytest.MonkeyPatch, seconds: float, asked: int
) -> None:
    monkeypatch.setattr("opper_batch.client.dialer._KNOWN_SECONDS", seconds)

    async def run() -> None:
        transport = LeanTransport(direct=True, seconds=10.0)
        async with Wire(echo) as wire:
            await together(transport, wire, 1)
            await together(transport, wire, 21)
            assert (wire.connections, told.asked) == (21, asked)
            await transport.close()

    asyncio.run(run())


def test_a_gateway_that_moves_is_found_by_its_name(told: Names) -> None:
    async def run() -> None:
        transport = LeanTransport(direct=True, seconds=10.0)
        async with Wire(echo) as before:
            await together(transport, before, 1)
        told.addresses = [HERE, ELSEWHERE]
        async with Wire(echo, host=ELSEWHERE, port=before.port) as after:
            await together(transport, after, 3)
            assert (after.connections, len(after.requests)) == (3, 3)
            asked = told.asked
            await together(transport, after, 4)
            assert (after.connections, told.asked) == (4, asked)
            await transport.close()

    asyncio.run(run())


def test_an_address_that_has_gone_silent_is_given_up_soon(
    told: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It neither refuses nor answers: its queue of connections is full."""
    monkeypatch.setattr("opper_batch.client.dialer._SILENT_SECONDS", 0.1)

    async def run() -> None:
        transport = LeanTransport(direct=True, seconds=10.0)
        async with Wire(echo) as before:
            await together(transport, before, 1)
        told.addresses = [ELSEWHERE]
        async with Wire(echo, host=ELSEWHERE, port=before.port) as after:
            with socket.create_server((HERE, before.port), backlog=0) as silent, full(silent):
                async with asyncio.timeout(5):
                    await together(transport, after, 3)
            assert after.connections == 3
        await transport.close()

    asyncio.run(run())


def test_who_waits_for_a_connection_waits_no_longer_than_for_an_exchange() -> None:
    async def run() -> None:
        transport = LeanTransport(direct=True, seconds=0.2)
        with socket.create_server((HERE, 0), backlog=0) as silent, full(silent):
            with pytest.raises(Unreachable, match=r"no connection in 0\.2 s") as caught:
                await transport.send(post(f"http://{HERE}:{silent.getsockname()[1]}/v3/call"))
            assert not caught.value.paid
        await transport.close()

    asyncio.run(run())


@contextmanager
def full(silent: socket.socket) -> Iterator[None]:
    """Whoever connects to it now waits: nobody takes the connections that came before."""
    with ExitStack() as waiting:
        for _ in range(4):
            another = waiting.enter_context(socket.socket())
            another.setblocking(False)
            another.connect_ex(silent.getsockname())
        yield


@pytest.mark.parametrize("hello", [b"220 mail.example\r\n", b""])
def test_connections_that_fail_leave_nothing_for_the_garbage_collector(hello: bytes) -> None:
    """Each holds a quarter of a megabyte that TLS reads by, and an outage makes thousands."""

    async def speaks_no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(hello)
        await reader.read()
        writer.close()

    async def run() -> None:
        transport = LeanTransport(direct=True, seconds=0.2)
        async with await asyncio.start_server(speaks_no_tls, HERE, 0) as there:
            url = f"https://{HERE}:{there.sockets[0].getsockname()[1]}/v3/call"
            gc.collect()
            gc.disable()
            try:
                for _ in range(3):
                    with pytest.raises(Unreachable):
                        await transport.send(post(url))
                await asyncio.sleep(0.05)  # the last one is closed
                assert [kept for kept in gc.get_objects() if isinstance(kept, SSLProtocol)] == []
            finally:
                gc.enable()
            await transport.close()

    asyncio.run(run())
