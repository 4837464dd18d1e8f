"""Rows to calls: what is asked of each row, and which of it is not known yet."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from opper_batch.calls import Asking, Policy, Questions, Step, prepare
from opper_batch.errors import DefinitionError, SourceError
from opper_batch.ledger import Journal, Ledger
from opper_batch.pipeline import Pipeline
from opper_batch.records import Call, Operation, Outcome, Reply

ROWS = pa.record_batch({"id": [1, 2, 3], "text": ["a", "b", "a"], "score": [0.5, 1.0, 0.5]})


def pipeline(*steps: dict[str, Any], **changes: Any) -> Pipeline:
    given = steps or ({"name": "first", "columns": {"a": "VARCHAR"}, "input": ["text"]},)
    return Pipeline(**{"name": "p", "source": {"path": "in.csv"}, "steps": list(given), **changes})


def prepared(definition: Pipeline, schema: pa.Schema = ROWS.schema, origin: str = "o") -> tuple[Step, ...]:
    return prepare(definition, schema, source="in.csv", origin=origin)


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def call(number: int) -> Call:
    return Call(key(number), b"%d" % number)


# What is sent.


def test_a_call_request_is_the_step_and_the_schema_of_what_it_reads() -> None:
    (step,) = prepared(
        pipeline(
            {
                "name": "first",
                "columns": {"a": "VARCHAR"},
                "input": ["score", "text"],
                "instructions": "Do it.",
                "model": ["a/b", {"name": "c/d", "options": {"stop": None, "temperature": 0}}],
                "guard": {"input": [{"type": "pii"}]},
                "request": {"reasoning_effort": "low"},
            }
        )
    )
    assert step.template.fields == {
        "name": "p",
        "instructions": "Do it.",
        "model": ("a/b", {"name": "c/d", "options": {"stop": None, "temperature": 0}}),
        "guard": {"input": [{"type": "pii"}]},
        "reasoning_effort": "low",
        "input_schema": {
            "type": "object",
            "properties": {
                "score": {"anyOf": [{"type": "number"}, {"type": "null"}]},
                "text": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            },
            "required": ["score", "text"],
        },
        "output_schema": step.columns.json_schema,
    }


def test_what_is_not_set_is_not_sent() -> None:
    (step,) = prepared(pipeline())
    assert step.template.fields.keys() == {"name", "input_schema", "output_schema"}
    (step,) = prepared(pipeline({"name": "s", "columns": {"a": "DATE"}, "model": {"name": "m"}}))
    assert step.template.fields["model"] == {"name": "m"}


def test_every_column_is_sent_when_none_is_named_and_so_are_those_of_earlier_steps() -> None:
    one, two = prepared(
        pipeline({"name": "one", "columns": {"a": "DATE"}}, {"name": "two", "columns": {"b": "DATE"}})
    )
    assert one.inputs == ("id", "text", "score")
    assert two.inputs == ("id", "text", "score", "a")


def test_a_step_needs_those_whose_columns_it_reads_and_no_others() -> None:
    steps = prepared(
        pipeline(
            {"name": "one", "columns": {"a": "DATE"}, "input": ["text"]},
            {"name": "two", "columns": {"b": "DATE"}, "input": ["text"]},
            {"name": "three", "columns": {"c": "DATE"}, "input": ["a", "id"]},
            {"name": "four", "columns": {"d": "DATE"}, "input": ["c", "b"]},
        )
    )
    assert [step.needs for step in steps] == [(), (), ("one",), ("two", "three")]


def test_equal_rows_are_one_question_to_one_gateway_and_two_to_two() -> None:
    (step,) = prepared(pipeline())
    (elsewhere,) = prepared(pipeline(), origin="another")
    first, second, third = step.questions(ROWS, [True] * 3, first_row=1)
    assert first is not None
    assert first == third != second
    assert json.loads(first.input) == {"text": "a"}
    assert first.key == step.template.key(first.input)
    assert elsewhere.questions(ROWS, [True] * 3, first_row=1)[0] != first


def test_a_row_that_is_not_ready_is_asked_nothing() -> None:
    (step,) = prepared(pipeline())
    asked = step.questions(ROWS, [False, True, False], first_row=1)
    assert [one and one.input for one in asked] == [None, b'{"text":"b"}', None]


# What is wrong.


def test_a_column_that_is_not_there_is_named_with_the_nearest_one() -> None:
    definition = pipeline({"name": "first", "columns": {"a": "DATE"}, "input": ["id", "txt"]})
    with pytest.raises(SourceError) as caught:
        prepared(definition)
    assert "step 'first' reads in.csv, which has no column" in caught.value.message
    assert "txt" in caught.value.message
    assert "text" in caught.value.message.split("did you mean")[1]


def test_a_column_of_a_later_step_is_not_there_yet() -> None:
    one = {"name": "one", "columns": {"a": "DATE"}, "input": ["b"]}
    two = {"name": "two", "columns": {"b": "DATE"}}
    with pytest.raises(SourceError, match="step 'one' reads"):
        prepared(pipeline(one, two))


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("text", "text"), ("TEXT", "text"), ("first_cost", "first_cost"), ("First_Status", "first_status")],
)
def test_a_new_column_may_not_have_the_name_of_one_that_the_source_has(theirs: str, ours: str) -> None:
    definition = pipeline({"name": "first", "columns": {"text": "DATE"}})
    with pytest.raises(DefinitionError) as caught:
        prepared(definition, pa.schema([pa.field(theirs, pa.string())]))
    assert f"step 'first': the source already has a column {ours!r}" in caught.value.message
    assert "another name" in caught.value.message


@pytest.mark.parametrize(
    "changes",
    [
        {"request": {"x": float("inf")}},
        {"request": {"x": "\ud800"}},
        {"request": {"x": {1, 2}}},
        {"guard": {"input": dt.date(2026, 1, 1)}},
        {"model": {"name": "a/b", "options": {"temperature": float("nan")}}},
        {"instructions": "\udfff"},
    ],
)
def test_what_json_cannot_hold_is_refused_before_anything_is_sent(changes: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="step 'first': what it sends cannot be JSON: ") as caught:
        prepared(pipeline({"name": "first", "columns": {"a": "DATE"}, **changes}))
    caught.value.message.encode()


def nan_pipeline(nan: str) -> Pipeline:
    step = {"name": "first", "columns": {"a": "DATE"}, "input": ["score"]}
    return pipeline(step, source={"path": "in.csv", "nan": nan})


@pytest.mark.parametrize("ready", [[True, True, True], [False, True, True]])
def test_a_nan_is_refused_by_its_row_in_the_source_whichever_rows_are_ready(ready: list[bool]) -> None:
    rows = pa.record_batch({"score": [1.0, 2.0, float("nan")]})
    (step,) = prepared(nan_pipeline("refuse"), rows.schema)
    with pytest.raises(SourceError, match="row 103, column 'score'"):
        step.questions(rows, ready, first_row=101)


def test_a_nan_is_null_when_the_pipeline_says_so_and_the_schema_says_so_too() -> None:
    schema = pa.schema([pa.field("score", pa.float64(), nullable=False)])
    rows = pa.record_batch([[1.0, float("nan"), float("inf")]], schema=schema)
    (step,) = prepared(nan_pipeline("null"), schema)
    asked = step.questions(rows, [True] * 3, first_row=1)
    assert [one and one.input for one in asked] == [b'{"score":1.0}', b'{"score":null}', b'{"score":null}']
    assert step.template.fields["input_schema"]["properties"]["score"] == {
        "anyOf": [{"type": "number"}, {"type": "null"}]
    }


# Which calls are asked.

NEW, OK, FAILED, OK_NOW, FAILED_NOW = None, (True, 1, 1), (False, 1, 0), (True, 2, 2), (False, 2, 0)


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        (Policy(2), {NEW, FAILED}),
        (Policy(2, retry_failed=False), {NEW}),
        (Policy(2, refresh=True), {NEW, OK, FAILED}),
        (Policy(2, retry_failed=False, refresh=True), {NEW, OK, FAILED}),
        (Policy(2, fresh_from=1), {NEW, FAILED}),
        (Policy(2, fresh_from=2), {NEW, OK, FAILED}),
        (Policy(2, fresh_from=2, retry_failed=False), {NEW, OK}),
        (Policy(2, fresh_from=2, since=1), {NEW, FAILED}),
    ],
)
def test_a_policy_says_which_known_calls_are_asked_again(policy: Policy, wanted: set[Any]) -> None:
    known = {NEW, OK, FAILED, OK_NOW, FAILED_NOW}
    assert {settled for settled in known if policy.wants(settled)} == wanted


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger in its second run; the first answered 1, failed 2, and left 3 pending."""
    with Ledger(tmp_path / "p.ledger") as ledger:
        ledger.begin(origin="o", options={})
        journal = journal_of(ledger)
        asyncio.run(journal.record(Outcome(key(1), None, b'{"data":1}', attempts=1)))
        asyncio.run(journal.record(Outcome(key(2), "no", attempts=1)))
        asyncio.run(journal.pend(key(3), Reply(b"202", operations=(Operation("art_1", "video"),))))
        ledger.begin(origin="o", options={})
        yield ledger


