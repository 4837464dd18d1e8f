"""A plan as a person reads it. Pure: it reads what it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opper_batch.forecast import Span
from opper_batch.report import duration, money
from opper_batch.text import counted, printable

if TYPE_CHECKING:
    from opper_batch.runs.planning import Plan, StepPlan

_UNKNOWN = "not known yet"


def plan_text(plan: Plan) -> str:
    """What would be done and spent, step by step, and what is to be watched."""
    lines = [f"{plan.pipeline}: {plan.rows:,} rows of {plan.source} -> {plan.output or 'no sink'}"]
    for number, step in enumerate(plan.steps):
        lines += _step_text(step, plan, first=not number)
    lines += [f"  warning: {warning}" for warning in plan.warnings]
    lines.append(
        f"  in all: {counted(plan.calls, 'call')} to {plan.gateway}, {_expected(plan.cost, plan.seconds)}"
    )
    return printable("\n".join(lines))


def _step_text(step: StepPlan, plan: Plan, *, first: bool) -> list[str]:
    notes = {
        "new": "never asked"
        if plan.key
        else "never asked as they are; without source.key a changed row is new",
        "changed": f"asked before with the same {', '.join(plan.key)} and another content",
        "known": "answered before, nothing is paid again",
        "folded": "share the call of an equal row",
        "failed": "failed before",
        "waiting": "asked once an earlier step has answered; how many it will be follows from its answers",
    }
    signs = {"new": "+", "changed": "~", "known": "=", "folded": "=", "failed": "!", "waiting": "?"}
    width = len(f"{step.rows:,}")
    lines = [f"  step {step.step}"]
    for kind, note in notes.items():
        number = getattr(step, kind)
        if number or (kind == "new" and not step.rows):
            lines.append(f"    {signs[kind]} {number:>{width},} {kind:<8} {note}")
    kept = f", keeps {', '.join(step.columns_kept)} here" if step.columns_kept else ""
    lines.append(f"    {_at_most(step)}{counted(step.calls, 'call')}, {_expected(step.cost, step.seconds)}")
    if step.calls:
        lines.append(f"    basis: {step.basis}")
    return [*lines, f"    sends {', '.join(step.columns_sent)}{kept}"]


def _at_most(step: StepPlan) -> str:
    return "at most " if step.waiting else ""


def _expected(cost: Span | None, seconds: Span | None) -> str:
    said = "cost " + (_UNKNOWN if cost is None else _money(cost))
    if seconds is not None and seconds.expected:
        said += f", time {_duration(seconds)}"
    return said


def _money(span: Span) -> str:
    if span.low == span.high:
        return money(span.expected)
    return f"{money(span.expected)} ({money(span.low)} to {money(span.high)})"


def _duration(span: Span) -> str:
    if span.high < 1:
        return "under 1 s"
    if duration(span.low) == duration(span.high):
        return duration(span.expected)
    return f"{duration(span.expected)} ({duration(span.low)} to {duration(span.high)})"
