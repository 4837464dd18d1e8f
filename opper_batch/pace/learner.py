"""Finds the rate that a gateway allows, from nothing but which requests it refused and when they were sent.

A limit is met in *episodes*: a request is refused, the rate is cut, and all that was under way then may be
refused too without saying anything new. What passed between two episodes is what the gateway allows, to the
request: at both ends it had nothing left. So the rate goes to just below that, stays there as long as
refusals are to be rare, and then climbs, first slowly, until the next episode.

    no limit met   rate is infinite, the number in flight grows with each round trip (``places``)
    episode        the first -> what passed at once says how much is saved up, not how fast: seek from below
                   measured  -> hold just below what was measured
                   blind     -> too little was sent to measure: dip, and come back to what was held
    in between     below hold -> back to it; at hold -> wait for the budget; then climb, ever faster
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf
from operator import attrgetter

from opper_batch.pace.moods import CLOSE, EXCESS, Moods
from opper_batch.pace.moods import COUNT as MOODS

# Just below what a gateway allows, so that whatever it saves up grows while we hold.
HELD = 0.99
# Probing costs refusals, and pauses: each request that leaves earns this much of a refusal, which keeps them
# under half of what is bearable (1 %); a request not sent because of a pause costs 0.4 of one (1 % again).
_EARNED = 0.0035
_MOST_SAVED = 1.0
_PAUSE_COST = 0.4
# A short measurement is repeated soon: after four times as many requests, whatever it has cost.
_TRUSTED_FOR = 4
_LONG_AGO = 3000  # requests
# A measurement needs this many requests that passed, and a second; five to overthrow what was sure.
_ENOUGH_REQUESTS = 5
_ENOUGH_SECONDS = 1.0
_ENOUGH_TO_DOUBT = 5.0
# Two measurements that differ by less than this agree; a limit that moved by more is measured anew.
_AGREEMENT = 0.1
# What a rate is multiplied with when nothing could be measured: what was under way is refused then, too.
_DIP = 0.6
# Not by more than this at once, however little was measured: refusals at random would lead to nothing.
_BETWEEN = 0.6
# The same when each Retry-After is the same long one: the way down is slow, as each step costs such a wait,
# and slower where the limit was met late, which it is by a rate that is hardly above it.
_UNINFORMED, _UNINFORMED_NEAR, _UNINFORMED_NEAR_SECONDS = 0.9, 0.95, 15.0
# What passed while the rate still rose is measured too low or too high, so with a pause at stake it goes to
# less; before the first limit was met, to half of what passed in the last second: most gateways save up a
# second's worth, so that much is what they allow, and the next refusal is a measurement.
_ROUGHLY = 0.75
_LAST_SECOND, _RAMP_MARK = 1.0, 0.1  # seconds; a mark each tenth tells what passed in the last one
# Fewer requests than this before the first refusal are hardly more than the first go: they tell nothing.
_TELLING = 40
# What a gateway could have let through during a pause is not measured, so the rate may be a little too low.
_NUDGE = 1.01
# Growth per second. SEEK is for a limit that was met before anything could be measured, within a second of
# the start: 7 times as fast each second, so that 300 a second are reached from 10 within two, and what
# passes meanwhile is few enough refusals. ROUGH follows one that was met later, BACK leads to what was held
# before. UNSURE follows a measurement that no other has confirmed: the next comes within seconds, late enough
# to be one and early enough to cost a single refusal. A sure rate climbs SLOW at first, then faster by a
# factor of e in SPEED_UP seconds, up to FAST: a limit that doubled is found in half a minute.
_SEEK, _ROUGH, _BACK, _UNSURE, _SLOW, _FAST = 2.0, 0.2, 0.4, 0.02, 0.004, 0.1
_SPEED_UP_SECONDS = 5.0
# A measurement from the marks that a climb leaves: one for each tenth that the rate grew, the last ones,
# and none so near that a millisecond of the network makes a hundredth.
_MARK = 1.1
_MARKS = 16
_LATELY = 0.2  # seconds
# A pause this long lets most gateways save up all they can, so what they could not save is not missed.
_REFILLING = 0.5
# Whatever is measured, a request in twenty seconds; while nothing can be measured, one in two seconds.
_LOWEST = 0.05
_LOWEST_BLIND = 0.5
# Retry-After of at least this many seconds that is always the same says nothing about the limit.
_LONG_WAIT = 2.0
_EVERY = 0.05  # seconds between two steps of a climb


@dataclass(slots=True, eq=False)
class Sent:
    """A request that left: its number, when, how many others were under way, whether more than ever since the
    last episode, and how many tokens were set aside for it."""

    number: float
    at: float
    inside: int
    record: bool
    tokens: float


class Learner:
    """``rate`` is what may be sent a second; never above ``most``, the limit that is known or infinity."""

    def __init__(self, *, most: float = inf) -> None:
        self.most = most
        self.rate = most
        self.hold = most  # where the last measurement put the rate
        self.measured = 0.0  # a second, by the last measurement; 0 before the first
        self.paused_until = -inf
        self.budget = 0.0  # refusals that probing may cost
        self.passed = 0.0  # requests let through between the last two episodes
        self.saved = inf  # what the gateway saves up at most, as far as the first episode told
        self.number = 0.0  # requests sent so far
        self.moods = Moods()
        # When, how many had been sent, how many of them refused, and the rate: since the anchor, here alone.
        self._marks: deque[tuple[float, float, float, float]] = deque(maxlen=_MARKS)
        self._cut = 0.0  # the last request that was under way when the rate was cut
        self._anchor = -1.0  # since this request it is measured
        self._anchor_at = 0.0
        self._exact = False  # the gateway had nothing left at the anchor
        self._refused = 0.0  # since the anchor
        self._sure = False  # two measurements agreed
        self._speed = _SLOW
        self._grown = -inf
        self._waited = 0.0  # what the last Retry-After said

    @property
    def may_probe(self) -> bool:
        """Whether a refusal may be risked; after a long time without one in any case."""
        return self.budget > 0 or self.number - self._cut > _LONG_AGO

    def posted(self, now: float) -> bool:
        """A request leaves; whether it is time for a ``step``."""
        self.number += 1
        if self.budget < _MOST_SAVED:
            self.budget += _EARNED
        if self.moods.share:
            self.moods.posted(learning=self.rate <= self.hold)
        return now - self._grown >= _EVERY

    def refused(self, now: float, sent: Sent, wait: float) -> bool:
        """A 429 to ``sent`` that says to wait so many seconds (0: says nothing). True when an episode begins.

        Everybody pauses for as long as it says, unless chance explains the refusal.
        """
        if not self.moods.refused(learning=self.rate <= self.hold):
            self._refused += sent.number > self._anchor
            return False
        begins = sent.number > self._cut
        self.budget -= EXCESS if begins and self.moods.share else 1
        if begins:
            self._episode(now, sent, wait)
        else:
            self._refused += sent.number > self._anchor
        if wait:
            self.paused_until = max(self.paused_until, now + wait)
            if not begins and sent.at <= self._anchor_at and sent.number > self._anchor:
                self._measure_from(sent.number, self.paused_until, exact=self._exact)
        return begins

    def forgive(self, rate: float) -> None:
        """The episode was not about the rate after all: it is ``rate`` again."""
        self.rate = self.hold = rate

    def know(self, most: float) -> None:
        """The limit is known to be ``most`` a second: a rate that was as high as could be is that now."""
        self.rate = most if self.rate >= self.most else min(most, self.rate)
        self.hold = most if self.hold >= self.most else min(most, self.hold)
        self.most = most

    def remember(self, measured: float, share: float) -> None:
        """Begin with what an earlier run measured; what has changed since will show."""
        self.measured, self.moods.share = measured, share
        if measured:
            self.rate = self.hold = min(self.most, HELD * measured)
            self._sure = True

    def step(self, now: float, *, binding: bool) -> None:
        """Climb; ``binding``: the request had to wait for the rate, else there is no reason to."""
        past = now - self._grown
        if self._anchor < 0:
            self._measure_from(0, now, exact=False)
        if self.rate == inf:
            if past >= _RAMP_MARK:
                self._grown = now
                self._marks.append((now, self.number, self._refused, inf))
            return
        self._grown = now
        if self.rate < self.most:
            if binding:
                self._climb(min(past, max(1.0, 2 / self.rate)))
            if not self._marks or self.rate > _MARK * self._marks[-1][3]:
                self._marks.append((now, self.number, self._refused, self.rate))

    def _climb(self, past: float) -> None:
        if self.moods.testing:
            if not self.moods.ends(self.number - self._cut, self.rate):
                return
            self._sure = False
        if self.rate < self.hold:
            self.rate = min(self.hold, self.rate * (1 + _BACK * past))
            return
        if self._sure:
            if self.budget < 0:
                return
            self._speed = min(_FAST, self._speed * (1 + past / _SPEED_UP_SECONDS))
        self.rate = min(self.most, self.rate * (1 + self._speed * past))

    def _episode(self, now: float, sent: Sent, wait: float) -> None:
        tried, first = self.rate, self.rate == inf
        until = now + wait if wait else sent.at
        self.passed = sent.number - self._anchor - 1 - self._refused
        # The first one is close to no other, also where the rate was remembered.
        close = self._cut > 0 and sent.number - self._cut < CLOSE and not first
        testing = self.moods.testing
        halve = self.moods.episode(sent.number, close=close)
        if wait and not self.moods.share:
            self.budget -= _PAUSE_COST * wait * min(tried, self._while_sending(sent))
        if self._measurable(sent, until, wait) or first:
            self._set(sent, until, wait, close=close)
            self._measure_from(sent.number, until, exact=True)
            self._waited = wait
        else:
            self.rate = max(self.rate * _DIP, min(self.hold, _LOWEST_BLIND))
            self._refused += 1
        if halve or testing:  # the rate of a test stays as it is until the test is over
            self.rate = tried / 2 if halve else tried
        if not testing:
            self.rate = max(self.rate, self.moods.safe)
        self.rate = min(self.most, max(self.rate, _LOWEST))
        if testing and close and not self.moods.testing:  # it was chance: begin anew
            self.rate, self.hold, self.measured = self.most, self.most, 0.0
            self._measure_from(sent.number, until, exact=False)
        self._cut, self._grown = self.number, now

    def _measurable(self, sent: Sent, until: float, wait: float) -> bool:
        """Enough has passed; after a pause, for as long as the pause was, as windows may be in play."""
        if wait < _LONG_WAIT and sent.at - self._anchor_at < _LATELY:
            return False
        seconds = max(until - self._anchor_at, 1e-3)
        moved = self._sure and not self._agrees(self.passed / seconds)
        enough = max(_ENOUGH_TO_DOUBT if moved else _ENOUGH_SECONDS, self._waited)
        return self._is_uninformed(wait) or (self.passed >= _ENOUGH_REQUESTS and seconds >= enough)

    def _agrees(self, measured: float) -> bool:
        return abs(measured - self.measured) <= _AGREEMENT * measured

    def _is_uninformed(self, wait: float) -> bool:
        return wait >= _LONG_WAIT and abs(wait - self._waited) < 0.01 and self.rate < inf

    def _while_sending(self, sent: Sent) -> float:
        seconds = sent.at - self._anchor_at
        if self._exact:
            return self.passed / max(seconds, 1e-3)
        return max(self.passed, _ENOUGH_REQUESTS) / max(seconds, _ENOUGH_SECONDS)

    def _last_second(self, sent: Sent) -> float:
        """What passed in the second before the first refusal, to a tenth of it."""
        before = (number for at, number, *_ in self._marks if at <= sent.at - _LAST_SECOND)
        return sent.number - 1 - max(before, default=max(self._anchor, 0.0))

    def _lately(self, sent: Sent) -> float:
        """Requests a second beyond what can have been saved up: the most since any of the marks.

        Nothing lets more pass than that, and a gateway that saves up little lets less pass in all, while the
        rate is still far below its limit or a pause is longer than it had to be.
        """
        rates = [
            (sent.number - number - (self._refused - refused) - self.saved) / (sent.at - at)
            for at, number, refused, _ in self._marks
            if number > self._anchor and sent.at - at >= _LATELY  # others may have set another anchor
        ]
        return max(rates, default=0.0)

    def _set(self, sent: Sent, until: float, wait: float, *, close: bool) -> None:
        """Put the rate to what was measured.

        The pause that was asked for belongs to the measurement: a gateway that counts in windows lets nothing
        through until then. Where each Retry-After is the same long one it does not.
        """
        seconds = max(until - self._anchor_at, 1e-3)
        low, high, tried = self.passed / seconds, self._while_sending(sent), self.rate
        low = max(low, self._lately(sent))
        agree = self._agrees(low)
        was_sure, self._sure, self._speed = self._sure, False, _FAST
        if self._is_uninformed(wait):
            near = sent.at - self._anchor_at > _UNINFORMED_NEAR_SECONDS
            self._sure, self.hold = True, (_UNINFORMED_NEAR if near else _UNINFORMED) * min(tried, high)
        elif tried == inf or not self._exact:
            rough = wait > 0.1 * seconds and not was_sure
            self.hold = (_ROUGHLY if rough else HELD) * min(tried, high)
            blind = sent.at - self._anchor_at < _ENOUGH_SECONDS
            if tried == inf:
                self.saved = self.passed
                self.hold = min(self.hold, max(_ENOUGH_REQUESTS, self._last_second(sent) / 2))
                blind = self.passed < _TELLING
            gently = _ROUGH if wait < _REFILLING else _FAST  # a mistake costs a wait
            again = _BACK if wait < _LONG_WAIT else _FAST
            self._speed = _SEEK if blind else gently if tried == inf else again
        elif agree:
            if wait >= _REFILLING and not close and tried >= 1.02 * self.hold:
                low = _NUDGE * max(low, self.measured)
            self._sure, self._speed, self.hold = True, _SLOW, HELD * low
        else:
            self.hold = min(tried, max(HELD * low, _BETWEEN * tried))
            self._speed = _UNSURE
        if not self._is_uninformed(wait):
            self.budget = max(self.budget, -_EARNED * _TRUSTED_FOR * self.passed)
        self.rate = self.hold
        self.measured = min(low, self.hold) if not self._exact else low

    def _measure_from(self, number: float, at: float, *, exact: bool) -> None:
        self._marks.clear()
        self._anchor, self._anchor_at, self._refused, self._exact = number, at, 0, exact

    @property
    def numbers(self) -> tuple[float, ...]:
        """All of it, for ``restore``: what processes that share a limit pass to and fro."""
        own: tuple[float, ...] = _NUMBERS(self)
        return own + self.moods.numbers

    def restore(self, numbers: tuple[float, ...]) -> None:
        rate, self.hold, self.measured, self.paused_until, self.budget, self.passed, *rest = numbers[:_OWN]
        self.saved, self.number, self._cut, self._anchor, self._anchor_at, exact, *rest = rest
        self._refused, sure, self._speed, self._grown, self._waited = rest
        self._exact, self._sure = bool(exact), bool(sure)
        self.moods.restore(numbers[_OWN:])
        self.rate = min(max(rate, _LOWEST), self.most)


# ``most`` is not among them: each run may have been told another limit.
_NUMBERS = attrgetter(
    *("rate", "hold", "measured", "paused_until", "budget", "passed", "saved"),
    *("number", "_cut", "_anchor", "_anchor_at", "_exact", "_refused"),
    *("_sure", "_speed", "_grown", "_waited"),
)
_OWN = 17
COUNT = _OWN + MOODS  # how many ``numbers`` there are, those of the moods included
