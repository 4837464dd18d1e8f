"""What another terminal asks of a run that is going on, and what the run says of itself.

Two small files beside the ledger, for its user alone; no lock is taken and nothing waits for them:

    NAME.ledger.wishes   one JSON object a line, appended by pause, resume and set, and read by the run
    NAME.ledger.live     one JSON object, replaced by the run every second, with its answers to the wishes

The run begins and ends by removing both, so that nobody's wish outlives the run it was meant for.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from opper_batch.errors import DefinitionError

ANSWER_SECONDS = 5.0
_LOOK_SECONDS = 0.02
_MOST_BYTES = 65_536
_NO_LIMIT = "none"
# What may be set, in which kind of number, and the least and most of it.
_SETTINGS: dict[str, tuple[type[int] | type[float], float, float]] = {
    "concurrency": (int, 1, 10_000),
    "rpm": (float, 0.01, math.inf),
    "max-cost": (float, 0, math.inf),
}


def wishes_path(ledger: Path) -> Path:
    return ledger.with_name(ledger.name + ".wishes")


def live_path(ledger: Path) -> Path:
    return ledger.with_name(ledger.name + ".live")


def settings(pairs: Sequence[str]) -> dict[str, float | None]:
    """``["concurrency=8", "max-cost=none"]`` as numbers, None for no limit. Raises DefinitionError."""
    return dict(_setting(pair) for pair in pairs)


def _setting(pair: str) -> tuple[str, float | None]:
    name, _, text = (part.strip() for part in pair.partition("="))
    name = {"max_cost": "max-cost", "requests_per_minute": "rpm"}.get(name, name)
    if name not in _SETTINGS:
        near = difflib.get_close_matches(name, _SETTINGS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(_SETTINGS)}"
        raise DefinitionError(f"set {pair}: there is no setting {name!r}; {hint}")
    kind, least, most = _SETTINGS[name]
    if text.lower() == _NO_LIMIT:
        return name, None
    try:
        number = kind(text)
    except ValueError:
        number = -1
    if not (least <= number <= most and math.isfinite(number)):
        bounds = f"from {least:g} to {most:,.0f}" if math.isfinite(most) else f"of {least:g} or more"
        whole = "whole " if kind is int else ""
        raise DefinitionError(f"set {pair}: {name} should be a {whole}number {bounds}, or {_NO_LIMIT}")
    return name, number


def append(ledger: Path, wish: Mapping[str, Any]) -> str:
    """Put the wish where the run looks; gives the name under which it is answered."""
    name = secrets.token_hex(8)
    line = json.dumps({"id": name, **wish}) + "\n"
    file = os.open(
        wishes_path(ledger), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
    )
    try:
        os.write(file, line.encode())  # one write, so that of two commands neither is lost
    finally:
        os.close(file)
    return name


def answer(ledger: Path, name: str, *, seconds: float) -> str | None:
    """What the run says to that wish; None when it says nothing for so long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        said = told(ledger).get("answers", {}).get(name)
        if said is not None:
            return str(said)
        time.sleep(_LOOK_SECONDS)
    return None


def appended(ledger: Path, start: int) -> tuple[list[dict[str, Any]], int]:
    """The wishes from the byte ``start`` on whose lines are whole, and where the next one begins."""
    try:
        file = os.open(wishes_path(ledger), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:  # usually nobody wishes anything
        return [], start
    try:
        read = os.pread(file, _MOST_BYTES, start)
    finally:
        os.close(file)
    whole = read[: read.rfind(b"\n") + 1]
    return [_object(line) for line in whole.splitlines()], start + len(whole)


def told(ledger: Path) -> dict[str, Any]:
    """What the run last said of itself; empty when there is nothing."""
    try:
        return _object(live_path(ledger).read_bytes())
    except OSError:
        return {}


def tell(ledger: Path, said: Mapping[str, Any]) -> None:
    """Replace what the run says of itself; whoever reads sees all of the old or all of the new."""
    path = live_path(ledger)
    temporary = path.with_name(path.name + ".new")
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(file, json.dumps(said).encode())
    finally:
        os.close(file)
    temporary.replace(path)


def forget(ledger: Path) -> None:
    """Remove both files."""
    for path in (wishes_path(ledger), live_path(ledger)):
        for name in (path, path.with_name(path.name + ".new")):
            with suppress(OSError):
                name.unlink(missing_ok=True)


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
