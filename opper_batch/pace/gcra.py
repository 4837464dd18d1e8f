"""The generic cell rate algorithm: one number says when the next unit may go."""

from __future__ import annotations

# What a busy event loop is late by, and no more: gateways are met that save up ten requests, or three.
LATE_SECONDS = 0.025


class Gcra:
    """``rate`` units a second, smoothly, with a small burst. The rate may change at any time."""

    __slots__ = ("due", "gap", "rate")

    def __init__(self, rate: float) -> None:
        self.due = float("-inf")  # when the next unit may go
        self.turn_to(rate)

    def turn_to(self, rate: float) -> None:
        """From now on so many units a second; infinity is no limit."""
        self.rate = rate
        self.gap = 1 / rate

    def wait(self, now: float) -> float:
        """Seconds until the next unit may go; 0 when it may go now."""
        wait = self.due - now
        return wait if wait > 0.0 else 0.0

    def take(self, now: float, units: float = 1.0) -> None:
        """Units leave at ``now``; negative units are given back."""
        due, earliest = self.due, now - LATE_SECONDS
        self.due = (due if due > earliest else earliest) + units * self.gap

    def hold(self, until: float) -> None:
        """Nothing before ``until``, and no burst right after it."""
        self.due = max(self.due, until)
