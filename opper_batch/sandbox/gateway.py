"""The gateway behind the routes: what becomes of a call, from the rate limit to the answer.

    read_question -> gate (429) -> model (403) -> budget (402) -> fate
        throttled, bad_request, dropped          refused at once
        latency
        failed                                   5xx
        answer: drawn, priced, counted as paid
        pending -> 202, dropped_after, malformed, else 200

Everything runs on one event loop, so nothing is locked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from starlette.responses import Response

from opper_batch.sandbox.answers import Maker, answer_maker
from opper_batch.sandbox.artifacts import Artifacts
from opper_batch.sandbox.breaking import broken
from opper_batch.sandbox.catalog import cost_of
from opper_batch.sandbox.dice import Dice
from opper_batch.sandbox.fates import Fates, Gate
from opper_batch.sandbox.faults import Dropped, bad_request, failure, malformed, throttled
from opper_batch.sandbox.functions import Functions
from opper_batch.sandbox.journal import Record
from opper_batch.sandbox.questions import Question
from opper_batch.sandbox.refusals import Refusal, compact
from opper_batch.sandbox.replies import Answer, pending_body, reply_body
from opper_batch.sandbox.script import Script
from opper_batch.sandbox.spans import Spans

_KEPT_SCHEMAS = 1000


class Gateway:
    """The state of one sandbox. ``now`` is a steady clock in seconds."""

    def __init__(self, script: Script, now: Callable[[], float] = time.monotonic) -> None:
        self.script = script
        self.functions = Functions()
        self.spans = Spans()
        self.artifacts = Artifacts(script, now)
        self._now = now
        self._gate = Gate(script)
        self._fates = Fates(script)
        self._spent = 0.0
        self._admitted = 0
        self._makers: dict[bytes | None, Maker] = {}

    async def call(self, question: Question, record: Record, origin: str) -> Response:
        """The reply to one call; ``record`` learns what became of it. Raises Refusal."""
        record.function, record.input_digest = question.name, question.input_digest.hex()
        maker = self._maker(question)
        model = self._admit(question)
        record.fault, dice = self._fates.draw(question.input_digest)
        if refusal := self._refused_at_once(record.fault, dice):
            return refusal
        seconds = dice.lognormal(self.script.latency, self.script.latency_sigma)
        seconds += self.script.stall_seconds * (record.fault == "stalled")
        if seconds:
            await asyncio.sleep(seconds)
        if record.fault == "failed":
            return failure(dice)
        answer = self._answer(question, maker, model, record.fault, dice, seconds)
        record.paid, record.cost = True, answer.cost
        return self._reply(question, answer, record.fault, dice, origin)

    def _admit(self, question: Question) -> str:
        """The model that serves the call; raises Refusal when rate, models or budget forbid it."""
        script = self.script
        wait = self._gate.wait(self._now())
        if wait is not None:
            raise throttled(script.retry_after_form, wait, Dice(question.digest))
        self._admitted += 1
        forbidden = script.forbidden_models if self._admitted > script.fine_calls else ()
        allowed = [model for model in question.models if model not in forbidden]
        if not allowed:
            raise Refusal(403, "permission_error", f"model {question.models[0]!r} is not allowed")
        if script.budget is not None and self._spent >= script.budget:
            raise Refusal(402, "budget_exceeded", f"the budget of {script.budget} USD is spent")
        return allowed[0]

    def _refused_at_once(self, fault: str, dice: Dice) -> Response | None:
        if fault == "throttled":
            return throttled(self.script.retry_after_form, self.script.retry_after, dice).response()
        if fault == "bad_request":
            return bad_request()
        return Dropped() if fault == "dropped" else None

    def _answer(
        self, question: Question, maker: Maker, model: str, fault: str, dice: Dice, seconds: float
    ) -> Answer:
        """Draw the answer, and count it: from here on it is paid."""
        found = maker(Dice(question.digest))
        if fault == "schema_breaking":
            found = broken(found, question.output_schema, dice)
        text = compact(found)
        input_tokens = _tokens(len(question.input) + len(question.instructions.encode(errors="replace")))
        output_tokens = _tokens(len(text))
        cost = cost_of(model, input_tokens, output_tokens)
        self._spent += cost
        cached = self.functions.called(question)
        trace = self.spans.add_call(question.name, question.digest, question.parent_span_id, seconds, model)
        return Answer(text, model, input_tokens, output_tokens, cost, seconds, cached, trace)

    def _reply(self, question: Question, answer: Answer, fault: str, dice: Dice, origin: str) -> Response:
        script = self.script
        if fault == "dropped_after":
            return Dropped()
        if fault == "pending":
            operations = self.artifacts.begin(question.digest, dice, question.output_schema, answer.text)
            body = pending_body(question.name, answer, operations, origin)
            return Response(body, 202, media_type="application/json")
        as_text = script.data_as_text > 0 and dice.happens(script.data_as_text)
        body = reply_body(question.name, answer, script.omit, as_text=as_text)
        if fault == "malformed":
            return malformed(body, dice)
        return Response(body, media_type="application/json")

    def _maker(self, question: Question) -> Maker:
        """What makes answers for the question's schema; each schema is read once."""
        maker = self._makers.get(question.schema_text)
        if maker is None:
            if len(self._makers) >= _KEPT_SCHEMAS:
                self._makers.clear()
            maker = self._makers[question.schema_text] = answer_maker(question.output_schema)
        return maker


def _tokens(size: int) -> int:
    """About how many tokens ``size`` bytes are: one for every four."""
    return max(1, (size + 3) // 4)
