"""How far a run is, told a few times a second to its ledger and to whoever listens."""

from __future__ import annotations

from collections.abc import Callable

from opper_batch.calls import Asking
from opper_batch.client import Gate
from opper_batch.ledger import Ledger, View
from opper_batch.pace import Pace
from opper_batch.runs.options import Progress
from opper_batch.runs.steering import Steering

_PUBLISHING = "publish"  # what writing the result is called
_EVERY_SECONDS = 0.2
_SOON_SECONDS = 2.0


class Telling:
    """Tells of the run in ``ledger``, over so many ``rows``; ``listener`` gets Progress, if there is one."""

    def __init__(
        self,
        ledger: Ledger,
        view: View,
        pace: Pace,
        steering: Steering,
        *,
        rows: int,
        listener: Callable[[Progress], None] | None,
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._view = view
        self._pace = pace
        self._steering = steering
        self._rows = rows
        self._listener = listener
        self._clock = clock
        self._began = self._told = clock()

    def begin(self) -> None:
        """A step begins, or publishing."""
        self._began = self._told = self._clock()

    def step(self, name: str, asking: Asking, gate: Gate, *, now: bool = False) -> None:
        """How far the step is; every fifth of a second unless ``now``."""
        if not now and self._clock() - self._told < _EVERY_SECONDS:
            return
        self._told = self._clock()
        rows = asking.settled_rows
        self._ledger.advance(step=name, done=rows, rows=self._rows)
        self._show(name, rows, paused=gate.paused_for, outage=gate.outage.on)

    def published(self, rows: int) -> None:
        """A large result takes its time; a small one is there before anybody could read of it."""
        now = self._clock()
        if now - self._began > _SOON_SECONDS and now - self._told >= _EVERY_SECONDS:
            self._told = now
            self._show(_PUBLISHING, rows)

    def _show(self, step: str, rows: int, *, paused: float = 0.0, outage: bool = False) -> None:
        if self._listener is None:
            return
        totals = self._view.totals(run=self._ledger.run)
        self._listener(
            Progress(
                step=step,
                rows=rows,
                total_rows=self._rows,
                calls=totals.calls,
                failed=totals.failed,
                throttled=totals.throttled,
                cost=totals.cost,
                in_flight=self._pace.in_flight,
                paused=paused,
                seconds=self._clock() - self._began,
                held=self._steering.wanted.paused,
                outage=outage,
            )
        )
