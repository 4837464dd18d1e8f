"""What a gateway says of its limits in the headers of its replies, believed only where it is unmistakable.

Two families state or betray over which time a limit counts:

- ``RateLimit-Policy: "minute";q=600;w=60`` and the older ``RateLimit-Limit: 600, 600;w=60`` (IETF drafts,
  "RateLimit header fields for HTTP"): q in w seconds.
- ``x-ratelimit-limit-requests``, ``-remaining-requests``, ``-reset-requests`` (``6m0s``), and the same with
  ``-tokens``: the reset is the time until the bucket is full, so limit * reset / used is the time that the
  limit counts for. It counts when two replies agree that this is a second or a minute.

Anything else, such as a bare ``X-RateLimit-Limit: 600``, says nothing, for nobody knows whether a second, a
minute, or a day is meant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

# Longer windows are quotas, not paces: a day's worth may well be used within an hour.
_LONGEST_WINDOW = 300.0
# In units a second. Less would stop a run, more is none: an absurd header is as good as no header.
_LEAST, _MOST = 0.1, 1e6
_WINDOWS = (1.0, 60.0)
_EXACTLY = 0.05  # how far a derived window may be off
_APART = 1.4  # how much more is used in one of two replies that agree: windows agree for a moment
# So many replies in a row without such headers: from then on one in fifty is looked at.
_LOOKED_AT = 10
_RARELY = 50

_POLICIES = ("ratelimit-policy", "ratelimit-limit", "x-ratelimit-policy", "x-ratelimit-limit")
_KINDS = ("requests", "tokens")
_POLICY = re.compile(r"(?:\"[^\"]{0,64}\"|[\w.-]{1,64})((?:\s*;\s*[\w-]{1,16}=[^;,]{1,64})+)")
_PARAMETER = re.compile(r"([\w-]+)=\"?([\w.-]+)\"?")
_NUMBER = re.compile(r"\d{1,12}(?:\.\d{1,6})?")
_DURATION = re.compile(
    r"(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?"
)


class Quota(NamedTuple):
    """What may be sent and used a second, None for what is not said."""

    requests: float | None = None
    tokens: float | None = None


class Quotas:
    """Listens to reply after reply; looks seldom at those of a gateway that says nothing."""

    def __init__(self) -> None:
        self._skip = 0
        self._silent = 0
        self._seen: dict[str, tuple[float, float]] = {}
        self._known: dict[str, float] = {}

    def heard(self, headers: Mapping[str, str]) -> Quota | None:
        """What is known now; None when this reply adds nothing. Header names are lower case."""
        if self._skip:
            self._skip -= 1
            return None
        names = [name for name in headers if "ratelimit" in name]
        if not names:
            self._silent += 1
            self._skip = _RARELY if self._silent >= _LOOKED_AT else 0
            return None
        self._silent = 0
        before = dict(self._known)
        if (stated := policy_rate(headers)) is not None:
            self._known["requests"] = stated
        for kind in _KINDS:
            if (derived := self._derived(kind, headers)) is not None:
                self._known[kind] = derived
        if self._known == before:
            return None
        return Quota(self._known.get("requests"), self._known.get("tokens"))

    def _derived(self, kind: str, headers: Mapping[str, str]) -> float | None:
        """Units a second, when this reply and an earlier one with another use say the same."""
        limit, left, reset = (headers.get(f"x-ratelimit-{part}-{kind}", "") for part in _PARTS)
        if not _NUMBER.fullmatch(limit) or not _NUMBER.fullmatch(left):
            return None
        used, seconds = float(limit) - float(left), duration(reset)
        if used <= 0 or not seconds:
            return None
        window = next((w for w in _WINDOWS if abs(float(limit) * seconds / used / w - 1) < _EXACTLY), 0.0)
        now, before = (used, window), self._seen.get(kind)
        self._seen[kind] = now
        if not window or before is None or before[1] != window:
            return None
        if max(used, before[0]) < _APART * min(used, before[0]):
            self._seen[kind] = before
            return None
        return _believable(float(limit) / window)


_PARTS = ("limit", "remaining", "reset")


def policy_rate(headers: Mapping[str, str]) -> float | None:
    """Requests a second by the strictest stated policy over at most five minutes; None when there is none."""
    rates = []
    for name in _POLICIES:
        for match in _POLICY.finditer(headers.get(name, "")[:1000]):
            said = dict(_PARAMETER.findall(match[1]))
            quota = said.get("q") or match[0].split(";")[0].strip(' "')
            window = said.get("w", "")
            if said.get("qu", "requests") != "requests" or not _NUMBER.fullmatch(quota):
                continue
            if _NUMBER.fullmatch(window) and 0 < float(window) <= _LONGEST_WINDOW:
                rates.append(_believable(float(quota) / float(window)))
    return min((rate for rate in rates if rate is not None), default=None)


def duration(text: str) -> float | None:
    """Seconds in ``1s``, ``6m0s``, ``20ms``, ``1h2m3.5s`` or a bare number; None for anything else."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    match = _DURATION.fullmatch(text)
    if not text or not match:
        return None
    hours, minutes, seconds, thousandths = (float(part or 0) for part in match.groups())
    return 3600 * hours + 60 * minutes + seconds + thousandths / 1000


def _believable(rate: float) -> float | None:
    return rate if _LEAST <= rate <= _MOST else None
