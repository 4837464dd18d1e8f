"""What a run may spend, as arithmetic: money is reserved before a call leaves and settled when it is over."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterable

_REMEMBERED = 200


class Budget:
    """A cap in USD, held by reserving for each call the highest of the prices seen lately.

    The bound: when a call is begun, what is paid and reserved is within the cap, so the cap is crossed only
    by what calls cost above every price remembered. Under a cap no more calls are open at once than came to
    their end (1, 2, 4, 8 and so on), so a surprise is met by few, and by one alone while nothing is known.
    A call whose price nobody says is valued at what it reserved, and one of when no price was known at the
    highest price seen since; where nobody ever says, no cap can be held.

    ``cap`` None is no cap; ``paid`` is what was spent before, and ``recent`` what calls cost that were made
    with it, the earliest first.
    """

    def __init__(self, cap: float | None, *, paid: float = 0.0, recent: Iterable[float] = ()) -> None:
        self.cap = cap
        self.stated = paid
        self._reserved = 0.0
        self._open = 0
        self._unvalued = 0
        self._dearest = 0.0
        self.begin_step(recent)

    def begin_step(self, recent: Iterable[float], *, least: float = 0.0) -> None:
        """Forget the prices learned, since another step or model has others, and learn ``recent`` instead.

        ``least`` is what a call costs at least, and counts while nothing else is known.
        """
        if self._dearest:  # by the prices of their own step
            self.stated, self._unvalued, self._dearest = self.paid, 0, 0.0
        self._least = least
        self._over = 0
        self._recent: deque[float] = deque()
        self._sorted: list[float] = []
        for cost in recent:
            self._over += 1
            self._learn(cost)

    @property
    def paid(self) -> float:
        """USD spent so far: what was stated, and for what was not its value."""
        return self.stated + self._unvalued * self._dearest

    def spend(self, cost: float) -> None:
        """Paid without a reservation."""
        self.stated += cost

    def doubt(self, calls: int, each: float) -> None:
        """So many calls were possibly paid, nobody knows at what: at least ``each``, where that is known."""
        self._unvalued += calls
        self._dearest = max(self._dearest, each)

    @property
    def estimate(self) -> float:
        """The upper estimate for one more call, in USD; 0 while nothing is known."""
        return self._sorted[-1] if self._sorted else self._least

    def admits(self) -> bool:
        """Whether one more call fits beside what is paid and reserved."""
        if self.cap is None:
            return True
        if self._open >= max(1, self._over):
            return False
        return self.paid + self._reserved + self.estimate <= self.cap and self.paid < self.cap

    def reserve(self) -> float:
        """Set the estimate aside for a call that leaves now; give the amount back to ``settle``."""
        amount = self.estimate
        self._reserved += amount
        self._open += 1
        return amount

    def settle(self, reserved: float, cost: float | None) -> None:
        """The call is over; an unknown cost is valued at what was reserved, and 0 says nothing of prices."""
        self._open -= 1
        self._over += 1
        self._reserved -= reserved
        self.stated += reserved if cost is None else cost
        self._unvalued += cost is None and not self._sorted and not reserved
        self._learn(cost or 0.0)

    def _learn(self, cost: float) -> None:
        if cost <= 0:
            return
        self._dearest = max(self._dearest, cost)
        insort(self._sorted, cost)
        self._recent.append(cost)
        if len(self._recent) > _REMEMBERED:
            self._sorted.remove(self._recent.popleft())
