"""Killed without warning, a run goes on where it was. The gateway's journal is the judge, not the program."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet
import pytest
from program import Program

import opper_batch as ob
from opper_batch.ledger import View
from opper_batch.protocol import digest_of
from opper_batch.runs.options import Options
from opper_batch.runs.setting import resolve
from opper_batch.sandbox import Sandbox

ROWS = 1_200
IN_FLIGHT = 16
PIPELINE = f"""
name = "killed"
[source]
path = "rows.csv"
key = ["id"]
[[steps]]
name = "tag"
instructions = "Tag the text."
input = ["text"]
[steps.columns]
tag = ["a", "b", "c"]
[limits]
concurrency = {IN_FLIGHT}
[sink]
path = "out.parquet"
"""


@pytest.fixture
def killed(here: Path) -> ob.Pipeline:
    lines = [f"{number},matter {number}\n" for number in range(ROWS)]
    Path("rows.csv").write_text("id,text\n" + "".join(lines))
    Path("killed.toml").write_text(PIPELINE)
    return ob.load("killed.toml")


def durable_inputs(pipeline: ob.Pipeline, *, pending: bool = False) -> set[str]:
    """The gateway's digests of the inputs whose answers, or whose 202s, the ledger holds."""
    setting = resolve(pipeline, Options())
    if not setting.ledger_path.exists():
        return set()
    found = set()
    with setting.view() as view:
        for projected in setting.projected((), view):
            calls = [call for call in projected.questions(setting.steps[0]) if call]
            keys = [call.key for call in calls]
            settled = {key for key, (ok, _) in view.settled(keys).items() if ok}
            durable = set(view.pending(keys)) if pending else settled
            found |= {digest_of(call.input).hex() for call in calls if call.key in durable}
    return found


def inputs_asked(sandbox: Sandbox, start: int = 0) -> list[str]:
    """The inputs of all calls that arrived whole, in order."""
    records = sandbox.journal.calls[start:]
    return [record.input_digest for record in records if record.input_digest]


def test_nothing_durable_is_asked_again_and_at_most_what_was_in_flight_repeats(
    killed: ob.Pipeline, gateway: Callable[..., Sandbox], program: Program
) -> None:
    sandbox = gateway(latency=0.05, latency_sigma=0.3)
    chance = random.Random(20261122)
    kills = 0
    while len(durable_inputs(killed)) < ROWS and kills < 6:
        durable, asked_before = durable_inputs(killed), len(sandbox.journal.calls)
        running = program.start("run", "killed.toml", "--quiet")
        _wait_for_calls(sandbox, asked_before + chance.randrange(30, 250))
        running.send_signal(signal.SIGKILL)
        running.communicate()
        kills += 1
        time.sleep(0.3)  # what was in flight still arrives in the journal
        asked = set(inputs_asked(sandbox, asked_before))
        assert not asked & durable

    said = program.json("run", "killed.toml")
    assert (said["rows"], said["ok"]) == (ROWS, ROWS)
    times = Counter(inputs_asked(sandbox))
    assert len(times) == ROWS
    repeated = sum(times.values()) - ROWS
    assert kills >= 4
    assert repeated <= said["in_doubt"] <= kills * IN_FLIGHT, "what may have been paid twice is told"
    assert program.json("run", "killed.toml")["in_doubt"] == 0, "until a result was published"
    table = pyarrow.parquet.read_table("out.parquet")
    assert table["id"].to_pylist() == [str(number) for number in range(ROWS)]


def test_a_202_is_polled_again_and_never_posted_again(
    killed: ob.Pipeline, gateway: Callable[..., Sandbox], program: Program
) -> None:
    sandbox = gateway(pending=1.0, pending_seconds=3.0)
    running = program.start("run", "killed.toml", "--limit", "40", "--quiet")
    _wait_for_calls(sandbox, 1)
    ledger = Path(".opper_batch/killed.ledger")
    _until(lambda: ledger.exists() and _pending(ledger) >= 1)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    posted = durable_inputs(killed, pending=True)
    assert posted

    said = program.json("run", "killed.toml", "--limit", "40")
    assert said["ok"] == 40
    times = Counter(inputs_asked(sandbox))
    assert {times[digest] for digest in posted} == {1}
    assert len(times) == 40


def _pending(ledger: Path) -> int:
    with View(ledger) as view:
        return view.pending_calls()


def _wait_for_calls(sandbox: Sandbox, number: int) -> None:
    _until(lambda: len(sandbox.journal.calls) >= number)


def _until(happened: Callable[[], bool]) -> None:
    ends = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < ends, "waited 30 s in vain"
        time.sleep(0.01)
