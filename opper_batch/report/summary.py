"""What a run did, as numbers, as text and as JSON. Pure: it reads what it is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opper_batch.ledger import Totals
from opper_batch.report.words import duration, money, percent, spread
from opper_batch.shown import card
from opper_batch.text import counted, printable, shortened

if TYPE_CHECKING:  # whoever only looks does without the pipeline's definition
    from opper_batch.pipeline import Verdict

SCHEMA = 1
# Where a summary quotes: rows, models, checks' words, places of this machine.
_TEXTS = frozenset({"stopped", "failures", "since", "checks", "output", "rejected"})
_FEW_VALUES = 40


@dataclass(frozen=True, slots=True)
class Counts:
    """What the rows of a table have come to; ``rows = ok + failed + skipped``.

    A row is failed when a step failed, else skipped when a step has no answer. ``cached`` counts answers
    that an earlier run paid for, ``folded`` those shared with an equal row above. ``cost`` (USD) is what
    was paid for the answers in the table; ``failed_calls`` counts failed answers, once for equal rows;
    ``failures`` are reasons with how often each. ``held`` is the least value of ``source.since`` in a row
    without an answer. ``checks`` are what the pipeline's checks said; when one does not hold, ``rejected`` is
    where the result went instead.
    """

    rows: int = 0
    ok: int = 0
    failed: int = 0
    skipped: int = 0
    cached: int = 0
    folded: int = 0
    cost: float = 0.0
    failed_calls: int = 0
    failures: tuple[tuple[str, int], ...] = ()
    held: str | None = None
    checks: tuple[Verdict, ...] = ()
    rejected: str | None = None

    @property
    def held_back(self) -> bool:
        """Whether a check does not hold, so that the output is still the one before."""
        return not all(check.ok for check in self.checks)

    @property
    def reconciles(self) -> bool:
        return self.rows == self.ok + self.failed + self.skipped


@dataclass(frozen=True, slots=True)
class Summary:
    """One run in numbers: what came of the rows, and what was called, paid and waited for.

    ``counts`` is None when the run did not come to its result, ``run_id`` 0 when it did not begin.
    """

    run_id: int
    pipeline: str
    counts: Counts | None = None
    totals: Totals = field(default_factory=Totals)
    seconds: float = 0.0
    output: str | None = None
    exit: int = 0
    stopped: str | None = None
    in_doubt: int = 0
    sandbox: bool = False
    span_id: str | None = None
    trace_id: str | None = None
    since: dict[str, Any] | None = None

    @property
    def rows(self) -> int:
        return self.counts.rows if self.counts else 0

    @property
    def held_back(self) -> bool:
        """Whether the result was put beside the output, since a check does not hold."""
        return bool(self.counts and self.counts.held_back)

    @property
    def retries(self) -> int:
        """Requests beyond the first for each call that came to its end."""
        return max(0, self.totals.calls - self.totals.ok - self.totals.failed)

    @property
    def kept(self) -> int:
        """Calls that failed where an older answer stands."""
        return max(0, self.totals.failed - self.counts.failed_calls) if self.counts else 0

    def as_json(self) -> dict[str, Any]:
        """The one object that ``--json`` prints; its keys are part of the interface.

        What was not counted is null.
        """
        counts, totals = self.counts, self.totals
        names = ("rows", "ok", "failed", "skipped", "cached", "folded")
        return {
            "run_id": self.run_id or None,
            "pipeline": self.pipeline,
            **{name: getattr(counts, name) if counts else None for name in names},
            "kept": self.kept,
            "table_cost": round(counts.cost, 9) if counts else None,
            "calls": totals.calls,
            "retries": self.retries,
            "throttled": totals.throttled,
            "cost": round(totals.cost, 9),
            "unpriced": totals.unpriced,
            "input_tokens": totals.input_tokens,
            "output_tokens": totals.output_tokens,
            "seconds": round(self.seconds, 3),
            "output": self.output,
            "exit": self.exit,
            "stopped": self.stopped,
            "in_doubt": self.in_doubt,
            "sandbox": self.sandbox,
            "span_id": self.span_id,
            "trace_id": self.trace_id,
            "since": self.since,
            "failures": [list(entry) for entry in counts.failures] if counts else [],
            "checks": [check.as_json() for check in counts.checks] if counts else [],
            "rejected": counts.rejected if counts else None,
        }

    def numbers(self) -> dict[str, Any]:
        """``as_json`` without what may hold text of rows, of models, or of this machine."""
        return {name: value for name, value in self.as_json().items() if name not in _TEXTS}

    def __str__(self) -> str:
        return summary_text(self)


@dataclass(frozen=True, slots=True)
class Report:
    """A past run: its summary, and ``details`` of its calls, its columns, and the pipeline as it was.

    Both are JSON as they were kept; what an older version did not keep is not there.
    """

    summary: dict[str, Any]
    details: dict[str, Any]

    @classmethod
    def from_json(cls, numbers: dict[str, Any]) -> Report:
        """What ``as_json`` gave."""
        return cls(numbers, {})

    def as_json(self) -> dict[str, Any]:
        """Within one ``schema`` keys are only ever added."""
        return {"schema": SCHEMA, **self.summary, **self.details}

    def __str__(self) -> str:
        return printable("\n".join(self._lines()))

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return card(f"{self.summary['pipeline']}: run {self.summary['run_id']}", self.as_json())

    def _lines(self) -> list[str]:
        said = self.as_json()
        rows = "not counted"
        if said["rows"] is not None:
            rows = (
                f"{said['rows']:,}: {said['ok']:,} ok, {said['failed']:,} failed, {said['skipped']:,} skipped"
            )
        doubt = doubt_text(said["in_doubt"])
        tokens = f"{said['input_tokens']:,} tokens in, {said['output_tokens']:,} out"
        lines = [
            f"{said['pipeline']}: run {said['run_id']}, exit {said['exit']}, {duration(said['seconds'])}",
            *([f"  stopped {said['stopped']}"] if said["stopped"] else []),
            f"  rows    {rows}",
            f"  calls   {said['calls']:,}, {said['retries']:,} retries, {said['throttled']:,} throttled",
            f"  cost    {money(said['cost'])}, {tokens}",
            *([f"  unknown {doubt}"] if said["in_doubt"] else []),
        ]
        if said["latency_ms"]:
            quantiles = ", ".join(f"{name} {value:,} ms" for name, value in said["latency_ms"].items())
            lines.append(f"  latency {quantiles}")
        lines += [
            f"  model   {model['model']}: {model['answers']:,} answers, {money(model['cost'])}"
            for model in said["models"]
        ]
        lines += [f"  failed  {times:,} × {shortened(reason, 160)}" for reason, times in said["failures"]]
        checks = [(check["ok"], f"{check['name']}: {check['said']}") for check in said.get("checks", ())]
        lines += [f"  column  {column_text(column)}" for column in said.get("columns") or ()]
        return lines + _checks(checks) + _rejected(said.get("rejected"))


def column_text(column: dict[str, Any]) -> str:
    """A column's profile on one line, and how it moved."""
    parts = []
    if column["null"]:
        parts.append(f"{percent(column['null'], column['rows'])} null")
    if column["values"] and column["distinct"] <= _FEW_VALUES:
        whole = sum(times for _, times in column["values"]) + column["other_values"]
        parts += [f"{shortened(value, 40)} {percent(times, whole)}" for value, times in column["values"][:4]]
    elif numbers := column["numbers"]:
        low, middle, high = spread(numbers, times=column["times"])
        parts.append(f"{low} to {high}, median {middle}")
    elif lengths := column["lengths"]:
        bounds = f"{lengths['min']:,.0f} to {lengths['max']:,.0f}"
        parts.append(f"lengths {bounds}, median {lengths['median']:,.0f}")
    moved = column.get("moved")
    if moved and moved["distance"]:
        parts.append(f"moved by {moved['distance']:.1%}")
    return f"{column['name']}: {', '.join(parts) or 'no values'}"


