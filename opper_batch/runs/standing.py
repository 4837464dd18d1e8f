"""How pipelines stand and stood, from their ledgers' running totals: nothing but the ledger is read.

Of a run that is going on, what it says of itself in a small file is read, too: its rate and its limits.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opper_batch.errors import MachineError
from opper_batch.ledger import RunRecord, Totals, View
from opper_batch.report import duration, money, totals_text
from opper_batch.runs import wishes
from opper_batch.runs.options import Options
from opper_batch.runs.state import latest_run, ledger_to_look_at, state_dir
from opper_batch.text import counted, shortened

_SHOWN = 5  # of the oldest calls and of the last errors


@dataclass(frozen=True, slots=True)
class Status:
    """How a pipeline stands, from its ledger's running totals.

    ``flying`` are key and start (Unix seconds) of the calls in flight, the oldest first; ``errors`` when,
    why and for which key attempts failed, the last first; ``live`` what a run that goes on says of itself.
    """

    pipeline: str
    run: RunRecord
    totals: Totals
    in_doubt: int
    pending: int
    sandbox: bool
    running: bool
    flying: Sequence[tuple[bytes, float]] = ()
    errors: Sequence[tuple[float, str, bytes]] = ()
    live: dict[str, Any] = field(default_factory=dict)
    now: float = field(default_factory=time.time)

    @property
    def state(self) -> str:
        if self.run.ended is None:
            if not self.running:
                return "was killed; run again to go on"
            return "paused" if self.live.get("paused") else "running"
        if self.run.exit_code == 1 and not self.run.summary.get("stopped"):
            return f"done, {self._amiss()}"
        return f"stopped (exit {self.run.exit_code})" if self.run.exit_code else "done"

    @property
    def left(self) -> int:
        return self.run.rows - self.run.done

    @property
    def seconds(self) -> float:
        return max(0.0, (self.run.ended or self.now) - self.run.started)

    @property
    def rate(self) -> float:
        """Calls a second: of late while the run goes on, over all of it afterwards."""
        if self.live:
            return float(self.live["calls_per_second"])
        return self.totals.calls / self.seconds if self.seconds > 0 else 0.0

    @property
    def forecast(self) -> dict[str, float | None]:
        """``seconds`` to go and ``cost`` (USD) at the end of the step, None where nothing tells.

        Rows that are left cost what calls have cost on average, for as many calls a row as of late.
        """
        live, totals = self.live, self.totals
        rows = float(live.get("rows_per_second", 0.0))
        seconds = self.left / rows if rows and self.state == "running" else None
        priced = totals.ok + totals.failed - totals.unpriced
        if not live or priced <= 0 or not totals.ok:
            return {"seconds": seconds, "cost": None}
        calls_a_row = min(1.0, self.rate / rows) if rows else 1.0
        return {"seconds": seconds, "cost": totals.cost + self.left * calls_a_row * totals.cost / priced}

    def as_json(self) -> dict[str, Any]:
        names = ("ok", "failed", "calls", "throttled", "unpriced", "cost", "input_tokens", "output_tokens")
        oldest = [{"key": key.hex(), "seconds": round(self.now - at, 3)} for key, at in self.flying[:_SHOWN]]
        errors = [
            {"seconds_ago": round(self.now - at, 3), "error": error, "key": key.hex()}
            for at, error, key in self.errors
        ]
        limits = ("places", "limit_per_second", "gateway_pause", "max_cost", "paused", "steps_after")
        return {
            "pipeline": self.pipeline,
            "sandbox": self.sandbox,
            "run_id": self.run.id,
            "kind": self.run.kind,
            "state": self.state,
            "started": self.run.started,
            "ended": self.run.ended,
            "step": self.run.step,
            "rows": self.run.rows,
            "done": self.run.done,
            "left": self.left,
            **{name: getattr(self.totals, name) for name in names},
            "pending": self.pending,
            "in_doubt": self.in_doubt,
            "in_flight": len(self.flying) if self.running else 0,
            "seconds": round(self.seconds, 3),
            "calls_per_second": round(self.rate, 3),
            **{name: self.live.get(name) for name in limits},
            "forecast": self.forecast,
            "oldest": oldest,
            "errors": errors,
        }

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _amiss(self) -> str:
        """Why a run that came to its end has exit code 1."""
        said = self.run.summary
        if not all(check["ok"] for check in said.get("checks", ())):
            return "held back by its checks"
        failed, kept = said.get("failed") or 0, said.get("kept") or 0
        parts = [f"{counted(failed, 'row')} failed"] if failed or not kept else []
        parts += [f"{counted(kept, 'call')} failed where an older answer stands"] if kept else []
        return ", ".join(parts)

    def _lines(self) -> list[str]:
        place = " (sandbox)" if self.sandbox else ""
        now = " now" if self.live else ""
        run = f"run {self.run.id}" + ("" if self.run.kind == "run" else f", a {self.run.kind},")
        head = f"{run} {self.state}, {duration(self.seconds)}, {self.rate:,.1f} calls/s{now}"
        rows = f"{self.run.done:,} of {self.run.rows:,} done, {self.left:,} left, at step {self.run.step}"
        lines = [
            f"{self.pipeline}{place}: {head}",
            f"  rows: {rows}",
            f"  {totals_text(self.totals)}{self._doubt()}",
        ]
        if self.live:
            lines += [f"  {self._flight()}", f"  {self._forecast()}"]
        if self.running and self.flying:
            ages = (f"{duration(self.now - at)} {key.hex()}" for key, at in self.flying[:_SHOWN])
            lines += ["  oldest calls in flight:", *(f"    {age}" for age in ages)]
        if self.errors:
            lines.append("  last errors:")
        for at, error, _ in self.errors:
            lines.append(f"    {duration(max(0.0, self.now - at))} ago: {shortened(error, 160)}")
        return lines

    def _doubt(self) -> str:
        """What has left and not come home; of a run that goes on it is simply on its way."""
        pending = f", {self.pending:,} pending" if self.pending else ""
        flying = len(self.flying) if self.running else 0
        doubtful = self.in_doubt - flying
        in_flight = f", {flying:,} in flight" if flying else ""
        return f"{pending}{in_flight}" + (
            f", {doubtful:,} possibly paid, answer unknown" if doubtful > 0 else ""
        )

    def _flight(self) -> str:
        """How many may be under way and how fast, as far as the run has learned."""
        rate, pause = self.live.get("limit_per_second"), self.live.get("gateway_pause")
        limit = f"at most {rate:,.1f} calls/s" if rate else "no limit met yet"
        waits = f", paused by the gateway for {duration(pause)}" if pause else ""
        return f"limits: {limit}, at most {self.live.get('places', 0):,} calls in flight{waits}"

    def _forecast(self) -> str:
        seconds, cost = (self.forecast[name] for name in ("seconds", "cost"))
        if self.live.get("paused"):
            time_left = "paused until opper-batch resume"
        else:
            time_left = f"{duration(seconds)} to go" if seconds is not None else "time left not known yet"
        money_then = f"about {money(cost)} at its end" if cost is not None else "cost not known yet"
        cap = self.live.get("max_cost")
        after = self.live.get("steps_after")
        return (
            f"forecast: {time_left}, {money_then}"
            + (f", {money(cap)} allowed" if cap is not None else "")
            + (f"; {after} more step{'s come' if after > 1 else ' comes'} after it" if after else "")
        )


def status(pipeline: str, options: Options) -> Status:
    """How the pipeline's latest run stands; a pilot or a sample, for as long as it goes on."""
    path = ledger_to_look_at(pipeline, options)
    with View(path) as view:
        return _status(path, view)


