"""An operation that the gateway forgets has an end: its row fails, and the user decides what follows."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from mixed_load import asked_quickly, intents

import opper_batch as ob
from opper_batch.sandbox import Sandbox


def test_a_forgotten_operation_fails_its_row_once_and_is_asked_anew_with_the_failed_rows(
    gateway: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_quickly(monkeypatch, deadline=10.0)
    sandbox = gateway(pending=1.0, pending_unknown=1.0, unknown_seconds=1e6)
    pipeline = intents(2)
    young = ob.run(pipeline)
    assert young.counts.failed == 2
    assert all("polling art_" in reason for reason in young.frame["intent_error"]), (
        "kept, for it may come yet"
    )
    with closing(sqlite3.connect(Path(".opper_batch/mixed.ledger"))) as ledger, ledger:
        ledger.execute("UPDATE pending SET at = ?", [time.time() - 700])

    old = ob.run(pipeline)
    assert len(sandbox.journal.calls) == 2, "a 202 is never posted again while it is waited for"
    reasons = old.frame["intent_error"].to_list()
    assert all("is lost" in reason and "possibly paid" in reason for reason in reasons), reasons

    left = ob.run(pipeline, retry_failed=False)
    assert left.frame["intent_error"].to_list() == reasons
    assert len(sandbox.journal.calls) == 2
    ob.run(pipeline)
    assert len(sandbox.journal.calls) == 4, "asked anew"
