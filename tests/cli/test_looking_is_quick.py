"""Those who only look at a ledger do not load what a run needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from program import Program

LOOK = """
import sys
from opper_batch.cli import main
sys.argv[1:] = ["status", "pipelines/ticket_triage.toml", "--sandbox"]
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


@pytest.fixture
def run_before(examples: Path, program: Program) -> None:
    assert program("run", "pipelines/ticket_triage.toml", "--sandbox", "--quiet").returncode == 0


@pytest.mark.usefixtures("run_before")
def test_status_loads_neither_tables_nor_a_client() -> None:
    ended = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, timeout=60)
    assert "240 of 240 done" in ended.stdout
    loaded = set(ended.stderr.split())
    assert not loaded & {"pyarrow", "duckdb", "polars", "httpx", "pydantic", "numpy"}


@pytest.mark.usefixtures("run_before")
@pytest.mark.parametrize(
    "text", ["name = 7", "nonsense", 'name = "a b"', "\x00", 'name = "../ticket_triage"']
)
def test_a_name_that_is_not_said_plainly_is_refused_as_everywhere(program: Program, text: str) -> None:
    Path("odd.toml").write_text(text)
    ended = program("status", "odd.toml", "--sandbox")
    assert ended.returncode == 2
    assert ended.stderr.startswith("opper-batch: odd.toml")
