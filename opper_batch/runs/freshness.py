"""Which known answers are still taken: decided from the runs there were, and the clock."""

from __future__ import annotations

from collections.abc import Sequence

from opper_batch.calls import Policy
from opper_batch.ledger import RunRecord
from opper_batch.runs.options import Options


def policy(options: Options, runs: Sequence[RunRecord], *, run: int, now: float) -> Policy:
    """What ``run`` asks, after the ``runs`` that the ledger knows; ``now`` in Unix seconds.

    An answer is as old as the run that brought it, counted from its start.
    """
    fresh_from = 0
    if options.max_age is not None:
        oldest = now - options.max_age
        fresh_from = min((each.id for each in runs if each.started >= oldest), default=1 + _latest(runs))
    return Policy(
        run, options.retry_failed, options.refresh, since=_asking_since(options, runs), fresh_from=fresh_from
    )


def _asking_since(options: Options, runs: Sequence[RunRecord]) -> int | None:
    """The first run since the last one that published which was to ask anew as this one is.

    What it got to is not asked twice, however short ``max_age`` is: else a run that is stopped and begun
    again, night after night, might never come to its end.
    """
    names = ("refresh",) if options.refresh else ("refresh", "max_age")
    published = max((each.id for each in runs if each.published), default=0)
    before = [each.id for each in runs if each.id > published and any(map(each.options.get, names))]
    return min(before, default=None)


def _latest(runs: Sequence[RunRecord]) -> int:
    return max((each.id for each in runs), default=0)
