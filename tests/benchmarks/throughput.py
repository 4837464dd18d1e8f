"""Rows a second and CPU a row, beside the script that was written by hand for the same work.

The time of a run, and of the script, goes from the first request, as the gateway saw it, to the end of the
process, its result published: what comes before has figures of its own. The CPU is all that the process used,
its start included, user and system, over all threads.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.benchmarks import gateway, stages, tables
from tests.benchmarks.figure import Figure, Size
from tests.benchmarks.measured import PROGRAM, Measured, RunFailed, folder, measured

LATENCY = 0.3
SCRIPT = "a script by hand"


@dataclass(frozen=True, slots=True)
class Ran:
    """One run over ``rows`` rows: ``seconds`` from its first request to its end, ``whole`` from its start.

    After ``filling`` seconds the most calls were in flight, ``most``; ``ending`` is from the last answer on.
    """

    rows: int
    seconds: float
    whole: float
    cpu: float
    filling: float
    ending: float
    most: int

    @property
    def rate(self) -> float:
        return self.rows / self.seconds

    @property
    def cpu_ms(self) -> float:
        return 1000 * self.cpu / self.rows


class Bench:
    """A folder with a table, and a lean gateway, for the program and for the script."""

    def __init__(self, place: Path, at: gateway.Running, rows: int, concurrency: int) -> None:
        self._place = place
        self._gateway = at
        self._concurrency = str(concurrency)
        self.rows = rows
        self.origin = tables.write(place, rows)
        self._runs = 0

    @property
    def arguments(self) -> list[str]:
        where = ["--base-url", self._gateway.url, "--concurrency", self._concurrency]
        return ["run", "banking.toml", *where, "--json", "--quiet"]

    def program(self) -> Ran:
        """One run that knows nothing: neither answers nor what the gateway allows."""
        self._runs += 1
        return self._program()

    def next_night(self) -> Ran:
        """The same command after the last run of ``program``, over as many rows that are all new."""
        return self._program("--source", "next.csv")

    def _program(self, *more: str) -> Ran:
        state_dir = self._place / f"ledgers{self._runs}"
        command: list[str | Path] = [PROGRAM, *self.arguments, *more, "--state-dir", state_dir]
        ended = measured(command, cwd=self._place, home=self._home())
        if ended.said["ok"] != self.rows:
            raise RunFailed(f"of {self.rows} rows {ended.said['ok']} are ok: {ended.stdout[-500:]}")
        return self._ran(ended)

    def script(self) -> Ran:
        self._runs += 1
        places = ["rows.csv", f"reference{self._runs}.parquet", f"reference{self._runs}.sqlite"]
        command = [sys.executable, "-m", "tests.benchmarks.reference", *places, self._gateway.url]
        return self._ran(measured([*command, self._concurrency], cwd=self._place, home=self._home()))

    def shares(self) -> str:
        """Each stage's share of a run under the profiler."""
        profile = self._place / "profile.json"
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "tests.benchmarks.stages",
            profile,
            *self.arguments,
        ]
        measured(command, cwd=self._place, home=self._home())
        found = sorted(stages.shares(profile).items(), key=lambda entry: -entry[1])
        return ", ".join(f"{stage} {share:.0%}" for stage, share in found)

    def _home(self) -> Path:
        return self._place / f"home{self._runs}"

    def _ran(self, ended: Measured) -> Ran:
        tally = self._gateway.tally()
        if tally["calls"] != self.rows:
            raise RunFailed(f"{self.rows} rows made {tally['calls']} calls")
        return Ran(
            rows=self.rows,
            seconds=ended.ended - tally["first"],
            whole=ended.seconds,
            cpu=ended.cpu,
            filling=tally["full"] - tally["first"],
            ending=ended.ended - tally["last"],
            most=tally["high_water"],
        )


