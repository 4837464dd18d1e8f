"""Source and ledger joined: each row with its answers, or with the reason why it has none."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from opper_batch.calls import Step, prepare
from opper_batch.ledger import Ledger, View
from opper_batch.pipeline import Pipeline
from opper_batch.projection import NOT_ASKED, Projected, project
from opper_batch.records import Artifact, Call, Outcome, Usage

ROWS = pa.record_batch({"id": [1, 2, 3, 4], "text": ["a", "b", "c", "a"]})


def steps(*given: dict[str, Any]) -> tuple[Step, ...]:
    definition = Pipeline(name="p", source={"path": "in.csv"}, steps=list(given))
    return prepare(definition, ROWS.schema, source="in.csv", origin="o")


THREE = steps(
    {"name": "one", "columns": {"day": "DATE"}, "input": ["text"]},
    {"name": "two", "columns": {"topics": "VARCHAR[]"}, "input": ["day"]},
    {"name": "three", "columns": {"note": "VARCHAR"}, "input": ["topics", "id"]},
)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "p.ledger") as ledger:
        ledger.begin(origin="o", options={})
        yield ledger


@pytest.fixture
def view(ledger: Ledger) -> Iterator[View]:
    with ledger.view() as view:
        yield view


def asked(step: Step, projected: Projected) -> list[Call]:
    return [call for call in projected.questions(step) if call]


def write(ledger: Ledger, step: Step, call: Call, data: Any = None, **changes: Any) -> None:
    """An answer with this data; or what ``changes`` make of it."""
    journal = ledger.journal(step=step.name, digest=step.template.digest, fields={})
    values = {"error": None, "reply": json.dumps({"data": data}).encode(), "attempts": 1, **changes}
    asyncio.run(journal.record(Outcome(call.key, **values)))


def statuses(projected: Projected, step: str) -> list[tuple[str, str | None]]:
    answers = projected.answers[step]
    return list(zip(answers.statuses, answers.errors, strict=True))


def test_answers_become_typed_columns_beside_the_sources_in_its_order(ledger: Ledger, view: View) -> None:
    (one, *_) = THREE
    a, b, c, again = asked(one, Projected(ROWS, first_row=1))
    assert a == again
    for call, day in ((c, "2026-01-03"), (a, "2026-01-01"), (b, "2026-01-02")):
        write(ledger, one, call, {"day": day})
    projected = project(ROWS, [one], view, first_row=1)
    assert projected.batch.schema == pa.schema([*ROWS.schema, *one.columns.arrow])
    assert projected.batch.column("text").to_pylist() == ["a", "b", "c", "a"]
    days = [dt.date(2026, 1, day) for day in (1, 2, 3, 1)]
    assert projected.batch.column("day").to_pylist() == days
    assert statuses(projected, "one") == [("ok", None)] * 4


def test_an_answer_tells_what_it_cost_and_by_which_key_it_is_known(ledger: Ledger, view: View) -> None:
    (one, *_) = THREE
    call = asked(one, Projected(ROWS, first_row=1))[0]
    write(ledger, one, call, {"day": "2026-01-01"}, usage=Usage(0.25, 3, 4), model="a/b", trace="t")
    answers = project(ROWS, [one], view, first_row=1).answers["one"]
    assert answers.keys[0] == call.key
    facts = {name: values[0] for name, values in answers.facts.items()}
    assert facts["key"] == call.key
    assert (facts["run"], facts["model"], facts["trace"]) == (1, "a/b", "t")
    assert (facts["cost"], facts["input_tokens"], facts["output_tokens"]) == (0.25, 3, 4)
    assert {values[1] for values in answers.facts.values()} == {None}, "of a row that was not asked"


def test_a_row_without_an_answer_says_why_through_all_the_steps_that_need_it(
    ledger: Ledger, view: View
) -> None:
    one, two, three = THREE
    batch = pa.record_batch({"id": [1, 2, 3, 4], "text": ["all", "fails", "unasked", "later"]})
    all_ok, fails, _, later = asked(one, Projected(batch, first_row=1))
    write(ledger, one, all_ok, {"day": "2026-01-01"})
    write(ledger, one, fails, error="answer does not fit: day: is missing")
    write(ledger, one, later, {"day": "2026-01-04"})
    after_one = project(batch, [one], view, first_row=1)
    first, fourth = asked(two, after_one)
    write(ledger, two, first, {"topics": ["x"]})
    write(ledger, two, fourth, error="400 too long")
    (last,) = asked(three, project(batch, [one, two], view, first_row=1))
    assert json.loads(last.input) == {"topics": ["x"], "id": 1}
    write(ledger, three, last, {"note": "done"})

    projected = project(batch, THREE, view, first_row=1)
    assert statuses(projected, "one") == [
        ("ok", None),
        ("failed", "answer does not fit: day: is missing"),
        ("skipped", NOT_ASKED),
        ("ok", None),
    ]
    assert statuses(projected, "two") == [
        ("ok", None),
        ("skipped", "step 'one' has no answer for this row"),
        ("skipped", "step 'one' has no answer for this row"),
        ("failed", "400 too long"),
    ]
    assert statuses(projected, "three") == [
        ("ok", None),
        *[("skipped", "step 'two' has no answer for this row")] * 3,
    ]
    assert projected.batch.column("note").to_pylist() == ["done", None, None, None]
    assert projected.batch.column("day").null_count == 2
    keys = [[key is None for key in answers.keys] for answers in projected.answers.values()]
    assert keys == [[False] * 4, [False, True, True, False], [False, True, True, True]]


def test_a_step_that_reads_only_the_source_is_asked_though_an_earlier_one_failed(
    ledger: Ledger, view: View
) -> None:
    one, two = steps(
        {"name": "one", "columns": {"a": "DATE"}, "input": ["text"]},
        {"name": "two", "columns": {"b": "DATE"}, "input": ["id"]},
    )
    write(ledger, one, asked(one, Projected(ROWS, first_row=1))[0], error="no")
    projected = project(ROWS, [one], view, first_row=1)
    assert len(asked(two, projected)) == 4


def test_nothing_is_made_up_for_what_was_never_asked(view: View) -> None:
    projected = project(ROWS, THREE, view, first_row=1)
    assert [projected.batch.column(name).null_count for name in ("day", "topics", "note")] == [4, 4, 4]
    assert statuses(projected, "one") == [("skipped", NOT_ASKED)] * 4


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (b'{"data":{"day":"soon"}}', "answer does not fit: day: should be a date like '2026-01-31'"),
        (b'{"data":{}}', "answer does not fit: day: is missing"),
        (b'{"data":null}', "answer does not fit: answer: should be an object"),
        (b"<html>", "the gateway's answer is a page of HTML"),
        (b"", "the gateway's answer is empty"),
    ],
)
def test_a_kept_reply_that_no_longer_fits_is_failed_with_a_reason(
    ledger: Ledger, view: View, reply: bytes, reason: str
) -> None:
    (one, *_) = THREE
    write(ledger, one, asked(one, Projected(ROWS, first_row=1))[1], reply=reply)
    projected = project(ROWS, [one], view, first_row=1)
    said = f"the kept answer can no longer be taken: {reason}; --refresh asks anew"
    assert statuses(projected, "one")[1] == ("failed", said)
    assert projected.batch.column("day").to_pylist() == [None] * 4
    answers = projected.answers["one"]
    assert answers.known[1] is not None, "what it cost is still told"
    assert answers.keys[1]


HOSTILE = [
    b'{"data":{"day":"2026-01-09"}},{"data":{"day":"2026-01-09"}}',
    b'{"data":{"day":"2026-01-09"}',
    b'}],{"data":{"day":"2026-01-09"}}',
    b"1],[2",
    b'{"data":{"day":["2026-01-09"]}}',
]


@pytest.mark.parametrize("reply", HOSTILE)
def test_a_reply_that_is_not_one_answer_is_failed_alone_and_its_neighbours_are_ok(
    ledger: Ledger, view: View, reply: bytes
) -> None:
    (one, *_) = THREE
    a, b, c, _ = asked(one, Projected(ROWS, first_row=1))
    write(ledger, one, a, {"day": "2026-01-01"})
    write(ledger, one, b, reply=reply)
    write(ledger, one, c, {"day": "2026-01-03"})
    projected = project(ROWS, [one], view, first_row=1)
    days = [dt.date(2026, 1, 1), None, dt.date(2026, 1, 3), dt.date(2026, 1, 1)]
    assert projected.batch.column("day").to_pylist() == days
    assert [status for status, _ in statuses(projected, "one")] == ["ok", "failed", "ok", "ok"]


def test_answers_failures_artifacts_and_rows_not_asked_stand_side_by_side(ledger: Ledger, view: View) -> None:
    (clip,) = steps({"name": "clip", "columns": {"video": "VARCHAR"}, "input": ["id"]})
    first, second, third, _ = asked(clip, Projected(ROWS, first_row=1))
    write(ledger, clip, third, {"video": "said"})
    write(ledger, clip, second, {"video": "x"}, artifacts=(Artifact("video", "out/b.mp4", None),))
    write(ledger, clip, first, error="no")
    projected = project(ROWS, [clip], view, first_row=1)
    assert projected.batch.column("video").to_pylist() == [None, "out/b.mp4", "said", None]
    assert statuses(projected, "clip") == [
        ("failed", "no"),
        ("ok", None),
        ("ok", None),
        ("skipped", NOT_ASKED),
    ]


def test_an_answer_given_as_json_text_is_read_as_json(ledger: Ledger, view: View) -> None:
    (one, *_) = THREE
    write(ledger, one, asked(one, Projected(ROWS, first_row=1))[0], '{"day": "2026-01-01"}')
    assert statuses(project(ROWS, [one], view, first_row=1), "one")[0] == ("ok", None)


def test_the_artifacts_of_a_202_are_in_their_columns(ledger: Ledger, view: View) -> None:
    (clip,) = steps({"name": "clip", "columns": {"video": "VARCHAR", "mime_type": "VARCHAR"}})
    write(
        ledger,
        clip,
        asked(clip, Projected(ROWS, first_row=1))[0],
        reply=b'{"data":null,"meta":{"status":"pending","pending_operations":[{"id":"a","type":"video"}]}}',
        artifacts=(Artifact("video", "out/a.mp4", "video/mp4"),),
    )
    batch = project(ROWS, [clip], view, first_row=1).batch
    assert batch.column("video").to_pylist() == ["out/a.mp4", None, None, None]
    assert batch.column("mime_type").to_pylist()[0] == "video/mp4"


def test_an_empty_batch_is_projected_with_every_column(view: View) -> None:
    projected = project(ROWS.slice(0, 0), THREE, view, first_row=1)
    assert projected.batch.num_rows == 0
    assert projected.batch.schema.names == ["id", "text", "day", "topics", "note"]
