"""What is done in which order: file, then name, then folder; and a commit before anything relies on it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from crashing import PARQUET, Case, Starter
from program import PROGRAM

from opper_batch.sandbox import Sandbox

SINKS = {
    "file": PARQUET,
    "file in a new folder": 'path = "new/deep/out.csv"',
    "folder": 'path = "out/"',
    "new database": 'duckdb = "out.duckdb"\ntable = "tags"',
}


@pytest.mark.parametrize("sink", SINKS.values(), ids=SINKS.keys())
def test_a_result_is_on_the_disk_before_it_has_its_name_and_its_name_before_the_end(
    sink: str, gateway: Callable[..., Sandbox], starter: Starter, here: Path
) -> None:
    Case(gateway(), 10, sink=sink)
    shutil.rmtree("new", ignore_errors=True)
    running = starter.start("run", "killed.toml", "--quiet", NOTED_IN="noted.jsonl")
    assert running.wait() == 0, running.err
    acts = [json.loads(line) for line in Path("noted.jsonl").read_text().splitlines()]
    # The state's folder holds nothing by renaming that has to outlive a power cut: the ledger is synced.
    renamed = [
        number
        for number, act in enumerate(acts)
        if act[0] != "fsync" and here / ".opper_batch" not in Path(act[-1]).parents
    ]
    assert renamed
    for number in renamed:
        _, old, new = acts[number]
        assert ["fsync", old] in acts[:number], f"{new} had its name before it was on the disk"
        assert ["fsync", str(Path(new).parent)] in acts[number:], f"the name of {new} is not on the disk"
    synced = [act[1] for act in acts if act[0] == "fsync"]
    assert str(here) in synced, "a folder that was made is in its folder's list"
    assert str(here / ".opper_batch") in synced
    if "new/" in sink:
        assert str(here / "new") in synced


def test_no_request_leaves_while_something_written_down_is_not_on_the_disk(
    gateway: Callable[..., Sandbox], tmp_path: Path
) -> None:
    """The system's own account, of one call at a time: the last answer and the next intent lie between,
    in one commit or in two."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    case = Case(gateway(), 6)
    command = [
        "strace",
        "-f",
        "-y",
        "-s",
        "24",
        "-o",
        "trace",
        "-e",
        "trace=pwrite64,fdatasync,fsync,sendto,write",
    ]
    ended = subprocess.run(
        [*command, PROGRAM, "run", "killed.toml", "--quiet", "--concurrency", "1"],
        capture_output=True,
        text=True,
        timeout=100,
    )
    if "ptrace" in ended.stderr and ended.returncode:
        pytest.skip("tracing is not permitted here")
    assert ended.returncode == 0, ended.stderr
    unsynced, commits, posts = False, 0, []
    for line in Path("trace").read_text(errors="replace").splitlines():
        if "killed.ledger-wal>" in line:
            unsynced = "pwrite64" in line
            commits += not unsynced
        elif '"POST /v3/call' in line:
            assert not unsynced, "a request left before what was written was on the disk"
            posts.append(commits)
            commits = 0
    assert len(posts) == 6
    assert all(number >= 1 for number in posts[1:]), (
        "the answer's commit and the next intent's, or one of both"
    )
    assert commits >= 1, "the last answer's"
    assert case.requests == 6
