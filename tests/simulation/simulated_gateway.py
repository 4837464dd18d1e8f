"""A gateway in virtual time behind the transport's one method, with a journal of all that it was asked.

What it does with a request is decided when it leaves, from the scenario and its number, in that order.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from random import Random
from typing import Any

import httpx
from simulated_scenario import Scenario
from virtual_time import Clock

from opper_batch.client import Request, Response
from opper_batch.errors import Unreachable

URL = "http://127.0.0.1:9"
_READ_SECONDS = 600.0
_EPOCH = 1_800_000_000
_NOTHING: dict[str, str] = {}


@dataclass
class Asked:
    """A request, and what came of it. ``billed`` is None when it cannot have cost anything.

    ``wait`` is what its refusal said to wait; ``heard_at`` when its end was heard, None when it never was.
    """

    at: float
    run: int
    what: str  # "call", "poll" or "file"
    question: str
    fault: str = ""
    billed: float | None = None
    answer: dict[str, Any] | None = None  # one that fits, whether it arrived or not
    operation: str | None = None
    wait: float | None = None
    heard_at: float | None = None
    told: float | None = None  # the cost that was said
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        heard = "" if self.heard_at is None else f" heard {self.heard_at:.3f}"
        more = f" wait {self.wait:g}" if self.wait is not None else ""
        return (
            f"{self.run} {self.at:10.3f} {self.what} {self.question} {self.fault or 'ok'} "
            f"${self.billed}{more}{heard}"
        )


@dataclass
class Made:
    """What a 202 began."""

    question: str
    ends: float
    fate: str  # "done", "failed", "never"
    unknown: int  # so many polls get a 404 first
    answer: dict[str, Any]
    links: int = 0  # so many links are stale


def note(answer: dict[str, Any]) -> str:
    """What tells an answer from every other."""
    return str(list(answer.values())[1])


def question(name: str, asked: dict[str, Any]) -> str:
    """What is asked, in one line that ends in the row's number."""
    return f"{name} {asked.get('tag', '-')} {asked['text']}"


