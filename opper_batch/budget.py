"""What a run may spend, as arithmetic: money is reserved before a call leaves, and paid with each answer."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterable
from decimal import Decimal

from opper_batch.errors import RunStopped

_REMEMBERED = 200


class Budget:
    """A cap in USD, held by reserving for each call the highest of the prices seen lately.

    The bound: when a request leaves, what is paid and reserved is within the cap, so the cap is crossed only
    by what calls cost above every price remembered. Under a cap no more calls are open at once than came to
    their end (1, 2, 4, 8 and so on), so a surprise is met by few, and by one alone while nothing is known.
    A request that may have been paid and whose price nobody says is valued at the highest of those prices,
    and one of when no price was known at the highest seen since; until then as in the step before. Where
    nobody ever says, no cap can be held.

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
        self._before = 0.0  # the dearest of the step before
        self.begin_step(recent)

    def begin_step(self, recent: Iterable[float], *, least: float = 0.0) -> None:
        """Forget the prices learned, since another step or model has others, and learn ``recent`` instead.

        ``least`` is what a call costs at least, and counts while nothing else is known.
        """
        if self._dearest:  # by the prices of their own step
            self.stated, self._unvalued = self.paid, 0
        self._before = self._dearest or self._before
        self._dearest = self._least = least
        self._over = 0
        self._recent: deque[float] = deque()
        self._sorted: list[float] = []
        for cost in recent:
            self._over += 1
            self._learn(cost)

    @property
    def paid(self) -> float:
        """USD spent so far: what was stated, and for what was not its value."""
        return self.stated + self._unvalued * (self._dearest or self._before)

    def spend(self, cost: float | None) -> None:
        """A request cost so much; None: it may have been paid, and nobody says how much."""
        if cost is not None:
            self.stated += cost
        elif self._sorted:
            self.stated += self.estimate
        else:
            self._unvalued += 1

    def doubt(self, requests: int, each: float) -> None:
        """So many were possibly paid, nobody knows at what: at least ``each``, where that is known."""
        self._unvalued += requests
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
        paid = self.paid
        return paid + self._reserved + self.estimate <= self.cap and paid < self.cap

    def affords(self) -> bool:
        """Whether a call that is open may be asked again: for that its own reserve is still there."""
        return self.cap is None or self.paid + self._reserved <= self.cap

    def reserve(self) -> float:
        """Set the estimate aside for a call that leaves now; give the amount back to ``settle``."""
        amount = self.estimate
        self._reserved += amount
        self._open += 1
        return amount

    def settle(self, reserved: float, cost: float) -> None:
        """The call is over; all that is known of it cost so much, and 0 says nothing of prices."""
        self._open -= 1
        self._over += 1
        self._reserved -= reserved
        self._learn(cost)

    def _learn(self, cost: float) -> None:
        if cost <= 0:
            return
        self._dearest = max(self._dearest, cost)
        insort(self._sorted, cost)
        self._recent.append(cost)
        if len(self._recent) > _REMEMBERED:
            self._sorted.remove(self._recent.popleft())


def over_budget(budget: Budget) -> RunStopped:
    """How a run ends that may spend no more."""
    if budget.estimate > (budget.cap or 0):
        return RunStopped(
            f"the cap of {_usd(budget.cap or 0)} is below what one row may cost ({_usd(budget.estimate)}), "
            f"so nothing is called ({_usd(budget.paid)} paid); run again with a higher --max-cost to go on"
        )
    return RunStopped(
        f"the budget of {_usd(budget.cap or 0)} is reached ({_usd(budget.paid)} paid, "
        f"and one more call may cost {_usd(budget.estimate)}); run again with a higher --max-cost to go on"
    )


def _usd(amount: float) -> str:
    """Six digits from the first that counts, however small the sum: never 0.0000 and never 1e-05."""
    return f"${Decimal(f'{amount:.6g}'):f}"