def at_256(size: Size) -> list[Figure]:
    """300 ms, 256 in flight: cold, the next night with what that run learned, and the CPU of both."""
    rows, concurrency = size.of(10_000, 1_000), size.of(256, 64)
    ideal = rows * LATENCY / concurrency
    cold, learned, script = [], [], []
    with folder() as place, gateway.lean(LATENCY) as at:
        bench = Bench(place, at, rows, concurrency)
        for _ in size.times("300 ms, 256 in flight"):
            cold.append(bench.program())
            learned.append(bench.next_night())
            script.append(bench.script())
    name = f"{rows:,} rows, 300 ms, {concurrency} in flight"
    reached = [ideal / ran.seconds for ran in script]
    return [
        Figure(
            name=f"{name}, cold",
            values=[ideal / ran.seconds for ran in cold],
            unit="of ideal",
            least=0.85,
            reference=reached,
            against=SCRIPT,
            note=f"{_rates(cold)}; the script {_rates(script)}; ideal {rows / ideal:.0f} rows/s; "
            f"questions: {bench.origin}",
        ),
        Figure(
            name=f"{name}, learned",
            values=[ideal / ran.seconds for ran in learned],
            unit="of ideal",
            least=0.94,
            reference=reached,
            against=SCRIPT,
            note=_rates(learned),
        ),
        Figure(
            name=f"{name}, CPU",
            values=[ran.cpu_ms for ran in cold + learned],
            unit="ms/row",
            most=0.6,
            reference=[ran.cpu_ms for ran in script],
            against=SCRIPT,
        ),
    ]


def at_1024(size: Size) -> list[Figure]:
    """300 ms, 1,024 in flight: cold, and the next night with what that run learned."""
    rows, concurrency = size.of(10_000, 2_000), 1024
    name = f"{rows:,} rows, 300 ms, {concurrency:,} in flight"
    cold, learned, script = [], [], []
    with folder() as place, gateway.lean(LATENCY) as at:
        bench = Bench(place, at, rows, concurrency)
        for _ in size.times(name):
            cold.append(bench.program())
            learned.append(bench.next_night())
            script.append(bench.script())
    return [
        _per_second(f"{name}, cold", cold, script, 2200),
        _per_second(f"{name}, learned", learned, script, 2200),
    ]


def cpu_bound(size: Size) -> list[Figure]:
    """0 ms, 256 in flight, and where the CPU goes."""
    rows = size.of(10_000, 2_000)
    ours, script = [], []
    with folder() as place, gateway.lean(0.0) as at:
        bench = Bench(place, at, rows, 256)
        for _ in size.times(f"{rows:,} rows, 0 ms"):
            ours.append(bench.program())
            script.append(bench.script())
        figure = _per_second(f"{rows:,} rows, 0 ms", ours, script, 2500)
        shares = f"{figure.note}; shares by cProfile in a run of its own: {bench.shares()}"
    return [replace(figure, note=shares)]


def smallest(size: Size) -> list[Figure]:
    """One small run, to see that all parts fit together; no bar."""
    with folder() as place, gateway.lean(0.0) as at:
        bench = Bench(place, at, 50, 8)
        ran = [bench.program() for _ in size.times("50 rows")]
    return [Figure(name="50 rows, 0 ms", values=[each.rate for each in ran], unit="rows/s")]


def _per_second(name: str, ours: Sequence[Ran], script: Sequence[Ran], bar: float) -> Figure:
    return Figure(
        name=name,
        values=[ran.rate for ran in ours],
        unit="rows/s",
        least=bar,
        reference=[ran.rate for ran in script],
        against=SCRIPT,
        note=f"{_rates(ours)}; the script {_rates(script)}",
    )


def _rates(ran: Sequence[Ran]) -> str:
    """How the run of the median rate went."""
    usual = sorted(ran, key=lambda each: each.rate)[len(ran) // 2]
    return (
        f"{usual.rate:,.0f} rows/s ({usual.rows / usual.whole:,.0f} with the start of the process), "
        f"CPU {usual.cpu_ms:.2f} ms/row, {usual.most:,} in flight after {usual.filling:.1f} s, "
        f"{usual.ending:.2f} s from the last answer to the end"
    )
