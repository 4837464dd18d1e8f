"""What the ledger knows of a key."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from opper_batch.records import Artifact, Outcome, Usage


class Known(NamedTuple):
    """What the ledger knows of a key: the outcome that counts, and the run that brought it.

    Flat, as it is read, since there is one for each row; usage and attempts cover everything that was ever
    paid for the key. ``files`` are the artifacts as JSON; ``id`` is the outcome's own number.
    """

    key: bytes
    ok: int
    final: int
    error: str | None
    model: str | None
    cost: float | None
    input_tokens: int | None
    output_tokens: int | None
    trace: str | None
    latency_ms: int | None
    attempts: int
    throttled: int
    files: str | None
    run: int
    id: int
    reply: bytes | None = None

    def after(self, earlier: Known) -> Known:
        """The same, with what an earlier outcome of the key used beside its own."""
        usage = self.usage + earlier.usage
        return self._replace(
            cost=usage.cost,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            attempts=self.attempts + earlier.attempts,
        )

    @property
    def usage(self) -> Usage:
        return Usage(self.cost, self.input_tokens, self.output_tokens)

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        return tuple(Artifact(**fields) for fields in json.loads(self.files)) if self.files else ()

    @property
    def outcome(self) -> Outcome:
        return Outcome(
            key=self.key,
            error=None if self.ok else self.error,
            reply=self.reply,
            model=self.model,
            usage=self.usage,
            trace=self.trace,
            latency_ms=self.latency_ms,
            attempts=self.attempts,
            throttled=self.throttled,
            artifacts=self.artifacts,
        )


# The fields of ``Known``, for those who have many: half of an object's time is its name.
Found = tuple[Any, ...]
