"""Progress as a person reads it: one line, whoever shows it, and the rate that it states."""

from __future__ import annotations

from opper_batch.report import duration, money
from opper_batch.runs.options import Progress
from opper_batch.runs.recent import Recent


class Rate:
    """Rows a second of late: rows that need no call pass at once and would flatter what is to come."""

    def __init__(self) -> None:
        self._recent = Recent()
        self._seconds = 0.0

    def after(self, progress: Progress) -> float:
        """The rate with what ``progress`` says, over the last fifteen seconds; 0 while it is not known."""
        if progress.seconds < self._seconds:  # another step has begun
            self._recent.anew()
        self._seconds = progress.seconds
        return self._recent.after(progress.seconds, progress.rows)[0]


def line(progress: Progress, rate: float) -> str:
    """``1,200/2,000 rows, 800 left, 3 failed, 41.2 rows/s, $0.42, 32 in flight, 19 s to go``."""
    left = max(0, progress.total_rows - progress.rows)
    parts = [
        f"{progress.rows:,}/{progress.total_rows:,} rows",
        f"{left:,} left",
        f"{progress.failed:,} failed",
        f"{rate:,.1f} rows/s",
        money(progress.cost),
        f"{progress.in_flight} in flight",
    ]
    if progress.held:
        parts.append("paused until opper-batch resume")
    elif left and rate:
        parts.append(f"{duration(left / rate)} to go")
    if progress.throttled:
        parts.append(f"{progress.throttled:,} throttled")
    if progress.paused > 0:
        parts.append(f"paused by the gateway for {duration(progress.paused)}")
    return ", ".join(parts)
