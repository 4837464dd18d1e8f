"""Killed in a second step, and while everything is refreshed: nothing durable is asked again there either."""

from __future__ import annotations

import signal
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import polars
import pytest
from crashing import IN_FLIGHT, Case, Starter

import opper_batch as ob
from opper_batch.protocol import digest_of
from opper_batch.runs.options import Options
from opper_batch.runs.setting import resolve
from opper_batch.sandbox import Sandbox

Gateways = Callable[..., Sandbox]
ROWS = 40
TWO_STEPS = f"""
name = "killed"
[source]
path = "rows.csv"
key = ["id"]
[[steps]]
name = "tag"
input = ["text"]
[steps.columns]
tag = ["a", "b", "c"]
[[steps]]
name = "look"
input = ["text", "tag"]
[steps.columns]
mood = ["good", "bad"]
[limits]
concurrency = {IN_FLIGHT}
[sink]
path = "out.parquet"
"""
POINTS = {
    "after an intent's commit": "opper_batch.client.call:Client._intended after {}",
    "after a reply, before its commit": "opper_batch.ledger.journal:Journal.record before {}",
    "after a reply's commit": "opper_batch.ledger.journal:Journal.record after {}",
    "in a transaction": "sqlite3:COMMIT before {}",
}


def ledger_rows(statement: str) -> list[tuple[bytes, ...]]:
    path = Path(".opper_batch/killed.ledger").absolute()
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as ledger:
        return ledger.execute(statement).fetchall()


def answers() -> Counter[bytes]:
    return Counter(key for (key,) in ledger_rows("SELECT key FROM outcomes WHERE ok AND final"))


def in_doubt() -> Counter[bytes]:
    """Calls that may have been paid for, once for each run."""
    return Counter(key for (key,) in ledger_rows("SELECT key FROM intents"))


def asked(sandbox: Sandbox) -> Counter[str | None]:
    """How often each question was asked: of which function, with which input."""
    return Counter(f"{call.function} {call.input_digest}" for call in sandbox.journal.calls)


def questions() -> dict[str, bytes]:
    """Of every call of both steps, when the first has been answered: what the gateway saw, and its key."""
    setting, found = resolve(ob.load("killed.toml"), Options()), {}
    with setting.view() as view:
        for number, step in enumerate(setting.steps):
            for projected in setting.projected(setting.steps[:number], view):
                for call in filter(None, projected.questions(step)):
                    found[f"{step.template.fields['name']} {digest_of(call.input).hex()}"] = call.key
    return found


def test_killed_in_the_second_step(gateway: Gateways, starter: Starter) -> None:
    sandbox = gateway(latency=0.01)
    Path("killed.toml").write_text(TWO_STEPS)
    Path("rows.csv").write_text("id,text\n" + "".join(f"{n},matter {n}\n" for n in range(ROWS)))
    durable: Counter[bytes] = Counter()
    for times, (step, point) in enumerate(POINTS.items()):
        first = ROWS if not times else 0  # the calls of the first step, which is done but once
        number = first + 5 if "COMMIT" not in point else 6
        running = starter.start("run", "killed.toml", "--quiet", KILLED_AT=point.format(number))
        assert running.wait() == -signal.SIGKILL, f"{step}: {running.err}"
        assert len(answers()) >= ROWS, f"{step}: it was in the second step"
        assert durable <= answers()
        durable = answers()
        asked_of = {key for seen, key in questions().items() if seen in asked(sandbox)}
        assert asked_of <= durable.keys() | in_doubt().keys(), f"{step}: all that left is known of"
    doubtful = in_doubt()
    assert sum(doubtful.values()) <= IN_FLIGHT * len(POINTS)

    running = starter.start("run", "killed.toml", "--json", "--quiet")
    assert running.wait() == 0, running.err
    assert (running.said["ok"], running.said["in_doubt"]) == (ROWS, sum(doubtful.values()))
    keys = questions()
    times_asked = asked(sandbox)
    assert times_asked.keys() == keys.keys()
    again = {keys[seen] for seen, times in times_asked.items() if times > 1}
    assert again <= doubtful.keys(), "only what was in flight at a kill"
    assert set(answers().values()) == {1}
    frame = polars.read_parquet("out.parquet")
    assert frame["id"].to_list() == [str(n) for n in range(ROWS)]
    assert set(frame["tag_status"]) == set(frame["look_status"]) == {"ok"}


@pytest.mark.parametrize("refreshing", [True, False], ids=["with --refresh again", "plainly"])
def test_killed_while_everything_is_refreshed(refreshing: bool, gateway: Gateways, starter: Starter) -> None:
    """The old answers stand until a new one is durable, and no row is refreshed twice."""
    sandbox = gateway(latency=0.01)
    Case(sandbox, ROWS)
    assert starter.start("run", "killed.toml", "--quiet").wait() == 0
    old = traces()
    for step, point in POINTS.items():
        running = starter.start("run", "killed.toml", "--refresh", "--quiet", KILLED_AT=point.format(6))
        assert running.wait() == -signal.SIGKILL, f"{step}: {running.err}"
        assert traces() == old, "the result is the old one until a run has come to its end"
        assert starter.start("export", "killed.toml", "--sink", "now.parquet").wait() == 0
        assert set(polars.read_parquet("now.parquet")["tag_status"]) == {"ok"}, "every row has an answer"
    refreshed, doubtful = answers(), in_doubt()
    assert max(refreshed.values()) == 2, "no answer of this refresh was asked for again"

    options = ["--refresh"] if refreshing else []
    running = starter.start("run", "killed.toml", "--json", "--quiet", *options)
    assert running.wait() == 0, running.err
    times_asked, keys = asked(sandbox), questions()
    assert len(times_asked) == ROWS
    for seen, key in keys.items():
        more = times_asked[seen] - 1  # the first run asked all of them once
        assert more <= 1 + doubtful[key]
        assert more >= 1 or not refreshing
    if refreshing:
        assert set(answers().values()) == {2}, "every row has a new answer, and one only"
    else:
        assert running.said["calls"] == 0, "what is known is enough"


def traces() -> dict[str, str]:
    frame = polars.read_parquet("out.parquet")
    assert frame["id"].to_list() == [str(n) for n in range(ROWS)]
    return dict(zip(frame["id"], frame["tag_trace_uuid"], strict=True))
