"""The benchmarks can be run: one small one, for real. No figure is judged here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_a_small_benchmark_gives_the_table() -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "--quick", "smallest"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    heading, row = [line for line in ended.stdout.splitlines() if line.startswith("| ")]
    assert "ratio to the reference" in heading
    assert "50 rows" in row
    assert "rows/s" in row


def test_a_benchmark_that_is_not_there_is_refused_with_those_that_are() -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "nothing"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "at_256" in ended.stderr
