"""What a run would do, without doing it: the free twin of ``execute``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from opper_batch.calls import Policy
from opper_batch.ledger import Totals, View
from opper_batch.pipeline import Pipeline
from opper_batch.records import Call
from opper_batch.report import duration, money
from opper_batch.runs.options import Options
from opper_batch.runs.setting import Setting, resolve
from opper_batch.seen import Seen
from opper_batch.shown import card


@dataclass(frozen=True, slots=True)
class StepPlan:
    """What one step would ask. ``rows = new + known + folded + failed + waiting``.

    ``new`` rows have never been asked, ``known`` have an answer, ``folded`` share an equal row's call,
    ``failed`` failed before, ``waiting`` need an earlier step's answer first. ``cost`` in USD and ``seconds``
    are expectations, None while nothing is known to expect from.
    """

    step: str
    rows: int
    new: int
    known: int
    folded: int
    failed: int
    waiting: int
    calls: int
    cost: float | None
    seconds: float | None
    columns_sent: tuple[str, ...]
    output_schema: dict[str, Any] = field(repr=False)
    first_request: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """What ``run`` would do now."""

    pipeline: str
    gateway: str
    source: str
    rows: int
    output: str | None
    steps: tuple[StepPlan, ...]

    @property
    def calls(self) -> int:
        return sum(step.calls for step in self.steps)

    @property
    def cost(self) -> float | None:
        """USD expected for all steps; None when a step with calls has nothing to expect from."""
        costs = [step.cost for step in self.steps if step.calls]
        return None if None in costs else sum(cost for cost in costs if cost is not None)

    def as_json(self) -> dict[str, Any]:
        steps = [{name: getattr(step, name) for name in StepPlan.__slots__} for step in self.steps]
        mine = {name: getattr(self, name) for name in ("pipeline", "gateway", "source", "rows", "output")}
        return {**mine, "calls": self.calls, "cost": self.cost, "steps": steps}

    def __str__(self) -> str:
        lines = [f"{self.pipeline}: {self.rows:,} rows of {self.source} -> {self.output or 'no sink'}"]
        for step in self.steps:
            lines += _step_text(step)
        expected = f"{money(self.cost)}" if self.cost is not None else "not known before the first answers"
        lines.append(f"  in all: {_calls(self.calls)} to {self.gateway}, cost {expected}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return card(f"{self.pipeline}: what a run would do", self.as_json())


def plan(pipeline: Pipeline, options: Options) -> Plan:
    """Count what would be asked. Reads the source and the ledger; sends and writes nothing."""
    setting = resolve(pipeline, options, writing=False)
    with setting.view() as view:
        policy = Policy(_NO_RUN, options.retry_failed, options.refresh)
        concurrency = options.concurrency or pipeline.limits.concurrency or _USUAL_CONCURRENCY
        steps = tuple(
            _plan_step(setting, number, view, policy, concurrency) for number in range(len(setting.steps))
        )
    return Plan(
        pipeline=setting.pipeline.name,
        gateway=setting.origin,
        source=setting.source.describe(),
        rows=setting.checked.rows,
        output=setting.sink.target if setting.sink else None,
        steps=steps,
    )


_NO_RUN = -1
_USUAL_CONCURRENCY = 32  # what most limits come to; a run finds out, a plan does not ask


class _Count:
    """Counts the rows of one step by what the ledger knows of them."""

    def __init__(self, view: View, policy: Policy) -> None:
        self.rows = self.new = self.known = self.folded = self.failed = self.waiting = self.calls = 0
        self.first: Call | None = None
        self._view = view
        self._policy = policy
        self._seen = Seen()

    def add(self, calls: Sequence[Call | None]) -> None:
        self.rows += len(calls)
        repeated = self._seen.add([call.key if call else None for call in calls])
        settled = self._view.settled(list({call.key for call in calls if call}))
        for call, again in zip(calls, repeated, strict=True):
            self._add(call, again, settled.get(call.key) if call else None)

    def _add(self, call: Call | None, repeated: bool, settled: tuple[bool, int] | None) -> None:
        if call is None:
            self.waiting += 1
            return
        self.first = self.first or call
        if repeated:
            self.folded += 1
            return
        self.new += settled is None
        self.known += settled is not None and settled[0]
        self.failed += settled is not None and not settled[0]
        self.calls += self._policy.wants(settled)


def _plan_step(setting: Setting, number: int, view: View, policy: Policy, concurrency: int) -> StepPlan:
    step = setting.steps[number]
    count = _Count(view, policy)
    for projected in setting.projected(setting.steps[:number], view):
        count.add(projected.questions(step))
    # Rows that wait for an earlier step will most likely be asked once it has answered.
    calls = count.calls + count.waiting
    before = view.totals(template=view.template(step.template.digest))
    each = before.cost / before.ok if before.ok and not before.unpriced else None
    return StepPlan(
        step=step.name,
        rows=count.rows,
        new=count.new,
        known=count.known,
        folded=count.folded,
        failed=count.failed,
        waiting=count.waiting,
        calls=calls,
        cost=0.0 if not calls else each * calls if each is not None else None,
        seconds=_seconds(calls, before, concurrency),
        columns_sent=step.inputs,
        output_schema=step.columns.json_schema,
        first_request=step.template.body(count.first.input).decode() if count.first else None,
    )


def _seconds(calls: int, before: Totals, concurrency: int) -> float | None:
    if not calls:
        return 0.0
    return calls * before.latency_ms / before.ok / 1000 / concurrency if before.ok else None


def _calls(count: int) -> str:
    return f"{count:,} call{'' if count == 1 else 's'}"


def _step_text(step: StepPlan) -> list[str]:
    kinds = ("new", "known", "folded", "failed", "waiting")
    counts = ", ".join(
        f"{getattr(step, kind):,} {kind}" for kind in kinds if getattr(step, kind) or kind == "new"
    )
    cost = f"about {money(step.cost)}" if step.cost is not None else "cost not known yet"
    took = f", about {duration(step.seconds)}" if step.calls and step.seconds is not None else ""
    return [
        f"  step {step.step}: {counts}",
        f"    {_calls(step.calls)}, {cost}{took}",
        f"    sends {', '.join(step.columns_sent)}",
    ]
