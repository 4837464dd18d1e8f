"""What a call meets, decided without doing anything: its fault, and whether the rate lets it pass."""

from __future__ import annotations

import hashlib
from collections import Counter

from opper_batch.sandbox.dice import Dice
from opper_batch.sandbox.script import FAULTS, Script


class Fates:
    """Draws what each call meets from the seed, its input, and how often that input was asked before."""

    def __init__(self, script: Script) -> None:
        self._shares = [(name, getattr(script, name)) for name in FAULTS if getattr(script, name)]
        self._seed = hashlib.blake2b(str(script.seed).encode(), digest_size=16).digest()
        self._seen: Counter[bytes] = Counter()

    def draw(self, input_digest: bytes) -> tuple[str, Dice]:
        """The fault (one of FAULTS, or empty for none), and the dice for all else that is left to chance."""
        nth = self._seen[input_digest]
        self._seen[input_digest] = nth + 1
        seed = hashlib.blake2b(input_digest + nth.to_bytes(4, "little"), key=self._seed, digest_size=16)
        dice = Dice(seed.digest())
        drawn = dice.share()
        for name, share in self._shares:
            if drawn < share:
                return name, dice
            drawn -= share
        return "", dice


class Gate:
    """Calls per minute as arithmetic: a bucket that refills evenly, or a count anew every window."""

    def __init__(self, script: Script) -> None:
        self._rate = script.rpm / 60 if script.rpm else None
        self._burst = script.burst
        self._window = script.window_seconds if script.window == "fixed" else None
        self._level = 0.0  # of the bucket: calls admitted and not yet drained; of the window: calls counted
        self._since = 0.0

    def wait(self, now: float) -> float | None:
        """None when a call passes at ``now`` (seconds of any steady clock), else seconds until one would."""
        if self._rate is None:
            return None
        if self._window is not None:
            return self._wait_for_window(self._rate, self._window, now)
        self._level = max(0.0, self._level - (now - self._since) * self._rate)
        self._since = now
        return self._admit(self._burst, (self._level + 1 - self._burst) / self._rate)

    def _wait_for_window(self, rate: float, window: float, now: float) -> float | None:
        start = now - now % window
        if start != self._since:
            self._since, self._level = start, 0.0
        return self._admit(rate * window, start + window - now)

    def _admit(self, most: float, wait: float) -> float | None:
        if self._level + 1 > most + 1e-9:
            return wait
        self._level += 1
        return None
