"""How the columns moved against those of an earlier run."""

from __future__ import annotations

from typing import Any

from opper_batch.report.histogram import Shares, in_bins

_MOST_VALUES = 5
_COMPARED_BINS = 12


def moved(column: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """What changed in one column's profile; ``distance`` is 0 the same, 1 nothing in common."""
    found: dict[str, Any] = {
        "null_share": [_null_share(before), _null_share(column)],
        "distance": None,
        "values": [],
        "medians": None,
    }
    # With more values than are told, shares of the told ones alone would say that all has moved.
    if all(of["values"] and not of["other_values"] for of in (column, before)):
        mine, theirs = _values(column), _values(before)
        found["distance"] = mine.distance(theirs)
        found["values"] = _largest(mine, theirs)
    for kind in ("numbers", "lengths"):
        if column[kind] and before[kind]:
            found["medians"] = [before[kind]["median"], column[kind]["median"]]
            if found["distance"] is None:
                found["distance"] = _bins(column[kind], before[kind])
            break
    return found


def with_movement(columns: list[dict[str, Any]], earlier: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The columns, each with ``moved``: None where the earlier run had no such column of this type."""
    known = {(column["step"], column["name"], column["type"]): column for column in earlier}
    found = []
    for column in columns:
        before = known.get((column["step"], column["name"], column["type"]))
        comparable = before is not None and before["rows"] and column["rows"]
        found.append({**column, "moved": moved(column, before) if before and comparable else None})
    return found


def _null_share(column: dict[str, Any]) -> float:
    return float(column["null"] / column["rows"]) if column["rows"] else 0.0


def _values(column: dict[str, Any]) -> Shares:
    return Shares(dict(column["values"]))


def _largest(mine: Shares, theirs: Shares) -> list[list[Any]]:
    """The values whose share moved most: value, share before, share now."""
    now, then = sum(mine.counts.values()), sum(theirs.counts.values())
    names = mine.counts.keys() | theirs.counts.keys()
    changes = [[name, theirs.counts.get(name, 0) / then, mine.counts.get(name, 0) / now] for name in names]
    changes.sort(key=lambda entry: (-abs(entry[2] - entry[1]), entry[0]))
    return [entry for entry in changes[:_MOST_VALUES] if entry[1] != entry[2]]


def _bins(mine: dict[str, Any], theirs: dict[str, Any]) -> float:
    """In few bins, so that with some hundred rows it is not chance that is told."""
    low = min(of["bins"][0][0] for of in (mine, theirs))
    high = max(of["bins"][-1][0] for of in (mine, theirs))
    width = max(mine["width"], theirs["width"])
    while (high - low) / width > _COMPARED_BINS:
        width *= 2
    both = [Shares(dict(in_bins(of, width))) for of in (mine, theirs)]
    return both[0].distance(both[1])
