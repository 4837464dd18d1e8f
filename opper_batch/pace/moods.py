"""Refusals that slowing down does not change are not a limit: they are told apart here."""

from __future__ import annotations

from operator import attrgetter

# Episodes (see ``learner``) nearer than this many requests belong together: once a limit is found and
# held, the next probe comes hundreds of requests later.
CLOSE = 100
# After so many close episodes slowing down is put to the test: half the rate. What a limit refuses, up to a
# fourth of the requests, it refuses no more at half the rate; chance refuses as before.
_SUSPICIOUS = 5
_MOST_SHARE = 0.25
_ENOUGH = 3  # refusals, to say so
# Of the refusals met in the test the second halves the rate once more: while a rate still climbs, a slow
# limit refuses a smaller share than it will. The fourth proves that it is chance; when they came so fast
# that they would not have been suspected, each halves the rate again.
_DOUBT, _PROOF = 2, 4
# It is a limit when so many requests have passed that chance would have refused ten of them: a slow one is
# not tested for minutes. The second test is as long as can be, since the first may have been luck.
_LUCK = 10
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

    While it is above 0 a single refusal says nothing; only an excess of them is taken for a limit. ``safe``
    is a rate that a test has shown to be below the limit, 0 for none: less is not needed.
    """

    __slots__ = (
        "_begun",
        "_excess",
        "_met",
        "_refused",
        "_streak",
        "_tested",
        "_trial",
        "safe",
        "share",
        "testing",
    )

    def __init__(self) -> None:
        self.share = 0.0
        self.testing = False  # slowing down is being put to the test
        self.safe = 0.0
        self._excess = 0.0
        self._streak = 0.0  # episodes close to each other
        self._begun = 0.0  # the request that the streak began with
        self._refused = 0.0  # since then
        self._tested = 0.0  # the request that the test began with
        self._met = 0.0  # refusals since then
        self._trial = 0.0  # requests that have to pass to end it

    def posted(self, *, learning: bool) -> None:
        """A request leaves; ``learning`` while the rate is one that the limit, if any, lets through."""
        if learning:
            self.share *= 1 - _MEMORY
            if self.share < _LEAST_BELIEVED:
                self.share = 0.0
        self._excess = max(0.0, self._excess - _EXCESS_SLOPE * self.share)

    def refused(self, *, learning: bool) -> bool:
        """A request was refused; True when that is more than chance explains."""
        self._refused += 1
        if not self.share:
            return True
        if learning:
            self.share = min(_MOST_BELIEVED, self.share + _MEMORY)
        self._excess += 1
        if self._excess < EXCESS:
            return False
        self._excess = 0.0
        return True

    def episode(self, number: float, *, close: bool) -> bool:
        """An episode began with request ``number``; True to halve the rate."""
        if not close:
            self._streak, self._begun, self._refused, self.testing = 0, number, 0, False
            return False
        self._streak += 1
        share = self._refused / max(1, number - self._begun)
        if self.testing:
            self._met += 1
            often = self._met > _MOST_SHARE * (number - self._tested)
            if self._met >= _PROOF and not often:
                self.share = min(_MOST_BELIEVED, max(2 * _LEAST_BELIEVED, _MARGIN * share))
                self.testing, self._streak, self.safe = False, 0, 0.0
            return self.testing and (self._met == _DOUBT or self._met >= _PROOF)
        if share > _MOST_SHARE and self._refused >= _ENOUGH:
            self.safe = 0.0
        elif self._streak >= _SUSPICIOUS and share < _MOST_SHARE:
            self.testing, self._met, self._tested = True, 0, number
            self._trial = CLOSE if self.safe else min(CLOSE, _LUCK / share)
        return self.testing

    def ends(self, passed: float, rate: float) -> bool:
        """Whether so many requests that passed at ``rate`` end the test: it is a limit, and above that."""
        over = passed >= self._trial
        if over:
            self.testing, self._streak, self.safe = False, 0, rate
        return over

    @property
    def numbers(self) -> tuple[float, ...]:
        """All of it, for ``restore``."""
        found: tuple[float, ...] = _NUMBERS(self)
        return found

    def restore(self, numbers: tuple[float, ...]) -> None:
        for name, number in zip(_NAMES, numbers, strict=True):
            setattr(self, name, number)
        self.testing = bool(self.testing)


_NAMES = ("share", "testing", "safe", "_excess", "_streak", "_begun", "_refused", "_tested", "_met", "_trial")
_NUMBERS = attrgetter(*_NAMES)
COUNT = len(_NAMES)  # how many ``numbers`` there are
