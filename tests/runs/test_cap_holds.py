"""What a run may spend is never crossed, whatever is killed: the gateway's journal is the judge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from crashing import Starter, until
from program import Program

import opper_batch as ob
from opper_batch.sandbox import Sandbox

PIPELINE = """
name = "capped"
[source]
path = "rows.csv"
key = ["id"]
[[steps]]
name = "say"
instructions = "Say something."
input = ["text"]
model = "openai/gpt-4o-mini"
[steps.columns]
words = "VARCHAR[]"
why = { type = "VARCHAR", nullable = true }
[limits]
concurrency = 200
[sink]
path = "out.parquet"
"""
ROWS = 1_400


@pytest.fixture
def capped(here: Path) -> str:
    Path("rows.csv").write_text("id,text\n" + "".join(f"{n},{'word ' * (n % 97)}{n}\n" for n in range(ROWS)))
    Path("capped.toml").write_text(PIPELINE)
    return "capped.toml"


def killed_after(calls: int, sandbox: Sandbox, starter: Starter, arguments: tuple[str, ...]) -> bool:
    """Start a run and kill it when the gateway has answered so many more; whether it still lived."""
    wanted, running = sandbox.journal.requests + calls, starter.start(*arguments)
    until(lambda: sandbox.journal.requests >= wanted or running.over)
    return running.killed()


def test_the_cap_holds_with_two_hundred_in_flight_and_three_kills(
    capped: str, gateway: Callable[..., Sandbox], starter: Starter, program: Program
) -> None:
    sandbox = gateway(latency=0.4, latency_sigma=0.3)
    ob.run(capped, limit=50, state_dir="elsewhere")  # what rows cost
    surprise = max(record.cost or 0.0 for record in sandbox.journal.calls)
    before = sandbox.journal.spent
    cap = 24 * before
    arguments = ("run", capped, "--max-cost", f"{cap:.12f}", "--quiet")
    for calls in (280, 100, 100):
        assert killed_after(calls, sandbox, starter, arguments)
    assert sandbox.journal.high_water >= 100  # of 200 that may be; a busy machine begins fewer
    running = starter.start(*arguments)
    assert running.wait() == 3, running.err
    spent = sandbox.journal.spent - before
    assert 0.4 * cap < spent <= cap + surprise
    assert "higher --max-cost" in running.err
    assert program.json("run", capped, "--limit", "200", "--max-cost", "100")["exit"] == 0


def test_a_cap_below_what_a_row_costs_is_said_before_anything_is_called(
    capped: str, gateway: Callable[..., Sandbox], program: Program
) -> None:
    sandbox = gateway()
    ended = program("run", capped, "--max-cost", "0.0000001")
    assert ended.returncode == 3
    assert "is below what one row may cost" in ended.stderr
    assert not sandbox.journal.calls
    assert any("below what one row costs" in said for said in ob.plan(capped, max_cost=1e-7).warnings)


def test_unknown_costs_are_counted_and_told(here: Path, gateway: Callable[..., Sandbox]) -> None:
    gateway(omit=("cost",))
    table = pa.table({"text": [f"matter {number}" for number in range(20)]})
    step = {"name": "tag", "input": ["text"], "model": "openai/gpt-4o-mini", "columns": {"tag": ["a", "b"]}}
    silent = ob.Pipeline(name="silent", source={"table": table}, steps=[step])
    run = ob.run(silent, max_cost=1.0, limit=10)
    assert run.summary.totals.unpriced == 10
    assert "10 requests of unknown cost" in str(run)
    planned = ob.plan(silent)
    assert planned.calls == 10
    assert planned.basis.startswith("the listed price of openai/gpt-4o-mini")
