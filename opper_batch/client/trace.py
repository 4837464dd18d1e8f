"""A run as one trace at the gateway: its span is named to each call as the one it belongs to.

``POST /v3/spans {name, input, start_time, meta}`` answers ``{data: {id, trace_id}}``, and
``PATCH /v3/spans/{id}`` takes ``output``, ``error`` and ``end_time`` (createSpan, updateSpan). Whether a span
of very many calls can be looked at is not documented, so after a thousand the next ones belong to another
span beneath the first.

It is a courtesy: whatever goes wrong here is let go of, and no call waits for it longer than a second.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from opper_batch.client.exchange import exchange
from opper_batch.client.gateway import Gateway
from opper_batch.client.network import network
from opper_batch.client.transport import Request, Transport
from opper_batch.protocol import END, canonical, decode_object
from opper_batch.text import iso_time

_PATH = "/v3/spans"
_CALLS = 1_000
_SECONDS = 1.0
_BODY_CAP = 64 * 1024
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Trace:
    """The spans of one run. ``span_id`` and ``trace_id`` are None until a call was to leave, or for good.

    ``about`` is what the run's span says of it; where it is not ``on``, nothing is sent. ``calls`` go under
    one span; ``seconds`` are waited for an answer about one. Used from one event loop at a time.
    """

    def __init__(
        self,
        gateway: Gateway,
        *,
        name: str,
        about: Mapping[str, Any],
        on: bool = True,
        calls: int = _CALLS,
        seconds: float = _SECONDS,
    ) -> None:
        self.span_id: str | None = None
        self.trace_id: str | None = None
        self.begun = not on  # whether it was asked for, and answered or given up
        self._gateway = gateway
        self._name = name
        self._about = about
        self._calls = calls
        self._seconds = seconds
        self._left = calls
        self._end = END
        self._latest: str | None = None
        self._asking: asyncio.Task[None] | None = None

    async def begin(self, transport: Transport) -> None:
        """Wait for the run's span, which the first call asks for."""
        self._asking = self._asking or asyncio.get_running_loop().create_task(self._begin(transport))
        await asyncio.shield(self._asking)

    def end(self, transport: Transport) -> bytes:
        """How the body of the call that leaves now ends."""
        self._left -= 1
        if self._left < 0 and self.span_id and self._asking and self._asking.done():
            self._left = self._calls - 1
            self._asking = asyncio.get_running_loop().create_task(self._go_on(transport))
        return self._end

    @property
    def ids(self) -> dict[str, str]:
        """Where the run is traced, by name; empty while it is not."""
        if self.span_id is None or self.trace_id is None:
            return {}
        return {"span_id": self.span_id, "trace_id": self.trace_id}

    def close(self, output: Mapping[str, Any], *, error: BaseException | None) -> None:
        """The run is over, with these numbers; of what stopped it only the kind is said."""
        if self.span_id is None:
            return
        # In a thread, since the caller may be in an event loop of its own, as notebooks are.
        closing = threading.Thread(
            target=lambda: asyncio.run(self._close(output, error)), name="trace", daemon=True
        )
        closing.start()
        closing.join(2 * self._seconds)

    async def _begin(self, transport: Transport) -> None:
        try:
            await self._open(transport, {"input": json.dumps(self._about), "meta": dict(self._about)})
        finally:
            self.begun = True

    async def _go_on(self, transport: Transport) -> None:
        """Another span beneath the run's; where there is none, the calls stay with the one they have."""
        before = self._latest
        await self._open(transport, {"parent_id": self.span_id, "trace_id": self.trace_id})
        if before not in (self.span_id, self._latest):
            await self._change(transport, before, {})

    async def _open(self, transport: Transport, fields: Mapping[str, Any]) -> None:
        asked = {"name": self._name, "type": "batch", "start_time": iso_time(), **fields}
        data = (await self._sent(transport, "POST", _PATH, asked)).get("data")
        found = [data.get(name) for name in ("id", "trace_id")] if isinstance(data, dict) else []
        if not found or not all(isinstance(name, str) and _ID.fullmatch(name) for name in found):
            return
        self._latest, trace_id = found
        self.span_id, self.trace_id = self.span_id or self._latest, self.trace_id or trace_id
        self._end = b',"parent_span_id":' + canonical(self._latest) + END

    async def _close(self, output: Mapping[str, Any], error: BaseException | None) -> None:
        transport = network(direct=self._gateway.is_loopback, seconds=self._seconds)
        said = {"output": json.dumps(output), **({"error": type(error).__name__} if error else {})}
        changes = [self._change(transport, self.span_id, said)]
        if self._latest != self.span_id:
            changes.append(self._change(transport, self._latest, {}))
        try:
            await asyncio.gather(*changes)
        finally:
            await transport.close()

    async def _change(self, transport: Transport, span_id: str | None, fields: Mapping[str, Any]) -> None:
        await self._sent(transport, "PATCH", f"{_PATH}/{span_id}", {**fields, "end_time": iso_time()})

    async def _sent(
        self, transport: Transport, method: str, path: str, fields: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """What the gateway answers, empty where it does not in time or says anything else."""
        request = Request(
            method, self._gateway.url(path), self._gateway.headers, canonical(fields), body_cap=_BODY_CAP
        )
        with suppress(Exception):  # TimeoutError and CallError, and no other is worth a run either
            async with asyncio.timeout(self._seconds):
                response = await exchange(self._gateway, transport, request)
            return decode_object(response.status, response.headers, response.body)
        return {}
