"""What ``run`` says of changes of its state: sentences for people, or one JSON object a line for logs.

Logs travel far, so nothing in them is text of a row, of a model or of the gateway. Every object has ``time``
(RFC 3339, UTC), ``event``, ``pipeline`` and ``run_id`` (null before the run has one); the others by event:

    waiting                      holder: the process that runs now (--if-locked wait)
    started                      rows, steps
    progress                     step, rows, total_rows, calls, failed, throttled, cost (USD), in_flight
    throttled                    calls refused with a 429 so far, at most every ten seconds
    paused, resumed              by: gateway or person; seconds that the gateway asked to wait, else null
    outage_began, outage_ended   the gateway gives no answers, and gives some again
    step_done                    step, rows
    draining                     in_flight, seconds: it was interrupted, and so many calls have so long to end
    stopped                      error, reason: why the run did not come to its end
    published                    output
    finished                     what --json says, without reasons in the gateway's words
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from opper_batch.errors import OpperBatchError, SinkError, SourceError
from opper_batch.report import duration
from opper_batch.text import counted, iso_time, printable

_EVERY_SECONDS = 10.0
_UNLOGGED = ("run_id", "pipeline", "stopped", "failures", "since")
_CHECKED = ("name", "ok", "value")  # what else a check says may quote a row
_PROGRESS = ("step", "rows", "total_rows", "calls", "failed", "throttled", "cost", "in_flight")


class JsonLog:
    """Listens to a run's events and to its progress; ``clock`` is in seconds."""

    def __init__(self, pipeline: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._pipeline = pipeline
        self._clock = clock
        self._run: int | None = None
        self._outage, self._paused = False, ""
        self._throttled = 0
        self._told = self._told_throttled = float("-inf")

    def __call__(self, event: str, fields: Mapping[str, Any]) -> None:
        self._run = fields.get("run_id", self._run)
        if event == "stopped":
            fields = stop_fields(fields["error"])
        if event == "finished":
            checks = [{name: check[name] for name in _CHECKED} for check in fields["checks"]]
            fields = {name: value for name, value in fields.items() if name not in _UNLOGGED}
            fields["checks"] = checks
        say(event_line(event, self._pipeline, self._run, fields))

    def progress(self, now: Any) -> None:
        """How the run stands, a few times a second: what has changed is logged."""
        clock = self._clock()
        if now.outage != self._outage:
            self._outage = now.outage
            self("outage_began" if now.outage else "outage_ended", {})
        paused = "person" if now.held else "gateway" if now.paused > 0 and not now.outage else ""
        if paused != self._paused:
            self._paused = paused
            seconds = None if now.held else round(now.paused, 1)
            self("paused" if paused else "resumed", {"by": paused, "seconds": seconds} if paused else {})
        if now.throttled > self._throttled and clock - self._told_throttled >= _EVERY_SECONDS:
            self._throttled, self._told_throttled = now.throttled, clock
            self("throttled", {"throttled": now.throttled})
        if clock - self._told >= _EVERY_SECONDS:
            self._told = clock
            self("progress", {name: getattr(now, name) for name in _PROGRESS})


def event_line(event: str, pipeline: str | None, run: int | None, fields: Mapping[str, Any]) -> str:
    """One event as one line of JSON."""
    others = {name: value for name, value in fields.items() if name != "run_id"}
    return json.dumps({"time": iso_time(), "event": event, "pipeline": pipeline, "run_id": run, **others})


def stop_fields(error: BaseException) -> dict[str, str]:
    """Why a run stopped: our own words up to where they begin to quote."""
    if not isinstance(error, OpperBatchError):
        reason = "interrupted" if isinstance(error, KeyboardInterrupt) else "unexpected"
        return {"error": type(error).__name__, "reason": reason}
    quotes = r": | \(" if isinstance(error, SourceError | SinkError) or error.exit_code in (3, 4) else r"\Z"
    return {"error": type(error).__name__, "reason": re.split(quotes, error.message)[0]}


def sentences(pipeline: str, *, quiet: bool) -> Callable[[str, Mapping[str, Any]], None]:
    """Tells a person what neither the progress nor the summary says; ``quiet`` only what was their doing."""

    def tell(event: str, fields: Mapping[str, Any]) -> None:
        if event == "waiting" and not quiet:
            say(printable(f"{pipeline}: waits for another run to end ({fields['holder']})"))
        if event == "draining":
            calls, grace = counted(fields["in_flight"], "call"), duration(fields["seconds"])
            ending = f"nothing more is sent, {calls} in flight may end within {grace}"
            say(f"{pipeline}: stopping: {ending}; Ctrl-C again leaves at once, and they may be paid twice")

    return tell


def say(text: str) -> None:
    """To whoever still listens: that nobody does is no reason to stop a run."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)  # not click.echo, which would write into the live line
