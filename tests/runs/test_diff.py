"""Two pipelines over the same rows: what is known is not asked again, and answers are kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from program import Program

import opper_batch as ob
from opper_batch.cli import commands
from opper_batch.errors import DefinitionError, RunStopped
from opper_batch.runs import Options, diff, execute, export, report_of
from opper_batch.sandbox import Sandbox

Gateways = Callable[..., Sandbox]
ROWS = 300


@pytest.fixture
def rows(here: Path) -> Path:
    lines = (f"K{n},matter {n}\n" for n in range(ROWS))
    Path("rows.csv").write_text("id,text\n" + "".join(lines))
    return here


def pipeline(name: str, prompt: str, **changes: Any) -> ob.Pipeline:
    step = {"name": "tag", "input": ["text"], "instructions": prompt, "columns": {"tag": ["a", "b", "c"]}}
    fields = {"source": {"path": "rows.csv", "key": ["id"]}, "steps": [step], **changes}
    return ob.Pipeline(name=name, **fields)


@pytest.mark.usefixtures("rows")
def test_rows_are_spread_evenly_and_only_what_is_missing_is_asked(gateway: Gateways) -> None:
    sandbox = gateway()
    old, new = pipeline("old", "One."), pipeline("new", "Two.")
    execute(old, Options())
    made = len(sandbox.journal.calls)
    found = diff(old, new, Options(), sample=30)
    assert [row["id"] for row in found.rows] == [f"K{n}" for n in range(5, ROWS, 10)]
    assert (found.a.calls, found.b.calls, len(sandbox.journal.calls)) == (0, 30, made + 30)
    assert 0 < len(found.changes) < 30
    assert found.a.cost > 0
    again = diff(old, new, Options(), sample=30)
    assert (again.a.calls, again.b.calls) == (0, 0)
    assert again.changes == found.changes
    assert execute(new, Options()).summary.totals.calls == ROWS - 30, "its answers are those of the real rows"


@pytest.mark.usefixtures("rows")
def test_a_sample_leaves_output_report_and_cap_as_they_were(gateway: Gateways) -> None:
    gateway()
    old = pipeline("old", "One.", sink={"path": "out.csv"})
    execute(old, Options(limit=20))
    written = Path("out.csv").read_bytes()
    found = diff(old, pipeline("old", "Two."), Options(), sample=300)
    assert (found.a.calls, found.b.calls) == (ROWS - 20, ROWS), "of one name they share a ledger"
    assert Path("out.csv").read_bytes() == written
    assert report_of("old", Options()).summary["rows"] == 20
    with pytest.raises(RunStopped):
        diff(old, pipeline("old", "Three."), Options(max_cost=found.b.paid), sample=300)


def test_pipelines_of_different_rows_are_refused_before_anything_is_called(rows: Path) -> None:
    Path("others.csv").write_text("id,text\nK1,x\n")
    other = pipeline("other", "One.", source={"path": "others.csv"})
    with pytest.raises(DefinitionError, match=r"different sources \(rows.csv and others.csv\)"):
        diff(pipeline("old", "One."), other, Options(sandbox=True))
    found = diff(pipeline("old", "One."), other, Options(sandbox=True, source="others.csv"))
    assert found.compared == 1


def test_without_a_key_rows_are_named_by_their_number_and_failures_are_told(
    rows: Path, gateway: Gateways
) -> None:
    gateway(schema_breaking=0.6, seed=2)
    source = {"path": "rows.csv"}
    found = diff(pipeline("a", "1", source=source), pipeline("b", "2", source=source), Options(), sample=3)
    assert [row["row"] for row in found.rows] == [51, 151, 251]
    assert found.compared + len(found.unanswered) == 3


def test_the_command_prints_text_or_one_object(rows: Path, program: Program) -> None:
    text = (
        'name = "{}"\n[source]\npath = "rows.csv"\n[[steps]]\nname = "tag"\ninstructions = "{}"\n'
        '[steps.columns]\ntag = ["a", "b"]\n'
    )
    Path("a.toml").write_text(text.format("a", "One."))
    Path("b.toml").write_text(text.format("b", "Two."))
    asking = ["diff", "a.toml", "b.toml", "--sandbox", "--sample", "10"]
    ended = program(*asking, "--json", "-q")
    assert (ended.returncode, ended.stderr) == (0, "")
    said = json.loads(ended.stdout)
    assert (said["a"]["pipeline"], said["b"]["calls_now"], said["rows"]) == ("a.toml", 10, 10)
    shown = CliRunner().invoke(commands, [*asking, "-q"]).stdout
    assert shown.startswith("a.toml (A) against b.toml (B): 10 of 300 rows of rows.csv, 10 answered by both")
    assert "$0.00 for 0 calls" in shown


@pytest.mark.usefixtures("rows")
def test_a_limit_and_a_start_are_kept_to(gateway: Gateways) -> None:
    sandbox = gateway()
    diff(pipeline("old", "One."), pipeline("new", "Two."), Options(limit=2))
    assert len(sandbox.journal.calls) == 4
    Path("rows.csv").write_text("id,n,text\n" + "".join(f"K{n},{n},matter {n}\n" for n in range(60)))
    source = {"path": "rows.csv", "since": "n", "types": {"n": "INTEGER"}}
    a, b = (pipeline(name, name, source=source) for name in ("old", "new"))
    assert len(diff(a, b, Options(since="57")).rows) == 3
    assert len(diff(a, b, Options()).rows) == 60, "whatever was taken before"


@pytest.mark.usefixtures("rows")
def test_what_is_looked_at_afterwards_is_the_last_run_of_the_pipeline_itself(gateway: Gateways) -> None:
    sandbox, other = gateway(), Sandbox().start()
    old = pipeline("old", "One.", sink={"path": "out.csv"})
    execute(old, Options(limit=20, base_url=sandbox.url))
    diff(old, pipeline("new", "Two."), Options(base_url=other.url), sample=5)
    other.stop()
    told = export(old, Options(limit=20))
    assert (told.counts.ok, told.run_id) == (20, 1)


@pytest.mark.usefixtures("rows")
def test_what_was_refreshed_counts_as_it_was_paid_last(gateway: Gateways) -> None:
    gateway()
    old, new = pipeline("old", "One."), pipeline("new", "Two.")
    execute(old, Options(limit=20))
    once = diff(old, new, Options(limit=20)).a
    execute(old, Options(limit=20, refresh=True))
    twice = diff(old, new, Options(limit=20)).a
    assert twice.cost == pytest.approx(once.cost, rel=0.2)
    assert twice.input_tokens == once.input_tokens
