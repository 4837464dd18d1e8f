"""What a run does when things are not as they should be: nothing is lost, and everything is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from program import Program

import opper_batch as ob
from opper_batch.ledger import View
from opper_batch.runs import Options, execute
from opper_batch.sandbox import Sandbox


def pipeline(rows: int = 20, **parts: Any) -> ob.Pipeline:
    table = pa.table({"id": list(range(rows)), "text": [f"matter {number}" for number in range(rows)]})
    step = {"name": "tag", "input": ["text"], "columns": {"tag": ["a", "b"]}}
    return ob.Pipeline(**{"name": "kept", "source": {"table": table}, "steps": [step], **parts})


def test_a_refresh_that_fails_keeps_the_older_answers_and_says_so(
    here: Path,
) -> None:
    assert ob.run(pipeline(), sandbox=True).counts.ok == 20
    with Sandbox(ob.Script(schema_breaking=1.0)) as broken:
        ended = execute(pipeline(), Options(sandbox=broken, refresh=True))
    summary = ended.summary
    assert (summary.exit, summary.kept) == (1, 20)
    assert summary.counts is not None
    assert summary.counts.ok == 20, "the older answers stand"
    assert "20 calls failed; their rows keep the older answer" in str(summary)


def test_a_refresh_that_was_stopped_goes_on_and_asks_nothing_twice(
    gateway: Callable[..., Sandbox],
) -> None:
    sandbox = gateway()
    ob.run(pipeline())
    whole = sandbox.journal.spent
    with pytest.raises(ob.RunStopped):
        ob.run(pipeline(), refresh=True, max_cost=whole / 2)
    asked = len(sandbox.journal.calls)
    assert 20 < asked < 40
    ob.run(pipeline(), refresh=True)
    assert len(sandbox.journal.calls) == 40
    ob.run(pipeline(), refresh=True)
    assert len(sandbox.journal.calls) == 60, "a refresh that came to its end is over"


def test_a_step_is_not_priced_by_another(gateway: Callable[..., Sandbox]) -> None:
    sandbox = gateway()
    cheap = {"name": "cheap", "input": ["text"], "model": "openai/gpt-4o-mini", "columns": {"a": "BOOLEAN"}}
    dear = {
        "name": "dear",
        "input": ["text"],
        "model": "anthropic/claude-opus-4.1",
        "columns": {"b": "VARCHAR"},
    }
    both = pipeline(60, steps=[cheap, dear])
    ob.run(both, limit=1)
    cost_of_one = max(record.cost or 0.0 for record in sandbox.journal.calls)
    spent = sandbox.journal.spent
    cap = 60 * (spent - cost_of_one) + 3 * cost_of_one
    with pytest.raises(ob.RunStopped):
        ob.run(both, max_cost=cap)
    assert sandbox.journal.spent - spent <= cap + 1.5 * cost_of_one


def test_the_source_is_never_overwritten(gateway: Callable[..., Sandbox]) -> None:
    sandbox = gateway()
    Path("rows.csv").write_text("id,text\n1,a\n2,b\n")
    with pytest.raises(ob.DefinitionError, match=r"rows\.csv is where the source is read"):
        ob.run(pipeline(source={"path": "rows.csv"}), sink="./rows.csv")
    assert Path("rows.csv").read_text() == "id,text\n1,a\n2,b\n"
    assert not sandbox.journal.records


def test_a_source_that_changes_during_the_run_stops_it_and_the_answers_stay(
    gateway: Callable[..., Sandbox], program: Program
) -> None:
    sandbox = gateway(latency=0.3)
    Path("rows.csv").write_text("id,text\n" + "".join(f"{n},matter {n}\n" for n in range(40)))
    Path("p.toml").write_text(
        'name = "p"\n[source]\npath = "rows.csv"\n[[steps]]\nname = "tag"\ninput = ["text"]\n'
        'columns = { tag = ["a", "b"] }\n[sink]\npath = "out.parquet"\n'
    )
    running = program.start("run", "p.toml", "--concurrency", "8")
    while not sandbox.journal.calls:
        pass
    with Path("rows.csv").open("a") as file:
        file.write("40,matter 40\n")
    _, err = running.communicate(timeout=60)
    assert running.returncode == 3, "calls were paid, so it is not exit 2"
    assert "rows.csv" in err
    assert not Path("out.parquet").exists()
    said = program.json("run", "p.toml")
    assert (said["rows"], said["calls"]) == (41, 1)


def test_export_of_what_nobody_asked_writes_nothing(here: Path, gateway: Callable[..., Sandbox]) -> None:
    Path("out.parquet").write_bytes(b"precious")
    with pytest.raises(ob.DefinitionError, match="has not run yet"):
        ob.export(pipeline(), sink="out.parquet", base_url="http://127.0.0.1:9")
    gateway()
    ob.run(pipeline())
    other = {"name": "tag", "instructions": "Another.", "input": ["text"], "columns": {"tag": ["a", "b"]}}
    with pytest.raises(ob.DefinitionError, match="nothing is known of"):
        ob.export(pipeline(steps=[other]), sink="out.parquet")
    assert Path("out.parquet").read_bytes() == b"precious"


def test_whatever_goes_wrong_the_ledger_is_told(gateway: Callable[..., Sandbox], program: Program) -> None:
    gateway()

    def broken(progress: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ob.run(pipeline(), progress=broken)
    with View(Path(".opper_batch/kept.ledger")) as view:
        (run,) = view.runs()
    assert run.ended is not None
    assert (run.exit_code, run.published) == (1, False)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_costs": 1}, "did you mean 'max_cost'"),
        ({"deadline": "1s"}, "deadline = '1s'"),
        ({"limit": 2.5}, "whole number"),
        ({"concurrency": 0}, "above 0"),
        ({"max_failed": "150%"}, "max_failed"),
        ({"max_cost": True}, "max_cost"),
    ],
)
def test_a_wrong_option_is_one_sentence(options: dict[str, Any], words: str, here: Path) -> None:
    with pytest.raises(ob.DefinitionError, match=words):
        ob.run(pipeline(), sandbox=True, **options)


def test_a_pipeline_is_also_taken_by_its_path(examples: Path) -> None:
    assert ob.run("pipelines/ticket_triage.toml", sandbox=True, limit=5).counts.ok == 5
    with pytest.raises(ob.DefinitionError, match="no pipeline file"):
        ob.plan("rows.txt")


def test_a_key_of_the_result_is_what_was_paid_for_it(gateway: Callable[..., Sandbox]) -> None:
    sandbox = gateway(schema_breaking=0.3, seed=2)
    run = ob.run(pipeline(60))
    assert sandbox.journal.paid > 60
    frame = run.frame
    assert sum(frame["tag_cost"]) == pytest.approx(sandbox.journal.spent)
    assert sum(frame["tag_attempts"]) == sandbox.journal.paid
    assert run.counts.cost == pytest.approx(sandbox.journal.spent)
    totals = run.summary.totals
    assert sum(frame["tag_input_tokens"]) == totals.input_tokens
    assert sum(frame["tag_output_tokens"]) == totals.output_tokens
