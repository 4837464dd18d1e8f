"""Those who only look at a ledger do not load what a run needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from program import Program

LOADED = """
import sys
from opper_batch.cli import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


TRIAGE = ("pipelines/ticket_triage.toml", "--sandbox")


def loaded(*arguments: str) -> tuple[str, set[str]]:
    """What it says, and what it has loaded by its end."""
    command = [sys.executable, "-c", LOADED, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return ended.stdout, set(ended.stderr.split())


@pytest.fixture
def run_before(examples: Path, program: Program) -> None:
    assert program("run", *TRIAGE, "--quiet").returncode == 0


@pytest.mark.usefixtures("run_before")
def test_status_loads_neither_tables_nor_a_client() -> None:
    said, modules = loaded("status", *TRIAGE)
    assert "240 of 240 done" in said
    assert not modules & {"pyarrow", "duckdb", "polars", "httpx", "pydantic", "numpy"}


@pytest.mark.usefixtures("examples")
def test_a_run_from_csv_to_parquet_loads_no_database_but_the_ledgers() -> None:
    said, modules = loaded("run", *TRIAGE)
    assert "240 ok, 0 failed" in said
    assert not modules & {"duckdb", "polars"}


@pytest.mark.usefixtures("run_before")
@pytest.mark.parametrize(
    "text", ["name = 7", "nonsense", 'name = "a b"', "\x00", 'name = "../ticket_triage"']
)
def test_a_name_that_is_not_said_plainly_is_refused_as_everywhere(program: Program, text: str) -> None:
    Path("odd.toml").write_text(text)
    ended = program("status", "odd.toml", "--sandbox")
    assert ended.returncode == 2
    assert ended.stderr.startswith("opper-batch: odd.toml")
