"""A table that meets every fault a gateway has, in the shares of a bad day; its journal is the judge."""

from __future__ import annotations

import re
from collections import Counter
from functools import partial
from typing import Any

import polars
import pytest

import opper_batch as ob
from opper_batch.client.artifacts import Artifacts, Polling
from opper_batch.runs import execution
from opper_batch.sandbox import Sandbox
from opper_batch.sandbox.script import FAULTS

# 5 % 429 in every form of Retry-After and without, 3 % 5xx, resets, 1 % each of cut JSON, HTML and nothing.
BAD_DAY: dict[str, Any] = {
    "throttled": 0.05,
    "retry_after_form": "mixed",
    "failed": 0.03,
    "dropped": 0.02,
    "dropped_after": 0.01,
    "malformed": 0.03,
    "stalled": 0.01,
    "schema_breaking": 0.02,
    "pending": 0.03,
    "pending_failed": 0.10,
    "pending_endless": 0.10,
    "pending_unknown": 0.17,  # 0.5 % of all
    "unknown_seconds": 0.3,
}
REASONS = re.compile(
    r"answer does not fit: .*"
    r"|operation art_\w+ failed: synthetic failure of the operation"
    r"|operation art_\w+ did not end in .* minutes"
    r"|no answer: .*|50[0-4] .*|the gateway's answer is (empty|not JSON|a page of HTML)"
)


def table(rows: int) -> polars.DataFrame:
    return polars.DataFrame({"id": range(rows), "text": [f"question number {n}" for n in range(rows)]})


def intents(rows: int, **limits: Any) -> ob.Pipeline:
    return ob.Pipeline(
        name="mixed",
        source={"table": table(rows), "key": ["id"]},
        steps=[
            {
                "name": "intent",
                "instructions": "Name the intent of the customer's question.",
                "input": ["text"],
                "model": "openai/gpt-4o-mini",
                "columns": {"intent": ["card", "transfer", "top_up", "other"], "urgent": "BOOLEAN"},
            }
        ],
        limits=limits,
    )


def asked_quickly(monkeypatch: pytest.MonkeyPatch, *, deadline: float) -> None:
    """Operations are asked after within ``deadline`` seconds, which are thirty minutes otherwise."""
    polling = Polling(first=0.1, longest=0.5, deadline=deadline)
    monkeypatch.setattr(execution, "Artifacts", partial(Artifacts, polling=polling))


def check(run: Any, sandbox: Sandbox, rows: int) -> dict[str, Any]:
    """Every row is settled, nothing that was answered well is asked again, and hardly any paid twice."""
    counts, calls = run.counts, sandbox.journal.calls
    assert counts.rows == rows == counts.ok + counts.failed
    frame = run.frame
    assert frame["id"].to_list() == list(range(rows))
    failed = frame.filter(polars.col("intent_status") == "failed")
    odd = [reason for reason in failed["intent_error"] if not REASONS.fullmatch(reason or "")]
    assert odd == []
    assert frame.filter(polars.col("intent_status") == "ok")["intent"].null_count() == 0
    assert counts.failed <= 0.012 * rows, counts.failures

    asked = Counter(record.input_digest for record in calls)
    assert len(asked) == rows, "no row was lost"
    fine = ("", "pending", "stalled")
    answered = Counter(r.input_digest for r in calls if r.status in (200, 202) and r.fault in fine)
    assert max(answered.values()) == 1, "what was answered well is never asked again"
    paid = Counter(record.input_digest for record in calls if record.paid)
    assert max(paid.values()) <= 3
    assert sum(paid.values()) <= 1.10 * rows
    met = Counter(record.fault for record in calls if record.fault)
    assert met.keys() == set(FAULTS) - {"bad_request"}, "the day was as bad as it was meant to be"
    assert run.summary.totals.throttled == sum(record.status == 429 for record in calls)
    assert run.summary.in_doubt == 0
    return {
        "ok": counts.ok,
        "failed": counts.failed,
        "calls": len(calls),
        "paid": sum(paid.values()),
        "paid a row": round(sum(paid.values()) / rows, 4),
        "met": dict(met),
        "seconds": run.summary.seconds,
    }
