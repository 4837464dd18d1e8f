"""One call, ring by ring: retry( pace( send ) ), then poll, then read; everything durable before it counts.

call        an outcome for every question; only what stops the whole run is raised
  asked     asks again what asking again can help, at most three times      (the one use of tenacity)
    attempt   a place at the gate, the intent, the request, the answer, the record
  polled    waits for a 202's operations, without a place at the gate
  judged    reads the answer into the columns and records it
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from opper_batch.budget import Budget, over_budget
from opper_batch.client.artifacts import Artifacts
from opper_batch.client.bodies import Bodies, Share
from opper_batch.client.exchange import exchange
from opper_batch.client.gate import Gate, GateClosed
from opper_batch.client.gateway import Gateway
from opper_batch.client.tally import Intent, Tally
from opper_batch.client.trace import Trace
from opper_batch.client.transport import Request, Transport
from opper_batch.columns import Columns
from opper_batch.errors import (
    AccessRefused,
    BadOutput,
    BadReply,
    CallError,
    CallRefused,
    MachineError,
    OperationFailed,
    RunStopped,
    ServerFault,
    Throttled,
)
from opper_batch.ledger import Journal
from opper_batch.protocol import CALL_PATH, END, Template, decode, with_artifacts, without_usage, wrapped
from opper_batch.records import Artifact, Call, Cause, Outcome, Reply, Usage

ATTEMPTS = 3
ROW_SECONDS = 3600.0
_FIRST_BACKOFF = 0.5
_LONGEST_BACKOFF = 60.0
_TELLING = 0.25  # until others have told whether it is an outage, for which no attempts are used up


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
        trace: Trace | None = None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        bodies: Bodies | None = None,
    ) -> None:
        self.gate = gate
        self.budget = budget
        self.progress = asyncio.Event()  # set whenever a call was answered and its money settled
        self.answered = 0  # how many posted calls got an answer, a 202 included
        self._rules = rules
        self._gateway = gateway
        self._transport = transport
        self._journal = journal
        self._artifacts = artifacts
        self._bodies = bodies or Bodies()
        self._trace = trace
        self._clock = clock
        self._chance = chance

    def intent(self, call: Call) -> Intent | None:
        """Write down, with what ended just now, that ``call`` is to leave; None where that is too early."""
        at_once = call.pending is None and (self._trace is None or self._trace.begun)
        return self._journal.intent(call.key) if at_once else None

    async def call(self, call: Call, *, reserved: float = 0.0, intent: Intent | None = None) -> Outcome:
        """The outcome, durable.

        The caller has entered the gate for it and ``reserved`` its money, which is settled here; ``intent``
        is waited for before it leaves, and written here if there is none. A pending call needs none of them.
        Raises AccessRefused or RunStopped when no other call would do better, GateClosed when the run stops
        before this call could be tried again.
        """
        tally = Tally(call.key, started=self._clock(), free=call.pending is None, intent=intent)
        try:
            if call.pending is not None:
                return await self._resumed(call.pending, call.since, tally)
            answered = await self._asked(call, tally, reserved)
            return answered if isinstance(answered, Outcome) else await self._polled(answered, tally)
        except (AccessRefused, RunStopped, MachineError, GateClosed):
            if tally.free:
                with suppress(MachineError):  # the ledger may be what stands in the way
                    await self._journal.retract(call.key)
            raise
        except CallError as error:
            return await self._failed(error, tally)

    async def close(self) -> None:
        await self._artifacts.close()
        await self._transport.close()

    async def _asked(self, call: Call, tally: Tally, reserved: float) -> Outcome | Reply:
        """Ask until asking again cannot help; what was set aside is given back then."""
        try:
            try:
                answered = await self._attempt(call, tally)
            except CallError as error:
                answered = await self._asked_again(call, tally, error.bare())
        finally:
            self.budget.settle(reserved, tally.cost)
        self.answered += 1
        self.progress.set()
        return answered

    async def _asked_again(self, call: Call, tally: Tally, error: CallError) -> Outcome | Reply:
        """What may follow an attempt that ended in ``error``, which is told to tenacity as its first.

        Most calls are answered at once and never come here: tenacity alone takes longer than all the rest.
        """
        ended = [error]

        async def attempt() -> Outcome | Reply:
            if ended:
                raise ended.pop()
            try:
                return await self._attempt(call, tally)
            except CallError as error:
                raise error.bare() from None

        retrying = AsyncRetrying(
            retry=retry_if_exception(lambda error: self._worth_another(error, tally)),
            wait=lambda state: self._backoff(_error(state), tally),
            sleep=self.gate.sleep,
            reraise=True,
        )
        answered: Outcome | Reply = await retrying(attempt)
        return answered

    async def _resumed(self, pending: bytes, since: float | None, tally: Tally) -> Outcome:
        """What an earlier run left pending; its cost is recorded in this run, whose budget knows it."""
        return await self._polled(decode(202, {}, pending), tally, since=since)

    async def _attempt(self, call: Call, tally: Tally) -> Outcome | Reply:
        """One request; an answer that fits or finally does not is an outcome, a 202 a reply to poll."""
        trace = self._trace
        if trace is not None and not trace.begun:
            await trace.begin(self._transport)
        end = trace.end(self._transport) if trace is not None else END
        body = self._rules.template.body(call.input, problems=tally.problems, end=end)
        if tally.tries:
            await self._admitted_again(tally)
        tally.tries += 1
        await self._intended(call, tally)
        share = self._bodies.share()
        try:
            reply = await self._sent(body, tally, share)
            if reply.operations:
                tally.begun = reply
                await self._journal.pend(call.key, reply)
                return reply
            return await self._judged(reply, tally)
        finally:
            share.done()

    async def _admitted_again(self, tally: Tally) -> None:
        """Wait for a place; raises RunStopped when the money is needed for what has left already."""
        await self.gate.enter(again=True, last=tally.used == ATTEMPTS - 1)
        if not self.budget.affords():
            self.gate.leave()
            raise over_budget(self.budget)

    async def _intended(self, call: Call, tally: Tally) -> None:
        """It may leave from now on: its intent is durable, and nothing has shut the gate while that was
        written. Raises GateClosed.

        What was in its place before is durable too, since commits keep their order.
        """
        while True:
            intent, tally.intent = tally.intent or self._journal.intent(call.key), None
            try:
                await intent
            except BaseException:
                self.gate.leave()
                raise
            if not self.gate.is_shut:
                return
            self.gate.leave()
            await self.gate.enter(again=True)

    async def _sent(self, body: bytes, tally: Tally, share: Share) -> Reply:
        """Send it and give the place back.

        What came goes to the journal before anybody can take the place, if nothing is awaited before, and to
        the ledger before the next intent.
        """
        sent, used = self.gate.expect(len(body) / 4), None
        try:
            reply = await self._posted(body, tally, share)
            used = reply.usage.tokens
        except Throttled as error:
            used = 0
            tally.wait = self.gate.throttled(sent, error.retry_after)
            raise
        finally:
            self.gate.leave(sent, used=used)
        return reply

    async def _posted(self, body: bytes, tally: Tally, share: Share) -> Reply:
        request = Request("POST", self._gateway.url(CALL_PATH), self._gateway.headers, body, share=share)
        sent, tally.body = self._clock(), None
        try:
            response = await exchange(self._gateway, self._transport, request)
            tally.heard(response.body)
            self.gate.heard(response.headers)
            reply = decode(response.status, response.headers, response.body)
        except Throttled:
            tally.throttled += 1
            self.gate.answered(sent)
            raise
        except AccessRefused:
            self.gate.close()  # before anybody takes this call's place
            raise
        except CallError as error:
            self._note(error, tally, sent)
            tally.attempted(paid=error.paid, excused=self.gate.excuses(error))
            if error.paid:
                self.budget.spend(None)
            raise
        finally:
            tally.latency_ms = round(1000 * (self._clock() - sent))
        tally.attempted(paid=True, priced=reply.usage.cost is not None)
        self.budget.spend(reply.usage.cost)
        self.gate.answered(sent)
        return reply

    def _note(self, error: CallError, tally: Tally, sent: float) -> None:
        """What a fault says of the gateway; raises RunStopped when it is more than a run should bear."""
        if error.absent:
            before, tally.absent_at = tally.absent_at, self._clock()
            self.gate.unanswered(error.message, before=before, last=tally.used == ATTEMPTS - 1)
        else:
            self.gate.answered(sent)
        if isinstance(error, ServerFault) and error.retry_after:
            self.gate.pause(error.retry_after)

    async def _polled(self, reply: Reply, tally: Tally, *, since: float | None = None) -> Outcome:
        """Wait for all operations of a 202; one that gave JSON gave the answer itself."""
        tally.begun, artifacts, share = reply, [], self._bodies.share()
        made = self._artifacts.fetch(reply.operations, name=tally.key.hex(), share=share, since=since)
        try:
            for fetched in await made:
                if isinstance(fetched, Artifact):
                    artifacts.append(fetched)
                else:
                    reply = _answered(fetched, reply)
            tally.artifacts = tuple(artifacts)
            return await self._judged(reply, tally, repairable=False)
        finally:
            share.done()

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
        # What the 202 cost is recorded now: not again when it has ended.
        begun = without_usage(tally.begun.raw) if tally.begun and tally.begun.usage != Usage() else None
        outcome = tally.outcome(error=error.message, cause=_cause(error))
        still_pending = isinstance(error, OperationFailed) and not error.final
        await self._journal.record(outcome, still_pending=still_pending, begun=begun)
        return outcome

    def _worth_another(self, error: BaseException, tally: Tally) -> bool:
        """Try again? The one place that says."""
        if not isinstance(error, CallError) or self._clock() - tally.started > ROW_SECONDS:
            return False
        if isinstance(error, Throttled):
            return True
        if isinstance(error, BadOutput):
            return True  # raised by judged only when it is to be repaired
        return error.retryable and tally.used < ATTEMPTS

    def _repairable(self, tally: Tally) -> bool:
        return tally.repairs < self._rules.repair and tally.used < ATTEMPTS

    def _backoff(self, error: BaseException | None, tally: Tally) -> float:
        """Full jitter; where the gateway said how long, a call waits at the gate; a repair does not wait."""
        if isinstance(error, Throttled):
            return tally.wait
        if isinstance(error, BadOutput) or (isinstance(error, ServerFault) and error.retry_after):
            return 0.0
        absent = isinstance(error, CallError) and error.absent
        longest = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2.0 ** min(tally.used, 10))
        return max(_TELLING if absent else 0.0, self._chance() * longest)


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _answered(text: bytes, reply: Reply) -> Reply:
    """The reply that an operation's JSON makes of its 202."""
    try:
        return decode(200, {}, wrapped(text, reply))
    except BadReply as error:
        raise OperationFailed(f"the operation's answer cannot be read: {error.message}", final=True) from None


def _cause(error: CallError) -> Cause:
    if isinstance(error, CallRefused):
        return "refused"
    return "answer" if isinstance(error, OperationFailed | BadOutput) else "gateway"