class SimulatedGateway:
    """``calm`` from then on it makes no fault, and all that never ended ends.

    ``happened`` is called with "request", "answer" or "poll" when one leaves, is on its way, or leaves.
    """

    def __init__(self, scenario: Scenario, clock: Clock, happened: Callable[[str], None]) -> None:
        self.scenario, self.clock, self.happened = scenario, clock, happened
        self.journal: list[Asked] = []
        self.made: dict[str, Made] = {}
        self.run = 0
        self.calm = False
        self.dead = False  # the run was killed: nothing of it may come any more
        self.inside = self.most_inside = 0
        self._made_up = 0
        self._chance = Random(f"gateway {scenario.seed}")
        self._saved, self._saved_at = (scenario.limit or (0.0, 0.0))[1], 0.0
        self.files = httpx.MockTransport(self._file)

    # The transport.

    async def send(self, request: Request) -> Response:
        assert not self.dead, "a killed run goes on"
        if request.method == "GET":
            return await self._polled(request.url.split("/")[-2])
        fields = json.loads(request.body or b"")
        asked = Asked(self.clock(), self.run, "call", question(fields["name"], fields["input"]))
        asked.columns = tuple(fields["output_schema"]["properties"])
        self.journal.append(asked)
        self.happened("request")
        self.inside += 1
        self.most_inside = max(self.inside, self.most_inside)
        try:
            response = await self._called(asked)
        except Unreachable:
            asked.heard_at = self.clock()
            raise
        finally:
            self.inside -= 1
        asked.heard_at = self.clock()
        return response

    async def close(self) -> None:
        pass

    # Calls.

    async def _called(self, asked: Asked) -> Response:
        asked.fault = self._fault(asked)
        if not asked.fault:
            return await self._answered(asked)
        if asked.fault.isdecimal():
            await self._takes(0.05)
            return _says(int(asked.fault), {"error": {"code": "no", "message": "refused"}})
        response: Response = await getattr(self, f"_{asked.fault}")(asked)
        return response

    def _fault(self, asked: Asked) -> str:
        scenario, now, chance = self.scenario, self.clock(), self._chance
        number = int(asked.question.split()[-1])
        if number >= scenario.distinct - scenario.refused:
            return "400"
        if self.calm:
            return ""
        for begin, end, status in scenario.shut:
            if begin <= now < end:
                return str(status)
        for begin, end, how in scenario.outages:
            if begin <= now < end:
                return "lost" if how == "after" else how
        if not self._within_limit(now):
            return "limited"
        if scenario.inside and self.inside > scenario.inside:
            return "crowded"
        if number >= scenario.distinct - scenario.refused - scenario.hopeless:
            return "broken"
        drawn = chance.random()
        for name, share in scenario.faults.items():
            drawn -= share
            if drawn < 0:
                return name
        return ""

    def _within_limit(self, now: float) -> bool:
        if not self.scenario.limit:
            return True
        rate, most = self.scenario.limit
        self._saved, self._saved_at = min(most, self._saved + rate * (now - self._saved_at)), now
        if self._saved < 1 - 1e-9:
            return False
        self._saved -= 1
        return True

    async def _takes(self, median: float) -> None:
        await asyncio.sleep(median * math.exp(self._chance.gauss(0, 0.6)))

    def _bill(self, asked: Asked, **answer: Any) -> dict[str, Any]:
        """What an answer costs, and its ``meta``."""
        scenario, number = self.scenario, len(self.journal)
        costly = self._chance.random() < scenario.surprise
        asked.billed = scenario.price * self._chance.uniform(0.5, 1.0) * (20 if costly else 1)
        asked.told = None if scenario.unpriced else asked.billed
        meta: dict[str, Any] = {"trace_uuid": f"trace {number}", "models_used": ["a/b"], **answer}
        if asked.told is not None:
            meta["cost"] = asked.told
        return {**meta, "usage": {"input_tokens": 10, "output_tokens": 5}}

    def _answer(self, asked: Asked) -> dict[str, Any]:
        self._made_up += 1
        answer = (self._chance.choice("abc"), f"{asked.question} #{self._made_up}")
        return dict(zip(asked.columns, answer, strict=True))

    async def _answered(self, asked: Asked) -> Response:
        asked.answer = self._answer(asked)
        meta = self._bill(asked)
        await self._takes(self.scenario.latency)
        self.happened("answer")
        return _says(200, {"data": asked.answer, "meta": meta})

    # Faults, each by its name.

    async def _throttled(self, asked: Asked) -> Response:
        await self._takes(0.05)
        return self._refuses(429, asked, self._chance.choice((0.0, 0.3, 1.0, 2.5, 7.0, 40.0)))

    async def _limited(self, asked: Asked) -> Response:
        rate, _ = self.scenario.limit or (1.0, 1.0)
        missing = (1 - self._saved) / rate
        await self._takes(0.05)
        return self._refuses(429, asked, missing)

    async def _crowded(self, asked: Asked) -> Response:
        await self._takes(0.05)
        return _says(429, {"error": "too many at once"})

    async def _busy(self, asked: Asked) -> Response:
        await self._takes(0.05)
        return self._refuses(503, asked, self._chance.choice((1.0, 5.0, 20.0)))

    async def _broken(self, asked: Asked) -> Response:
        self._bill(asked)
        await self._takes(self.scenario.latency)
        return _says(self._chance.choice((500, 500, 520, 425)), {"detail": "internal"})

    async def _absent(self, asked: Asked) -> Response:
        await self._takes(0.02)
        return Response(self._chance.choice((502, 503, 504)), _NOTHING, b"<html>Bad gateway</html>")

    async def _timeout(self, asked: Asked) -> Response:
        await self._takes(5.0)
        return _says(408, {"error": "timeout"})

    async def _before(self, asked: Asked) -> Response:
        await self._takes(0.02)
        raise Unreachable("no answer: connection refused", paid=False)

    async def _after(self, asked: Asked) -> Response:
        asked.answer = self._answer(asked)
        return await self._lost(asked)

    async def _lost(self, asked: Asked) -> Response:
        self._bill(asked)
        await self._takes(self.scenario.latency)
        raise Unreachable("no answer: connection reset", paid=True)

    async def _cut(self, asked: Asked) -> Response:
        response = await self._answered(asked)
        asked.answer = None
        return Response(200, _NOTHING, response.body[: self._chance.randrange(1, len(response.body))])

    async def _page(self, asked: Asked) -> Response:
        self._bill(asked)
        await self._takes(self.scenario.latency)
        return Response(200, _NOTHING, b"<html>Please log in</html>")

    async def _empty(self, asked: Asked) -> Response:
        self._bill(asked)
        await self._takes(self.scenario.latency)
        return Response(200, _NOTHING, b"")

    async def _stall(self, asked: Asked) -> Response:
        await asyncio.sleep(60)
        return await self._answered(asked)

    async def _dead(self, asked: Asked) -> Response:
        self._bill(asked)
        await asyncio.sleep(_READ_SECONDS)
        raise Unreachable("no answer in 600 s", paid=True)

    async def _misfit(self, asked: Asked) -> Response:
        answer = self._answer(asked)
        tag = asked.columns[0]
        wrong: list[Any] = [{**answer, tag: "z"}, {tag: "a"}, {**answer, tag: None}, [answer], "a"]
        meta = self._bill(asked)
        await self._takes(self.scenario.latency)
        return _says(200, {"data": self._chance.choice(wrong), "meta": meta})

    async def _pending(self, asked: Asked) -> Response:
        operation = f"op-{len(self.journal)}"
        fate = self._chance.choices(("done", "failed", "never"), (8, 1, 1))[0]
        ends = self.clock() + self._chance.choice((0.5, 5.0, 60.0, 400.0))
        unknown, stale = self._chance.choice((0, 0, 0, 1, 3)), self._chance.choice((0, 0, 0, 1))
        self.made[operation] = Made(asked.question, ends, fate, unknown, self._answer(asked), stale)
        begun = [{"id": operation, "status_url": "https://elsewhere.example/", "type": "json"}]
        asked.operation = operation
        meta = self._bill(asked, status="pending", pending_operations=begun)
        await self._takes(0.3)
        self.happened("answer")
        return _says(202, {"data": None, "meta": meta})

    # Operations.

    async def _polled(self, operation: str) -> Response:
        made = self.made[operation]
        asked = Asked(self.clock(), self.run, "poll", made.question, operation=operation)
        self.journal.append(asked)
        self.happened("poll")
        await self._takes(0.05)
        asked.heard_at = self.clock()
        if not self.calm and (response := self._poll_fault(asked)):
            return response
        if made.unknown:
            made.unknown -= 1
            return _says(404, {"errors": [{"type": "HTTPException"}]})
        if made.fate == "failed":
            asked.fault = "failed"
            return _says(200, {"id": operation, "status": "failed", "error": "out of paint"})
        over = self.clock() >= made.ends and (made.fate == "done" or self.calm)
        link = {"url": f"{URL}/files/{operation}", "mime_type": "application/json"} if over else {}
        return _says(200, {"id": operation, "status": "completed" if over else "processing", **link})

    def _poll_fault(self, asked: Asked) -> Response | None:
        if any(begin <= self.clock() < end for begin, end, _ in self.scenario.outages):
            asked.fault = "before"
            raise Unreachable("no answer: connection refused", paid=False)
        drawn = self._chance.random() / (0.05 if self.scenario.faults else 1e-9)
        if drawn < 0.3:
            asked.fault = "before"
            raise Unreachable("no answer: connection reset", paid=True)
        if drawn < 0.6:
            asked.fault = "throttled"
            return self._refuses(429, asked, self._chance.choice((0.3, 4.0)))
        asked.fault = "broken" if drawn < 1 else ""
        return _says(500, {"detail": "internal"}) if drawn < 1 else None

    async def _file(self, request: httpx.Request) -> httpx.Response:
        made = self.made[request.url.path.split("/")[-1]]
        self.journal.append(Asked(self.clock(), self.run, "file", made.question))
        await self._takes(0.1)
        if made.links:
            made.links -= 1
            return httpx.Response(403)
        return httpx.Response(200, stream=httpx.ByteStream(json.dumps(made.answer).encode()))

    # Retry-After.

    def _refuses(self, status: int, asked: Asked, wait: float) -> Response:
        """In one of the forms that are met; ``asked.wait`` is what a client can know of it."""
        form = self._chance.choice(("seconds", "fraction", "date", "ms", "both", "none", "nonsense"))
        whole = math.ceil(wait)
        now = _EPOCH + self.clock()
        headers, asked.wait = {
            "seconds": ({"retry-after": str(whole)}, whole),
            "fraction": ({"retry-after": f"{wait:.3f}"}, float(f"{wait:.3f}")),
            "date": ({"retry-after": _date(math.ceil(now) + whole), "date": _date(math.ceil(now))}, whole),
            "ms": ({"retry-after-ms": str(math.ceil(1000 * wait))}, math.ceil(1000 * wait) / 1000),
            "both": ({"retry-after-ms": f"{1000 * wait:.0f}", "retry-after": str(whole)}, 0),
            "none": ({}, None),
            "nonsense": ({"retry-after": "soon"}, None),
        }[form]
        if form == "both":
            asked.wait = float(f"{1000 * wait:.0f}") / 1000
        return _says(status, {"error": {"message": "slow down"}}, **headers)


def _date(seconds: float) -> str:
    return formatdate(seconds, usegmt=True)


def _says(status: int, body: object, **headers: str) -> Response:
    return Response(status, headers, json.dumps(body).encode())
