"""One call, ring by ring: retry( pace( send ) ), then poll, then read; everything durable before it counts.

call        an outcome for every question; only what stops the whole run is raised
  asked     asks again what asking again can help, at most three times paid   (the one use of tenacity)
    attempt   a place at the gate, the intent, the request, the answer, the record
  polled    waits for a 202's operations, without a place at the gate
  judged    reads the answer into the columns and records it
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from opper_batch.budget import Budget
from opper_batch.client.artifacts import Artifacts
from opper_batch.client.gate import Gate
from opper_batch.client.gateway import Gateway
from opper_batch.client.tally import Tally
from opper_batch.client.transport import READ_SECONDS, Request, Transport
from opper_batch.columns import Columns
from opper_batch.errors import (
    AccessRefused,
    BadOutput,
    CallError,
    CallRefused,
    OperationFailed,
    RunStopped,
    ServerFault,
    Throttled,
    Unreachable,
)
from opper_batch.ledger import Journal
from opper_batch.protocol import CALL_PATH, Template, decode, with_artifacts, wrapped
from opper_batch.records import Call, Cause, Outcome, Reply

PAID_ATTEMPTS = 3
ROW_SECONDS = 3600.0
LONGEST_PAUSE_SECONDS = 600.0
_FIRST_BACKOFF = 0.5
_LONGEST_BACKOFF = 60.0


@dataclass(frozen=True, slots=True)
class StepRules:
    """What a step asks and accepts: the request's template, the columns, and how often to repair."""

    template: Template
    columns: Columns
    repair: int


