"""A result that fails a check never takes the place of the one before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pytest
from program import Program

import opper_batch as ob
from opper_batch.errors import DefinitionError
from opper_batch.ledger import View
from opper_batch.pipeline import SourceSpec
from opper_batch.runs import Options, execute, report_of
from opper_batch.sandbox import Sandbox, Script

PASSES = {"name": "some", "sql": "SELECT count(*) FROM result", "min": 1}
FAILS = {"name": "none", "sql": "SELECT count(*) FROM result", "max": 0}
ROWS = pa.table({"id": [1, 2, 3], "text": pa.array(["a", "b", "a"]).dictionary_encode()})


def pipeline(sink: dict[str, str] | None, *checks: dict[str, Any], table: pa.Table = ROWS) -> ob.Pipeline:
    step = {"name": "tag", "input": ["text"], "columns": {"tag": ["x", "y"]}}
    return ob.Pipeline(
        name="tags", source={"table": table, "key": ["id"]}, steps=[step], sink=sink, checks=list(checks)
    )


def run(*given: Any, **options: Any) -> Any:
    return execute(pipeline(*given), Options(sandbox=True, **options)).summary


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".arrow", "/"])
def test_a_failing_check_leaves_the_old_output_and_puts_the_new_beside_it(here: Path, ending: str) -> None:
    sink = {"path": f"out/t{ending}"}
    assert run(sink, PASSES).exit == 0
    held = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    summary = run(sink, PASSES, FAILS)
    assert (summary.exit, summary.output) == (1, None)
    assert summary.counts.rejected == f"out/t.sandbox.rejected{ending}"
    assert {path: path.read_bytes() for path in held} == held
    if ending == ".parquet":
        old, new = (polars.read_parquet(f"out/t.sandbox{word}.parquet") for word in ("", ".rejected"))
        assert new.drop("tag_cached").equals(old.drop("tag_cached"))
        assert new.schema == old.schema, "what is held back has the same columns"
    assert Path("out/t.sandbox.rejected" + ending.rstrip("/") + ".report.json").exists()
    assert run(sink, PASSES).exit == 0
    assert not list(Path("out").glob("*rejected*")), "it is not the latest any more"
    assert not [path.name for path in Path(".opper_batch").iterdir() if "result" in path.name]


def test_a_table_is_held_back_in_a_table_of_its_own(here: Path) -> None:
    sink = {"duckdb": "w.duckdb", "table": "tags", "mode": "upsert"}
    assert run(sink, PASSES).exit == 0
    assert run(sink, FAILS).counts.rejected == "w.duckdb:tags_sandbox_rejected"
    with duckdb.connect("w.duckdb", read_only=True) as connection:
        counts = connection.sql(
            "SELECT (SELECT count(*) FROM tags_sandbox), (SELECT count(*) FROM tags_sandbox_rejected)"
        )
        assert counts.fetchall() == [(3, 3)]
    assert run(sink, PASSES).exit == 0
    with duckdb.connect("w.duckdb", read_only=True) as connection:
        assert connection.sql("SHOW TABLES").fetchall() == [("tags_sandbox",)]
    assert not list(Path().glob("*rejected*"))


def test_what_was_held_back_and_cannot_be_removed_fails_no_run(here: Path) -> None:
    kept = Path("out/t.sandbox.rejected/mine.txt")
    run({"path": "out/t/"}, FAILS)
    kept.touch()
    assert run({"path": "out/t/"}, PASSES).exit == 0
    assert list(kept.parent.iterdir()) == [kept], "nobody else's file is removed"


def test_without_a_sink_the_checks_are_told_all_the_same(here: Path) -> None:
    summary = run(None, PASSES, FAILS)
    assert (summary.exit, summary.counts.rejected) == (1, None)
    assert [(check.name, check.ok) for check in summary.counts.checks] == [("some", True), ("none", False)]


def test_a_wrong_check_stops_before_anything_is_called(here: Path) -> None:
    with Sandbox(Script()) as sandbox:
        wrong = pipeline(None, {"name": "w", "null_share": "tagg", "max": 0.1})
        with pytest.raises(DefinitionError, match="did you mean 'tag'"):
            execute(wrong, Options(sandbox=sandbox))
        assert len(sandbox.journal.calls) == 0
    with pytest.raises(DefinitionError, match="two are named 'some'"):
        pipeline(None, PASSES, PASSES)


@pytest.mark.parametrize(
    ("check", "sentence"),
    [
        ({"name": "c"}, "needs exactly one of sql, null_share"),
        ({"name": "c", "sql": "SELECT 1", "unique": "id"}, "it has sql and unique"),
        ({"name": "c", "null_share": "tag"}, "null_share needs min or max"),
        ({"name": "c", "null_share": "tag", "max": 5}, "so 2 % is 0.02"),
        (
            {"name": "c", "enum_share": {"tag": "x", "id": 1}, "max": 1},
            'write enum_share = { column = "value" }',
        ),
        ({"name": "c", "unique": "id", "max": 1}, "unique has no min or max"),
        ({"name": "c", "range": "id", "max": "z"}, "checks[0].max: should be a number"),
        ({"name": "c", "range": "id", "max": True}, "checks[0].max: should be a number"),
        ({"name": "c", "nul_share": "id"}, "did you mean 'null_share'?"),
        ({"sql": "SELECT 1"}, "checks[0].name: is missing"),
    ],
)
def test_a_check_that_is_none_is_refused_when_it_is_loaded(check: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DefinitionError) as raised:
        pipeline(None, check)
    assert sentence in raised.value.message


def test_the_command_line_tells_the_numbers(here: Path, program: Program) -> None:
    Path("rows.csv").write_text("id,text\n1,a\n2,b\n")
    Path("tags.toml").write_text(
        'name = "tags"\n[source]\npath = "rows.csv"\ntypes = {id = "INTEGER"}\n'
        '[[steps]]\nname = "tag"\n[steps.columns]\n'
        'tag = ["x", "y"]\n[sink]\npath = "t.parquet"\n'
        '[[checks]]\nname = "numbers"\nrange = "id"\nmin = 2\n'
    )
    ended = program("run", "tags.toml", "--sandbox", "--json")
    assert ended.returncode == 1
    assert "NOT OK  numbers: 1 row with id below 2" in ended.stderr
    said = json.loads(ended.stdout)
    assert (said["exit"], said["output"], said["rejected"]) == (1, None, "t.sandbox.rejected.parquet")
    assert said["checks"] == [{"name": "numbers", "ok": False, "value": 1, "said": "1 row with id below 2"}]
    assert "NOT OK  numbers" in str(report_of("tags", Options(sandbox=True)))
    exported = program("export", "tags.toml", "--sandbox")
    assert exported.returncode == 1
    assert "held back, the output is as it was: numbers: 1 row " in exported.stderr
    assert not Path("t.sandbox.parquet").exists()


def test_a_result_that_is_held_back_is_not_published(here: Path) -> None:
    sink = {"path": "out/t.parquet"}
    run(sink, FAILS)
    assert not Path("out/t.sandbox.parquet").exists()
    assert Path("out/t.sandbox.rejected.parquet.report.json").exists(), "its report lies beside it"
    with View(next(Path(".opper_batch").glob("*.ledger"))) as view:
        assert [record.published for record in view.runs()] == [False]
        assert view.spent()[0] > 0, "what it paid counts for the cap of the next run"
    run(sink, PASSES)
    said = json.loads(Path("out/t.sandbox.parquet.report.json").read_text())
    assert said["compared_with"] is None, "it is compared with what was published"


def test_a_result_that_would_be_held_back_onto_its_own_source_is_refused(here: Path) -> None:
    polars.DataFrame({"id": [1], "text": ["a"]}).write_parquet("t.sandbox.rejected.parquet")
    rejected = Path("t.sandbox.rejected.parquet").read_bytes()
    again = pipeline({"path": "t.parquet"}, FAILS).model_copy(
        update={"source": SourceSpec(path="t.sandbox.rejected.parquet")}
    )
    with pytest.raises(DefinitionError, match="is where the source is read"):
        execute(again, Options(sandbox=True))
    assert Path("t.sandbox.rejected.parquet").read_bytes() == rejected
