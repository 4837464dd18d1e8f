"""Chance that can be played again: every draw follows from the seed, on any machine and any Python."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from statistics import NormalDist
from struct import unpack
from typing import TypeVar

_T = TypeVar("_T")
_WORD = 2**32
_NORMAL = NormalDist()


class Dice:
    """An endless run of numbers out of ``seed``: BLAKE2b over the seed and a counter, 32 bits at a time."""

    __slots__ = ("_round", "_seed", "_words")

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._round = 0
        self._words: list[int] = []

    def below(self, limit: int) -> int:
        """A whole number from 0 up to, not including, ``limit``."""
        if limit <= _WORD:
            return self._word() * limit >> 32
        bits = limit.bit_length() + 32
        drawn = 0
        for _ in range(0, bits, 32):
            drawn = drawn << 32 | self._word()
        return drawn % limit

    def between(self, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``, both included."""
        return low + self.below(high - low + 1)

    def share(self) -> float:
        """A number from 0 up to, not including, 1."""
        return self._word() / _WORD

    def happens(self, chance: float) -> bool:
        """True in ``chance`` (0..1) of all draws."""
        return self.share() < chance

    def pick(self, options: Sequence[_T]) -> _T:
        return options[self.below(len(options))]

    def lognormal(self, median: float, sigma: float) -> float:
        """A positive number around ``median``; ``sigma`` is that of its logarithm, 0 gives the median."""
        if not sigma:
            return median
        return median * math.exp(sigma * _NORMAL.inv_cdf((self._word() + 0.5) / _WORD))

    def _word(self) -> int:
        if not self._words:
            digest = hashlib.blake2b(self._seed, salt=self._round.to_bytes(16, "little")).digest()
            self._words.extend(unpack("<16I", digest))
            self._round += 1
        return self._words.pop()