class Client:
    """Asks the calls of one step. The clock and the randomness are parameters."""

    def __init__(
        self,
        rules: StepRules,
        *,
        gateway: Gateway,
        transport: Transport,
        gate: Gate,
        budget: Budget,
        journal: Journal,
        artifacts: Artifacts,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.gate = gate
        self.budget = budget
        self._rules = rules
        self._gateway = gateway
        self._transport = transport
        self._journal = journal
        self._artifacts = artifacts
        self._clock = clock
        self._chance = chance

    async def call(self, call: Call) -> Outcome:
        """The outcome, durable. The caller has entered the gate for it, unless the call is pending.

        Raises AccessRefused or RunStopped when no other call would do better, GateClosed when the run
        stops before this call could be tried again.
        """
        tally = Tally(call.key, started=self._clock())
        reserved = self.budget.reserve()
        try:
            if call.pending is not None:
                return await self._polled(call, decode(202, {}, call.pending), tally)
            answered = await self._asked(call, tally)
            return answered if isinstance(answered, Outcome) else await self._polled(call, answered, tally)
        except AccessRefused:
            await self._journal.retract(call.key)
            raise
        except CallError as error:
            return await self._failed(error, tally)
        finally:
            self.budget.settle(reserved, tally.cost)

    async def close(self) -> None:
        await self._artifacts.close()
        await self._transport.close()

    async def _asked(self, call: Call, tally: Tally) -> Outcome | Reply:
        retrying = AsyncRetrying(
            retry=retry_if_exception(lambda error: self._worth_another(error, tally)),
            wait=self._backoff,
            sleep=self.gate.sleep,
            reraise=True,
        )
        return await retrying(self._attempt, call, tally)

    async def _attempt(self, call: Call, tally: Tally) -> Outcome | Reply:
        """One request; an answer that fits or finally does not is an outcome, a 202 a reply to poll."""
        body = self._rules.template.body(call.input, problems=tally.problems)
        expected = len(body) / 4
        if tally.tries:
            await self.gate.enter(again=True)
        tally.tries += 1
        beyond = 0.0
        self.gate.expect(expected)
        try:
            await self._journal.intend(call.key)
            reply = await self._posted(body, tally)
            beyond = (reply.usage.tokens or expected) - expected
            if reply.operations:
                await self._journal.pend(call.key, reply)
                return reply
            return await self._judged(reply, tally)
        finally:
            self.gate.leave(tokens=beyond)

    async def _posted(self, body: bytes, tally: Tally) -> Reply:
        request = Request("POST", self._gateway.url(CALL_PATH), self._gateway.headers, body)
        sent = self._clock()
        try:
            async with asyncio.timeout(READ_SECONDS):
                response = await self._transport.send(request)
            reply = decode(response.status, response.headers, response.body)
        except Throttled as error:
            tally.throttled += 1
            await self._pause(error, tally)
            raise
        except TimeoutError:
            tally.attempts += 1
            raise Unreachable(f"no answer in {READ_SECONDS:.0f} s", paid=True) from None
        except CallError:
            tally.attempts += 1
            raise
        finally:
            tally.latency_ms = round(1000 * (self._clock() - sent))
        tally.attempts += 1
        return reply

    async def _polled(self, call: Call, reply: Reply, tally: Tally) -> Outcome:
        """Wait for all operations of a 202; one that gave JSON gave the answer itself."""
        artifacts = []
        for position, operation in enumerate(reply.operations):
            fetched = await self._artifacts.fetch(operation, name=f"{call.key.hex()}-{position}")
            if fetched.answer is not None:
                reply = decode(200, {}, wrapped(fetched.answer, reply))
            elif fetched.artifact:
                artifacts.append(fetched.artifact)
        tally.artifacts = tuple(artifacts)
        return await self._judged(reply, tally, repairable=False)

    async def _judged(self, reply: Reply, tally: Tally, *, repairable: bool = True) -> Outcome:
        """Read the answer and make it durable; raises BadOutput only when it is to be repaired."""
        columns = self._rules.columns
        try:
            columns.read(with_artifacts(reply.data, tally.artifacts, columns.names))
        except BadOutput as error:
            again = repairable and self._repairable(tally)
            outcome = tally.outcome(error=error.message, cause="answer", reply=reply)
            await self._journal.record(outcome, final=not again)
            if not again:
                return outcome
            tally.problems = error.problems
            raise
        outcome = tally.outcome(reply=reply)
        await self._journal.record(outcome)
        return outcome

    async def _failed(self, error: CallError, tally: Tally) -> Outcome:
        outcome = tally.outcome(error=error.message, cause=_cause(error))
        still_pending = isinstance(error, OperationFailed) and not error.final
        await self._journal.record(outcome, still_pending=still_pending)
        return outcome

    def _worth_another(self, error: BaseException, tally: Tally) -> bool:
        """Try again? The one place that says."""
        if not isinstance(error, CallError) or self._clock() - tally.started > ROW_SECONDS:
            return False
        if isinstance(error, Throttled):
            return True
        if isinstance(error, BadOutput):
            return True  # raised by judged only when it is to be repaired
        return error.retryable and tally.all_attempts < PAID_ATTEMPTS

    def _repairable(self, tally: Tally) -> bool:
        return tally.repairs < self._rules.repair and tally.all_attempts < PAID_ATTEMPTS

    def _backoff(self, state: RetryCallState) -> float:
        """Full jitter; a throttled call waits at the gate instead, a repair does not wait."""
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, Throttled | BadOutput):
            return 0.0
        if isinstance(error, ServerFault) and error.retry_after is not None:
            return min(error.retry_after, LONGEST_PAUSE_SECONDS)
        return self._jittered(_FIRST_BACKOFF, state.attempt_number)

    async def _pause(self, error: Throttled, tally: Tally) -> None:
        """A 429 pauses everybody; past ten minutes the run stops instead."""
        seconds = error.retry_after
        if seconds is None:
            seconds = self._jittered(2 * _FIRST_BACKOFF, tally.throttled)
        if seconds > LONGEST_PAUSE_SECONDS:
            await self._journal.retract(tally.key)
            raise RunStopped(
                f"the gateway asks to wait {seconds:.0f} s before the next call; run again then to go on"
            )
        self.gate.pause(seconds)

    def _jittered(self, first: float, times: int) -> float:
        return self._chance() * min(_LONGEST_BACKOFF, first * 2.0 ** min(times, 10))


def _cause(error: CallError) -> Cause:
    if isinstance(error, CallRefused):
        return "refused"
    return "answer" if isinstance(error, OperationFailed | BadOutput) else "gateway"
