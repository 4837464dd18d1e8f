"""What a run may spend, as arithmetic: money is reserved before a call leaves and settled when it is over."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterable

_REMEMBERED = 200
_QUANTILE = 0.95


class Budget:
    """A cap in USD that calls in flight cannot cross by more than what one costs above its estimate.

    Each call reserves what 95 of 100 recent calls cost at most. Until the first one is over nothing is known
    of what a call costs, so under a cap it goes alone. ``cap`` None is no cap; ``paid`` is what was spent
    before, and ``recent`` what the calls cost that were made with it, the earliest first.
    """

    def __init__(self, cap: float | None, *, paid: float = 0.0, recent: Iterable[float] = ()) -> None:
        self.cap = cap
        self.paid = paid
        self._reserved = 0.0
        self._open = 0
        self._recent: deque[float] = deque()
        self._sorted: list[float] = []
        for cost in recent:
            self._learn(cost)
        self._blind = not self._recent

    @property
    def estimate(self) -> float:
        """The upper estimate for one more call, in USD; 0 while nothing is known."""
        if not self._sorted:
            return 0.0
        return self._sorted[min(len(self._sorted) - 1, int(_QUANTILE * len(self._sorted)))]

    def admits(self) -> bool:
        """Whether one more call fits beside what is paid and reserved."""
        if self.cap is None:
            return True
        if self._blind and self._open:
            return False
        return self.paid + self._reserved + self.estimate <= self.cap and self.paid < self.cap

    def reserve(self) -> float:
        """Set the estimate aside for a call that leaves now; give the amount back to ``settle``."""
        amount = self.estimate
        self._reserved += amount
        self._open += 1
        return amount

    def settle(self, reserved: float, cost: float | None) -> None:
        """The call is over; an unknown cost is valued at what was reserved."""
        self._blind = False
        self._open -= 1
        self._reserved -= reserved
        self.paid += reserved if cost is None else cost
        if cost is not None:
            self._learn(cost)

    def _learn(self, cost: float) -> None:
        insort(self._sorted, cost)
        self._recent.append(cost)
        if len(self._recent) > _REMEMBERED:
            self._sorted.remove(self._recent.popleft())