def summary_text(summary: Summary) -> str:
    """What a person reads when a run is over."""
    counts, totals = summary.counts, summary.totals
    idle = ", 0 calls: nothing was left to ask" if counts and not totals.calls else ""
    head = f"{summary.pipeline}: run {summary.run_id} {_ending(summary)} {duration(summary.seconds)}"
    lines = [head + idle]
    if counts:
        rows = [f"{counts.ok:,} ok", f"{counts.failed:,} failed", f"{counts.skipped:,} skipped"]
        lines.append(f"  rows    {counts.rows:,}: {', '.join(rows)}{_reused(counts)}")
    lines += _since(summary)
    lines.append(f"  calls   {totals.calls:,}{_retries(summary)}")
    if totals.calls:
        tokens = f"{totals.input_tokens:,} tokens in, {totals.output_tokens:,} out"
        lines.append(f"  cost    {money(totals.cost)}{_unpriced(totals)}, {tokens}")
    failures = counts.failures if counts else ()
    lines += [f"  failed  {times:,} × {shortened(reason, 160)}" for reason, times in failures[:5]]
    if len(failures) > 5:
        lines.append(f"          and {counted(len(failures) - 5, 'more kind')}; see opper-batch failures")
    if summary.kept:
        lines.append(f"  kept    {counted(summary.kept, 'call')} failed; their rows keep the older answer")
    if summary.in_doubt:
        lines.append(f"  unknown {doubt_text(summary.in_doubt)}")
    if counts:
        lines += _checks([(check.ok, str(check)) for check in counts.checks]) + _rejected(counts.rejected)
    if summary.output:
        lines.append(f"  output  {summary.output}")
    if summary.sandbox:
        lines.append("  The answers are synthetic: they come from the sandbox, and so do the costs.")
    return printable("\n".join(lines))


