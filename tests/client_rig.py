"""What client and engines are tested with: a client on a real ledger, a gateway that says what it is told."""

from __future__ import annotations

import asyncio
import json
import socket
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from opper_batch.budget import Budget
from opper_batch.client import Client, Gate, Gateway, StepRules, network
from opper_batch.client.artifacts import Artifacts, Polling
from opper_batch.client.bodies import Bodies
from opper_batch.columns import Columns
from opper_batch.ledger import Journal, Known, Ledger
from opper_batch.pace import Pace
from opper_batch.protocol import Template
from opper_batch.records import Call, Outcome
from opper_batch.sandbox.listening import Server

KEY = "op-canary-77aa1c"
TICKET = {"category": ["billing", "bug"], "priority": {"type": "TINYINT", "min": 1, "max": 5}}
MEDIA = {"video": "VARCHAR", "mime_type": "VARCHAR"}
QUICK = Polling(first=0.01, longest=0.02, deadline=5.0)


class Rig:
    """A client of one step and everything it stands on, against the gateway at ``url``.

    Waits that chance decides are 0 unless ``chance`` says otherwise.
    """

    def __init__(
        self,
        folder: Path,
        url: str,
        *,
        columns: dict[str, Any] | None = None,
        repair: int = 1,
        cap: float | None = None,
        pace: Pace | None = None,
        polling: Polling = QUICK,
        chance: float = 0.0,
        seconds: float = 30.0,
        gate: Callable[[Pace], Gate] = Gate,
        bodies: Bodies | None = None,
    ) -> None:
        self.path, self.folder = folder / "ledger.sqlite", folder / "artifacts"
        self.columns = Columns.parse(columns or TICKET)
        fields = {"name": "triage", "instructions": "Triage.", "output_schema": self.columns.json_schema}
        self.template = Template(fields, origin="sandbox")
        self.gateway = Gateway.at(url, key=KEY, sandbox=True)
        self.transport = network(direct=True, seconds=seconds)
        self.gate = gate(pace or Pace(concurrency=8))
        self.budget = Budget(cap)
        self.bodies = bodies or Bodies()
        self.ledger = Ledger(self.path, patience=0.2)
        self.ledger.begin(origin="sandbox", options={})
        self.client = Client(
            StepRules(self.template, self.columns, repair),
            gateway=self.gateway,
            transport=self.transport,
            gate=self.gate,
            budget=self.budget,
            journal=self.journal(),
            artifacts=Artifacts(self.gateway, self.transport, self.gate, folder=self.folder, polling=polling),
            chance=lambda: chance,
            bodies=self.bodies,
        )

    def question(
        self, value: object = "a question", *, pending: bytes | None = None, since: float | None = None
    ) -> Call:
        text = json.dumps(value).encode()
        return Call(self.template.key(text), text, pending, since)

    def ask(
        self, value: object = "a question", *, pending: bytes | None = None, since: float | None = None
    ) -> Outcome:
        """One call, as an engine would make it."""
        return asyncio.run(self.asked([self.question(value, pending=pending, since=since)]))[0]

    def ask_each(self, *values: object) -> list[Outcome]:
        """One call after the other."""

        async def run() -> list[Outcome]:
            outcomes = [await self.one(self.question(value)) for value in values]
            await self.client.close()
            return outcomes

        return asyncio.run(run())

    async def asked(self, calls: list[Call]) -> list[Outcome]:
        try:
            return await asyncio.gather(*map(self.one, calls))
        finally:
            await self.client.close()

    async def one(self, call: Call) -> Outcome:
        """As an engine asks: money first, then a place."""
        if call.pending is not None:
            return await self.client.call(call)
        reserved = self.budget.reserve()
        await self.gate.enter()
        return await self.client.call(call, reserved=reserved)

    # What the ledger holds, as another process would see it.

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def intents(self) -> set[bytes]:
        return {row[0] for row in self.rows("SELECT key FROM intents")}

    def pending(self) -> dict[bytes, bytes]:
        return dict(self.rows("SELECT key, reply FROM pending"))

    def known(self, call: Call) -> Known:
        with self.ledger.view() as view:
            return view.lookup([call.key])[call.key]

    def settled(self) -> dict[bytes, bool]:
        """Every key with a final outcome, and whether it is an answer."""
        rows = self.rows("SELECT key, ok FROM outcomes WHERE final")
        assert len(rows) == len({row[0] for row in rows}), "a call was settled twice"
        return {row[0]: bool(row[1]) for row in rows}

    def close(self) -> None:
        self.ledger.close()

    def journal(self) -> Journal:
        template = self.template
        return self.ledger.journal(step="triage", digest=template.digest, fields=template.fields)


@dataclass
class Seen:
    """A request that a stub got."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Answer = Callable[[Request], "Response | Awaitable[Response]"]


@dataclass
class Stub:
    """A gateway on loopback that says what it is told, over real HTTP.

    Each request to a path takes the next of its ``answers``, the last one again and again. ``watch`` is
    called with every request before it is answered.
    """

    answers: dict[str, list[Response | Answer]] = field(default_factory=dict)
    watch: Callable[[Seen], None] = lambda seen: None
    seen: list[Seen] = field(default_factory=list)

    def on(self, path: str, *answers: Response | Answer) -> Stub:
        self.answers[path] = list(answers)
        return self

    def calls(self, *answers: Response | Answer) -> Stub:
        return self.on("/v3/call", *answers)

    @property
    def posts(self) -> list[Seen]:
        return [seen for seen in self.seen if seen.method == "POST"]

    def at(self, path: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.path == path]

    def start(self) -> Stub:
        app = Starlette(routes=[Route("/{path:path}", self._answer, methods=["GET", "POST"])])
        listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self._server = Server(app)  # type: ignore[arg-type]
        self._thread = threading.Thread(target=self._server.run, args=([listening],), daemon=True)
        self._thread.start()
        assert self._server.ready.wait(10)
        return self

    def stop(self) -> None:
        self._server.end()
        self._thread.join(5)

    async def _answer(self, request: Request) -> Response:
        path = request.url.path
        seen = Seen(request.method, path, dict(request.headers), await request.body())
        self.seen.append(seen)
        self.watch(seen)
        if path not in self.answers:
            return says(404)  # a crash would close the connection without a word
        left = self.answers[path]
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Response):
            return answer
        said = answer(request)
        return said if isinstance(said, Response) else await said


def ok(data: object = None, **meta: Any) -> Response:
    """A 200 whose data fits TICKET unless told otherwise."""
    data = {"category": "bug", "priority": 3} if data is None else data
    return says(200, {"data": data, "meta": {"models_used": ["m/one"], **meta}})


def pending(*operations: str, kind: str = "json", **more: Any) -> Response:
    begun = [{"id": operation, "type": kind, **more} for operation in operations]
    return says(202, {"data": None, "meta": {"status": "pending", "pending_operations": begun}})


def status(state: str, **fields: Any) -> Response:
    return says(200, {"id": "any", "status": state, **fields})


def says(code: int, body: object = None, **headers: str) -> Response:
    """``body`` as JSON, or as it is when it is text; header names are written with underscores."""
    text = (
        body if isinstance(body, str) else json.dumps(body if body is not None else {"error": f"no: {code}"})
    )
    return Response(text, code, {name.replace("_", "-"): value for name, value in headers.items()})


async def reset(request: Request) -> Response:
    """No answer: the connection is reset."""
    request.scope["state"]["transport"].abort()
    while (await request.receive())["type"] != "http.disconnect":
        pass
    return Response()
