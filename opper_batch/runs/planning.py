"""What a run would do, without doing it: the free twin of ``execute``.

source -> survey of each step (calls, lengths) -> expecting (cost, time, their basis) -> Plan
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

from opper_batch.calls import Policy
from opper_batch.errors import RunStopped
from opper_batch.forecast import Span
from opper_batch.ledger import View, sample
from opper_batch.lint import lint
from opper_batch.pipeline import Pipeline
from opper_batch.report import money
from opper_batch.runs.expecting import SAMPLE, expected, rate_before, seconds
from opper_batch.runs.freshness import policy as asking_policy
from opper_batch.runs.offered import Offered
from opper_batch.runs.options import Options
from opper_batch.runs.plan_text import plan_text
from opper_batch.runs.setting import Setting, resolve
from opper_batch.runs.spending import spent_before
from opper_batch.runs.survey import surveyed
from opper_batch.shown import card
from opper_batch.text import printable

_NO_RUN = -1
KINDS = ("new", "changed", "known", "folded", "failed", "waiting")


@dataclass(frozen=True, slots=True)
class StepPlan:
    """What one step would ask. ``rows`` are those of ``new`` to ``waiting`` together.

    ``new`` rows have never been asked, ``changed`` were in a published result with another content, ``known``
    have an answer, ``folded`` share an equal row's call, ``failed`` failed before, ``waiting`` need an
    earlier step's answer first and are counted among the calls. ``cost`` in USD and ``seconds`` are
    expectations with a range of 90 %, None while nothing is known to expect from; ``basis`` is what they
    rest on.
    """

    step: str
    rows: int
    new: int
    changed: int
    known: int
    folded: int
    failed: int
    waiting: int
    calls: int
    cost: Span | None
    seconds: Span | None
    basis: str
    columns_sent: tuple[str, ...]
    columns_kept: tuple[str, ...]
    output_schema: dict[str, Any] = field(repr=False)
    first_request: str | None = field(repr=False)

    def as_json(self) -> dict[str, Any]:
        fields = {name: getattr(self, name) for name in StepPlan.__slots__}
        return {**fields, "cost": _bounds(self.cost), "seconds": _bounds(self.seconds)}


@dataclass(frozen=True, slots=True)
class Plan:
    """What ``run`` would do now. ``key`` are the source's key columns, ``cap`` the USD that may be spent."""

    pipeline: str
    gateway: str
    source: str
    rows: int
    output: str | None
    key: tuple[str, ...]
    cap: float | None
    steps: tuple[StepPlan, ...]
    warnings: tuple[str, ...]

    @property
    def calls(self) -> int:
        return sum(step.calls for step in self.steps)

    @property
    def cost(self) -> Span | None:
        """USD of all steps; None when one of them has nothing to expect from."""
        return _together([step.cost for step in self.steps])

    @property
    def seconds(self) -> Span | None:
        """How long all steps take, one after the other."""
        return _together([step.seconds for step in self.steps])

    @property
    def basis(self) -> str:
        if len(self.steps) == 1:
            return self.steps[0].basis
        return "; ".join(f"{step.step}: {step.basis}" for step in self.steps)

    def as_json(self) -> dict[str, Any]:
        """The one object of ``plan --json``; the kinds of rows are added up over the steps."""
        mine = {name: getattr(self, name) for name in ("pipeline", "gateway", "source", "output", "rows")}
        kinds = {kind: sum(getattr(step, kind) for step in self.steps) for kind in KINDS}
        return {
            **mine,
            **kinds,
            "calls": self.calls,
            "cost": _bounds(self.cost),
            "seconds": _bounds(self.seconds),
            "basis": self.basis,
            "warnings": list(self.warnings),
            "max_cost": self.cap,
            "steps": [step.as_json() for step in self.steps],
        }

    def __str__(self) -> str:
        return plan_text(self)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return card(f"{self.pipeline}: what a run would do", self.as_json())


def plan(pipeline: Pipeline, options: Options) -> Plan:
    """Count what would be asked. Reads the source and the ledger; calls and writes nothing.

    The gateway is asked for its list of models where a step names some; without one, warnings say so.
    """
    return planned(resolve(pipeline, options, writing=False), options)


