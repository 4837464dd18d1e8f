"""What a ledger should hold, as plain Python: the model that the real one is compared with."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field

from opper_batch.ledger import Known, Totals
from opper_batch.records import Outcome, Usage


@dataclass
class Written:
    """An outcome in the order it was written."""

    outcome: Outcome
    final: bool
    run: int
    prompt: int


@dataclass
class Model:
    """``intents`` are of (key, run), ``pending`` the bodies of 202s; ``published`` is the last such run."""

    run: int = 0
    published: int = 0
    outcomes: list[Written] = field(default_factory=list)
    intents: set[tuple[bytes, int]] = field(default_factory=set)
    pending: dict[bytes, bytes] = field(default_factory=dict)

    def copy(self) -> Model:
        return copy.deepcopy(self)

    # What calls do.

    def intend(self, key: bytes) -> None:
        self.intents.add((key, self.run))

    def retract(self, key: bytes) -> None:
        self.intents.discard((key, self.run))

    def pend(self, key: bytes, reply: bytes) -> None:
        self.pending[key] = reply
        self.retract(key)

    def record(
        self,
        outcome: Outcome,
        *,
        prompt: int,
        final: bool,
        still_pending: bool = False,
        begun: bytes | None = None,
    ) -> None:
        self.outcomes.append(Written(outcome, final, self.run, prompt))
        if final:
            self.retract(outcome.key)
        if not still_pending:
            self.pending.pop(outcome.key, None)
        elif begun is not None:
            self.pending[outcome.key] = begun

    # What whoever reads should see.

    def settled(self, keys: Iterable[bytes]) -> dict[bytes, tuple[bool, int, int]]:
        found = {}
        for key in keys:
            if final := [entry for entry in self._of(key) if entry.final]:
                answered = max((e.run for e in final if e.outcome.ok), default=0)
                found[key] = (answered > 0, max(e.run for e in final), answered)
        return found

    def lookup(self, keys: Iterable[bytes]) -> dict[bytes, tuple[object, ...]]:
        """For each key: ok, error, reply, run, and what was ever used for it."""
        found = {}
        for key in keys:
            entries = self._of(key)
            if not entries or not entries[-1].final:
                continue
            last, usage, attempts = entries[-1], Usage(), 0
            for entry in entries:
                usage, attempts = usage + entry.outcome.usage, attempts + entry.outcome.attempts
            outcome = last.outcome
            found[key] = (outcome.ok, outcome.error, outcome.reply, last.run, usage, attempts)
        return found

    def totals(self, *, run: int | None = None, prompt: int | None = None) -> Totals:
        entries = [
            entry
            for entry in self.outcomes
            if run in (None, entry.run) and (prompt is None or entry.prompt == prompt)
        ]
        usages = [entry.outcome.usage for entry in entries]
        return Totals(
            ok=sum(entry.outcome.ok for entry in entries),
            failed=sum(entry.final and not entry.outcome.ok for entry in entries),
            calls=sum(entry.outcome.attempts for entry in entries),
            throttled=sum(entry.outcome.throttled for entry in entries),
            unpriced=sum(entry.outcome.unpriced for entry in entries),
            cost=sum(usage.cost or 0.0 for usage in usages),
            input_tokens=sum(usage.input_tokens or 0 for usage in usages),
            output_tokens=sum(usage.output_tokens or 0 for usage in usages),
            latency_ms=sum((entry.outcome.latency_ms or 0) for entry in entries if entry.outcome.ok),
        )

    def in_doubt(self) -> int:
        return sum(run > self.published for _, run in self.intents)

    def spent(self) -> tuple[float, int]:
        since = [entry.outcome for entry in self.outcomes if entry.run > self.published]
        cost = sum(outcome.usage.cost or 0.0 for outcome in since)
        return cost, sum(outcome.unpriced for outcome in since) + self.in_doubt()

    def _of(self, key: bytes) -> list[Written]:
        """The outcomes of a key, the one that counts as the last."""
        entries = [entry for entry in self.outcomes if entry.outcome.key == key]
        return sorted(entries, key=lambda entry: (entry.outcome.ok, entry.final, entry.run))


def read(known: dict[bytes, Known]) -> dict[bytes, tuple[object, ...]]:
    """What the real one found, as the model says it."""
    return {
        key: (bool(found.ok), found.error, found.reply, found.run, found.usage, found.attempts)
        for key, found in known.items()
    }
