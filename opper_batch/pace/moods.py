"""Refusals that slowing down does not change are not a limit: they are told apart here."""

from __future__ import annotations

# Episodes (see ``learner``) nearer than this many requests belong together: once a limit is found and
# held, the next probe comes hundreds of requests later.
CLOSE = 100
# After so many close episodes slowing down is put to the test: half the rate. What a limit refuses, up to a
# third of the requests, it refuses no more at half the rate; chance refuses as before.
_SUSPICIOUS = 5
# Halved once more then: while the rate still climbs, a slow limit refuses a smaller share than it will.
_STILL_SUSPICIOUS = 7
_PROVEN = 9
_MOST_SHARE = 0.35
# The share is seen in some ten refusals only, so it is taken a little higher than seen.
_MARGIN = 1.3
_MOST_BELIEVED = 0.2
_LEAST_BELIEVED = 0.005
_MEMORY = 0.001  # weight of one request in the running share: a thousand requests
# A cumulative sum counts refusals beyond 2.5 times the share; six too many are no chance: at 5 % that
# happens by chance once in a hundred thousand requests.
_EXCESS_SLOPE = 2.5
EXCESS = 6.0


class Moods:
    """Whether the gateway refuses at random, and how often: ``share`` of the requests, 0 for never.

    While it is above 0 a single refusal says nothing; only an excess of them is taken for a limit.
    """

    __slots__ = ("_begun", "_excess", "_refused", "_streak", "share", "testing")

    def __init__(self) -> None:
        self.share = 0.0
        self.testing = False  # slowing down is being put to the test
        self._excess = 0.0
        self._streak = 0.0
        self._begun = 0.0
        self._refused = 0.0

    def posted(self, *, learning: bool) -> None:
        """A request leaves; ``learning`` while the rate is one that the limit, if any, lets through."""
        if learning:
            self.share *= 1 - _MEMORY
            if self.share < _LEAST_BELIEVED:
                self.share = 0.0
        self._excess = max(0.0, self._excess - _EXCESS_SLOPE * self.share)

    def refused(self, *, learning: bool) -> bool:
        """A request was refused; True when that is more than chance explains."""
        if not self.share:
            return True
        if learning:
            self.share = min(_MOST_BELIEVED, self.share + _MEMORY)
        self._excess += 1
        if self._excess < EXCESS:
            return False
        self._excess = 0.0
        return True

    def episode(self, number: float, refused: float, *, close: bool) -> bool:
        """An episode began with request ``number``, after so many refusals; True to halve the rate."""
        if not close:
            self._streak, self._begun, self._refused, self.testing = 0, number, 0, False
            return False
        self._streak += 1
        self._refused += 1 + refused
        share = self._refused / max(1, number - self._begun)
        if self.testing and self._streak >= _PROVEN:
            self.share = min(_MOST_BELIEVED, max(2 * _LEAST_BELIEVED, _MARGIN * share))
            self.testing, self._streak = False, 0
        elif self.testing and self._streak == _STILL_SUSPICIOUS:
            return True
        elif self._streak == _SUSPICIOUS and share < _MOST_SHARE:
            self.testing = True
            return True
        return False

    @property
    def numbers(self) -> tuple[float, ...]:
        """All of it, for ``restore``."""
        return self.share, self.testing, self._excess, self._streak, self._begun, self._refused

    def restore(self, numbers: tuple[float, ...]) -> None:
        self.share, testing, self._excess, self._streak, self._begun, self._refused = numbers
        self.testing = bool(testing)
