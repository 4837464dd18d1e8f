"""Finds the rate that a gateway allows, from nothing but which requests it refused and when they were sent.

A limit is met in *episodes*: a request is refused, the rate is cut, and all that was under way then may be
refused too without saying anything new. What passed between two episodes is what the gateway allows, to the
request: at both ends it had nothing left. So the rate goes to just below that, stays there as long as
refusals are to be rare, and then climbs, first slowly, until the next episode.

    no limit met   rate is infinite, the number in flight doubles about each round trip (``places``)
    episode        measured  -> hold just below what was measured
                   blind     -> too little was sent to measure: dip, and come back to what was held
    in between     below hold -> back to it; at hold -> wait for the budget; then climb, ever faster
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from opper_batch.pace.moods import CLOSE, EXCESS, Moods

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
# What a rate is multiplied with: when nothing could be measured; after a measurement, for what the gateway
# has saved up to grow a little; when measured and tried rate are far apart; when Retry-After says nothing.
_DIP = 0.6
_RESUME = 0.7
_BETWEEN = 0.6
_UNINFORMED = 0.9
# Before the first limit was met the rate rose all the time, so what passed is measured too low or too high.
_ROUGHLY = 0.75
# What a gateway could have let through during a pause is not measured, so the rate may be a little too low.
_NUDGE = 1.01
# Growth per second: climbing begins slowly and becomes fast; coming back to what was held is faster still.
_SLOW, _FAST, _BACK = 0.004, 0.1, 0.4
_SPEED_UP_SECONDS = 5.0
# Whatever is measured, a request in twenty seconds; while nothing can be measured, one in two seconds.
_REFILLING = 0.5  # seconds of pause that make up for a dip
_LOWEST = 0.05
_LOWEST_BLIND = 0.5
# Retry-After of at least this many seconds that is always the same says nothing about the limit.
_LONG_WAIT = 2.0
_EVERY = 0.02  # seconds between two steps of a climb


class Sent(NamedTuple):
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
        self.number = 0.0  # requests sent so far
        self.moods = Moods()
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

    def posted(self, now: float, *, binding: bool) -> None:
        """A request leaves; ``binding``: it had to wait for the rate, else there is no reason to climb."""
        self.number += 1
        if self._anchor < 0:
            self._measure_from(0, now, exact=False)
        if self.budget < _MOST_SAVED:
            self.budget += _EARNED
        if self.moods.share:
            self.moods.posted(learning=self.rate <= self.hold)
        if self.rate < self.most and now - self._grown >= _EVERY:
            past, self._grown = now - self._grown, now
            if binding:
                self._climb(min(past, max(1.0, 2 / self.rate)))

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
            if not begins:
                self._anchor_at = max(self._anchor_at, self.paused_until)
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

    def _climb(self, past: float) -> None:
        if self.moods.testing:
            if self.number - self._cut < CLOSE:
                return
            self.moods.testing = self._sure = False
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
        close = sent.number - self._cut < CLOSE and not first
        testing = self.moods.testing
        halve = self.moods.episode(sent.number, self._refused, close=close)
        if wait and not self.moods.share:
            self.budget -= _PAUSE_COST * wait * min(tried, self._while_sending(sent))
        if self._measurable(until, wait) or first:
            self._set(sent, until, wait, close=close)
            self._measure_from(sent.number, until, exact=True)
            self._waited = wait
        else:
            self.rate = max(self.rate * _DIP, min(self.hold, _LOWEST_BLIND))
            self._refused += 1
        if halve or testing:  # the rate of a test stays as it is until the test is over
            self.rate = tried / 2 if halve else tried
        self.rate = min(self.most, max(self.rate, _LOWEST))
        if testing and self.moods.share:
            self.rate, self.hold, self.measured = self.most, self.most, 0.0  # it was chance: begin anew
        self._cut, self._grown = self.number, now

    def _measurable(self, until: float, wait: float) -> bool:
        """Enough has passed; after a pause, for as long as the pause was, as windows may be in play."""
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

    def _set(self, sent: Sent, until: float, wait: float, *, close: bool) -> None:
        """Put the rate to what was measured.

        The pause that was asked for belongs to the measurement: a gateway that counts in windows lets nothing
        through until then. Where each Retry-After is the same long one it does not.
        """
        seconds = max(until - self._anchor_at, 1e-3)
        low, high, tried = self.passed / seconds, self._while_sending(sent), self.rate
        agree = self._agrees(low)
        was_sure, self._sure, self._speed = self._sure, False, _FAST
        if self._is_uninformed(wait):
            self._sure, self.hold = True, _UNINFORMED * min(tried, high)
        elif tried == inf or not self._exact:
            rough = wait > 0.1 * seconds and not was_sure
            self.hold = (_ROUGHLY if rough else HELD) * min(tried, high)
            self._speed = _BACK if wait < _LONG_WAIT else _FAST  # a mistake costs a wait
        elif agree:
            if wait >= _REFILLING and not close and tried >= 1.02 * self.hold:
                low = _NUDGE * max(low, self.measured)
            self._sure, self._speed, self.hold = True, _SLOW, HELD * low
        else:
            self.hold = min(tried, max(HELD * low, _BETWEEN * tried))
        if not self._is_uninformed(wait):
            self.budget = max(self.budget, -_EARNED * _TRUSTED_FOR * self.passed)
        self.rate = self.hold * (_RESUME if self._sure and wait < _REFILLING else 1)
        self.measured = min(low, self.hold) if not self._exact else low

    def _measure_from(self, number: float, at: float, *, exact: bool) -> None:
        self._anchor, self._anchor_at, self._refused, self._exact = number, at, 0, exact

    @property
    def numbers(self) -> tuple[float, ...]:
        """All of it, for ``restore``: what processes that share a limit pass to and fro."""
        return (*[getattr(self, name) for name in _NUMBERS], *self.moods.numbers)

    def restore(self, numbers: tuple[float, ...]) -> None:
        for name, number in zip(_NUMBERS, numbers, strict=False):
            setattr(self, name, number)
        self.moods.restore(numbers[len(_NUMBERS) :])
        self.rate = min(max(self.rate, _LOWEST), self.most)


# ``most`` is not among them: each run may have been told another limit.
_NUMBERS = (
    *("rate", "hold", "measured", "paused_until", "budget", "passed", "number", "_cut", "_anchor"),
    *("_anchor_at", "_exact", "_refused", "_sure", "_speed", "_grown", "_waited"),
)
