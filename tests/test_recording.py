"""A pipeline is run once for real, and ever after from what it was answered then."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars
import pytest
from polars.testing import assert_frame_equal
from program import KEY

import opper_batch as ob
from opper_batch.cli import commands
from opper_batch.recording import Recording
from opper_batch.testing import recording, replaying

REVIEWS = polars.DataFrame({"id": [7, 8, 9], "stars": [1, 5, 5], "text": ["broken", "fine", "fine"]})


def reviews(table: polars.DataFrame = REVIEWS, **changes: Any) -> ob.Pipeline:
    """Two steps, the second reading what the first was answered; one row is equal to another."""
    look = {
        "name": "look",
        "instructions": "Read it.",
        "input": ["stars", "text"],
        "columns": {"good": "BOOLEAN"},
    }
    act = {"name": "act", "input": ["good", "text"], "columns": {"reply": ["thank", "refund"]}}
    return ob.Pipeline(
        name="reviews", source={"table": table, "key": ["id"]}, steps=[{**look, **changes}, act]
    )


@pytest.fixture
def recorded(
    gateway: Callable[..., ob.Sandbox], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Path, ob.Run]]:
    """A recording of a gateway that is not there any more, without a key in the environment."""
    sandbox, path = gateway(), Path("recordings/reviews.jsonl")
    with recording(path):
        run = ob.run(reviews())
    run.table  # noqa: B018, read while its ledger is there
    sandbox.stop()
    monkeypatch.delenv("OPPER_API_KEY")
    monkeypatch.delenv("OPPER_BASE_URL")
    return path, run


def failing(path: Path, pipeline: ob.Pipeline) -> str:
    with replaying(path), pytest.raises(pytest.fail.Exception) as failed:
        ob.run(pipeline)
    return str(failed.value)


def test_what_was_recorded_comes_back_to_the_cell_without_a_gateway(recorded: tuple[Path, ob.Run]) -> None:
    path, run = recorded
    with replaying(path):
        again = ob.run(reviews())
    assert_frame_equal(again.frame, run.frame)
    assert again.counts == run.counts
    assert again.summary.totals == run.summary.totals
    assert again.cost > 0


def test_a_pipelines_checks_are_made_of_the_replayed_result(recorded: tuple[Path, ob.Run]) -> None:
    pipeline = reviews()
    fields = {name: getattr(pipeline, name) for name in ("name", "source", "steps")}
    check = {"name": "none", "sql": "SELECT count(*) FROM result", "max": 0}
    with replaying(recorded[0]):
        run = ob.run(ob.Pipeline(**fields, checks=[check], sink={"path": "out.parquet"}))
    assert run.counts.held_back
    assert (run.summary.exit, run.summary.output) == (1, None)
    assert Path("out.rejected.parquet").exists()


def test_the_sandbox_is_recorded_as_the_sandbox(here: Path) -> None:
    with recording("x.jsonl"):
        run = ob.run(reviews(), sandbox=True)
    with replaying("x.jsonl"):
        assert_frame_equal(ob.run(reviews(), sandbox=True).frame, run.frame)
    with replaying("x.jsonl"), pytest.raises(pytest.fail.Exception, match="recorded of sandbox"):
        ob.run(reviews())


def test_a_second_run_in_a_test_calls_nothing_as_it_would(recorded: tuple[Path, ob.Run]) -> None:
    with replaying(recorded[0]):
        assert ob.run(reviews()).summary.totals.calls == 4
        assert ob.run(reviews()).summary.totals.calls == 0
        assert ob.run(reviews(), limit=1).counts.rows == 1


def test_other_faces_are_replayed_too(
    recorded: tuple[Path, ob.Run], capsys: pytest.CaptureFixture[str]
) -> None:
    path, run = recorded
    REVIEWS.write_parquet("reviews.parquet")
    Path("reviews.py").write_text(
        "import opper_batch as ob\n"
        "pipeline = ob.Pipeline(name='reviews', source={'path': 'reviews.parquet'}, steps=["
        "{'name': 'look', 'instructions': 'Read it.', 'input': ['stars', 'text'],"
        " 'columns': {'good': 'BOOLEAN'}},"
        "{'name': 'act', 'input': ['good', 'text'], 'columns': {'reply': ['thank', 'refund']}}])"
    )
    with replaying(path):
        assert asyncio.run(ob.run_async(reviews())).counts == run.counts
        commands.main(["run", "reviews.py", "--state-dir", "other"], standalone_mode=False)
    assert "3: 3 ok" in capsys.readouterr().out
    assert not Path("other").exists()


def test_a_diff_is_recorded_and_replayed(
    gateway: Callable[..., ob.Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = gateway()
    with recording("diff.jsonl"):
        real = ob.diff(reviews(), reviews(instructions="Read it well."), sample=2)
    asked = len(sandbox.journal.calls)
    monkeypatch.delenv("OPPER_API_KEY")
    with replaying("diff.jsonl"):
        again = ob.diff(reviews(), reviews(instructions="Read it well."), sample=2)
    assert (again.a.answers, again.b.answers) == (real.a.answers, real.b.answers)
    assert len(sandbox.journal.calls) == asked > 0


def test_a_pilot_is_refused_before_anything_is_asked(gateway: Callable[..., ob.Sandbox]) -> None:
    sandbox = gateway()
    with recording("empty.jsonl"):
        pass
    for within in (recording, replaying):
        with within("empty.jsonl"), pytest.raises(pytest.fail.Exception, match="leave pilot out"):
            ob.plan(reviews(), pilot=10)
    assert not sandbox.journal.calls


def test_headers_of_a_model_are_not_recorded_and_a_changed_one_is_told(here: Path) -> None:
    def asking(secret: str) -> ob.Pipeline:
        return reviews(model={"name": "openai/gpt-4o-mini", "extra_headers": {"x-secret": secret}})

    with recording("x.jsonl"):
        ob.run(asking("hunter2"), sandbox=True)
    written = Path("x.jsonl").read_text()
    assert "x-secret" in written
    assert "hunter2" not in written
    with replaying("x.jsonl"):
        assert ob.run(asking("hunter2"), sandbox=True).counts.ok == 3
    with replaying("x.jsonl"), pytest.raises(pytest.fail.Exception, match="a header of the model changed"):
        ob.run(asking("hunter3"), sandbox=True)


def test_a_row_that_differs_is_named_with_what_differs(recorded: tuple[Path, ob.Run]) -> None:
    said = failing(recorded[0], reviews(REVIEWS.with_columns(stars=polars.Series([1, 4, 5]))))
    assert "reviews, row 2 (id=8), step 'look': not recorded; 'stars' differs from the recorded row 2" in said
    assert "row 3" not in said
    assert f"to record {recorded[0]} anew" in said


def test_a_prompt_that_changed_is_named_and_many_rows_are_counted(recorded: tuple[Path, ob.Run]) -> None:
    table = polars.DataFrame({"id": range(9), "stars": range(9), "text": "x"})
    said = failing(recorded[0], reviews(table, instructions="Read it well."))
    assert "row 1 (id=0), step 'look': not recorded; 'instructions' changed since it was recorded" in said
    assert "row 6" not in said
    assert "and 4 more rows" in said


def test_a_row_like_none_a_step_never_recorded_and_another_gateway(recorded: tuple[Path, ob.Run]) -> None:
    path, _ = recorded
    other = polars.DataFrame({"id": [1], "stars": [3], "text": ["new"]})
    assert "no recorded row is like it" in failing(path, reviews(other))
    assert "nothing is recorded for this step" in failing(path, reviews(name="glance"))
    with replaying(path), pytest.raises(pytest.fail.Exception, match="this run means sandbox"):
        ob.run(reviews(), sandbox=True)


def test_code_that_swallows_exceptions_does_not_hide_what_is_missing(recorded: tuple[Path, ob.Run]) -> None:
    def stubborn() -> None:
        try:
            ob.run(reviews(instructions="Other."))
        except Exception:
            pytest.fail("swallowed")

    with replaying(recorded[0]), pytest.raises(pytest.fail.Exception, match="not recorded"):
        stubborn()


def test_failed_rows_are_recorded_as_they_failed(gateway: Callable[..., ob.Sandbox]) -> None:
    gateway(schema_breaking=1.0)
    pipeline = ob.Pipeline(
        name="bad", source={"table": REVIEWS}, steps=[{"name": "look", "columns": {"good": "BOOLEAN"}}]
    )
    with recording("bad.jsonl"):
        run = ob.run(pipeline)
    assert run.counts.failed == 3
    with replaying("bad.jsonl"):
        assert_frame_equal(ob.run(pipeline).failures, run.failures)


def test_the_recording_is_readable_and_never_holds_the_key(
    recorded: tuple[Path, ob.Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = recorded
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines if "prompt" in line] == ["look", "act"]
    assert {"row": 1, "input": {"stars": 1, "text": "broken"}}.items() <= lines[2].items()
    assert KEY not in path.read_text()
    before = path.read_bytes()
    monkeypatch.setenv("OPPER_API_KEY", "broken")  # a word of a row
    with pytest.raises(ob.MachineError, match="holds OPPER_API_KEY"):
        Recording.read(path).write(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"opper_batch_recording": 2}', '{"opper_batch_recording": 1}\n{}']
)
def test_a_file_that_is_no_recording_says_so(here: Path, content: str) -> None:
    Path("x.jsonl").write_text(content)
    with pytest.raises(ob.DefinitionError, match=r"x\.jsonl is no recording"):
        Recording.read(Path("x.jsonl"))


def test_a_recording_that_is_not_there_says_how_to_make_one(here: Path) -> None:
    said = r"(?s)no recording at x\.jsonl.*pytest --opper-record"
    with pytest.raises(pytest.fail.Exception, match=said), replaying("x.jsonl"):
        pass
