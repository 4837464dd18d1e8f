"""Pausing, resuming and other limits while a run goes on.

``heed`` says at once what becomes of a wish; it is carried out between two turns of the loop that makes the
calls, or before the next step when none are made just now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from opper_batch.budget import Budget
from opper_batch.client import Client
from opper_batch.engines import LocalEngine
from opper_batch.errors import DefinitionError
from opper_batch.pace import Pace
from opper_batch.report import money
from opper_batch.runs.wishes import settings


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run is held to now; None is no limit known."""

    concurrency: int | None = None
    rpm: float | None = None
    max_cost: float | None = None
    paused: bool = False


class Steering:
    """What is wanted of a run, and what of it has been carried out."""

    def __init__(self, limits: Limits, pace: Pace, budget: Budget) -> None:
        self.wanted = limits
        self._pace = pace
        self._budget = budget
        self._done = limits
        self._step: tuple[LocalEngine, Client] | None = None

    def begin(self, engine: LocalEngine, client: Client) -> None:
        """Calls of another step are made from now on, with what is wanted."""
        self._step = engine, client
        self._apply()

    def end(self) -> None:
        """No calls are made any more."""
        self._step = None

    def press(self) -> None:
        """Carry out what is wanted, as soon as there is somebody to do it."""
        if self._step is not None and self.wanted != self._done:
            self._step[0].soon(self._apply)

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
        client = step[1]
        client.gate.hold(wanted.paused)
        client.progress.set()  # there may be money for a call that waits
        self._done = wanted


def _with(limits: Limits, wish: Mapping[str, Any]) -> Limits:
    if isinstance(paused := wish.get("paused"), bool):
        limits = replace(limits, paused=paused)
    asked = wish.get("set", [])
    if not isinstance(asked, list):
        raise DefinitionError("it is not understood; use the same version of opper-batch for both")
    found = settings([str(pair) for pair in asked])
    changes = {name.replace("-", "_"): number for name, number in found.items()}
    return replace(limits, **changes)  # type: ignore[arg-type]


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
        return "nothing to change: it is so already"
    if after.paused and before.paused:
        said.append("still paused")
    return ", ".join(said)


def _number(value: float | None) -> str:
    return "not set" if value is None else f"{value:,g}"


def _dollars(value: float | None) -> str:
    return "not set" if value is None else money(value)
