"""A ledger of many keys: how long a look-up takes, and ``status``.

    python -m tests.benchmarks.large_ledger look FOLDER 100000

looks up so many of the keys that lie in FOLDER, chosen by chance, by the ledger's own view and by bare SQL.
"""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.figure import Figure, Size
from tests.benchmarks.measured import MOST_SECONDS, PROGRAM, ROOT, Measured, folder, measured

_STATE = ".opper_batch"
_CHUNK = 8_192
_SEED = 10
_REPLY = (
    b'{"data":{"tag":"a","score":3},"meta":{"cost":0.0001,"usage":{"input_tokens":210,"output_tokens":12},'
    b'"models_used":["openai/gpt-4o-mini"],"trace_uuid":"00000000-0000-4000-8000-000000000000"}}'
)
_FILL = """
    INSERT INTO outcomes (key, run, template, ok, final, reply, model, cost, input_tokens, output_tokens,
        latency_ms, attempts, throttled, at)
    SELECT randomblob(16), 1, 1, 1, 1, ?, 'm', 0.0001, 10, 5, 100, 1, 0, 0 FROM numbers"""
_NUMBERS = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)"


def ledger(size: Size) -> list[Figure]:
    """The look-up of 100,000 keys among 10,000,000, and ``status`` there."""
    keys, wanted = size.of(10_000_000, 200_000), size.of(100_000, 10_000)
    found, bare, status, status_of_one = [], [], [], []
    with folder() as place:
        for name, count in (("many", keys), ("one", 1)):
            (place / name).mkdir()
            _child("build", place / name, count)
        for _ in size.times(f"ledger of {keys:,} keys"):
            looked = _child("look", place / "many", wanted)
            found.append(looked["view"])
            bare.append(looked["bare"])
            status.append(_status(place / "many").seconds)
            status_of_one.append(_status(place / "one").seconds)
    return [
        Figure(
            name=f"ledger of {keys:,} keys: look-up of {wanted:,}",
            values=found,
            unit="s",
            most=2.0,
            reference=bare,
            against="bare SQL",
        ),
        Figure(
            name=f"ledger of {keys:,} keys: status",
            values=status,
            unit="s",
            most=0.3,
            reference=status_of_one,
            against="a ledger of one key",
        ),
    ]


def _status(place: Path) -> Measured:
    return measured([PROGRAM, "status", "known.toml", "--state-dir", _STATE], cwd=place, home=place / "home")


def _child(act: str, place: Path, count: int) -> Mapping[str, float]:
    command: list[str | Path] = [sys.executable, "-m", __name__, act, place, str(count)]
    ended = subprocess.run(
        command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, timeout=MOST_SECONDS
    )
    said: Mapping[str, float] = json.loads(ended.stdout)
    return said


def _build(place: Path, keys: int) -> Mapping[str, float]:
    """A ledger as a run that settled ``keys`` calls left it; the index is made once, at the end."""
    from opper_batch.ledger import Ledger
    from tests.benchmarks import known_rows

    (place / "known.toml").write_text(known_rows.PIPELINE)
    known_rows.write_table(place / "rows.csv", 10)
    path = place / _STATE / "known.ledger"
    with Ledger(path) as fresh:
        fresh.begin(origin="http://127.0.0.1:9", options={})
        fresh.journal(step="tag", digest=b"t" * 16, fields={})
        fresh.finish(exit_code=0, published=True, rows=keys, summary={})
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous=OFF")
    (index,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'outcomes_by_key'").fetchone()
    connection.execute("DROP INDEX outcomes_by_key")
    connection.execute(f"{_NUMBERS} {_FILL}", (keys, _REPLY))
    connection.execute(index)
    connection.execute("INSERT INTO totals (run, template, ok, calls) VALUES (1, 1, ?, ?)", (keys, keys))
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return {}


def _look(place: Path, wanted: int) -> Mapping[str, float]:
    from opper_batch.ledger import View

    path = place / _STATE / "known.ledger"
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    (keys,) = connection.execute("SELECT max(id) FROM outcomes").fetchone()
    drawn = random.Random(_SEED).sample(range(1, keys + 1), 2 * wanted)
    chosen = [key for ids in _chunks(drawn) for (key,) in _select(connection, "key", "id", ids)]
    random.Random(_SEED).shuffle(chosen)
    began = time.perf_counter()
    bare = [row for part in _chunks(chosen[:wanted]) for row in _select(connection, "*", "key", part)]
    between = time.perf_counter()
    with View(path) as view:
        found = view.lookup(chosen[wanted:])
    ended = time.perf_counter()
    assert len(bare) == len(found) == wanted
    return {"bare": between - began, "view": ended - between}


def _select(
    connection: sqlite3.Connection, what: str, by: str, values: Sequence[object]
) -> Iterator[tuple[Any, ...]]:
    marks = ",".join("?" * len(values))
    return connection.execute(f"SELECT {what} FROM outcomes WHERE {by} IN ({marks})", values)


def _chunks(values: Sequence[object]) -> Iterator[Sequence[object]]:
    return (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))


if __name__ == "__main__":
    act = {"build": _build, "look": _look}[sys.argv[1]]
    print(json.dumps(act(Path(sys.argv[2]), int(sys.argv[3]))))
