"""The 10,003 labelled questions of banking77 against a good gateway, whose journal judges."""

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


@pytest.mark.parametrize("rows", [1_000, pytest.param(10_003, marks=pytest.mark.slow)])
def test_all_rows_are_answered_at_50_ms(gateway: Callable[..., Sandbox], rows: int) -> None:
    sandbox = gateway(latency=0.05)
    run = ob.run(intents(), limit=rows)
    assert run.counts.ok == run.counts.rows == rows
    asked = Counter(record.input_digest for record in sandbox.journal.calls)
    assert set(asked.values()) == {1}
    assert len(asked) == run.frame["intent_key"].n_unique() == run.frame["text"].n_unique()
