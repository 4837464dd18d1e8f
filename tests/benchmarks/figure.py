"""A figure of the table: what was measured, against which bar, and beside which reference."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: ``repeat`` times each, and in a ``quick`` pass on less."""

    repeat: int = 5
    quick: bool = False

    def of(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def times(self, what: str) -> Iterator[int]:
        """One turn for each repetition, told on stderr with what it took."""
        for turn in range(self.repeat):
            began = time.monotonic()
            yield turn
            seconds = time.monotonic() - began
            print(f"{what}: {turn + 1} of {self.repeat} in {seconds:.1f} s", file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """``values`` are the repetitions' and judged by their median: at least, or at most, the bar.

    ``reference`` was measured in the same run, in the same unit; a figure without a bar is told only.
    """

    name: str
    values: Sequence[float]
    unit: str = ""
    least: float | None = None
    most: float | None = None
    reference: Sequence[float] = ()
    against: str = ""
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def ratio(self) -> float | None:
        return self.median / statistics.median(self.reference) if any(self.reference) else None

    @property
    def kept(self) -> bool:
        """Whether the median keeps the bar."""
        least, most = self.least, self.most
        return (least is None or self.median >= least) and (most is None or self.median <= most)

    @property
    def bar(self) -> str:
        if self.least is not None:
            return f"≥ {_number(self.least)} {self.unit}".rstrip()
        return f"≤ {_number(self.most)} {self.unit}".rstrip() if self.most is not None else "–"

    def cells(self) -> tuple[str, ...]:
        ratio = "–" if self.ratio is None else f"{self.ratio:.2f} × {self.against}"
        verdict = "ok" if self.kept else "missed"
        return (
            self.name,
            self.bar,
            f"{_number(self.median)} {self.unit}".rstrip(),
            f"{_number(min(self.values))}–{_number(max(self.values))}",
            ratio,
            verdict if self.least is not None or self.most is not None else "–",
        )


# One benchmark: what it measured at a size.
Benchmark = Callable[[Size], list[Figure]]

_HEADINGS = ("work", "bar", "median", "min–max", "ratio to the reference", "")


def table(figures: Sequence[Figure]) -> str:
    """The figures as a Markdown table, and below it what is to be known of them."""
    rows = [_HEADINGS, *(figure.cells() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = [_line(row, widths) for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    notes = [f"- {figure.name}: {figure.note}" for figure in figures if figure.note]
    return "\n".join([*lines, *([""] if notes else []), *notes])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    if value and abs(value) < 0.1:
        return f"{value:.2g}"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
