"""Large tables of which everything is known: a run that calls nothing, an export, a plan, and what grows.

Beside them polars reads the same CSV and writes it as Parquet, which is the least that a table out of a table
can take; a bare SQLite look-up is beside the ledger's.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.figure import Figure, Size
from tests.benchmarks.measured import MOST_SECONDS, PROGRAM, ROOT, Measured, RunFailed, folder, measured

# Nothing is called, so nobody listens there.
NOWHERE = "http://127.0.0.1:9"
POLARS = "polars, CSV to Parquet"
_COPY = "import polars; polars.scan_csv('rows.csv', infer_schema_length=0).sink_parquet('copy.parquet')"
_DUCKDB = 'duckdb = "out.duckdb"\ntable = "known"'


class Bench:
    """A folder with a table of ``rows`` rows and a ledger that knows them all."""

    def __init__(self, place: Path, rows: int) -> None:
        self.rows = rows
        self._place = place
        # In a process of its own: a child starts with its parent's peak of memory as its own.
        command: list[str | Path] = [sys.executable, "-m", __name__, place, str(rows)]
        subprocess.run(command, cwd=ROOT, check=True, timeout=MOST_SECONDS)

    def run(self) -> Measured:
        ended = self._program("run", "known.toml", "--base-url", NOWHERE, "--json", "--quiet")
        if ended.said["calls"] or ended.said["ok"] != self.rows:
            raise RunFailed(f"not everything was known: {ended.stdout[-500:]}")
        return ended

    def export(self, pipeline: str) -> Measured:
        return self._program("export", pipeline, "--base-url", NOWHERE)

    def plan(self) -> Measured:
        return self._program("plan", "known.toml", "--base-url", NOWHERE)

    def copy(self) -> Measured:
        return measured([sys.executable, "-c", _COPY], cwd=self._place)

    def _program(self, *words: str) -> Measured:
        state = self._place / ".opper_batch"
        command: list[str | Path] = [PROGRAM, *words, "--state-dir", state]
        return measured(command, cwd=self._place, home=self._place / "home")


def known(size: Size) -> list[Figure]:
    """A run over rows that are all known: its time, its memory, and the CPU of each row as rows grow."""
    rows, tenth, few = size.of(1_000_000, 50_000), size.of(100_000, 20_000), size.of(10_000, 10_000)
    large, copied = [], []
    with folder() as place:
        bench = Bench(place, rows)
        for _ in size.times(f"{rows:,} known rows"):
            large.append(bench.run())
            copied.append(bench.copy())
    middle, small, least = (_runs(count, size) for count in (tenth, few, 1))
    fixed = min(ran.cpu for ran in least)
    per_row = [1e6 * (ran.cpu - fixed) / rows for ran in large]
    per_row_of_few = [1e6 * (ran.cpu - fixed) / few for ran in small]
    usual = sorted(per_row_of_few)[len(per_row_of_few) // 2]
    name = f"{rows:,} rows all known"
    return [
        _seconds(name, large, copied, most=40),
        _memory(name, large, copied, most=500),
        Figure(
            name=f"{name}, peak RSS against {tenth:,} rows",
            values=[ran.peak / max(other.peak for other in middle) for ran in large],
            unit="×",
            most=1.1,
            note="flat is read as at most 1.1 ×",
        ),
        Figure(
            name=f"CPU of a row, {rows:,} against {few:,} rows",
            values=[each / usual for each in per_row],
            unit="×",
            most=1.1,
            note=f"{sorted(per_row)[len(per_row) // 2]:.1f} µs and {usual:.1f} µs a row, "
            f"each without the {fixed:.2f} s that a run over one known row takes",
        ),
    ]


def export(size: Size) -> list[Figure]:
    """Everything that is settled to Parquet, and to DuckDB."""
    rows = size.of(1_000_000, 50_000)
    parquet, duckdb, copied = [], [], []
    with folder() as place:
        bench = Bench(place, rows)
        for _ in size.times(f"export of {rows:,} rows"):
            parquet.append(bench.export("known.toml"))
            duckdb.append(bench.export("duckdb.toml"))
            copied.append(bench.copy())
    return [
        figure
        for sink, ran in (("Parquet", parquet), ("DuckDB", duckdb))
        for figure in (
            _seconds(f"export of {rows:,} rows to {sink}", ran, copied, most=30),
            _memory(f"export of {rows:,} rows to {sink}", ran, copied, most=600),
        )
    ]


def plan(size: Size) -> list[Figure]:
    """A plan of rows that are all known, so that each is looked up and found."""
    rows = size.of(1_000_000, 50_000)
    ran, copied = [], []
    with folder() as place:
        bench = Bench(place, rows)
        for _ in size.times(f"plan of {rows:,} rows"):
            ran.append(bench.plan())
            copied.append(bench.copy())
    return [_seconds(f"plan of {rows:,} rows", ran, copied, most=30)]


def _runs(rows: int, size: Size) -> list[Measured]:
    with folder() as place:
        bench = Bench(place, rows)
        return [bench.run() for _ in size.times(f"{rows:,} known rows")]


def _seconds(name: str, ran: Sequence[Measured], copied: Sequence[Measured], *, most: float) -> Figure:
    return Figure(
        name=name,
        values=[each.seconds for each in ran],
        unit="s",
        most=most,
        reference=[each.seconds for each in copied],
        against=POLARS,
        note=f"CPU {sorted(each.cpu for each in ran)[len(ran) // 2]:.1f} s",
    )


def _memory(name: str, ran: Sequence[Measured], copied: Sequence[Measured], *, most: float) -> Figure:
    return Figure(
        name=f"{name}, peak RSS",
        values=[each.peak for each in ran],
        unit="MB",
        most=most,
        reference=[each.peak for each in copied],
        against=POLARS,
    )


def _prepare(place: Path, rows: int) -> None:
    from tests.benchmarks import known_rows

    (place / "known.toml").write_text(known_rows.PIPELINE)
    (place / "duckdb.toml").write_text(known_rows.PIPELINE.replace('path = "out.parquet"', _DUCKDB))
    known_rows.write_table(place / "rows.csv", rows)
    known_rows.fill_ledger(place, NOWHERE, rows)


if __name__ == "__main__":
    _prepare(Path(sys.argv[1]), int(sys.argv[2]))
