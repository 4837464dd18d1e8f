"""How soon the command line answers, and how soon the first request of the sample leaves.

    python tests/benchmarks/start.py

run in the repository's root; five runs of each, the median in seconds. The gateway, in a process of its own,
says in its journal when the first request arrived.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = Path(sys.executable).with_name("opper-batch")
RUNS = 5


def help_seconds() -> float:
    started = time.monotonic()
    subprocess.run([PROGRAM, "--help"], check=True, capture_output=True)
    return time.monotonic() - started


def first_request_seconds(url: str, journal: Path, state: Path) -> float:
    before = len(journal.read_text().splitlines()) if journal.exists() else 0
    environment = {**os.environ, "OPPER_API_KEY": "key-for-loopback"}
    places = ["--base-url", url, "--state-dir", str(state), "--sink", str(state) + ".parquet"]
    started = time.time()
    command = [PROGRAM, "run", "pipelines/ticket_triage.toml", "--quiet", *places]
    subprocess.run(command, check=True, env=environment)
    return float(json.loads(journal.read_text().splitlines()[before])["arrived"]) - started


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        journal = folder / "journal.jsonl"
        command = [PROGRAM, "sandbox", "--journal", str(journal)]
        gateway = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert gateway.stdout
        url = next(word for line in gateway.stdout for word in line.split() if word.startswith("http://"))
        try:
            first = [first_request_seconds(url, journal, folder / f"state{run}") for run in range(RUNS)]
        finally:
            gateway.terminate()
            gateway.wait()
    helped = [help_seconds() for _ in range(RUNS)]
    medians = {"help": statistics.median(helped), "first_request": statistics.median(first)}
    print(json.dumps({name: round(seconds, 3) for name, seconds in medians.items()}))


if __name__ == "__main__":
    main()