def _since(summary: Summary) -> list[str]:
    """What a run took of an incremental source, and from where the next one will."""
    said = summary.since
    if said is None:
        return []
    whole = f"from {said['from']} on" if said["from"] else "from the first"
    lines = [f"  since   {said['column']} {whole}: {summary.rows:,} of {said['of']:,} rows"]
    if said["nulls"]:
        lines.append(f"          {counted(said['nulls'], 'row')} without a value there, always taken")
    if said["future"]:
        lines.append(f"          {said['future']:,} rows lie more than a day ahead and do not move the mark")
    if said["moves"] and said["to"]:
        why = ", where a row has no answer yet" if said["held"] else ""
        lines.append(f"          the next run takes it from {said['to']} on{why}")
    elif not said["moves"]:
        begins = f"from {said['to']} on" if said["to"] else "from the first"
        lines.append(f"          its mark stays, so the next run takes it {begins}")
    return lines


def totals_text(totals: Totals) -> str:
    """One line about a run's calls so far."""
    return (
        f"{totals.calls:,} calls, {totals.ok:,} ok, {totals.failed:,} failed, "
        f"{totals.throttled:,} throttled, {money(totals.cost)}{_unpriced(totals)}"
    )


def failures_by_reason(reasons: Sequence[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """The most frequent first."""
    return tuple(sorted(reasons, key=lambda entry: (-entry[1], entry[0])))


def doubt_text(calls: int) -> str:
    """Of calls that left and did not come home."""
    if calls == 1:
        return "1 call was possibly paid, its answer never came"
    return f"{calls:,} calls were possibly paid, their answers never came"


def _ending(summary: Summary) -> str:
    if summary.stopped is None:
        return "done in"
    return "interrupted after" if summary.exit >= 128 else "stopped after"


def _checks(said: Sequence[tuple[bool, str]]) -> list[str]:
    """One line for all that hold, and one for each that does not."""
    held = sum(ok for ok, _ in said)
    lines = [f"  checks  {held:,} of {len(said):,} hold"] if said else []
    return lines + [f"  NOT OK  {text}" for ok, text in said if not ok]


def _rejected(place: str | None) -> list[str]:
    return [f"  held    the result is in {place}; the output is as it was"] if place else []


def _reused(counts: Counts) -> str:
    parts = []
    if counts.cached:
        parts.append(f"{counted(counts.cached, 'answer')} known before")
    if counts.folded:
        parts.append(f"{counts.folded:,} shared with an equal row")
    return f" ({', '.join(parts)})" if parts else ""


def _retries(summary: Summary) -> str:
    numbers = {"retries": summary.retries, "throttled": summary.totals.throttled}
    parts = [f"{number:,} {name}" for name, number in numbers.items() if number]
    return f" ({', '.join(parts)})" if parts else ""


def _unpriced(totals: Totals) -> str:
    return f" and {counted(totals.unpriced, 'request')} of unknown cost" if totals.unpriced else ""
