"""Which connections are kept, and that the others are closed."""

from __future__ import annotations

import asyncio
import gc

import pytest
from wire import Wire, echo, post

from opper_batch.client.connection import Connection
from opper_batch.client.lean import LeanTransport
from opper_batch.errors import Unreachable


def test_idle_connections_that_are_not_needed_any_more_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opper_batch.client.connection.KEEPALIVE_SECONDS", 0.1)

    async def run() -> None:
        transport = LeanTransport(direct=True, seconds=10.0)
        async with Wire(echo) as wire:
            await asyncio.gather(*(transport.send(post(wire.url)) for _ in range(10)))
            async with asyncio.timeout(5):
                while wire.closed < 9:
                    await transport.send(post(wire.url))
            await transport.close()

    asyncio.run(run())


def test_a_cancel_that_comes_after_the_answer_leaves_no_connection_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The answer is there, and who waits for it is cancelled before it wakes up."""

    complete = Connection.on_message_complete

    async def run() -> None:
        def completed(connection: Connection) -> None:
            complete(connection)
            sending.cancel()

        monkeypatch.setattr(Connection, "on_message_complete", completed)
        transport = LeanTransport(direct=True, seconds=10.0)
        async with Wire(echo) as wire:
            sending = asyncio.create_task(transport.send(post(wire.url)))
            with pytest.raises(asyncio.CancelledError):
                await sending
            async with asyncio.timeout(5):
                while not wire.closed:
                    await asyncio.sleep(0)
            assert repr(transport) == "LeanTransport(idle=0, open=0)"
            await transport.close()

    asyncio.run(run())


def test_a_connection_being_made_when_the_transport_closes_is_closed_when_made() -> None:
    async def run() -> None:
        transport = LeanTransport(direct=True, seconds=10.0)
        async with Wire(echo) as wire:
            sending = asyncio.create_task(transport.send(post(wire.url)))
            await asyncio.sleep(0)
            assert transport._dialer._opening
            await transport.close()
            with pytest.raises(Unreachable) as caught:
                await sending
            assert not caught.value.paid
            assert repr(transport) == "LeanTransport(idle=0, open=0)"
            assert wire.requests == []

    asyncio.run(run())
    gc.collect()


def test_a_connection_that_is_never_made_does_not_keep_the_transport_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set()
        await reader.read()
        writer.close()

    heard = asyncio.Event()
    monkeypatch.setattr("opper_batch.client.dialer._CLOSE_SECONDS", 0.02)

    async def run() -> None:
        transport = LeanTransport(direct=True, seconds=10.0)
        async with await asyncio.start_server(silent, "127.0.0.1", 0) as wire:
            port = wire.sockets[0].getsockname()[1]
            sending = asyncio.create_task(transport.send(post(f"https://127.0.0.1:{port}/v3/call")))
            await heard.wait()
            async with asyncio.timeout(5):
                await transport.close()
                await asyncio.wait([sending])
            assert repr(transport) == "LeanTransport(idle=0, open=0)"

    asyncio.run(run())
    gc.collect()
