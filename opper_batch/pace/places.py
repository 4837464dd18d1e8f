"""How many requests may be under way: slow start while no limit is met, and gateways that limit just that."""

from __future__ import annotations

from opper_batch.pace.learner import Sent

# Enough to find a limit of 50 a second within four round trips, few enough to hurt nobody at the first go.
_FIRST = 16
# With no limit met, they double about each round trip. Where that is short they begin with more and grow
# fourfold: what is at stake is a round trip, and the refusals of what is sent until the first one is back.
# Where it is next to nothing, it is soon made, and what its answers say of a limit is known to those after.
_TIMES, _FIRST_SHORT, _TIMES_SHORT, _SHORT_SECONDS = 2, 64, 4, 0.5
_NOTHING_SECONDS = 0.05
# Meanwhile requests leave evenly, so many times as fast as all places allow in the long run; where they grow
# fourfold, all that a round trip opens. Answers come in bursts, and with each its successors would leave at
# once: most of a burst is refused where it is too much.
_AHEAD = 1.2
_ANSWERS = 16  # so many tell the round trip
# Before any answer has told it, those that the last run found of use are taken over so many seconds: answers
# to what left all at once would come all at once, again and again.
_OPENING_SECONDS = 0.25
# A gateway that limits what is under way refuses at the same number again and again; three times is proof.
_PROOF = 2
_FEWEST = 4
_APART = 3  # round trips between two proofs, for what is refused at once is refused for the same reason
# A limit of this kind is tried again by one place for about fifty answers, when the budget allows.
_GROWTH = 0.02


class Places:
    """``open`` requests may be under way at most; never more than ``most``."""

    __slots__ = (
        "_number",
        "_proof",
        "_round_trip",
        "_suspect",
        "cap",
        "filled",
        "gap",
        "highest",
        "most",
        "open",
    )

    def __init__(self, most: int) -> None:
        self.most = most
        self.open = float(min(_FIRST, most))
        self.gap = 0.0  # seconds from one request to the next while the places fill, else 0
        self._round_trip = 0.0
        self.filled = 0  # how many were open when last all of them were taken
        self.highest = 0  # the most that were under way since the last episode
        self.cap = 0  # what the gateway allows under way; 0 when it does not seem to limit that
        self._suspect = 0
        self._proof = 0
        self._number = 0.0

    def begin_with(self, places: float, cap: float, *, limited: bool) -> None:
        """As the last run left it; ``limited`` when a rate says when requests leave."""
        self.open = max(self.open, min(places, self.most))
        self.cap = int(cap)
        if not limited and not self.cap and self.open > _FIRST:
            self.gap = _OPENING_SECONDS / self.open

    def answered(
        self,
        in_flight: int,
        seconds: float,
        *,
        limited: bool,
        may_probe: bool,
        evenly: bool,
        stated: bool = False,
    ) -> None:
        """A request was let through and answered after so many seconds: with no limit met, more places.

        ``evenly``: requests leave with a ``gap`` between them. Asked for while ``open`` is below ``most``, or
        there is a gap. ``stated``: the gateway says how much it allows, which need not be true.
        """
        if not limited and not self.cap:
            self._grow(seconds, evenly=evenly, leap=not stated)
        elif in_flight >= self.open and may_probe:
            self.open = min(self.most, self.open + _GROWTH)

    def _grow(self, seconds: float, *, evenly: bool, leap: bool) -> None:
        """But for what was not asked for: so many times as many as were taken when last all were."""
        alone = not self.filled and not self._round_trip  # the call that was sent alone is answered
        self._round_trip += (seconds - self._round_trip) / (_ANSWERS if self._round_trip else 1)
        steep = evenly and self.open >= _FIRST and self._round_trip < _SHORT_SECONDS
        if leap and steep and alone and self._round_trip > _NOTHING_SECONDS:
            self.open = max(self.open, min(_FIRST_SHORT, self.most))
        times = _TIMES_SHORT if steep else _TIMES
        if self.open < times * self.filled:
            self.open = min(self.most, self.open + times - 1)
        filling = evenly and self.open > _FIRST and (self.open < self.most or not self.filled)
        soon = max(self.open, min(self.most, times * self.filled)) if steep else self.open
        self.gap = self._round_trip / (_AHEAD * soon) if filling else 0.0

    def allow(self, most: int, *, limited: bool) -> None:
        """From now on at most so many; where a rate limits, all of them if it was all of them before."""
        full = self.open >= self.most and not self.cap
        self.most = most
        self.open = float(most) if full and limited else min(self.open, most)

    def unlock(self) -> None:
        """All places: something else limits, or it is known how many are of use."""
        self.open, self.cap, self.gap = float(self.most), 0, 0.0

    def start_over(self) -> None:
        self.open, self.cap, self.gap = float(min(_FIRST, self.most)), 0, 0.0
        self.filled = 0

    def episode(self, sent: Sent) -> bool:
        """An episode began with ``sent``; True when it is about the places rather than the rate.

        So it is when three in a row, with many requests let through in between, were refused at the same
        number under way, each time the highest so far.
        """
        self.highest = 0
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
        self.open, self.cap, self.gap = sent.inside, sent.inside, 0.0
        return True
