"""What a run did, as numbers, text and JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from opper_batch.ledger import Totals
from opper_batch.report import (
    Counts,
    Report,
    Summary,
    duration,
    failures_by_reason,
    money,
    totals_text,
)

COUNTS = Counts(
    rows=10_003,
    ok=9_998,
    failed=3,
    skipped=2,
    cached=4_000,
    folded=17,
    cost=1.5,
    failed_calls=2,
    failures=(("answer does not fit: due: is missing", 2), ("400 too long", 1)),
)
TOTALS = Totals(
    ok=5_998,
    failed=3,
    calls=6_021,
    throttled=40,
    unpriced=0,
    cost=1.234567,
    input_tokens=1_234_567,
    output_tokens=89_012,
)
DONE = Summary(
    run_id=7, pipeline="tickets", counts=COUNTS, totals=TOTALS, seconds=200.4, output="out/t.parquet"
)
# Text as rows, models and gateways may send it.
HOSTILE = "a\x1b[2Jb\x07\u202e\r"


@pytest.mark.parametrize(
    ("dollars", "said"),
    [
        (0, "$0.00"),
        (0.0, "$0.00"),
        (1234.5, "$1,234.50"),
        (10, "$10.00"),
        (9.87654, "$9.8765"),
        (0.25, "$0.2500"),
        (0.0143, "$0.0143"),
        (0.00143, "$0.0014"),
        (0.000143, "$0.00014"),
        (0.0000001, "$0.00000010"),
        (-0.5, "$-0.5000"),
    ],
)
def test_money_has_as_many_decimals_as_it_takes_to_see_it(dollars: float, said: str) -> None:
    assert money(dollars) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0.0 s"),
        (0.84, "0.8 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (42.4, "42 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (200.4, "3 min 20 s"),
        (3599.6, "1 h 0 min"),
        (7_530, "2 h 5 min"),
        (180_000, "50 h 0 min"),
    ],
)
def test_a_duration_is_said_as_a_person_would(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_summary_says_what_became_of_rows_calls_and_money() -> None:
    reused = "(4,000 answers known before, 17 shared with an equal row)"
    assert str(DONE).splitlines() == [
        "tickets: run 7 done in 3 min 20 s",
        f"  rows    10,003: 9,998 ok, 3 failed, 2 skipped {reused}",
        "  calls   6,021 (20 retries, 40 throttled)",
        "  cost    $1.2346, 1,234,567 tokens in, 89,012 out",
        "  failed  2 × answer does not fit: due: is missing",
        "  failed  1 × 400 too long",
        "  kept    1 call failed; their rows keep the older answer",
        "  output  out/t.parquet",
    ]


def test_a_run_without_calls_says_no_more_than_that() -> None:
    counts = Counts(rows=2, ok=2, cached=2)
    assert str(Summary(run_id=2, pipeline="tickets", counts=counts)).splitlines() == [
        "tickets: run 2 done in 0.0 s, 0 calls: nothing was left to ask",
        "  rows    2: 2 ok, 0 failed, 0 skipped (2 answers known before)",
        "  calls   0",
    ]


@pytest.mark.parametrize(("exit_code", "said"), [(3, "stopped"), (4, "stopped"), (130, "interrupted")])
def test_a_run_that_did_not_come_to_its_end_says_so(exit_code: int, said: str) -> None:
    ended = Summary(run_id=1, pipeline="tickets", exit=exit_code, stopped="the reason")
    assert str(ended).startswith(f"tickets: run 1 {said} after")
    assert (ended.as_json()["exit"], ended.as_json()["stopped"]) == (exit_code, "the reason")


def test_what_is_not_known_is_said_to_be_unknown() -> None:
    totals = Totals(calls=5, unpriced=2, cost=0.5)
    summary = Summary(run_id=1, pipeline="t", totals=totals, in_doubt=3, sandbox=True)
    text = str(summary)
    assert "$0.5000 and 2 requests of unknown cost" in text
    assert "3 calls were possibly paid, their answers never came" in text
    one = str(
        replace(summary, totals=replace(totals, unpriced=1), in_doubt=1, counts=Counts(rows=1, cached=1))
    )
    assert "and 1 request of unknown cost" in one
    assert "1 call was possibly paid, its answer never came" in one
    assert "(1 answer known before)" in one
    assert "synthetic" in text
    assert "synthetic" not in str(DONE)


def test_many_kinds_of_failure_are_cut_to_the_most_frequent_and_counted() -> None:
    kinds = tuple((f"reason {number}", 9 - number) for number in range(8))
    text = str(Summary(run_id=1, pipeline="t", counts=Counts(rows=44, failed=44, failures=kinds)))
    assert "reason 4" in text
    assert "reason 5" not in text
    assert "and 3 more kinds; see opper-batch failures" in text


def test_the_json_of_a_run_is_one_flat_object_with_these_keys() -> None:
    said = DONE.as_json()
    assert json.loads(json.dumps(said)) == said
    assert list(said) == [
        "run_id",
        "pipeline",
        "rows",
        "ok",
        "failed",
        "skipped",
        "cached",
        "folded",
        "kept",
        "table_cost",
        "calls",
        "retries",
        "throttled",
        "cost",
        "unpriced",
        "input_tokens",
        "output_tokens",
        "seconds",
        "output",
        "exit",
        "stopped",
        "in_doubt",
        "sandbox",
        "span_id",
        "trace_id",
        "since",
        "failures",
        "checks",
        "rejected",
    ]
    assert said["rows"] == said["ok"] + said["failed"] + said["skipped"]
    assert said["retries"] == 20
    assert said["cost"] == 1.234567
    assert said["failures"][1] == ["400 too long", 1]


def test_counts_reconcile_when_every_row_is_told() -> None:
    assert COUNTS.reconciles
    assert not Counts(rows=3, ok=1, failed=1).reconciles


def test_the_most_frequent_reason_comes_first_and_equals_by_name() -> None:
    assert failures_by_reason([("b", 1), ("c", 5), ("a", 1)]) == (("c", 5), ("a", 1), ("b", 1))


def test_a_running_total_is_one_line() -> None:
    assert totals_text(TOTALS) == "6,021 calls, 5,998 ok, 3 failed, 40 throttled, $1.2346"


def report(**changes: Any) -> Report:
    models = [("a/b", 5_998, 1.2), ("not stated", 3, 0.0)]
    details = {
        "latency_ms": {"p50": 812, "p99": 12_345},
        "models": [{"model": name, "answers": answers, "cost": cost} for name, answers, cost in models],
    }
    return Report({**DONE.as_json(), **changes}, details)


def test_a_report_adds_latency_and_models_to_what_the_run_said() -> None:
    assert str(report()).splitlines() == [
        "tickets: run 7, exit 0, 3 min 20 s",
        "  rows    10,003: 9,998 ok, 3 failed, 2 skipped",
        "  calls   6,021, 20 retries, 40 throttled",
        "  cost    $1.2346, 1,234,567 tokens in, 89,012 out",
        "  latency p50 812 ms, p99 12,345 ms",
        "  model   a/b: 5,998 answers, $1.2000",
        "  model   not stated: 3 answers, $0.00",
        "  failed  2 × answer does not fit: due: is missing",
        "  failed  1 × 400 too long",
    ]
    assert "  stopped the deadline" in str(report(stopped="the deadline has passed"))


def test_the_json_of_a_report_is_the_summarys_with_a_version() -> None:
    said = report().as_json()
    assert json.loads(json.dumps(said)) == said
    assert said["schema"] == 1
    assert said["latency_ms"] == {"p50": 812, "p99": 12_345}
    assert said["models"][0] == {"model": "a/b", "answers": 5_998, "cost": 1.2}
    assert said.keys() > DONE.as_json().keys()


def test_hostile_text_is_shown_and_not_obeyed() -> None:
    counts = Counts(rows=1, failed=1, failures=((HOSTILE + "\nsecond line", 1),))
    past = {**DONE.as_json(), "failures": [[HOSTILE, 1]], "stopped": HOSTILE}
    texts = [
        str(Summary(run_id=1, pipeline="t", counts=counts, output=HOSTILE)),
        str(Report(past, {"latency_ms": {}, "models": [{"model": HOSTILE, "answers": 1, "cost": 0.1}]})),
    ]
    for text in texts:
        assert "\\x1b[2J" in text
        assert not set("\x1b\x07\u202e\r") & set(text)
    assert len(texts[0].splitlines()) == 5, "a reason is one line"


def test_a_long_reason_is_cut() -> None:
    counts = Counts(rows=1, failed=1, failures=(("x" * 5_000, 1),))
    assert len(str(Summary(run_id=1, pipeline="t", counts=counts))) < 400
