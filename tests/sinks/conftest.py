"""Tables that every sink is tried with."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pytest


@pytest.fixture
def tickets() -> pa.Table:
    """Four rows of what a pipeline makes, with nulls, empties and extremes among them."""
    return pa.table(
        {
            "ticket_id": pa.array([1, 2, 3, 4], pa.int64()),
            "subject": pa.array(["refund, please", 'say "hi"\nnow', "", None]),
            "topics": pa.array([["a", "b"], [], None, ["日本", ""]], pa.list_(pa.string())),
            "refund": pa.array(
                [Decimal("1.50"), None, Decimal("-0.05"), Decimal("0.00")], pa.decimal128(10, 2)
            ),
            "due": pa.array([dt.date(2024, 2, 29), None, dt.date(1, 1, 1), dt.date(9999, 12, 31)]),
            "at": pa.array([0, None, 1_709_211_900_123_456, -1], pa.timestamp("us")),
            "score": pa.array([0.1, None, 1e300, -0.0]),
            "triage_status": pa.array(["ok", "failed", "ok", "skipped"]),
        }
    )
