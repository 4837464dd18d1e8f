"""Each exchange has its own end, though one timer serves them all."""

from __future__ import annotations

import asyncio

import pytest
from wire import Wire, Writer, echo, post

from opper_batch.client.lean import LeanTransport
from opper_batch.errors import Unreachable

SECONDS = 0.2


async def silent_when_asked(request: bytes, writer: Writer) -> None:
    if not request.endswith(b"say nothing"):
        await echo(request, writer)


def test_each_exchange_ends_in_its_own_time_and_the_others_go_on() -> None:
    async def late(transport: LeanTransport, wire: Wire, begins: float) -> float:
        await asyncio.sleep(begins)
        began = asyncio.get_running_loop().time()
        with pytest.raises(Unreachable, match=r"no answer in 0\.2 s") as caught:
            await transport.send(post(wire.url, b"say nothing"))
        assert caught.value.paid
        return asyncio.get_running_loop().time() - began

    async def run() -> None:
        transport = LeanTransport(direct=True, seconds=SECONDS)
        async with Wire(silent_when_asked) as wire:
            waiting = [asyncio.create_task(late(transport, wire, begins)) for begins in (0.0, 0.1, 0.15)]
            while not all(task.done() for task in waiting):
                assert (await transport.send(post(wire.url, b"speak"))).body == b"speak"
                await asyncio.sleep(0.01)
            for took in await asyncio.gather(*waiting):
                assert SECONDS <= took < 2 * SECONDS
            assert repr(transport) == "LeanTransport(idle=1, open=1)"
            await asyncio.sleep(1.5 * SECONDS)  # what is idle has no end
            assert (await transport.send(post(wire.url, b"again"))).body == b"again"
            assert wire.connections == 4
            await transport.close()

    asyncio.run(run())
