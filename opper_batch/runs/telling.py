"""Progress as a person reads it: one line, whoever shows it, and the rate that it states."""

from __future__ import annotations

from collections import deque

from opper_batch.report import duration, money
from opper_batch.runs.options import Progress

_RECENT_SECONDS = 15.0


class Rate:
    """Rows a second of late: rows that need no call pass at once and would flatter what is to come."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, int]] = deque()

    def after(self, progress: Progress) -> float:
        """The rate with what ``progress`` says, over the last fifteen seconds; 0 while it is not known."""
        recent = self._recent
        if recent and recent[-1][0] > progress.seconds:  # another step has begun
            recent.clear()
        recent.append((progress.seconds, progress.rows))
        while progress.seconds - recent[0][0] > _RECENT_SECONDS:
            recent.popleft()
        seconds, rows = (last - first for first, last in zip(recent[0], recent[-1], strict=True))
        return max(0.0, rows / seconds) if seconds > 0 else 0.0


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
