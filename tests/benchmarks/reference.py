"""What a careful engineer would write by hand for this one piece of work, and nothing of opper_batch in it.

    python -m tests.benchmarks.reference rows.csv out.parquet journal.sqlite URL CONCURRENCY

polars in, many requests in flight over raw aiohttp (``pip install aiohttp``), answers read into a type by
pydantic, a journal in SQLite that a power cut does not harm, Parquet out; started again it goes on. It knows
no limit, no budget, no 202, no repair: it is the ratio's other side for the rows of throughput.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import aiohttp
import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tests.benchmarks.gateway import intent_names

ATTEMPTS = 3
GROUP_SECONDS = 0.02
INTENTS = tuple(intent_names())
HEADERS = {"Authorization": "Bearer key-for-loopback", "Content-Type": "application/json"}


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    intent: Literal[INTENTS]  # type: ignore[valid-type]
    urgency: int = Field(ge=1, le=5)


class Usage(BaseModel):
    input_tokens: int = 0
    output_tokens: int = 0


class Meta(BaseModel):
    cost: float = 0.0
    trace_uuid: str = ""
    usage: Usage = Usage()


class Reply(BaseModel):
    data: Answer
    meta: Meta = Meta()


HEAD = json.dumps(
    {
        "name": "banking",
        "instructions": "Say what the customer of a bank wants, and how urgent it is.",
        "model": "openai/gpt-4o-mini",
        "output_schema": Answer.model_json_schema(),
    }
).encode()[:-1]


def body_of(text: str) -> bytes:
    return HEAD + b',"input":' + json.dumps({"text": text}, ensure_ascii=False).encode() + b"}"


def key_of(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16).digest()


class Journal:
    """Answers by key. They are written in groups, durable when ``flush`` returns."""

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute("CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, reply BLOB)")
        self._waiting: list[tuple[bytes, bytes]] = []

    def known(self) -> dict[bytes, bytes]:
        return dict(self._connection.execute("SELECT key, reply FROM answers"))

    def add(self, key: bytes, reply: bytes) -> None:
        self._waiting.append((key, reply))

    async def flush(self) -> None:
        group, self._waiting = self._waiting, []
        if group:
            await asyncio.to_thread(self._write, group)

    async def keep_flushing(self, ended: asyncio.Event) -> None:
        while not ended.is_set():
            await asyncio.sleep(GROUP_SECONDS)
            await self.flush()

    def _write(self, group: list[tuple[bytes, bytes]]) -> None:
        self._connection.execute("BEGIN")
        self._connection.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?)", group)
        self._connection.execute("COMMIT")


async def ask(session: aiohttp.ClientSession, url: str, body: bytes) -> bytes:
    """The reply that fits; waits and asks again when it is refused for now."""
    for attempt in range(1, ATTEMPTS + 1):
        async with session.post(url, data=body, headers=HEADERS) as response:
            reply = await response.read()
            if response.status == 200:
                Reply.model_validate_json(reply)
                return reply
            if response.status != 429 and response.status < 500:
                break
            await asyncio.sleep(float(response.headers.get("Retry-After", random.random() * 2**attempt)))
    raise RuntimeError(f"{response.status}: {reply[:200]!r}")


async def worker(calls: Iterator[bytes], session: aiohttp.ClientSession, url: str, journal: Journal) -> int:
    failed = 0
    for body in calls:
        try:
            journal.add(key_of(body), await ask(session, url, body))
        except (TimeoutError, RuntimeError, ValidationError, aiohttp.ClientError) as error:
            failed += 1
            print(error, file=sys.stderr)
    return failed


async def main(source: str, sink: str, journal_path: str, url: str, concurrency: int) -> int:
    frame = pl.read_csv(source, infer_schema_length=0)
    journal = Journal(journal_path)
    known = journal.known()
    bodies = [body_of(text) for text in frame["text"]]
    calls = iter([body for body in bodies if key_of(body) not in known])
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        ended = asyncio.Event()
        flushing = asyncio.create_task(journal.keep_flushing(ended))
        workers = [worker(calls, session, f"{url}/v3/call", journal) for _ in range(concurrency)]
        failed = sum(await asyncio.gather(*workers))
        ended.set()
        await flushing
    write(frame, bodies, journal.known(), sink)
    return failed


def write(frame: pl.DataFrame, bodies: list[bytes], answers: dict[bytes, bytes], sink: str) -> None:
    found = (answers.get(key_of(body)) for body in bodies)
    replies = [Reply.model_validate_json(reply) if reply else None for reply in found]
    columns: dict[str, list[Any]] = {
        "intent": [reply and reply.data.intent for reply in replies],
        "urgency": [reply and reply.data.urgency for reply in replies],
        "cost": [reply and reply.meta.cost for reply in replies],
        "input_tokens": [reply and reply.meta.usage.input_tokens for reply in replies],
        "output_tokens": [reply and reply.meta.usage.output_tokens for reply in replies],
        "trace_uuid": [reply and reply.meta.trace_uuid for reply in replies],
    }
    partial = Path(sink + ".partial")
    frame.with_columns(pl.DataFrame(columns)).write_parquet(partial)
    partial.replace(sink)


if __name__ == "__main__":
    sys.exit(1 if asyncio.run(main(*sys.argv[1:5], concurrency=int(sys.argv[5]))) else 0)
