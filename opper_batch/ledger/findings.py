"""What a report needs of one run: over time, by model, latencies. Two walks over the run's outcomes."""

from __future__ import annotations

from typing import Any

from opper_batch.ledger.view import View

_SLICES = 60
_RUN_AT = "SELECT run FROM outcomes WHERE id >= ? ORDER BY id LIMIT 1"
# What is grouped is sorted, and a sort holds whole columns: the replies themselves, unless they stay behind.
_OVER_TIME = """
    WITH parts AS MATERIALIZED (
        SELECT min(max(CAST((at - ?) / ? AS INTEGER), 0), ?) AS slice,
               coalesce(model, 'not stated') AS model, ok, final, reply IS NOT NULL AS replied, attempts,
               throttled, cost, input_tokens, output_tokens
        FROM outcomes WHERE id >= ? AND id < ? AND run = ?)
    SELECT slice, model, sum(ok AND final), sum(final AND NOT ok), sum(replied AND attempts > 0),
           sum(attempts), sum(throttled), coalesce(sum(cost), 0.0), sum(cost IS NULL AND attempts > 0),
           coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0)
    FROM parts GROUP BY 1, 2 ORDER BY 1, 2"""
_LATENCIES = """
    SELECT latency_ms, count(*) FROM outcomes
    WHERE id >= ? AND id < ? AND run = ? AND ok AND latency_ms IS NOT NULL GROUP BY 1 ORDER BY 1"""
_REPORTS = "SELECT 1 FROM sqlite_master WHERE name = 'reports'"
_KEPT = "SELECT report FROM reports WHERE run = ?"
_BEFORE = "SELECT report FROM reports WHERE run < ? AND whole ORDER BY run DESC LIMIT 1"
_PART = ("ok", "failed", "calls", "throttled", "cost", "input_tokens", "output_tokens")


def findings(view: View, run: int, *, started: float, ended: float) -> dict[str, Any]:
    """``timeline``, ``models``, ``latency_ms`` (quantiles) and ``latency_counts`` as a report tells them.

    Times are Unix seconds; memory does not grow with the number of outcomes. A model has what its last
    answer brought: attempts that another model answered are told with it.
    """
    place = (_first(view, run), _first(view, run + 1), run)
    seconds = max((ended - started) / _SLICES, 0.05)
    rows = view.rows(_OVER_TIME, (started, seconds, _SLICES - 1, *place))
    counts = view.rows(_LATENCIES, place)
    return {
        "timeline": {"seconds": seconds, "slices": _timeline(rows)},
        "models": _models(rows),
        "latency_ms": quantiles(counts),
        "latency_counts": _thinned(counts),
    }


def kept_report(view: View, run: int) -> str | None:
    """The report that was kept of a run, as JSON text."""
    return _one(view, _KEPT, run)


def report_before(view: View, run: int) -> str | None:
    """The latest report of an earlier run that came to its result."""
    return _one(view, _BEFORE, run)


def quantiles(counts: list[tuple[int, int]]) -> dict[str, int]:
    """Of (milliseconds, how often) in order; empty when there is none."""
    total = sum(number for _, number in counts)
    found: dict[str, int] = {}
    for name, share in (("p50", 0.50), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)) if total else ():
        place = min(total - 1, int(share * total))
        for value, number in counts:
            if place < number:
                found[name] = value
                break
            place -= number
    return found


def _one(view: View, statement: str, run: int) -> str | None:
    if not view.rows(_REPORTS):  # written by a version that kept none
        return None
    rows = view.rows(statement, (run,))
    return str(rows[0][0]) if rows else None


def _first(view: View, run: int) -> int:
    """The first outcome of a run or of one after it. Ids grow with runs, so that no scan is needed."""
    low, high = 1, int(view.rows("SELECT coalesce(max(id), 0) + 1 FROM outcomes")[0][0])
    while low < high:
        middle = (low + high) // 2
        found = view.rows(_RUN_AT, (middle,))
        if found and found[0][0] < run:
            low = middle + 1
        else:
            high = middle
    return low


def _timeline(rows: list[Any]) -> list[dict[str, Any]]:
    slices: dict[int, dict[str, Any]] = {}
    for number, _, ok, failed, _, calls, throttled, cost, _, tokens_in, tokens_out in rows:
        entry = slices.setdefault(number, {"slice": number, **dict.fromkeys(_PART, 0)})
        for name, value in zip(
            _PART, (ok, failed, calls, throttled, cost, tokens_in, tokens_out), strict=True
        ):
            entry[name] += value
    return list(slices.values())


def _models(rows: list[Any]) -> list[dict[str, Any]]:
    models: dict[str, dict[str, Any]] = {}
    names = ("answers", "cost", "unpriced", "input_tokens", "output_tokens")
    for _, model, _, _, answers, _, _, cost, unpriced, tokens_in, tokens_out in rows:
        entry = models.setdefault(model, {"model": model, **dict.fromkeys(names, 0)})
        for name, value in zip(names, (answers, cost, unpriced, tokens_in, tokens_out), strict=True):
            entry[name] += value
    found = [entry for entry in models.values() if entry["answers"] or entry["cost"] or entry["unpriced"]]
    return sorted(found, key=lambda entry: (-entry["answers"], entry["model"]))


def _thinned(counts: list[tuple[int, int]]) -> list[list[int]]:
    """The same within 5 %: a few hundred pairs at most."""
    found: dict[int, int] = {}
    for value, number in counts:
        size = max(1, int(value / 20))
        low = value - value % (1 << (size.bit_length() - 1))
        found[low] = found.get(low, 0) + number
    return [[value, number] for value, number in sorted(found.items())]
