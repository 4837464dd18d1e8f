"""What one call has come to so far: tries, costs, and what was wrong with its last answer."""

from __future__ import annotations

from opper_batch.records import Artifact, Cause, Outcome, Reply, Usage


class Tally:
    """Counts for the ledger since its last record, so that the ledger's sums over a call are true."""

    def __init__(self, key: bytes, *, started: float) -> None:
        self.key = key
        self.started = started
        self.tries = 0
        self.attempts = 0
        self.throttled = 0
        self.repairs = 0
        self.latency_ms: int | None = None
        self.problems: tuple[tuple[str, str], ...] = ()
        self.artifacts: tuple[Artifact, ...] = ()
        self.paid = Usage()
        self._recorded = 0

    @property
    def all_attempts(self) -> int:
        """Requests that may have been paid, from the beginning."""
        return self._recorded + self.attempts

    @property
    def cost(self) -> float | None:
        """USD for everything so far; None when something may have been paid and nobody said how much."""
        return self.paid.cost if self.all_attempts else 0.0

    def outcome(
        self,
        *,
        reply: Reply | None = None,
        error: str | None = None,
        cause: Cause = "",
    ) -> Outcome:
        """What is to be recorded now; the counts begin anew after it."""
        outcome = Outcome(
            key=self.key,
            error=error,
            reply=reply.raw if reply else None,
            model=reply.model if reply else None,
            usage=reply.usage if reply else Usage(),
            trace=reply.trace if reply else None,
            latency_ms=self.latency_ms,
            attempts=self.attempts,
            throttled=self.throttled,
            artifacts=self.artifacts,
            cause=cause,
        )
        self.paid += outcome.usage
        self.repairs += cause == "answer"
        self._recorded += self.attempts
        self.attempts = self.throttled = 0
        return outcome
