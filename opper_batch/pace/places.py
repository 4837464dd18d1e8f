"""How many requests may be under way: slow start while no limit is met, and gateways that limit just that."""

from __future__ import annotations

from opper_batch.pace.learner import Sent

# Enough to find a limit of 50 a second within four round trips, few enough to hurt nobody at the first go.
_FIRST = 16
# A gateway that limits what is under way refuses at the same number again and again; three times is proof.
_PROOF = 2
_FEWEST = 4
_APART = 3  # round trips between two proofs, for what is refused at once is refused for the same reason
# A limit of this kind is tried again by one place for about fifty answers, when the budget allows.
_GROWTH = 0.02


class Places:
    """``open`` requests may be under way at most; never more than ``most``."""

    __slots__ = ("_filled", "_highest", "_number", "_proof", "_suspect", "cap", "most", "open")

    def __init__(self, most: int) -> None:
        self.most = most
        self.open = float(min(_FIRST, most))
        self._filled = 0  # how many were open when last all of them were taken
        self.cap = 0  # what the gateway allows under way; 0 when it does not seem to limit that
        self._highest = 0
        self._suspect = 0
        self._proof = 0
        self._number = 0.0

    def is_record(self, inside: int) -> bool:
        """Whether never since the last episode so many were under way."""
        if inside < self._highest:
            return False
        self._highest = inside
        return True

    def taken(self, in_flight: int) -> None:
        """A request takes its place, with which so many are taken."""
        if in_flight >= self.open:
            self._filled = in_flight

    def answered(self, in_flight: int, *, limited: bool, may_probe: bool) -> None:
        """A request was let through: with no limit met, one place more: they double each round trip.

        But for what was not asked for: twice as many as were taken when last all were.
        """
        if self.open >= self.most:
            return
        if not limited and not self.cap:
            if self.open < 2 * self._filled:
                self.open = min(self.most, self.open + 1)
        elif in_flight >= self.open and may_probe:
            self.open += _GROWTH

    def allow(self, most: int, *, limited: bool) -> None:
        """From now on at most so many; where a rate limits, all of them if it was all of them before."""
        full = self.open >= self.most and not self.cap
        self.most = most
        self.open = float(most) if full and limited else min(self.open, most)

    def unlock(self) -> None:
        """All places: something else limits, or it is known how many are of use."""
        self.open, self.cap = float(self.most), 0

    def start_over(self) -> None:
        self.open, self.cap, self._filled = float(min(_FIRST, self.most)), 0, 0

    def episode(self, sent: Sent) -> bool:
        """An episode began with ``sent``; True when it is about the places rather than the rate.

        So it is when three in a row, with many requests let through in between, were refused at the same
        number under way, each time the highest so far.
        """
        self._highest = 0
        if (
            not sent.record
            or sent.inside < _FEWEST
            or abs(sent.inside - self._suspect) > 1 + sent.inside // 100
        ):
            self._suspect, self._number, self._proof = sent.inside, sent.number, 0
        elif sent.number - self._number > _APART * sent.inside:
            self._number, self._proof = sent.number, self._proof + 1
        if self._proof < _PROOF:
            return False
        self.open = self.cap = sent.inside
        return True
