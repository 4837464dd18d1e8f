"""In the middle of a table the gateway says no, or is gone: the run stops or waits, and then goes on."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import polars
import pytest
from crashing import Starter, until
from program import KEY

from opper_batch.sandbox import Sandbox, Script

IN_FLIGHT = 32
MODEL = "openai/gpt-4o-mini"
PIPELINE = f"""
name = "midway"
[source]
path = "rows.csv"
key = ["id"]
[[steps]]
name = "tag"
input = ["text"]
model = "{MODEL}"
[steps.columns]
tag = ["a", "b", "c"]
[limits]
concurrency = {IN_FLIGHT}
[sink]
path = "out.parquet"
"""
# What the gateway is told, how it says no, the exit code, and what the one sentence has to hold.
REFUSALS: dict[str, tuple[dict[str, Any], int, int, str]] = {
    "401": ({"reject_key": "string"}, 401, 4, "refuses the key or the model (401 invalid bearer token"),
    "402": ({}, 402, 3, "budget is used up (402 the budget of"),
    "403": (
        {"forbidden_models": (MODEL,)},
        403,
        4,
        f"refuses the key or the model (403 model '{MODEL}' is not allowed); set OPPER_API_KEY",
    ),
}


class Gateways:
    """One gateway after the other at the same address, as the same one would be on other days."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._port = 0
        self.all: list[Sandbox] = []

    def start(self, **script: Any) -> Sandbox:
        sandbox = self._stack.enter_context(Sandbox(Script(**script), port=self._port))
        self._port = int(sandbox.url.rpartition(":")[2])
        self.all.append(sandbox)
        return sandbox

    @property
    def paid(self) -> Counter[str | None]:
        """How often each input's answer was produced."""
        return Counter(call.input_digest for one in self.all for call in one.journal.calls if call.paid)


@pytest.fixture
def gateways(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateways]:
    with ExitStack() as stack:
        gateways = Gateways(stack)
        monkeypatch.setenv("OPPER_API_KEY", KEY)
        yield gateways


def rows(number: int) -> None:
    Path("midway.toml").write_text(PIPELINE)
    Path("rows.csv").write_text("id,text\n" + "".join(f"{n},matter {n}\n" for n in range(number)))


def all_ok(number: int) -> None:
    frame = polars.read_parquet("out.parquet")
    assert frame["id"].to_list() == [str(n) for n in range(number)]
    assert set(frame["tag_status"]) == {"ok"}


@pytest.mark.parametrize("kind", REFUSALS)
@pytest.mark.parametrize(
    ("number", "fine"), [(400, 150), pytest.param(10_000, 5_000, marks=pytest.mark.slow)]
)
def test_a_no_stops_after_the_calls_in_flight_and_the_next_run_goes_on(
    kind: str,
    number: int,
    fine: int,
    gateways: Gateways,
    starter: Starter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script, status, code, sentence = REFUSALS[kind]
    rows(number)
    if kind == "402":
        script = {"budget": spent_by(fine, gateways, starter, monkeypatch)}
        gateways.all.clear()
    sandbox = gateways.start(latency=0.05, fine_calls=fine, **script)
    monkeypatch.setenv("OPPER_BASE_URL", sandbox.url)
    running = starter.start("run", "midway.toml", "--json", "--quiet")
    assert running.wait() == code, running.err
    assert running.err.count("\n") == 1, running.err
    assert sentence in running.err
    assert running.said["in_doubt"] == 0, "a refusal costs nothing, and what was in flight came home"
    calls = sandbox.journal.calls
    refused = [call for call in calls if call.status == status]
    assert 1 <= len(refused) <= IN_FLIGHT
    first_no = min(call.answered for call in refused)
    assert sum(call.arrived > first_no + 0.5 for call in calls) == 0, "nothing is sent after it"
    assert fine <= len(calls) - len(refused) <= fine + IN_FLIGHT
    assert running.said["calls"] == len(calls) - len(refused)
    sandbox.stop()

    gateways.start()
    running = starter.start("run", "midway.toml", "--json", "--quiet")
    assert running.wait() == 0, running.err
    assert running.said["calls"] == number - (len(calls) - len(refused))
    all_ok(number)
    assert set(gateways.paid.values()) == {1}
    assert len(gateways.paid) == number


def spent_by(calls: int, gateways: Gateways, starter: Starter, monkeypatch: pytest.MonkeyPatch) -> float:
    """What so many calls cost, in USD; asked by another pipeline's ledger."""
    sandbox = gateways.start()
    monkeypatch.setenv("OPPER_BASE_URL", sandbox.url)
    trial = ("--limit", str(calls), "--state-dir", "elsewhere", "--sink", "elsewhere.parquet")
    running = starter.start("run", "midway.toml", "--quiet", *trial)
    assert running.wait() == 0, running.err
    sandbox.stop()
    return sandbox.journal.spent


@pytest.mark.parametrize(
    ("number", "seconds"),
    [(400, 2.5), pytest.param(10_000, 120.0, marks=[pytest.mark.slow, pytest.mark.timeout(400)])],
)
def test_an_outage_is_waited_out_and_burns_no_attempts(
    number: int,
    seconds: float,
    gateways: Gateways,
    starter: Starter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows(number)
    before = gateways.start(latency=0.05)
    monkeypatch.setenv("OPPER_BASE_URL", before.url)
    running = starter.start("run", "midway.toml", "--json", "--quiet")
    until(lambda: before.journal.requests >= number // 3)
    before.stop()
    threading.Event().wait(seconds)  # the outage itself
    after = gateways.start(latency=0.05)
    assert running.wait() == 0, running.err
    all_ok(number)
    again = sum(times > 1 for times in gateways.paid.values())
    assert again <= IN_FLIGHT, "at most those whose answers were on their way"
    assert len(gateways.paid) == number
    assert {call.status for call in after.journal.calls} == {200}
    said = running.said
    assert said["ok"] == number
    frame = polars.read_parquet("out.parquet")
    tried_in_vain = said["calls"] - number
    assert tried_in_vain <= 3 * IN_FLIGHT + 12, "calls wait their turn while it is out"
    assert frame["tag_attempts"].sum() == said["calls"]