def journal_of(ledger: Ledger) -> Journal:
    return ledger.journal(step="first", digest=b"t" * 16, fields={})


def asked(ledger: Ledger, policy: Policy, *batches: list[Call | None]) -> list[int]:
    with ledger.view() as view:
        return [
            int.from_bytes(one.key, "big") for one in Asking(view, policy).calls(map(Questions.of, batches))
        ]


def test_what_is_known_is_not_asked_again(ledger: Ledger) -> None:
    rows = [call(1), call(2), call(4), None]
    assert asked(ledger, Policy(2), rows) == [2, 4]
    assert asked(ledger, Policy(2, retry_failed=False), rows) == [4]
    assert asked(ledger, Policy(2, refresh=True), rows) == [1, 2, 4]


def test_equal_inputs_are_asked_once_within_a_batch_and_while_they_are_in_flight(ledger: Ledger) -> None:
    assert asked(ledger, Policy(2), [call(7), call(8), call(7)], [call(8), call(9), call(7)]) == [7, 8, 9]


def test_a_call_that_a_202_answered_comes_with_that_reply(ledger: Ledger) -> None:
    with ledger.view() as view:
        first, second = Asking(view, Policy(2)).calls([Questions.of([call(3), call(4)])])
    assert (first.key, first.pending) == (key(3), b"202")
    assert first.since == pytest.approx(time.time(), abs=600), "when that came"
    assert second == call(4)


