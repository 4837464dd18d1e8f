"""Outcomes to write down, and the waiting for them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from opper_batch.ledger import Journal, Ledger
from opper_batch.records import Outcome, Usage


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def answer(number: int, *, reply: bytes = b'{"data":1}', **changes: Any) -> Outcome:
    values = {"usage": Usage(0.25, 10, 5), "model": "a/b", "latency_ms": 100, "attempts": 1, **changes}
    return Outcome(key(number), None, reply, **values)


def failure(number: int, error: str = "answer does not fit", **changes: Any) -> Outcome:
    return Outcome(key(number), error, **{"usage": Usage(0.5, 1, 1), "attempts": 3, **changes})


async def intend(journal: Journal, call: bytes) -> None:
    await journal.intent(call)


def wait(*writes: Coroutine[Any, Any, None]) -> None:
    """Let all of them happen at once, and come back when all are durable."""

    async def together() -> None:
        await asyncio.gather(*writes)

    asyncio.run(together())


def begun(path: Path, origin: str = "https://gateway") -> tuple[Ledger, Journal]:
    """A ledger in a new run, and the journal of a step."""
    ledger = Ledger(path)
    return ledger, next_run(ledger, origin)


def next_run(ledger: Ledger, origin: str = "https://gateway") -> Journal:
    """The journal of a step in a new run."""
    ledger.begin(origin=origin, options={})
    return ledger.journal(step="triage", digest=b"t" * 16, fields={"name": "f"})
