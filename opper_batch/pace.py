"""Limits as arithmetic: every method takes ``now`` in seconds and nothing here sleeps, so limits are tested
with numbers.

A limit that is known is held from the first second at 0.99 of it, with a burst of at most a quarter of a
second. Finding a limit that is not known belongs here too and has its place in ``Pace``.
"""

from __future__ import annotations

_SHARE = 0.99
_BURST_SECONDS = 0.25


class Gcra:
    """The generic cell rate algorithm: ``rate`` units a second, smoothly, with a small burst."""

    def __init__(self, rate: float, *, burst_seconds: float = _BURST_SECONDS) -> None:
        self._rate = rate
        # At least one unit always fits, or a slow rate would never begin.
        self._burst = max(burst_seconds, 1 / rate)
        self._next = float("-inf")

    def wait(self, now: float) -> float:
        """Seconds until the next unit may go; 0 when it may go now."""
        return max(0.0, self._next - self._burst + 1 / self._rate - now)

    def take(self, now: float, units: float = 1.0) -> None:
        """Units leave at ``now``; negative units are given back."""
        self._next = max(self._next, now) + units / self._rate

    def hold(self, until: float) -> None:
        """Nothing before ``until``, and no burst right after it."""
        self._next = max(self._next, until + self._burst - 1 / self._rate)


class Pace:
    """When the next request may leave: concurrency, requests and tokens per minute, and pauses.

    ``concurrency`` is how many may be in flight; rates are per minute; None is no limit known.
    """

    def __init__(
        self,
        *,
        concurrency: int,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
    ) -> None:
        self.concurrency = concurrency
        self.in_flight = 0
        self.paused_until = float("-inf")
        self._requests = Gcra(_SHARE * requests_per_minute / 60) if requests_per_minute else None
        self._tokens = Gcra(_SHARE * tokens_per_minute / 60) if tokens_per_minute else None
        self._most_beyond = tokens_per_minute or 0.0

    def wait(self, now: float) -> float:
        """Seconds until a request may leave; infinity while every place is taken."""
        if self.in_flight >= self.concurrency:
            return float("inf")
        waits = [self.paused_until - now, 0.0]
        waits += [rate.wait(now) for rate in (self._requests, self._tokens) if rate]
        return max(waits)

    def sent(self, now: float) -> None:
        """A request leaves."""
        self.in_flight += 1
        if self._requests:
            self._requests.take(now)

    def expect(self, now: float, tokens: float) -> None:
        """The request that left will use about so many tokens."""
        if self._tokens:
            self._tokens.take(now, tokens)

    def returned(self, now: float, *, tokens: float = 0.0) -> None:
        """A request is over; ``tokens`` is what it used beyond what was expected (less: negative).

        At most a minute's worth is believed, or one absurd reply would hold up everything for ever.
        """
        self.in_flight -= 1
        if self._tokens and tokens:
            self._tokens.take(now, min(tokens, self._most_beyond))

    def pause(self, now: float, seconds: float) -> None:
        """Nothing leaves for ``seconds``, whoever asks."""
        self.paused_until = max(self.paused_until, now + seconds)
        for rate in (self._requests, self._tokens):
            if rate:
                rate.hold(self.paused_until)

    def __repr__(self) -> str:
        return f"Pace(in_flight={self.in_flight}/{self.concurrency})"
