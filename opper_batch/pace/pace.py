"""When the next request may leave: rate, places, tokens and pauses put together."""

from __future__ import annotations

from collections import deque
from math import inf, isnan
from typing import NamedTuple, Protocol

from opper_batch.pace.gcra import LATE_SECONDS, Gcra
from opper_batch.pace.learner import COUNT, HELD, Learner, Sent
from opper_batch.pace.places import Places

# Requests under way when nobody says how many: 300 calls a second at 1.4 s each need 420. More connections
# than this would come near the 1,024 open files that many systems allow a process.
CEILING = 512
# The weight of one answer in the ratio of tokens used to tokens expected, and what is believed of one.
_RATIO_WEIGHT = 0.05
_RATIO_MOST = 5.0
# A request that could have left so many seconds earlier did not wait for the rate.
_NO_WAIT = 0.075
_LONGEST_PAUSE = 600.0  # whoever asks for more stops the run, so nobody has written more


class Learned(NamedTuple):
    """What one run tells the next: requests a second measured (0: no limit met), the share refused at random,
    and how many places were of use (``cap``: how many the gateway allows, 0 when it does not say)."""

    measured: float
    share: float
    places: float
    cap: float


class Commons(Protocol):
    """What processes that share a limit hold in common; ``busy`` while there is another one."""

    @property
    def busy(self) -> bool: ...

    def take(self) -> tuple[float, ...] | None:
        """Lock it and read the numbers, None when there are none yet."""

    def put(self, numbers: tuple[float, ...]) -> None:
        """Write the numbers and unlock it."""