def planned(setting: Setting, options: Options) -> Plan:
    """The same for what is resolved already."""
    offered = Offered(options)
    limits = setting.pipeline.limits
    cap = options.max_cost if options.max_cost is not None else limits.max_cost
    warnings: list[str] = []
    with setting.view() as view:
        numbers = range(len(setting.steps))
        policy = asking_policy(options, view.runs(), run=_NO_RUN, now=time.time())
        steps = [_step_plan(setting, number, view, policy, options, offered, warnings) for number in numbers]
        found = Plan(
            pipeline=setting.pipeline.name,
            gateway=setting.origin,
            source=setting.source.describe(),
            rows=setting.checked.rows,
            output=setting.sink.target if setting.sink else None,
            key=setting.pipeline.source.key,
            cap=cap,
            steps=tuple(steps),
            warnings=(),
        )
        warnings += _cap_warnings(found, spent_before(view)[0])
    return replace(found, warnings=tuple(printable(warning) for warning in warnings))


def refuse_above(most: float, found: Plan) -> None:
    """Raises RunStopped unless the plan's upper end is at most ``most`` USD."""
    if not found.calls:
        return
    if found.cost is None:
        raise RunStopped(
            f"what the run costs cannot be told before ({found.basis}), so nothing was called; "
            "opper-batch plan --pilot 50 finds out, or leave out --yes-up-to"
        )
    if found.cost.high > most:
        raise RunStopped(
            f"the run may cost up to {money(found.cost.high)} ({money(found.cost.expected)} expected), above "
            f"--yes-up-to {money(most)}, so nothing was called; allow more, or narrow it with plan --pilot"
        )


def _step_plan(
    setting: Setting,
    number: int,
    view: View,
    policy: Policy,
    options: Options,
    offered: Offered,
    warnings: list[str],
) -> StepPlan:
    step = setting.steps[number]
    template = view.template(step.template.digest)
    sampled = sample(view, template, SAMPLE)
    survey = surveyed(setting, number, view, policy, [paid.key for paid in sampled])
    said = expected(step, survey, sampled, view, offered)
    # Rows that wait for an earlier step will most likely be asked once it has answered.
    calls = survey.calls + survey.waiting
    limits = setting.pipeline.limits
    took = seconds(
        calls,
        said.latency_ms,
        rate_before(view, template),
        options.concurrency or limits.concurrency,
        options.requests_per_minute or limits.requests_per_minute,
    )
    about = [*lint(step.columns.json_schema), *offered.warnings(step), *said.warnings]
    if not template and setting.published:
        about.append("its prompt, schema or model is another than before, so every row is asked anew")
    warnings += [f"step {step.name}: {warning}" for warning in about]
    schema = setting.checked.schema
    return StepPlan(
        step=step.name,
        rows=survey.rows,
        **{kind: getattr(survey, kind) for kind in KINDS},
        calls=calls,
        cost=said.cost,
        seconds=took,
        basis=said.basis,
        columns_sent=step.inputs,
        columns_kept=tuple(name for name in schema.names if name not in step.inputs),
        output_schema=step.columns.json_schema,
        first_request=step.template.body(survey.first.input).decode() if survey.first else None,
    )


def _cap_warnings(found: Plan, spent: float) -> list[str]:
    if found.cap is None or not found.calls or found.cost is None:
        return []
    left = max(0.0, found.cap - spent)
    each = found.cost.expected / found.calls
    before = f", of which {money(spent)} are spent," if spent else ""
    if found.cost.low / found.calls > left:
        return [f"the cap of {money(found.cap)}{before} is below what one row costs, about {money(each)}"]
    if found.cost.expected > left:
        calls = int(left / each)
        return [f"the cap of {money(found.cap)}{before} stops the run after about {calls:,} calls"]
    return []


def _together(spans: list[Span | None]) -> Span | None:
    found = Span(0.0, 0.0, 0.0)
    for span in spans:
        if span is None:
            return None
        found = found.plus(span)
    return found


def _bounds(span: Span | None) -> dict[str, float | None]:
    """Nine decimals are more than any amount needs, and read better than seventeen."""
    if span is None:
        return dict.fromkeys(Span._fields)
    return {name: round(bound, 9) for name, bound in span._asdict().items()}
