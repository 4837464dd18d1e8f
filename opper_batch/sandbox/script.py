"""What the sandbox does, as one value: how fast it answers, what it refuses, and what goes wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any

from opper_batch.errors import DefinitionError

# One call meets at most one of these, so together they are at most 1.
FAULTS = (
    "throttled",
    "bad_request",
    "dropped",
    "failed",
    "dropped_after",
    "malformed",
    "schema_breaking",
    "stalled",
    "pending",
)
_SHARES = (*FAULTS, "pending_failed", "pending_endless", "pending_unknown", "data_as_text")
_FROM_ZERO = (
    *("latency", "latency_sigma", "retry_after", "pending_seconds"),
    *("stall_seconds", "unknown_seconds", "fine_calls"),
)
_CHOICES = {
    "window": ("rolling", "fixed"),
    "retry_after_form": ("seconds", "fraction", "date", "ms", "none", "mixed"),
    "reject_key": ("", "none", "string", "object"),
    "omit": ("meta", "cost", "usage", "models_used", "trace_uuid"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What the sandbox does. The defaults are a friendly gateway: every call answered, at once, no limit.

    Shares run from 0 to 1. Which call meets a fault follows from ``seed``, the call's input and how often
    that input was asked before: a run can be played again exactly, and asking again may go better.
    Raises DefinitionError for a value that makes no sense.
    """

    # How long a call takes: seconds; with sigma above 0 the median of a lognormal distribution.
    latency: float = 0.0
    latency_sigma: float = 0.0

    # A limit in calls per minute, kept by a bucket of ``burst`` calls (rolling), or by counting anew
    # every ``window_seconds`` (fixed). Above it: 429, with the time until a call would pass.
    rpm: float | None = None
    burst: int = 10
    window: str = "rolling"
    window_seconds: float = 60.0

    # The form in which a 429 says how long to wait: Retry-After as whole seconds (rounded up), as a fraction,
    # as an HTTP date (rounded up), ``retry-after-ms``, not at all, or any of these by chance.
    retry_after_form: str = "seconds"
    # Shares of calls that are refused or go wrong before anything is produced.
    throttled: float = 0.0  # 429 whatever the rate, telling to wait ``retry_after`` seconds
    retry_after: float = 1.0
    bad_request: float = 0.0  # 400
    failed: float = 0.0  # 500, 502 (a page of HTML, as proxies send), 503, 504
    dropped: float = 0.0  # the connection closes without an answer

    # Shares of calls whose answer is produced, and paid, before something goes wrong.
    dropped_after: float = 0.0  # the connection closes, the answer is lost
    malformed: float = 0.0  # 200 with cut JSON, a page of HTML, or nothing
    schema_breaking: float = 0.0  # the answer does not fit the output schema
    stalled: float = 0.0  # the answer comes ``stall_seconds`` later
    stall_seconds: float = 60.0

    # The share of calls answered by a 202, and what becomes of their operations.
    pending: float = 0.0
    pending_seconds: float = 0.2  # until an operation is completed or failed
    pending_failed: float = 0.0  # share of operations
    pending_endless: float = 0.0  # share of operations
    pending_unknown: float = 0.0  # share of operations that are not known (404) for ``unknown_seconds``
    unknown_seconds: float = 1.0
    operations: int = 1  # per reply

    # Refusals for all: every key with a 401 whose body is empty (none), {"error": text} (string) or
    # {"error": {…}} (object); every call with a 402 once ``budget`` USD are spent; 403 for a model.
    # Key and models are fine for the first ``fine_calls`` calls.
    reject_key: str = ""
    budget: float | None = None
    forbidden_models: tuple[str, ...] = ()
    fine_calls: int = 0

    # Replies that say less, or say it differently.
    omit: tuple[str, ...] = ()  # meta, cost, usage, models_used, trace_uuid
    data_as_text: float = 0.0  # share of answers whose data is JSON text

    seed: int = 0

    def __post_init__(self) -> None:
        for name in _SHARES:
            _check(name, getattr(self, name), lowest=0, highest=1)
        for name in _FROM_ZERO:
            _check(name, getattr(self, name), lowest=0)
        for name, lowest in (("burst", 1), ("operations", 1), ("window_seconds", 0.001)):
            _check(name, getattr(self, name), lowest=lowest)
        if self.rpm is not None:
            _check("rpm", self.rpm, lowest=0.001)
        if self.budget is not None:
            _check("budget", self.budget, lowest=0)
        for name, choices in _CHOICES.items():
            _check_choice(name, getattr(self, name), choices)
        if sum(getattr(self, name) for name in FAULTS) > 1 + 1e-9:
            raise DefinitionError(f"The sandbox's shares of {', '.join(FAULTS)} add up to more than 1.")

    @classmethod
    def from_settings(cls, settings: Mapping[str, str]) -> Script:
        """The script that texts spell, as from ``--set key=value``; lists are parted by ``+`` or commas.

        Raises DefinitionError for an unknown key, naming the nearest one, and for a value of the wrong kind.
        """
        readers = {field.name: _READERS[str(field.type)] for field in fields(cls)}
        values: dict[str, Any] = {}
        for name, text in settings.items():
            if name not in readers:
                raise DefinitionError(_unknown(name, tuple(readers)))
            try:
                values[name] = readers[name](text.strip())
            except ValueError:
                raise DefinitionError(f"The sandbox's {name} cannot be {text!r}: give a number.") from None
        return cls(**values)

    @classmethod
    def parse(cls, text: str) -> Script:
        """The script in ``latency=0.05,throttled=0.05``; lists are parted by ``+``."""
        settings: dict[str, str] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, equals, value = part.partition("=")
            if not equals:
                raise DefinitionError(f"The sandbox's setting {part!r} has no value: write {part}=….")
            settings[name.strip()] = value
        return cls.from_settings(settings)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in text.replace("+", ",").split(","))))


_READERS: dict[str, Callable[[str], Any]] = {
    "float": float,
    "float | None": lambda text: float(text) if text else None,
    "int": int,
    "str": str,
    "tuple[str, ...]": _listed,
}


def _check(name: str, value: float, *, lowest: float, highest: float = math.inf) -> None:
    # A share of NaN compares false with everything, so what is allowed is asked for, not what is forbidden.
    if math.isfinite(value) and lowest <= value <= highest:
        return
    allowed = f"from {lowest} to {highest}" if math.isfinite(highest) else f"of at least {lowest}"
    raise DefinitionError(f"The sandbox's {name} is {value}: give a number {allowed}.")


def _check_choice(name: str, value: str | tuple[str, ...], choices: tuple[str, ...]) -> None:
    for given in (value,) if isinstance(value, str) else value:
        if given not in choices:
            allowed = ", ".join(filter(None, choices))
            raise DefinitionError(f"The sandbox's {name} cannot be {given!r}: give one of {allowed}.")


def _unknown(name: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    ending = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}."
    return f"The sandbox has no setting {name!r}; {ending}"
