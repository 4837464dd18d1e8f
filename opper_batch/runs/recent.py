"""How fast it goes of late."""

from __future__ import annotations

from collections import deque

_SECONDS = 15.0


class Recent:
    """What is counted, a second, over the last fifteen seconds; 0 while that is not known."""

    def __init__(self) -> None:
        self._readings: deque[tuple[float, tuple[int, ...]]] = deque()

    def anew(self) -> None:
        """What went before says nothing of what is counted from now on."""
        self._readings.clear()

    def after(self, now: float, *counts: int) -> list[float]:
        """The rates, with how many of each there are ``now`` (seconds of any clock)."""
        readings = self._readings
        readings.append((now, counts))
        while now - readings[0][0] > _SECONDS:
            readings.popleft()
        began, first = readings[0]
        seconds = now - began
        return [
            max(0.0, (count - of) / seconds) if seconds > 0 else 0.0
            for count, of in zip(counts, first, strict=True)
        ]
