"""What one call has come to so far: tries, costs, and what was wrong with its last answer."""

from __future__ import annotations

from collections.abc import Awaitable

from opper_batch.client.bodies import SMALL
from opper_batch.records import Artifact, Cause, Outcome, Reply, Usage

Intent = Awaitable[None]  # done when it is durable that a request is to leave


class Tally:
    """Counts for the ledger since its last record, so that the ledger's sums over a call are true."""

    def __init__(
        self, key: bytes, *, started: float, free: bool = True, intent: Intent | None = None
    ) -> None:
        self.key = key
        self.started = started
        self.intent = intent  # of its first request, until that was waited for
        self.tries = 0
        self.attempts = 0
        self.used = 0  # of the attempts that a call has: those of an outage that cost nothing are not counted
        self.absent_at: float | None = None  # when nobody was there for it the last time
        self.throttled = 0
        self.unpriced = 0
        self.repairs = 0
        self.free = free  # nothing can have been charged so far
        self.body: bytes | None = None  # what came last and was no reply, as much of it as is kept
        self.latency_ms: int | None = None
        self.wait = 0.0  # seconds that it waits by itself after its last 429
        self.problems: tuple[tuple[str, str], ...] = ()
        self.artifacts: tuple[Artifact, ...] = ()
        self.begun: Reply | None = None  # the 202 that is waited for: paid, and not recorded yet
        self._paid = Usage()

    @property
    def cost(self) -> float:
        """USD for everything so far that is known, a 202 included."""
        paid = self._paid + self.begun.usage if self.begun else self._paid
        return paid.cost or 0.0

    def attempted(self, *, paid: bool, priced: bool = False, excused: bool = False) -> None:
        """A request came to its end; ``paid`` says whether it may have been charged, ``priced`` how much.

        One that is ``excused`` is told, and counts for none of the attempts that a call has.
        """
        self.attempts += 1
        self.used += not excused
        self.unpriced += paid and not priced
        self.free = self.free and not paid

    def heard(self, body: bytes) -> None:
        """Nobody paid for more of what is no reply than a person reads, and a disk is not there for it."""
        self.body = body[:SMALL]

    def outcome(
        self,
        *,
        reply: Reply | None = None,
        error: str | None = None,
        cause: Cause = "",
    ) -> Outcome:
        """What is to be recorded now; the counts begin anew after it.

        Without ``reply`` it is the failure of what was begun, if anything was, with what that cost.
        """
        reply = reply or self.begun
        self.begun = None
        outcome = Outcome(
            key=self.key,
            error=error,
            reply=reply.raw if reply else self.body,
            model=reply.model if reply else None,
            usage=reply.usage if reply else Usage(cost=0.0 if self.free else None),
            trace=reply.trace if reply else None,
            latency_ms=self.latency_ms,
            attempts=self.attempts,
            throttled=self.throttled,
            artifacts=self.artifacts,
            cause=cause,
            unpriced=self.unpriced,
        )
        self._paid += outcome.usage
        self.repairs += cause == "answer"
        self.attempts = self.throttled = self.unpriced = 0
        return outcome
