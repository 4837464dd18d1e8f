"""Tells an outage of the gateway from rows that it fails at: when to wait for it, and when to give it up."""

from __future__ import annotations

FAULTS = 10  # so many requests in a row without an answer, while others wait, are no accident any more
TOGETHER_SECONDS = 60.0  # nor are two of one call so near, when nobody was answered in between
FIRST_WAIT = 1.0
LONGEST_WAIT = 15.0
PATIENCE_SECONDS = 600.0
# Calls in a row that failed after every attempt: a gateway that answered before, and one that has not yet,
# where a row or two may be what it stumbles over.
FAILED_CALLS = 20
FAILED_CALLS_UNPROVEN = 3


class Outage:
    """A gateway that is not there is waited for; one that is there and fails at every call is given up.

    The first is told by requests: many in a row without an answer or, where few are under way, two of one
    call, before its attempts are used up. While it is ``on``, they leave one by one, 1, 2, 4 and so on to 15
    seconds apart. Calls that are tried again wait for their turn meanwhile. One that fails again goes to the
    end of the queue, so the lone requests are of many calls. ``patience`` is how many seconds without any
    answer are borne. The second is told by how calls ended, each after all its attempts.
    """

    def __init__(self, *, patience: float = PATIENCE_SECONDS) -> None:
        self.patience = patience
        self._faults = 0
        self._since = 0.0
        self._wait = 0.0
        self._next = float("-inf")
        self._failed_calls = 0
        self._seen = False  # it has answered anything in this run
        self._latest = float("-inf")  # when the latest of the requests that were answered had left

    @property
    def on(self) -> bool:
        """Whether the gateway is taken to be out."""
        return self._faults >= FAULTS

    def wait(self, now: float) -> float:
        """Seconds until a request may leave; 0 while there is no outage."""
        return max(0.0, self._next - now) if self.on else 0.0

    def sent(self, now: float) -> None:
        """A request leaves: while the gateway is out, the next one later."""
        if self.on:
            self._next = now + self._wait
            self._wait = min(2 * self._wait, LONGEST_WAIT)

    def faulted(self, now: float, *, before: float | None = None, last: bool = False) -> None:
        """A request got no answer, or one that says that nobody is there.

        ``before`` is when that happened to the same call the last time; None when it has not yet. ``last``
        when the call may not be tried again: then late answers to what had left earlier do not count.
        """
        was_on = self.on
        if not self._faults:
            self._since = now
        self._faults += 1
        if self._seen and before is not None and self._is_together(now, before, last=last):
            self._faults = max(self._faults, FAULTS)
        if self.on and not was_on:
            self._wait, self._next = 2 * FIRST_WAIT, now + FIRST_WAIT

    def answered(self, sent: float) -> None:
        """A request that left at ``sent`` got an answer, whatever it says: the gateway is there.

        What left before an outage began, and is answered late, says nothing of whether that is over.
        """
        self._latest = max(self._latest, sent)
        if not self.on or sent >= self._since:
            self._faults, self._seen = 0, True

    def exhausted(self, now: float) -> bool:
        """Whether it has gone on for longer than is borne."""
        return self.on and now - self._since >= self.patience

    def call_failed(self, *, proven: bool) -> bool:
        """A call was given up without an answer; whether the gateway is to be given up too.

        ``proven``: it has answered such a call before.
        """
        self._failed_calls += 1
        return self._failed_calls >= (FAILED_CALLS if proven else FAILED_CALLS_UNPROVEN)

    def call_settled(self) -> None:
        """A call got an answer, if only one that refuses it or does not fit."""
        self._failed_calls = 0

    def _is_together(self, now: float, before: float, *, last: bool) -> bool:
        """Whether two faults of one call are near each other, and nobody was answered in between."""
        unanswered = before >= self._since or (last and before > self._latest)
        return unanswered and before >= now - TOGETHER_SECONDS

    def __repr__(self) -> str:
        return f"Outage(on={self.on}, faults={self._faults})"
