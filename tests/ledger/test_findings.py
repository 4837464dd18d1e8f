"""What a report reads of one run: latencies, models, the course of time, and the report kept before."""

from __future__ import annotations

import time

import pytest
from ledger_values import answer, failure, wait

from opper_batch.ledger import Journal, Ledger, View, findings, kept_report, report_before
from opper_batch.records import Usage


def found(view: View, run: int = 1) -> dict:
    now = time.time()
    return findings(view, run, started=now - 30, ended=now + 30)


def test_latencies_are_those_of_the_answers_of_one_run(journal: Journal, view: View) -> None:
    assert found(view)["latency_ms"] == {}
    wait(*(journal.record(answer(number, latency_ms=number)) for number in range(1, 101)))
    wait(journal.record(failure(200, latency_ms=9_999)), journal.record(answer(201, latency_ms=None)))
    assert found(view)["latency_ms"] == {"p50": 51, "p95": 96, "p99": 100, "max": 100}
    assert sum(times for _, times in found(view)["latency_counts"]) == 100
    assert found(view, 2)["latency_ms"] == {}


def test_models_are_counted_with_what_they_cost(journal: Journal, view: View) -> None:
    wait(*(journal.record(answer(number)) for number in range(3)))
    wait(journal.record(answer(4, model="c/d", usage=Usage())), journal.record(failure(5, attempts=1)))
    wait(journal.record(answer(6, model=None, usage=Usage())))
    told = [(entry["model"], entry["answers"], entry["cost"]) for entry in found(view)["models"]]
    assert [(name, answers) for name, answers, _ in told] == [("a/b", 3), ("c/d", 1), ("not stated", 1)]
    assert sum(cost for _, _, cost in told) == pytest.approx(view.totals(run=1).cost)
    assert [entry["unpriced"] for entry in found(view)["models"]][1] == 1


def test_the_course_of_time_adds_up_to_the_running_totals(ledger: Ledger, view: View) -> None:
    """Each run's outcomes are found without a scan: those before and after are not among them."""
    for run in (1, 2, 3):
        if ledger.run < run:
            ledger.begin(origin="http://gateway", options={})
        journal = ledger.journal(step="s", digest=b"d" * 16, fields={})
        wait(*(journal.record(answer(100 * run + number)) for number in range(5 * run)))
        wait(journal.record(failure(100 * run + 90, throttled=2)))
    for run in (1, 2, 3):
        slices, totals = found(view, run)["timeline"]["slices"], view.totals(run=run)
        for name in ("ok", "failed", "calls", "throttled", "cost", "input_tokens", "output_tokens"):
            assert sum(entry[name] for entry in slices) == pytest.approx(getattr(totals, name)), name


def test_the_report_before_is_the_latest_that_came_to_its_result(ledger: Ledger, view: View) -> None:
    assert kept_report(view, 1) is None
    ledger.keep_report('{"run_id": 1}', whole=True)
    ledger.begin(origin="http://gateway", options={})
    ledger.keep_report('{"run_id": 2}', whole=False)
    assert kept_report(view, 2) == '{"run_id": 2}'
    assert report_before(view, 3) == '{"run_id": 1}'
    assert report_before(view, 1) is None
