"""Where a run's CPU goes: each stage's share of the time spent in functions.

    python -m tests.benchmarks.stages PROFILE run banking.toml …

runs the command line with a deterministic profiler (cProfile) in every thread, on the clock of the thread's
own CPU, and writes each function's own time to PROFILE, by caller. A function's own time includes the
built-in functions that it calls, and counts for the stage of its module; that of one which many use
(contextlib, a dataclass's ``__init__``) counts for its callers' stages. ``engine`` is what joins them: the
rings of a call, the gate, asyncio. The profiler makes small Python functions dearer than they are, so these
are shares of a run of its own, and the run that is timed goes without it.
"""

from __future__ import annotations

import cProfile
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import CodeType

STAGES = ("source", "plan", "encode", "transport", "validate", "ledger", "engine", "export", "start", "other")
_DEPTH = 12  # how far up a shared function's callers are followed

# The first that a function's "file:name" holds decides.
_HOMES = (
    ("opper_batch/sources", "source"),
    ("opper_batch/inputs", "encode"),
    ("protocol.py:body", "encode"),
    ("protocol.py:key", "encode"),
    ("opper_batch/protocol", "validate"),
    ("opper_batch/columns", "validate"),
    ("opper_batch/calls", "plan"),
    ("opper_batch/seen", "plan"),
    ("runs/planning", "plan"),
    ("runs/preflight", "plan"),
    *((f"client/{name}", "transport") for name in ("transport", "exchange", "connection", "lean")),
    *((f"client/{name}", "transport") for name in ("network", "over_httpx", "surroundings", "faults")),
    ("opper_batch/ledger", "ledger"),
    ("opper_batch/client", "engine"),
    ("opper_batch/engines", "engine"),
    ("opper_batch/pace", "engine"),
    ("opper_batch/budget", "engine"),
    ("opper_batch/runs/execution", "engine"),
    ("opper_batch/projection", "export"),
    ("opper_batch/sinks", "export"),
    ("runs/publish", "export"),
    ("pydantic", "validate"),
    ("tenacity", "engine"),
    ("sqlite3", "ledger"),
    ("concurrent/futures", "ledger"),
    ("asyncio/selector", "transport"),
    ("asyncio/sslproto", "transport"),
    ("asyncio/streams", "transport"),
    ("asyncio", "engine"),
    ("selectors.py", "transport"),
    *((f"/{library}/", "transport") for library in ("httpx", "httpcore", "h11", "anyio", "sniffio")),
    *((f"/{library}/", "transport") for library in ("aiohttp", "yarl", "multidict", "pyreqwest")),
)


def stage_of(function: str) -> str | None:
    """The stage of a function named as ``file:name``; None for one that several stages use."""
    path = function.replace("\\", "/")
    if path.endswith(":<module>") or "<frozen importlib" in path:
        return "start"
    return next((stage for part, stage in _HOMES if part in path), None)


def shares(profile: Path) -> Mapping[str, float]:
    """Each stage's share, 0..1, of the own time of all functions."""
    spent: Counter[str] = Counter()
    callers: dict[str, Counter[str]] = {}
    for caller, called, own in json.loads(profile.read_text()):
        spent[called] += own
        callers.setdefault(called, Counter())[caller] += own
    total: Counter[str] = Counter()
    for function, stages in _divided(callers).items():
        for stage, share in stages.items():
            total[stage] += share * spent[function]
    whole = sum(total.values())
    return {stage: total[stage] / whole for stage in STAGES}


def _divided(callers: Mapping[str, Counter[str]]) -> Mapping[str, Counter[str]]:
    """How each function's time falls to the stages: to its own, or as its callers' does."""
    found = {name: Counter({stage_of(name) or "other": 1.0}) for name in callers}
    found[""] = Counter({"other": 1.0})
    for _ in range(_DEPTH):
        for name in callers:
            whole = sum(callers[name].values())
            if stage_of(name) is None and whole:
                found[name] = Counter()
                for caller, own in callers[name].items():
                    for stage, share in found.get(caller, found[""]).items():
                        found[name][stage] += share * own / whole
    return found


def main() -> None:
    """The program, every thread profiled."""
    profile, arguments = Path(sys.argv[1]), sys.argv[2:]
    profilers: list[cProfile.Profile] = []

    def profiled(run: Callable[..., None]) -> Callable[..., None]:
        def running(*arguments: object) -> None:
            profilers.append(cProfile.Profile(time.thread_time, builtins=False))
            profilers[-1].runcall(run, *arguments)

        return running

    threading.Thread.run = profiled(threading.Thread.run)  # type: ignore[method-assign]
    from opper_batch.cli import commands

    try:
        profiled(partial(commands.main, arguments, standalone_mode=False))()
    finally:
        profile.write_text(json.dumps([edge for profiler in profilers for edge in _edges(profiler)]))


def _edges(profiler: cProfile.Profile) -> Iterator[tuple[str, str, float]]:
    """Caller, called, and the called one's own time for this caller; a thread's first function has none."""
    entries = profiler.getstats()
    left = {entry.code: entry.inlinetime for entry in entries}
    for entry in entries:
        for inner in entry.calls or ():
            left[inner.code] -= inner.inlinetime
            yield _name(entry.code), _name(inner.code), inner.inlinetime
    yield from (("", _name(code), seconds) for code, seconds in left.items() if seconds > 0)


def _name(code: CodeType | str) -> str:
    return code if isinstance(code, str) else f"{code.co_filename}:{code.co_name}"


if __name__ == "__main__":
    main()
