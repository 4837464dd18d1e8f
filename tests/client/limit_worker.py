"""A process that asks a gateway as fast as its gate lets it: ``limit_worker.py URL SECONDS OUT``.

Each line of OUT is a second of the monotonic clock and ``ok`` or ``no``.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from opper_batch.client import Gate, GateClosed, Gateway
from opper_batch.client.commons import Commons
from opper_batch.client.exchange import exchange
from opper_batch.client.lean import LeanTransport
from opper_batch.client.transport import Request, Transport
from opper_batch.errors import Throttled
from opper_batch.pace import Pace
from opper_batch.protocol import CALL_PATH, decode

KEY = "op-canary-limits"
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


async def one(gateway: Gateway, gate: Gate, transport: Transport, number: int, note: list[str]) -> None:
    body = json.dumps({"name": "t", "input": {"q": number}, "output_schema": SCHEMA}).encode()
    again = False
    while True:
        if again:
            await gate.enter(again=True)
        sent = gate.expect(len(body) / 4)
        at = time.monotonic()
        try:
            request = Request("POST", gateway.url(CALL_PATH), gateway.headers, body)
            response = await exchange(gateway, transport, request)
            gate.heard(response.headers)
            decode(response.status, response.headers, response.body)
            note.append(f"{at} ok\n")
            return
        except Throttled as error:
            note.append(f"{at} no\n")
            gate.throttled(sent, error.retry_after)
        finally:
            gate.leave(sent)
        again = True


async def ask(url: str, seconds: float, out: Path, pace: Pace) -> None:
    gateway, gate, note = Gateway.at(url, key=KEY), Gate(pace), []
    transport, end, tasks = LeanTransport(direct=True), time.monotonic() + seconds, set()
    with out.open("w", buffering=1) as file:
        number = 0
        while time.monotonic() < end:
            try:
                async with asyncio.timeout(max(0.0, end - time.monotonic())):
                    await gate.enter()
            except TimeoutError:
                break
            number += 1
            task = asyncio.create_task(one(gateway, gate, transport, number, note))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            await asyncio.sleep(0)
            file.writelines(note)
            note.clear()
        gate.close()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(error is None or isinstance(error, GateClosed) for error in ended), ended
        file.writelines(note)
    await transport.close()


def main(url: str, seconds: str, out: str) -> None:
    commons = Commons.join(url, KEY)
    assert commons
    pace = Pace(learned=commons.learned, commons=commons)
    print("ready", flush=True)
    asyncio.run(ask(url, float(seconds), Path(out), pace))
    commons.keep(pace.learned)
    commons.leave()


if __name__ == "__main__":
    main(*sys.argv[1:])
