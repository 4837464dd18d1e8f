"""How soon the command line answers, and how soon the first request of the 200-row sample leaves."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.benchmarks import gateway
from tests.benchmarks.figure import Figure, Size
from tests.benchmarks.measured import PROGRAM, ROOT, folder, measured

LIBRARIES = "import httpx, pydantic, pyarrow, duckdb"


def start(size: Size) -> list[Figure]:
    """``--help``, and a run from its start to the arrival of its first request."""
    helped, bare, first, loaded = [], [], [], []
    with folder() as place, gateway.sandbox(place) as at:
        for turn in size.times("start"):
            helped.append(measured([PROGRAM, "--help"], cwd=place).seconds)
            bare.append(measured([sys.executable, "-c", "pass"], cwd=place).seconds)
            first.append(_first_request(at, place / f"home{turn}"))
            loaded.append(measured([sys.executable, "-c", LIBRARIES], cwd=place).seconds)
    return [
        Figure(
            name="start: --help",
            values=helped,
            unit="s",
            most=0.3,
            reference=bare,
            against="python -c pass",
        ),
        Figure(
            name="start: to the first request, 200-row sample",
            values=first,
            unit="s",
            most=1.2,
            reference=loaded,
            against=f"python -c '{LIBRARIES}'",
        ),
    ]


def _first_request(at: gateway.Running, home: Path) -> float:
    command: list[str | Path] = [
        PROGRAM,
        "run",
        "pipelines/ticket_triage.toml",
        "--quiet",
        "--base-url",
        at.url,
    ]
    ended = measured([*command, "--sink", str(home) + ".parquet"], cwd=ROOT, home=home)
    return float(min(record["arrived"] for record in at.records()) - ended.began)
