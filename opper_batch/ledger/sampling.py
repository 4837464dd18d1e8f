"""What calls came to before, for those who want to know what others will: a sample, and prices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from opper_batch.ledger.view import View

_SAMPLED = "SELECT DISTINCT key FROM outcomes WHERE id IN ({marks}) AND template = %d AND attempts > 0"
# Another prompt may have most of a ledger: as many numbers are looked at as it takes to find enough of this
# one, up to a bound, and then the latest, where a prompt that is new has its own.
_MOST_LOOKED_AT = 50_000
_RECENT = 20_000
_PAID = """
    SELECT key, CASE WHEN count(cost) = count(*) THEN sum(cost) END, max(CASE WHEN ok THEN latency_ms END),
           coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0)
    FROM outcomes WHERE key IN ({marks}) AND attempts > 0 GROUP BY key, run ORDER BY key, run"""
_PRICED = """
    SELECT model, sum(cost), sum(input_tokens), sum(output_tokens)
    FROM (SELECT * FROM outcomes ORDER BY id DESC LIMIT 5000)
    WHERE cost > 0 AND input_tokens IS NOT NULL AND output_tokens IS NOT NULL GROUP BY model"""


class Paid(NamedTuple):
    """What a call came to: USD, None when nobody said; milliseconds, None when no answer fits; tokens."""

    key: bytes
    cost: float | None
    latency_ms: int | None
    input_tokens: int
    output_tokens: int


def sample(view: View, template: int, most: int) -> list[Paid]:
    """What some calls of a prompt, at most ``most``, came to when last asked; evenly over its history."""
    latest = int(view.rows("SELECT coalesce(max(id), 0) FROM outcomes")[0][0])
    totals = view.totals(template=template)
    looked_at = _evenly(latest, min(_MOST_LOOKED_AT, most * latest // max(1, totals.ok + totals.failed)))
    recent = range(max(1, latest - _RECENT), latest + 1) if len(looked_at) == _MOST_LOOKED_AT else ()
    keys = [row[0] for row in view.select(_SAMPLED % template, sorted({*looked_at, *recent}))]
    chosen = [keys[place - 1] for place in _evenly(len(keys), most)]
    return paid(view, chosen)


def paid(view: View, keys: Sequence[bytes]) -> list[Paid]:
    """What each of the calls came to in the last run that asked it."""
    return list({row[0]: Paid._make(row) for row in view.select(_PAID, keys)}.values())


def _evenly(latest: int, most: int) -> list[int]:
    """At most so many of the numbers from 1 to ``latest``."""
    return [1 + place * latest // most for place in range(most)] if most < latest else [*range(1, latest + 1)]


def prices(view: View) -> list[tuple[str | None, float, int, int]]:
    """Of late, for each model that answered: USD, and the tokens in and out that they were paid for."""
    return view.rows(_PRICED)