@pytest.mark.parametrize("error", [None, "no"])
def test_what_this_run_has_asked_is_not_asked_again_however_it_ended(
    ledger: Ledger, error: str | None
) -> None:
    with ledger.view() as view:
        asking = Asking(view, Policy(2, refresh=True))
        calls = asking.calls(map(Questions.of, [[call(7)], [call(7), call(8)]]))
        assert next(calls) == call(7)
        asyncio.run(journal_of(ledger).record(Outcome(key(7), error, b"{}", attempts=1)))
        asking.ended(key(7))
        assert list(calls) == [call(8)]


def test_calls_are_drawn_a_batch_at_a_time(ledger: Ledger) -> None:
    def batches() -> Iterator[Questions]:
        yield Questions.of([call(7), call(8)])
        raise AssertionError("the second batch was read before the first was asked")

    with ledger.view() as view:
        calls = Asking(view, Policy(2)).calls(batches())
        assert [next(calls), next(calls)] == [call(7), call(8)]


def test_rows_are_settled_when_nothing_is_waiting_or_in_flight_for_them(ledger: Ledger) -> None:
    with ledger.view() as view:
        asking = Asking(view, Policy(2))
        assert asking.settled_rows == 0
        calls = asking.calls([Questions.of([call(1), call(7), None, call(8)])])
        next(calls)
        assert (asking.rows, asking.settled_rows) == (4, 2)
        asking.ended(key(7))
        assert asking.settled_rows == 3
        next(calls)
        asking.ended(key(8))
        assert list(calls) == []
        assert asking.settled_rows == 4


def test_rows_are_settled_through_the_first_that_something_is_open_for(ledger: Ledger) -> None:
    with ledger.view() as view:
        asking = Asking(view, Policy(2))
        first, second = [call(1), call(7), call(7), call(8)], [None, call(8), call(9), call(1)]
        calls = asking.calls([Questions.of(first), Questions.of(second)])
        assert asking.settled_through == 0
        next(calls)
        assert asking.settled_through == 1, "row 2 is the first that is asked, rows 1 and 4 are known"
        next(calls)
        asking.ended(key(8))
        assert asking.settled_through == 1, "a later row does not count before the earlier ones"
        asking.ended(key(7))
        assert asking.settled_through == 4
        next(calls)
        assert asking.settled_through in (5, 6), "a row whose call ended may be looked up once more"
