"""Two pipelines over the same rows, against each other: numbers, text and JSON. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from opper_batch.report import money
from opper_batch.shown import card
from opper_batch.text import printable, shortened

_SHOWN = 20  # changed rows in the text; JSON has all
_WIDTH = 48


@dataclass(frozen=True, slots=True)
class Answered:
    """What one pipeline made of one row: its columns when every step is ok, None otherwise."""

    values: Mapping[str, Any] | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two. ``cost`` (USD) and tokens are those of its answers, whoever paid for them when;
    ``paid`` is what was paid now. ``latencies`` are in ms, one for each answer; None in costs is unknown."""

    name: str
    columns: tuple[str, ...]
    answers: Sequence[Answered] = field(repr=False)
    cost: float = 0.0
    unpriced: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    latencies: Sequence[int] = field(default=(), repr=False)
    paid: float = 0.0
    calls: int = 0

    @property
    def ok(self) -> int:
        return sum(answer.values is not None for answer in self.answers)

    def latency(self, share: float) -> int | None:
        """A quantile, in ms."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None

    def as_json(self) -> dict[str, Any]:
        return {
            "pipeline": self.name,
            "ok": self.ok,
            "failed": len(self.answers) - self.ok,
            "cost": round(self.cost, 9),
            "unpriced": self.unpriced,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "latency_ms": {"p50": self.latency(0.5), "p95": self.latency(0.95)},
            "paid_now": round(self.paid, 9),
            "calls_now": self.calls,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """``rows`` name the compared rows, by their key columns or their number in the source of ``of`` rows."""

    a: Side
    b: Side
    rows: Sequence[Mapping[str, Any]] = field(repr=False)
    of: int
    source: str

    @property
    def columns(self) -> tuple[str, ...]:
        """Those that both have."""
        return tuple(name for name in self.a.columns if name in self.b.columns)

    @property
    def changes(self) -> list[tuple[int, dict[str, tuple[Any, Any]]]]:
        """Each compared row whose answers differ, by its place among ``rows``, with (A, B) by column."""
        found = []
        for place, (a, b) in enumerate(zip(self.a.answers, self.b.answers, strict=True)):
            if a.values is None or b.values is None:
                continue
            differing = {
                name: (a.values[name], b.values[name])
                for name in self.columns
                if not _same(a.values[name], b.values[name])
            }
            if differing:
                found.append((place, differing))
        return found

    @property
    def unanswered(self) -> list[tuple[int, str | None, str | None]]:
        """Each row that A or B has no answer for, by its place, with why; None for the one that has."""
        both = enumerate(zip(self.a.answers, self.b.answers, strict=True))
        return [(place, a.error, b.error) for place, (a, b) in both if a.values is None or b.values is None]

    @property
    def compared(self) -> int:
        """Rows that both have answered."""
        both = zip(self.a.answers, self.b.answers, strict=True)
        return sum(a.values is not None and b.values is not None for a, b in both)

    def as_json(self) -> dict[str, Any]:
        changes = self.changes
        return {
            "schema": 1,
            "source": self.source,
            "source_rows": self.of,
            "rows": len(self.rows),
            "compared": self.compared,
            "a": self.a.as_json(),
            "b": self.b.as_json(),
            "columns": {name: self._agreement(name, changes) for name in self.columns},
            "only_in_a": [name for name in self.a.columns if name not in self.b.columns],
            "only_in_b": [name for name in self.b.columns if name not in self.a.columns],
            "changed": [
                {
                    "row": _plain(dict(self.rows[place])),
                    "columns": {name: {"a": _plain(a), "b": _plain(b)} for name, (a, b) in values.items()},
                }
                for place, values in changes
            ],
            "unanswered": [
                {"row": _plain(dict(self.rows[place])), "a": a, "b": b} for place, a, b in self.unanswered
            ],
        }

    def __str__(self) -> str:
        return printable("\n".join(self._lines()))

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return card(f"{self.a.name} (a) against {self.b.name} (b)", self.as_json())

    def _agreement(self, name: str, changes: Sequence[tuple[int, Mapping[str, Any]]]) -> dict[str, Any]:
        changed = sum(name in values for _, values in changes)
        share = (self.compared - changed) / self.compared if self.compared else None
        return {"agree": share, "changed": changed}

    def _lines(self) -> list[str]:
        said, changes = self.as_json(), self.changes
        rows = f"{len(self.rows):,} of {self.of:,} rows of {self.source}, {self.compared:,} answered by both"
        lines = [f"{self.a.name} (A) against {self.b.name} (B): {rows}"]
        width = max((len(name) for name in self.columns), default=0)
        for name, found in said["columns"].items():
            share = f"{100 * found['agree']:5.1f} % agree" if self.compared else "nothing to compare"
            lines.append(f"  {name:<{width}}  {share}, {found['changed']:,} changed")
        only = {side: said[f"only_in_{side.lower()}"] for side in ("A", "B")}
        lines += [f"  only in {side}: {', '.join(names)}" for side, names in only.items() if names]
        lines += ["", *self._sides(), *self._unanswered_text()]
        if changes:
            shown = (
                f"the first {_SHOWN} of {len(changes):,}; --json has all" if len(changes) > _SHOWN else "all"
            )
            lines += ["", f"changed rows ({shown}), A | B"]
        for place, values in changes[:_SHOWN]:
            lines.append(f"  {self._row(place)}")
            lines += [f"    {name}: {_text(a)} | {_text(b)}" for name, (a, b) in values.items()]
        return lines

    def _row(self, place: int) -> str:
        return ", ".join(f"{name} {_text(value)}" for name, value in self.rows[place].items())

    def _unanswered_text(self) -> list[str]:
        found = self.unanswered
        lines = ["", f"rows without an answer ({len(found):,}), A | B"] if found else []
        for place, a, b in found[:_SHOWN]:
            lines.append(f"  {self._row(place)}: {_text(a or 'ok')} | {_text(b or 'ok')}")
        return lines

    def _sides(self) -> list[str]:
        a, b = self.a, self.b
        rows = [("", "A", "B")]
        rows.append(("ok", f"{a.ok:,}", f"{b.ok:,}"))
        rows.append(("failed", f"{len(a.answers) - a.ok:,}", f"{len(b.answers) - b.ok:,}"))
        rows.append(("cost", _cost(a), _cost(b)))
        for name, share in (("latency p50", 0.5), ("latency p95", 0.95)):
            rows.append((name, _ms(a.latency(share)), _ms(b.latency(share))))
        rows.append(("tokens in", f"{a.input_tokens:,}", f"{b.input_tokens:,}"))
        rows.append(("tokens out", f"{a.output_tokens:,}", f"{b.output_tokens:,}"))
        rows.append(("paid now", _paid(a), _paid(b)))
        wide = [max(len(row[column]) for row in rows) for column in range(3)]
        return [f"  {n:<{wide[0]}}  {x:>{wide[1]}}  {y:>{wide[2]}}" for n, x, y in rows]


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b):
        return True
    return bool(a == b)


def _cost(side: Side) -> str:
    return money(side.cost) + (f" and {side.unpriced:,} unknown" if side.unpriced else "")


def _paid(side: Side) -> str:
    return f"{money(side.paid)} for {side.calls:,} calls"


def _ms(value: int | None) -> str:
    return "–" if value is None else f"{value:,} ms"


def _text(value: Any) -> str:
    return "null" if value is None else shortened(printable(str(value)), _WIDTH)


def _plain(value: Any) -> Any:
    """As JSON has it: what it cannot hold becomes text."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
