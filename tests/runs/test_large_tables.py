"""The 10,003 labelled questions of banking77 against gateways good and bad; the gateway's journal judges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import opper_batch as ob
from opper_batch.sandbox import Sandbox

TABLE = Path(__file__).resolve().parents[3] / "shared" / "data" / "banking77_train.csv"
pytestmark = pytest.mark.skipif(not TABLE.exists(), reason=f"the labelled table is not at {TABLE}")


def intents() -> ob.Pipeline:
    return ob.Pipeline(
        name="intents",
        source={"path": str(TABLE)},
        steps=[
            {
                "name": "intent",
                "instructions": "Name the intent of the customer's question.",
                "input": ["text"],
                "model": "openai/gpt-4o-mini",
                "columns": {"intent": ["card", "transfer", "top_up", "other"], "urgent": "BOOLEAN"},
            }
        ],
        limits={"concurrency": 96},
    )


def test_all_rows_are_answered_at_50_ms(gateway: Callable[..., Sandbox]) -> None:
    sandbox = gateway(latency=0.05)
    run = ob.run(intents())
    assert run.counts.ok == run.counts.rows == 10_003
    asked = Counter(record.input_digest for record in sandbox.journal.calls)
    assert set(asked.values()) == {1}
    assert len(asked) == run.frame["intent_key"].n_unique() == run.frame["text"].n_unique()


def test_all_rows_are_settled_by_a_gateway_full_of_faults(gateway: Callable[..., Sandbox]) -> None:
    sandbox = gateway(
        latency=0.05,
        throttled=0.05,
        retry_after=0.01,
        retry_after_form="fraction",
        failed=0.03,
        dropped=0.02,
        malformed=0.01,
        schema_breaking=0.02,
        pending=0.05,
    )
    run = ob.run(intents())
    counts = run.counts
    assert counts.rows == 10_003 == counts.ok + counts.failed
    assert counts.failed <= 20, counts.failures
    failed = run.frame.filter(ob_failed())
    assert failed["intent_error"].null_count() == 0

    asked = Counter(record.input_digest for record in sandbox.journal.calls)
    paid = Counter(record.input_digest for record in sandbox.journal.calls if record.paid)
    answered = Counter(
        record.input_digest
        for record in sandbox.journal.calls
        if record.status in (200, 202) and record.fault in ("", "pending")
    )
    assert len(asked) == run.frame["intent_key"].n_unique(), "no row was lost"
    assert max(answered.values()) == 1, "what was answered well is never asked again"
    assert max(paid.values()) <= 3
    assert sum(paid.values()) <= 1.10 * counts.rows
    assert run.summary.totals.throttled == sum(record.status == 429 for record in sandbox.journal.calls)


def ob_failed() -> object:
    import polars

    return polars.col("intent_status") == "failed"