class Pace:
    """When the next request may leave.

    ``concurrency`` is how many may be under way at most, found below CEILING when None. Rates are per minute;
    None is no limit known. The order of calls for each request: ``wait`` until 0, ``sent``, ``expect``, then
    ``refused`` if it was, and ``returned`` in any case.
    """

    def __init__(
        self,
        *,
        concurrency: int | None = None,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        learned: Learned | None = None,
        commons: Commons | None = None,
    ) -> None:
        self.concurrency = concurrency or CEILING
        self.in_flight = 0
        self.learner = Learner(most=HELD * requests_per_minute / 60 if requests_per_minute else inf)
        self.places = Places(self.concurrency)
        if requests_per_minute:
            self.places.unlock()
        if learned:
            self._begin_with(learned)
        self._commons = commons
        self._told, self._stated = self.learner.most, inf
        self._told_tokens = HELD * tokens_per_minute / 60 if tokens_per_minute else inf
        self._slot: float | None = None  # when it is our turn, among processes that share
        self._requests = Gcra(self.learner.rate)
        self._turned()
        self._tokens = Gcra(HELD * tokens_per_minute / 60) if tokens_per_minute else None
        self._most_beyond = tokens_per_minute or 0.0
        self._ratio = 1.0  # tokens used for each that was expected
        self._numbers: deque[float] = deque()  # of requests that have a place and are about to leave
        self._under_way = 0
        self._refused = 0

    @property
    def paused_until(self) -> float:
        return self.learner.paused_until

    @property
    def _shared(self) -> bool:
        return self._commons is not None and self._commons.busy

    @property
    def learned(self) -> Learned:
        learner, places = self.learner, self.places
        return Learned(learner.measured, learner.moods.share, places.open, places.cap)

    def wait(self, now: float) -> float:
        """Seconds until a request may leave; infinity while every place is taken."""
        if self.in_flight >= self.places.open:
            return inf
        due = self._requests.due  # the end of a pause is among what it knows
        if self._commons is not None and self._commons.busy:
            due = max(self._turn(now), self.learner.paused_until)
        if self._tokens is not None and self._tokens.due > due:
            due = self._tokens.due
        return due - now if due > now else 0.0

    def sent(self, now: float) -> None:
        """A request takes its place and is about to leave."""
        self.in_flight = in_flight = self.in_flight + 1
        if in_flight >= self.places.open:
            self.places.filled = in_flight
        if self._slot is None:
            self._take(now)
        else:
            self._slot = None
        self._numbers.append(self.learner.number)

    def expect(self, now: float, tokens: float = 0.0) -> Sent:
        """The request leaves and will use about so many tokens. Gives what the two below want."""
        if self._tokens is not None:
            tokens *= self._ratio
            self._take_tokens(now, tokens)
        inside = self._under_way
        self._under_way = inside + 1
        if record := inside >= self.places.highest:
            self.places.highest = inside
        number = self._numbers.popleft() if self._numbers else self.learner.number
        return Sent(number, now, inside, record, tokens)

    def returned(self, now: float, sent: Sent | None = None, *, used: float | None = None) -> None:
        """A request is over and used so many tokens (None: as expected); without ``sent`` it never left.

        Of tokens a minute's worth is believed at most, or one absurd reply would hold up all for ever.
        """
        before, self.in_flight = self.in_flight, self.in_flight - 1
        if sent is None:
            if self._numbers:
                self._numbers.pop()
            return
        self._under_way -= 1
        if self._tokens is not None and used is not None:
            self._settle(now, sent, used)
        if self._refused:
            self._refused -= 1
        elif self.places.open < self.places.most or self.places.gap:
            self._answered(before, now - sent.at)

    def refused(self, now: float, sent: Sent, wait: float | None) -> bool:
        """A 429 that says to wait so many seconds (None: says nothing); ``returned`` is still to come.

        True when everybody waits with it; when False, chance refused it, and only it has to wait.
        """
        self._refused += 1
        common = self._shared
        if common:
            self._read(now)
        tried, heeded = self.learner.rate, self.learner.moods.share == 0
        if self.learner.refused(now, sent, wait or 0.0):
            heeded = True
            self._episode(now, sent, tried, informed=bool(wait))
        if wait:
            self._requests.hold(self.learner.paused_until)
            if self._tokens:
                self._tokens.hold(self.learner.paused_until)
        if common:
            self._write()
        return heeded

    def know(self, *, requests: float | None = None, tokens: float | None = None) -> None:
        """The gateway says how much it allows a second; what the user said counts if it is less.

        The places still open one by one: a limit that is said and not true must not unleash anything.
        """
        if requests is not None:
            self._stated = HELD * requests
            self.learner.know(min(self._told, self._stated))
            self._requests.turn_to(self.learner.rate)
        if tokens is not None and self._told_tokens >= HELD * tokens:
            self._tokens = self._tokens or Gcra(HELD * tokens)
            self._tokens.turn_to(HELD * tokens)
            self._most_beyond = 60 * tokens

    def allow(self, *, concurrency: int | None, requests_per_minute: float | None) -> None:
        """The user says anew how much there may be at most; None is no limit known."""
        learner, rate = self.learner, self.learner.rate
        told = HELD * requests_per_minute / 60 if requests_per_minute else inf
        if told != self._told:
            self._told = told
            learner.know(min(told, self._stated))
            if learner.rate == inf and learner.measured:
                learner.forgive(rate)  # from where it is it climbs by itself
            elif learner.rate == inf:
                self.places.start_over()
            elif requests_per_minute and not self.places.cap:
                self.places.unlock()
        self.concurrency = concurrency or CEILING
        self.places.allow(self.concurrency, limited=learner.rate < inf)
        self._turned()

    def pause(self, now: float, seconds: float) -> None:
        """Nothing leaves for ``seconds``, whoever asks."""
        common = self._shared
        if common:
            self._read(now)
        learner = self.learner
        learner.paused_until = max(learner.paused_until, now + seconds)
        self._requests.hold(learner.paused_until)
        if self._tokens:
            self._tokens.hold(learner.paused_until)
        if learner.rate == inf:  # no rate would keep those who waited from leaving all at once
            self.places.start_over()
            self._requests.gap = 0.0
        if common:
            self._write()

    def _turned(self) -> None:
        """The rate, or the places, have changed."""
        self._requests.turn_to(self.learner.rate)
        if self.learner.rate == inf:
            self._requests.gap = self.places.gap

    def _take(self, now: float) -> None:
        """The next request is counted and takes its share of the rate."""
        requests, learner = self._requests, self.learner
        due, earliest = requests.due, now - LATE_SECONDS
        if learner.posted(now):
            learner.step(now, binding=due > now - _NO_WAIT)
            if learner.rate != requests.rate:
                requests.turn_to(learner.rate)
        # As Gcra.take, without the call: this is done for every request.
        requests.due = (due if due > earliest else earliest) + requests.gap

    def _answered(self, in_flight: int, seconds: float) -> None:
        learner, places = self.learner, self.places
        places.answered(
            in_flight,
            seconds,
            limited=learner.measured > 0,
            may_probe=learner.may_probe,
            evenly=not self._shared,  # each who shares has places of its own that grow
            stated=learner.rate < inf,
        )
        if learner.rate == inf:
            self._requests.gap = places.gap

    def _take_tokens(self, now: float, tokens: float) -> None:
        assert self._tokens
        common = self._shared
        if common:
            self._read(now)
        self._tokens.take(now, tokens)
        if common:
            self._write()

    def _turn(self, now: float) -> float:
        """When it is our turn. Each process draws one turn at a time, so all get on equally fast."""
        if self._slot is None:
            self._read(now)
            self._slot = now + self._requests.wait(now)
            self._take(self._slot)
            self._write()
        return self._slot

    def _read(self, now: float) -> None:
        """What the others have written, unless somebody has damaged it."""
        numbers = self._commons.take() if self._commons else None
        learner, requests = self.learner, self._requests
        if not numbers or len(numbers) != 2 + COUNT or any(map(isnan, numbers)):
            return
        requests.due = min(numbers[0], now + _LONGEST_PAUSE)
        if self._tokens:
            self._tokens.due = min(numbers[1], now + _LONGEST_PAUSE)
        learner.restore(numbers[2:])
        learner.paused_until = min(learner.paused_until, now + _LONGEST_PAUSE)
        if learner.rate != requests.rate:
            requests.turn_to(learner.rate)

    def _write(self) -> None:
        if self._commons:
            tokens = self._tokens.due if self._tokens else -inf
            self._commons.put((self._requests.due, tokens, *self.learner.numbers))

    def _episode(self, now: float, sent: Sent, tried: float, *, informed: bool) -> None:
        """``informed``: it was said when to come back, which a gateway that limits places cannot know."""
        learner = self.learner
        if not informed and self.places.episode(sent) and not learner.moods.testing:
            learner.forgive(tried)
        elif learner.rate == inf:
            self.places.start_over()
        else:
            self.places.unlock()
        self._requests.turn_to(learner.rate)
        # However little it asks to wait: each refusal in a row makes the next one come later.
        self._requests.hold(now + self._requests.gap)

    def _settle(self, now: float, sent: Sent, used: float) -> None:
        self._take_tokens(now, min(used - sent.tokens, self._most_beyond))
        if used > 0 and sent.tokens > 0:
            seen = min(_RATIO_MOST, max(1 / _RATIO_MOST, used / sent.tokens))
            self._ratio *= 1 + _RATIO_WEIGHT * (seen - 1)

    def _begin_with(self, learned: Learned) -> None:
        self.learner.remember(learned.measured, learned.share)
        self.places.begin_with(learned.places, learned.cap, limited=self.learner.rate < inf)

    def __repr__(self) -> str:
        rate = "any rate" if self.learner.rate == inf else f"{self.learner.rate:.3g}/s"
        return f"Pace(in_flight={self.in_flight}/{self.places.open:.0f} of {self.concurrency}, {rate})"
