"""A limit that nobody told, and a latency with a long tail: both on the sandbox, judged by its journal."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks import gateway, tables
from tests.benchmarks.figure import Figure, Size
from tests.benchmarks.measured import PROGRAM, Measured, RunFailed, folder, measured

PER_MINUTE = 3000
# A lognormal latency whose 99th percentile is 8 times its median.
MEDIAN_SECONDS = 0.3
SIGMA = math.log(8) / 2.3263

Records = Sequence[Mapping[str, Any]]


def unknown_limit(size: Size) -> list[Figure]:
    """2,000 rows at a gateway that refuses beyond 3,000 a minute and says so by Retry-After alone."""
    rows = size.of(2_000, 300)
    ideal = rows / PER_MINUTE * 60
    shares, refused, ends, told = [], [], [], []
    with folder() as place, gateway.sandbox(place, latency=MEDIAN_SECONDS, rpm=PER_MINUTE) as at:
        tables.write(place, rows)
        for turn in size.times("unknown limit"):
            ended = _run(place, at, f"found{turn}", rows)
            records = at.records()
            shares.append((ended.ended - _first(records)) / ideal)
            refused.append(100 * sum(record["status"] == 429 for record in records) / rows)
            ends.append(ended.ended - _first(records))
        ended = _run(place, at, "told", rows, "--rpm", str(PER_MINUTE))
        told.append((ended.ended - _first(at.records())) / ideal)
    name = f"{rows:,} rows, unknown limit of {PER_MINUTE:,} per minute"
    least = "the same with the limit told"
    return [
        Figure(name=name, values=shares, unit="× ideal", most=1.15, reference=told, against=least),
        Figure(name=f"{name}, refused", values=refused, unit="%", most=1.0),
    ]


def tail(size: Size) -> list[Figure]:
    """2,000 rows of lognormal latency: how long after the last row could have been done it is done."""
    rows, concurrency = size.of(2_000, 300), size.of(128, 64)
    took, best, notes = [], [], []
    with folder() as place, gateway.sandbox(place, latency=MEDIAN_SECONDS, latency_sigma=SIGMA) as at:
        tables.write(place, rows)
        for turn in size.times("tail"):
            _run(place, at, f"home{turn}", rows, "--concurrency", str(concurrency))
            records = sorted(at.records(), key=lambda record: record["arrived"])
            drawn = [record["answered"] - record["arrived"] for record in records]
            bound = sum(drawn) / concurrency + max(drawn)
            took.append((max(record["answered"] for record in records) - _first(records)) / bound)
            best.append(_scheduled(drawn, concurrency) / bound)
            notes.append(f"{bound:.1f} s with a slowest call of {max(drawn):.1f} s")
    return [
        Figure(
            name=f"tail: {rows:,} rows, p99 = 8 × median, {concurrency} in flight",
            values=took,
            unit="× (work / concurrency + slowest)",
            most=1.15,
            reference=best,
            against="the same calls started without a gap",
            note=f"the bound was {notes[-1]}",
        )
    ]


def _run(place: Path, at: gateway.Running, home: str, rows: int, *options: str) -> Measured:
    command: list[str | Path] = [
        PROGRAM,
        "run",
        "banking.toml",
        "--base-url",
        at.url,
        "--json",
        "--quiet",
        *options,
    ]
    ended = measured(command, cwd=place, home=place / home)
    if ended.said["ok"] != rows:
        raise RunFailed(f"of {rows} rows {ended.said['ok']} are ok: {ended.stdout[-500:]}")
    return ended


def _first(records: Records) -> float:
    return float(min(record["arrived"] for record in records))


def _scheduled(drawn: Sequence[float], concurrency: int) -> float:
    """When the last call ends if each begins, in this order, the moment that a place is free."""
    ends = [0.0] * concurrency
    for seconds in drawn:
        heapq.heapreplace(ends, ends[0] + seconds)
    return max(ends)
