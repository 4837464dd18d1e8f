"""What a step's calls will cost and how long they will take, and what that rests on.

In this order of trust: what earlier calls of the very same prompt came to, a pilot's among them; then the
price that the gateway lists, set right by what its models were seen to cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opper_batch.calls import Step
from opper_batch.client.offers import Offer
from opper_batch.forecast import LEAST, Lengths, Measured, Span, total
from opper_batch.ledger import Paid, View, prices
from opper_batch.runs.offered import Offered, models_of
from opper_batch.runs.survey import Survey

SAMPLE = 2_000
_LEAST_BY_LENGTH = 8
_NOTHING = Span(0.0, 0.0, 0.0)
_BYTES_PER_TOKEN = Span(2.5, 4.0, 6.0)
_CONCURRENCY = Span(8.0, 32.0, 128.0)  # what limits come to; a run finds out, a plan does not ask
_RUSH = 200  # so many calls tell how many a second there are
_FEW = 3.0  # by how much one or two calls may mislead
# Tokens of an answer's parts, with what JSON writes around them.
_TEXT, _SCALAR, _KEY = Span(3.0, 25.0, 150.0), Span(1.0, 3.0, 12.0), Span(2.0, 4.0, 6.0)
_ENTRIES = Span(0.5, 3.0, 8.0)


@dataclass(frozen=True, slots=True)
class Expected:
    """USD, and milliseconds of all calls one after the other; None is not known. ``basis`` says why."""

    cost: Span | None
    latency_ms: Span | None
    basis: str
    warnings: tuple[str, ...] = ()


def expected(step: Step, survey: Survey, sample: Sequence[Paid], view: View, offered: Offered) -> Expected:
    """Of the calls that ``survey`` found; ``sample`` are earlier ones of the same prompt."""
    if not survey.rest.count:
        return Expected(_NOTHING, _NOTHING, "nothing is to be asked")
    latency = _from(sample, survey, "latency_ms")
    cost = _from(sample, survey, "cost")
    priced = [paid.cost for paid in sample if paid.cost is not None]
    if cost is not None:
        return Expected(cost, latency, _answers(len(priced), survey), _unpriced(len(sample) - len(priced)))
    listed, basis, warnings = _from_price(step, survey, view, offered)
    if listed is not None:
        return Expected(listed, latency, basis, warnings)
    if priced:
        each = survey.rest.count * sum(priced) / len(priced)
        known = f"only {len(priced)} earlier {'answer' if len(priced) == 1 else 'answers'} of this step"
        return Expected(Span(each / _FEW, each, each * _FEW), latency, known)
    return Expected(None, latency, basis)


def seconds(
    calls: int, latency_ms: Span | None, rate: float | None, concurrency: int | None, rpm: float | None
) -> Span | None:
    """How long ``calls`` take; ``rate`` is how many a second an earlier run made. None is not known."""
    if not calls:
        return _NOTHING
    if rate:
        found = Span(0.6, 1.0, 2.0).times(calls / rate)
    elif latency_ms is not None:
        at_once = Span(concurrency / 2, concurrency, concurrency) if concurrency else _CONCURRENCY
        low, middle, high = (
            ms / 1000 / min(calls, places) for ms, places in zip(latency_ms, reversed(at_once), strict=True)
        )
        found = Span(low, middle, high)
    else:
        found = None
    if rpm is None:
        return found
    least = 60 * calls / rpm
    return Span(*(max(least, bound) for bound in found)) if found else Span(least, least, 2 * least)


def least_cost(step: Step, offered: Offered) -> float:
    """USD that no call of the step can cost less than, by the listed price; 0 while that is not known."""
    tokens = answer_tokens(step.columns.json_schema).low
    costs = [offer.cost(1, tokens) for offer in offered.of(step)]
    return min((cost for cost in costs if cost is not None), default=0.0)


def rate_before(view: View, template: int) -> float | None:
    """Calls a second in the latest run that made many of this prompt."""
    for run in reversed(view.runs()):
        if run.ended and view.totals(run=run.id, template=template).calls >= _RUSH:
            return view.totals(run=run.id).calls / max(0.001, run.ended - run.started)
    return None


def _from(sample: Sequence[Paid], survey: Survey, what: str) -> Span | None:
    """The total by length where the source still has enough of the sample, else by the mean."""
    known = [(paid.key, value) for paid in sample if (value := getattr(paid, what)) is not None]
    by_length = [Measured(length, value) for key, value in known if (length := survey.lengths[key])]
    if len(by_length) >= _LEAST_BY_LENGTH:
        return total(by_length, survey.rest)
    if len(known) < LEAST:
        return None
    alike = Lengths()
    alike.add(1.0, times=survey.rest.count)
    return total([Measured(1.0, value) for _, value in known], alike)


def _answers(number: int, survey: Survey) -> str:
    by_length = sum(map(bool, survey.lengths.values())) >= _LEAST_BY_LENGTH
    return f"{number:,} earlier answers of this step{', by length of input' if by_length else ''}"


def _unpriced(number: int) -> tuple[str, ...]:
    if not number:
        return ()
    return (f"{number:,} earlier answers came without a stated cost and are valued like the others",)


def _from_price(
    step: Step, survey: Survey, view: View, offered: Offered
) -> tuple[Span | None, str, tuple[str, ...]]:
    if not models_of(step):
        return (
            None,
            "nothing yet: the step names no model whose price could be read; --pilot 50 finds out",
            (),
        )
    found = [offer for offer in offered.of(step) if offer.cost(1, 1) is not None]
    if not found:
        return None, "nothing yet: no price of its models could be read; --pilot 50 finds out", ()
    rest = survey.rest
    spans = [_priced(offer, rest.sum / rest.count, step.columns.json_schema) for offer in found]
    each = Span(min(span.low for span in spans), spans[0].expected, max(span.high for span in spans))
    first = found[0]
    ratio, warnings = _calibration(first, view, offered), tuple[str, ...]()
    basis = f"the listed price of {first.id} (${first.price}, taken to be USD per million tokens in / out)"
    basis += f" times {ratio:.2f}, as answers were seen to cost" if ratio else ""
    basis += " and a guess at the answers' length"
    if ratio and not 0.5 <= ratio <= 2:
        warnings = (f"answers of {first.id} were seen to cost {ratio:.2g} times what its price says",)
    return each.times(rest.count * (ratio or 1.0)), basis, warnings


def _priced(offer: Offer, length: float, schema: Mapping[str, Any]) -> Span:
    asked = Span(*(length / size for size in reversed(_BYTES_PER_TOKEN)))
    answer = answer_tokens(schema)
    return Span(*(offer.cost(*tokens) or 0.0 for tokens in zip(asked, answer, strict=True)))


def _calibration(offer: Offer, view: View, offered: Offered) -> float | None:
    """What answers of the model cost of late, against its price; None while there are none."""
    paid = listed = 0.0
    for model, cost, tokens_in, tokens_out in prices(view):
        if model and offered.named(model) == offer:
            paid += cost
            listed += (offer.input_price or [0])[0] * tokens_in / 1e6
            listed += (offer.output_price or [0])[0] * tokens_out / 1e6
    return paid / listed if paid and listed else None


def answer_tokens(schema: Mapping[str, Any]) -> Span:
    """A guess at how many tokens an answer to this schema has; texts may be of any length."""
    if values := schema.get("enum"):
        longest = max(len(str(value)) for value in values)
        return Span(1.0, 1 + longest / 5, 2 + longest / 2)
    for option in schema.get("anyOf", ()):
        if option.get("type") != "null":
            return answer_tokens(option)._replace(low=1.0)
    match schema.get("type"):
        case "object":
            found = Span(2.0, 2.0, 4.0)
            for part in schema.get("properties", {}).values():
                found = found.plus(_KEY).plus(answer_tokens(part))
            return found
        case "array":
            one = answer_tokens(schema.get("items", {}))
            return Span(*(1 + times * tokens for times, tokens in zip(_ENTRIES, one, strict=True)))
        case "string":
            return _TEXT
    return _SCALAR
