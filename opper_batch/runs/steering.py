"""Pausing, resuming and other limits while a run goes on.

``heed`` says at once what becomes of a wish; it is carried out between two turns of the loop that makes the
calls, or before the next step when none are made just now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

from opper_batch.budget import Budget
from opper_batch.calls import Asking
from opper_batch.client import Client
from opper_batch.engines import LocalEngine
from opper_batch.errors import DefinitionError
from opper_batch.pace import Pace
from opper_batch.pipeline import LimitSpec
from opper_batch.report import money
from opper_batch.runs.listening import Listening, Reading
from opper_batch.runs.options import Options
from opper_batch.runs.wishes import settings


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run is held to now; None is no limit known."""

    concurrency: int | None = None
    rpm: float | None = None
    max_cost: float | None = None
    paused: bool = False

    @classmethod
    def of(cls, spec: LimitSpec, options: Options) -> Limits:
        """What the options say, else what the pipeline does."""
        return cls(
            concurrency=options.concurrency or spec.concurrency,
            rpm=options.requests_per_minute or spec.requests_per_minute,
            max_cost=options.max_cost if options.max_cost is not None else spec.max_cost,
        )


class UnderWay(NamedTuple):
    """The step whose calls are made: its name, how many come after it, and who makes and counts them."""

    step: str
    after: int
    engine: LocalEngine
    client: Client
    asking: Asking


class Steering:
    """What is wanted of a run, and what of it has been carried out."""

    def __init__(self, limits: Limits, pace: Pace, budget: Budget) -> None:
        self.wanted = limits
        self._pace = pace
        self._budget = budget
        self._done = limits
        self._step: UnderWay | None = None
        self._answered = 0  # in the steps before

    def listening(self, ledger: Path, *, run: int) -> Listening:
        """Another terminal is heard, and told how it goes, for as long as this lasts."""
        return Listening(
            ledger, heed=self.heed, press=self.press, standing=lambda: self._standing(run, self._step)
        )

    def begin(self, step: UnderWay) -> None:
        """Calls of another step are made from now on, with what is wanted."""
        self._step = step
        self._apply()

    def end(self) -> None:
        """No calls are made any more."""
        step, self._step = self._step, None
        if step is not None:
            self._answered += step.client.answered

    def press(self) -> None:
        """Carry out what is wanted, as soon as there is somebody to do it."""
        step = self._step
        if step is not None and self.wanted != self._done:
            step.engine.soon(self._apply)

    def heed(self, wish: Mapping[str, Any]) -> str:
        """Takes a wish, and says in a sentence what comes of it."""
        before = self.wanted
        try:
            self.wanted = _with(before, wish)
        except DefinitionError as error:  # one from another version, for instance
            return f"not done: {error.message}"
        self.press()
        said = _sentences(before, self.wanted, self._pace.in_flight)
        later = "" if self._step else "; no calls are made just now, it counts for those to come"
        return said + later

    def _apply(self) -> None:
        wanted, step = self.wanted, self._step
        if step is None:
            return
        self._budget.cap = wanted.max_cost
        self._pace.allow(concurrency=wanted.concurrency, requests_per_minute=wanted.rpm)
        step.client.gate.hold(wanted.paused)
        step.client.progress.set()  # there may be money for a call that waits
        self._done = wanted

    def _standing(self, run: int, at: UnderWay | None) -> tuple[dict[str, Any], Reading]:
        """What others may know of it, read from another thread: numbers that are whole at any moment."""
        rate = self._pace.learner.rate
        said = {
            "run": run,
            "step": at.step if at else None,
            "steps_after": at.after if at else 0,
            "in_flight": self._pace.in_flight,
            "places": int(self._pace.places.open),
            "limit_per_second": round(rate, 3) if rate < inf else None,
            "gateway_pause": round(at.client.gate.paused_for, 1) if at else 0.0,
            "paused": self.wanted.paused,
            "max_cost": self.wanted.max_cost,
        }
        if at is None:
            return said, Reading("", self._answered, 0)
        return said, Reading(at.step, self._answered + at.client.answered, at.asking.settled_rows)


def _with(limits: Limits, wish: Mapping[str, Any]) -> Limits:
    if isinstance(paused := wish.get("paused"), bool):
        limits = replace(limits, paused=paused)
    asked = wish.get("set", [])
    if not isinstance(asked, list):
        raise DefinitionError("it is not understood; use the same version of opper-batch for both")
    found = settings([str(pair) for pair in asked])
    changes: dict[str, Any] = {name.replace("-", "_"): number for name, number in found.items()}
    return replace(limits, **changes)


def _sentences(before: Limits, after: Limits, in_flight: int) -> str:
    said = []
    if before.paused != after.paused:
        ending = f"{in_flight:,} in flight end and are kept" if in_flight else "nothing is in flight"
        said.append(f"paused: nothing new is sent, {ending}" if after.paused else "resumed")
    for name, shown in (("concurrency", _number), ("rpm", _number), ("max_cost", _dollars)):
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            said.append(f"{name.replace('_', '-')} {shown(old)} -> {shown(new)}")
    if not said:
        return "it is so already, nothing was changed"
    if after.paused and before.paused:
        said.append("still paused")
    return ", ".join(said)


def _number(value: float | None) -> str:
    return "not set" if value is None else f"{value:,g}"


def _dollars(value: float | None) -> str:
    return "not set" if value is None else money(value)
