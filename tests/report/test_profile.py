"""What the output's batches tell: exact counts in memory that stays flat, the same however they are cut."""

from __future__ import annotations

import datetime as dt
import json
import math
import random
from typing import Any

import pyarrow as pa
import pytest

from opper_batch.report.histogram import Histogram
from opper_batch.report.movement import with_movement
from opper_batch.report.profile import Profile

FIELDS = pa.schema(
    [("kind", pa.string()), ("score", pa.int8()), ("due", pa.date32()), ("tags", pa.list_(pa.string()))]
)


def batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    """An output's batch: the source's key, the step's columns, and its metadata."""
    told = {"status": "ok", "error": None, "model": "m", "latency_ms": 10, "cost": 0.1, "input_tokens": 1}
    told |= {"output_tokens": 1, "attempts": 1, "cached": False, "trace_uuid": "t"}
    types = {"error": pa.string(), "latency_ms": pa.int64(), "cost": pa.float64()}
    arrays = {"id": pa.array([row["id"] for row in rows])}
    for field in FIELDS:
        arrays[field.name] = pa.array([row.get(field.name) for row in rows], field.type)
    for name, usual in told.items():
        arrays[f"s_{name}"] = pa.array([row.get(name, usual) for row in rows], types.get(name))
    arrays["s_key"] = pa.array([row.get("call", f"call {row['id']}") for row in rows])
    return pa.RecordBatch.from_pydict(arrays)


def profiled(rows: list[dict[str, Any]], *, cut: int = 1_000) -> dict[str, Any]:
    profile = Profile({"s": FIELDS}, ["id"])
    for start in range(0, len(rows), cut):
        profile.add(batch(rows[start : start + cut]))
    return json.loads(json.dumps(profile.as_json(), allow_nan=False))


ROWS = [
    {
        "id": number,
        "kind": "ab"[number % 2] if number % 5 else None,
        "score": number % 7,
        "due": dt.date(2026, 1, 1) + dt.timedelta(days=number % 300),
        "tags": ["x"] * (number % 3),
        "latency_ms": (number * 7919) % 997,
        "cost": None if number % 11 == 0 else (number * 104_729) % 1009 / 1000,
    }
    for number in range(1, 501)
]


def test_a_profile_counts_what_a_plain_count_would_however_the_batches_are_cut() -> None:
    whole = profiled(ROWS)
    assert profiled(ROWS, cut=7)["columns"] == whole["columns"]
    kind, score, due, tags = whole["columns"]
    assert (kind["rows"], kind["null"], kind["values"]) == (500, 100, [["a", 200], ["b", 200]])
    assert score["numbers"]["bins"][0] == [0.0, 71]
    assert (score["numbers"]["min"], score["numbers"]["median"], score["numbers"]["max"]) == (0, 3, 6)
    assert due["times"]
    assert sum(count for _, count in due["numbers"]["bins"]) == 500
    assert (tags["lengths"]["max"], tags["values"]) == (2, [["x", 501]])


def test_rows_without_an_answer_are_in_no_share_and_say_why() -> None:
    failed = [
        {"id": 900 + n, "status": "failed", "error": "too long", "trace_uuid": f"t{n}"} for n in range(5)
    ]
    told = profiled([*ROWS, *failed, {"id": 999, "status": "skipped", "error": "not asked"}])
    assert [column["rows"] for column in told["columns"]] == [500] * 4
    (entry,) = told["examples"]
    assert entry["reason"] == "too long"
    assert [(row["row"], row["key"], row["trace_uuid"]) for row in entry["rows"]] == [
        (501, {"id": "900"}, "t0"),
        (502, {"id": "901"}, "t1"),
        (503, {"id": "902"}, "t2"),
    ]


@pytest.mark.parametrize(("name", "measure"), [("slowest", "latency_ms"), ("dearest", "cost")])
def test_the_largest_are_found_and_equal_questions_are_told_once(name: str, measure: str) -> None:
    again = [
        {**ROWS[499], "id": 2_000 + n, "call": "call 499", "latency_ms": 997, "cost": 2.0} for n in range(9)
    ]
    told = profiled([*ROWS, *again], cut=13)[name]
    largest = {row["id"]: row[measure] for row in ROWS if row[measure]}
    expected = sorted(largest.values(), reverse=True)
    kept = [row[measure] for row in told]
    assert len(kept) == 10
    assert kept == sorted(kept, reverse=True)
    assert sum(value in (997, 2.0) for value in kept) <= 1
    assert set(kept) - {997, 2.0} <= set(expected[:10])


def test_many_different_values_are_no_shares() -> None:
    told = profiled([{"id": n, "kind": f"text {n}"} for n in range(3_000)])["columns"][0]
    assert (told["distinct"], told["values"]) == (None, [])
    assert told["lengths"]["max"] == len("text 2999")


def test_a_histogram_stays_small_and_loses_nothing() -> None:
    numbers = [random.Random(5).lognormvariate(0, 4) for _ in range(50)] + [1e18, -3.5, 0.0]
    numbers += [random.Random(n).gauss(0, 10**n) for n in range(6) for _ in range(20)]
    histogram = Histogram()
    for start in range(0, len(numbers), 9):
        histogram.add(pa.array([*numbers[start : start + 9], None, math.nan, math.inf]))
    told = histogram.as_json()
    assert told is not None
    assert len(told["bins"]) <= 130
    assert sum(count for _, count in told["bins"]) == len(numbers)
    assert (told["min"], told["max"]) == (min(numbers), max(numbers))


def test_extreme_numbers_are_told_as_json() -> None:
    histogram = Histogram()
    histogram.add(pa.array([1.7e308, -1.7e308, 1.7e308, 5e-324]))
    json.dumps(histogram.as_json(), allow_nan=False)


def moves(rows: list[dict[str, Any]], earlier: list[dict[str, Any]]) -> dict[str, Any]:
    columns = with_movement(profiled(rows)["columns"], profiled(earlier)["columns"])
    return {column["name"]: column["moved"] for column in columns}


def test_what_moved_is_told_by_share_and_what_did_not_is_zero() -> None:
    same = moves(ROWS, ROWS)
    assert {name: moved["distance"] for name, moved in same.items()} == dict.fromkeys(same, 0)
    other = [{**row, "kind": "a", "score": 6} for row in ROWS]
    moved = moves(other, ROWS)
    assert moved["kind"]["distance"] == pytest.approx(0.5)
    assert moved["kind"]["values"] == [["a", 0.5, 1.0], ["b", 0.5, 0.0]]
    assert moved["kind"]["null_share"] == [0.2, 0.0]
    assert moved["score"]["distance"] == pytest.approx(1 - 71 / 500)
    assert moved["due"]["distance"] == 0


def test_a_column_that_was_not_there_before_has_not_moved() -> None:
    assert [column["moved"] for column in with_movement(profiled(ROWS)["columns"], [])] == [None] * 4
