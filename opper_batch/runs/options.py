"""How to run: a frozen value, checked when it is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from opper_batch.errors import DefinitionError
from opper_batch.grace import GRACE_SECONDS

if TYPE_CHECKING:
    from opper_batch.sandbox import Sandbox

_NUMBERS = (
    "limit",
    "concurrency",
    "requests_per_minute",
    "tokens_per_minute",
    "deadline",
    "max_age",
    "max_cost",
    "yes_up_to",
)
_UNSAID = ("progress", "events", "sandbox")
_IF_LOCKED = ("fail", "skip", "wait")
_FROM_ZERO = ("max_cost", "yes_up_to", "grace")


class Progress(NamedTuple):
    """How a run stands; ``rows`` and ``total_rows`` are those of the step that is running.

    ``paused`` is for how many seconds the gateway makes it wait, ``held`` that its user has paused it.
    """

    step: str
    rows: int
    total_rows: int
    calls: int
    failed: int
    throttled: int
    cost: float
    in_flight: int
    paused: float
    seconds: float
    held: bool = False
    outage: bool = False


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line and ``ob.run`` may set beside the pipeline. Seconds, and US dollars.

    ``sandbox`` True starts an embedded gateway; a Sandbox that runs is used as it is. ``max_failed`` is a
    number of rows, or a share like ``"2%"``. With ``yes_up_to`` nothing is called unless the upper end of
    what the run will cost is at most that. Of a source with ``since`` the rows from ``since`` on are taken,
    or with ``all_rows`` all of them, in place of those from its mark on. Answers of runs that began more than
    ``max_age`` seconds ago are asked for anew. ``events`` is called with the name and the fields of each
    change of the run's state, on the caller's thread. Raises DefinitionError for what makes no sense.
    """

    limit: int | None = None
    source: str | None = None
    sink: str | None = None
    since: str | None = None
    all_rows: bool = False
    sandbox: bool | Sandbox = False
    base_url: str | None = None
    concurrency: int | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_cost: float | None = None
    yes_up_to: float | None = None
    deadline: float | None = None
    grace: float = GRACE_SECONDS
    max_failed: float | str = 0
    retry_failed: bool = True
    refresh: bool = False
    max_age: float | None = None
    if_locked: Literal["fail", "skip", "wait"] = "fail"
    trace: bool = True
    state_dir: str | Path | None = None
    progress: Callable[[Progress], None] | None = None
    events: Callable[[str, dict[str, Any]], None] | None = None

    def __post_init__(self) -> None:
        for name in _NUMBERS:
            self._check_number(name, getattr(self, name))
        if self.if_locked not in _IF_LOCKED:
            raise DefinitionError(f"if_locked = {self.if_locked!r}: say {', '.join(_IF_LOCKED)}")
        if self.since is not None and self.all_rows:
            raise DefinitionError("since and all_rows (--all) exclude each other; leave one out")
        self.allows(0, 0)

    def _check_number(self, name: str, value: object) -> None:
        if value is None:
            return
        kinds = int if name in ("limit", "concurrency") else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise DefinitionError(f"{name} = {value!r}: must be a {'whole ' if kinds is int else ''}number")
        if not (value >= 0 if name in _FROM_ZERO else value > 0):
            raise DefinitionError(
                f"{name} = {value}: must be {'0 or more' if name in _FROM_ZERO else 'above 0'}"
            )

    def allows(self, failed: int, rows: int) -> bool:
        """Whether so many failed rows are few enough."""
        text = str(self.max_failed).strip()
        try:
            number = float(text.removesuffix("%"))
        except ValueError:
            number = -1.0
        if not 0 <= number < float("inf") or (text.endswith("%") and number > 100):
            raise DefinitionError(
                f"max_failed = {self.max_failed!r}: give a number of rows like 10, or a share like 2%"
            )
        return failed <= (number / 100 * rows if text.endswith("%") else number)

    def after(self, seconds: float) -> Options:
        """The same when so much of the time has passed."""
        return replace(self, deadline=max(0.001, self.deadline - seconds)) if self.deadline else self

    def tell(self, event: str, **fields: Any) -> None:
        """A change of state, to whoever listens."""
        if self.events is not None:
            self.events(event, fields)

    def said(self) -> dict[str, str]:
        """What differs from the defaults, as text, for the ledger."""
        given = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        default = {entry.name: entry.default for entry in fields(self)}
        return {
            name: str(value)
            for name, value in given.items()
            if name not in _UNSAID and value != default[name]
        }
