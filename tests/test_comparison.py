"""Two sets of answers against each other, in numbers and text."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from opper_batch.comparison import Answered, Comparison, Side


def side(name: str, *rows: dict[str, Any] | None, **numbers: Any) -> Side:
    columns = tuple(next(row for row in rows if row is not None))
    answers = [Answered(row) if row is not None else Answered(None, "no\x1b[31m answer") for row in rows]
    return Side(name, columns, answers, **numbers)


A = side(
    "a.toml",
    {"kind": "bug", "score": 1.0, "note": "x"},
    {"kind": "bug", "score": float("nan"), "note": "y"},
    {"kind": None, "score": 2.0, "note": "z"},
    None,
    cost=2.0,
    latencies=[100, 300, 200],
)
B = side(
    "b.toml",
    {"kind": "bug", "score": 1.0, "more": 1},
    {"kind": "other\x1b[2J", "score": float("nan"), "more": 1},
    {"kind": None, "score": Decimal("2.5"), "more": 1},
    {"kind": "bug", "score": 1.0, "more": 1},
    cost=1.0,
    unpriced=1,
)
FOUND = Comparison(A, B, [{"id": n} for n in range(4)], 100, "rows.csv")


def test_columns_that_both_have_are_compared_where_both_have_an_answer() -> None:
    said = json.loads(json.dumps(FOUND.as_json()))
    assert (said["rows"], said["source_rows"], said["compared"]) == (4, 100, 3)
    assert said["columns"] == {
        "kind": {"agree": 2 / 3, "changed": 1},
        "score": {"agree": 2 / 3, "changed": 1},
    }
    assert (said["only_in_a"], said["only_in_b"]) == (["note"], ["more"])
    assert said["changed"] == [
        {"row": {"id": 1}, "columns": {"kind": {"a": "bug", "b": "other\x1b[2J"}}},
        {"row": {"id": 2}, "columns": {"score": {"a": 2.0, "b": "2.5"}}},
    ]
    assert said["unanswered"] == [{"row": {"id": 3}, "a": "no\x1b[31m answer", "b": None}]
    assert said["a"]["latency_ms"] == {"p50": 200, "p95": 300}
    assert said["b"]["latency_ms"] == {"p50": None, "p95": None}


def test_the_text_shows_changed_rows_side_by_side_and_cannot_act_on_a_terminal() -> None:
    text = str(FOUND)
    assert "\x1b" not in text
    assert "kind    66.7 % agree, 1 changed" in " ".join(text.split("\n"))
    assert "  id 1\n    kind: bug | other\\x1b[2J" in text
    assert "id 3: no\\x1b[31m answer | ok" in text
    assert "$1.0000 and 1 unknown" in text


def test_many_changed_rows_are_cut_and_counted() -> None:
    some = Comparison(
        side("a", *({"n": n} for n in range(50))),
        side("b", *({"n": -1} for n in range(50))),
        [{"row": n + 1} for n in range(50)],
        50,
        "t",
    )
    assert "the first 20 of 50; --json has all" in str(some)
    assert "row 20\n" in str(some)
    assert "row 21\n" not in str(some)
    assert len(some.as_json()["changed"]) == 50


def test_nothing_to_compare_is_said() -> None:
    none = Comparison(Side("a", ("n",), []), Side("b", ("n",), []), [], 0, "t")
    assert "nothing to compare" in str(none)
    assert none.as_json()["columns"] == {"n": {"agree": None, "changed": 0}}
