"""A large table nearly all of whose rows are known: time, peak memory, and that only the new ones are called.

    python tests/benchmarks/known_rows.py 1000000 10000

writes a CSV and a ledger in a temporary folder, runs the command line on them against a gateway in a
process of its own, and prints one line of JSON.
"""

from __future__ import annotations

import csv
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from opper_batch.calls import prepare
from opper_batch.inputs import encode_inputs
from opper_batch.ledger import Ledger
from opper_batch.pipeline import load
from opper_batch.sources import open_source

META = {
    "cost": 0.0001,
    "usage": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15},
    "models_used": ["openai/gpt-4o-mini"],
    "trace_uuid": "6f3c0b1e-1111-4222-8333-444455556666",
    "execution_ms": 100,
}
PIPELINE = """
name = "known"
[source]
path = "rows.csv"
[[steps]]
name = "tag"
instructions = "Tag the text."
input = ["text"]
model = "openai/gpt-4o-mini"
[steps.columns]
tag = ["a", "b", "c"]
score = { type = "TINYINT", min = 1, max = 5 }
[sink]
path = "out.parquet"
"""


def write_table(path: Path, rows: int) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "note"])
        writer.writerows(
            (f"R-{number:08}", f"A short text about matter {number}", "n") for number in range(rows)
        )


def fill_ledger(folder: Path, origin: str, known: int) -> None:
    """Settle the first ``known`` rows, as a run would have."""
    pipeline = load(folder / "known.toml")
    source = open_source(path=str(folder / "rows.csv"))
    (step,) = prepare(pipeline, source.check().schema, source="rows.csv", origin=origin)
    path = folder / ".opper_batch" / "known.ledger"
    with Ledger(path) as ledger:
        ledger.begin(origin=origin, options={})
        ledger.journal(step="tag", digest=step.template.digest, fields=step.template.fields)
        ledger.finish(exit_code=0, published=True, rows=known, summary={})
    reply = json.dumps({"data": {"tag": "a", "score": 3}, "meta": META}).encode()
    insert = (
        "INSERT INTO outcomes (key, run, template, ok, final, reply, model, cost, input_tokens, "
        "output_tokens, latency_ms, attempts, throttled, at) "
        "VALUES (?, 1, 1, 1, 1, ?, 'm', 0.0001, 10, 5, 100, 1, 0, 0)"
    )
    connection = sqlite3.connect(path)
    left = known
    for batch in source.batches():
        inputs = encode_inputs(batch, step.inputs)[:left]
        left -= len(inputs)
        connection.executemany(insert, [(step.template.key(text), reply) for text in inputs])
    connection.commit()
    connection.close()


def measure(known: int, new: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "known.toml").write_text(PIPELINE)
        write_table(folder / "rows.csv", known + new)
        program = Path(sys.executable).with_name("opper-batch")
        gateway = subprocess.Popen([program, "sandbox"], stdout=subprocess.PIPE, text=True)
        assert gateway.stdout
        url = next(word for line in gateway.stdout for word in line.split() if word.startswith("http://"))
        try:
            fill_ledger(folder, url, known)
            started = time.monotonic()
            command = [program, "run", "known.toml", "--base-url", url, "--json", "--quiet"]
            environment = {**os.environ, "OPPER_API_KEY": "key-for-loopback"}
            ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
            seconds = time.monotonic() - started
        finally:
            gateway.terminate()
            gateway.wait()
        if ended.returncode:
            raise SystemExit(ended.stderr)
        said = json.loads(ended.stdout.splitlines()[-1])
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        counts = {name: said[name] for name in ("rows", "ok", "cached", "calls")}
        return {**counts, "seconds": round(seconds, 1), "peak_rss_mb": round(peak)}


if __name__ == "__main__":
    print(json.dumps(measure(*(int(text.replace("_", "")) for text in sys.argv[1:3]))))