def statuses(options: Options) -> list[Status]:
    """How every pipeline of the state folder stands; with ``sandbox`` only what ran there."""
    found = []
    pattern = "*.sandbox.ledger" if options.sandbox else "*.ledger"
    for path in sorted(path for path in state_dir(options).glob(pattern) if path.stat().st_size):
        with View(path) as view:
            if view.runs():
                found.append(_status(path, view))
    return found


def _status(path: Path, view: View) -> Status:
    runs = view.runs()
    if not runs:
        raise MachineError(f"ledger {path} holds no run; run the pipeline again")
    running = view.is_running()
    under_way = running and runs[-1].ended is None
    run = runs[-1] if under_way else latest_run(runs) or runs[-1]
    totals = view.totals(run=run.id)
    return Status(
        pipeline=path.name.split(".")[0],
        run=run,
        totals=totals,
        in_doubt=view.in_doubt(),
        pending=view.pending_calls(),
        sandbox=path.name.endswith(".sandbox.ledger"),
        running=running,
        flying=view.in_flight(run.id),
        errors=view.last_errors(run.id, _SHOWN) if run.ended is None else (),
        live=_live(path, run) if running and run.ended is None else {},
    )


def _live(path: Path, run: RunRecord) -> dict[str, Any]:
    """What the run says of itself; nothing when another one said it, or not all of it is there."""
    said = wishes.told(path)
    return said if said.get("run") == run.id and "calls_per_second" in said else {}
