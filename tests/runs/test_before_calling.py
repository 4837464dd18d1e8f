"""What is wrong with a source is said before anything is called, and names the place."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

import opper_batch as ob
from opper_batch.sandbox import Sandbox


def pipeline(table: pa.Table, *steps: dict[str, Any], **source: Any) -> ob.Pipeline:
    first = {"name": "tag", "input": ["text"], "columns": {"tag": ["a", "b"]}}
    return ob.Pipeline(name="checked", source={"table": table, **source}, steps=[first, *steps])


def refused(wrong: ob.Pipeline, *words: str) -> None:
    with pytest.raises(ob.SourceError) as raised:
        ob.run(wrong)
    for word in words:
        assert word in str(raised.value)


TEXTS = [f"matter {number}" for number in range(9_000)]


def test_a_key_that_is_null_or_not_unique(gateway: Callable[..., Sandbox]) -> None:
    sandbox = gateway()
    ids: list[int | None] = list(range(9_000))
    ids[8_500] = 17
    refused(pipeline(pa.table({"id": ids, "text": TEXTS}), key=["id"]), "row 8501", "earlier row")
    ids[8_500] = None
    refused(pipeline(pa.table({"id": ids, "text": TEXTS}), key=["id"]), "row 8501", "'id'", "null")
    refused(pipeline(pa.table({"id": ids, "text": TEXTS}), key=["ids"]), "ids", "id")
    assert not sandbox.journal.records


def test_nan_in_a_column_that_only_a_later_step_reads(gateway: Callable[..., Sandbox]) -> None:
    sandbox = gateway()
    price = [1.5] * 9_000
    price[8_700] = math.nan
    table = pa.table({"text": TEXTS, "price": price})
    later = {"name": "judge", "input": ["tag", "price"], "columns": {"fair": "BOOLEAN"}}
    refused(pipeline(table, later), "row 8701", "price", "NaN")
    assert not sandbox.journal.records

    run = ob.run(pipeline(table.slice(8_695, 10), later, nan="null"))
    assert run.counts.ok == 10


def test_a_missing_input_column_names_the_nearest(gateway: Callable[..., Sandbox]) -> None:
    sandbox = gateway()
    refused(pipeline(pa.table({"texts": ["x"]})), "text", "texts", "tag")
    assert not sandbox.journal.records
