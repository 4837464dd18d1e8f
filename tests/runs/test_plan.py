"""A plan says beforehand what a run then does; the gateway's journal and the run are the judges."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from program import Program

import opper_batch as ob
from opper_batch.runs.plan_text import plan_text
from opper_batch.sandbox import Sandbox

MODEL = "openai/gpt-4o-mini"
STEP: dict[str, Any] = {
    "name": "read",
    "input": ["text"],
    "model": MODEL,
    "columns": {"words": "VARCHAR[]", "mood": ["good", "bad"]},
}
PIPELINE = """
name = "planned"
[source]
path = "rows.csv"
key = ["id"]
[[steps]]
name = "read"
input = ["text"]
model = "openai/gpt-4o-mini"
[steps.columns]
words = "VARCHAR[]"
mood = ["good", "bad"]
"""


def write(texts: list[str]) -> None:
    Path("rows.csv").write_text("id,text\n" + "".join(f"{n},{text}\n" for n, text in enumerate(texts)))


def texts(rows: int) -> list[str]:
    return [f"{'word ' * (1 + number * 37 % 101)}{number}" for number in range(rows)]


def pipeline(**parts: Any) -> ob.Pipeline:
    return ob.Pipeline(
        **{"name": "planned", "source": {"path": "rows.csv", "key": ["id"]}, "steps": [STEP], **parts}
    )


def counts(plan: ob.Plan) -> dict[str, int]:
    said = plan.as_json()
    kinds = ("new", "changed", "known", "folded", "failed", "waiting", "calls")
    return {kind: said[kind] for kind in kinds if said[kind]}


def test_new_changed_known_and_folded_rows_are_told_apart(gateway: Callable[..., Sandbox]) -> None:
    gateway()
    write(["a", "b", "c", "c"])
    assert counts(ob.plan(pipeline())) == {"new": 3, "folded": 1, "calls": 3}
    ob.run(pipeline())
    write(["a", "other", "c", "c", "fresh"])
    plan = ob.plan(pipeline())
    assert counts(plan) == {"new": 1, "changed": 1, "known": 2, "folded": 1, "calls": 2}
    assert "~ 1 changed  asked before with the same id and another content" in plan_text(plan)
    nameless = {"path": "rows.csv"}
    assert "without source.key a changed row is new" in str(ob.plan(pipeline(source=nameless)))


def test_what_was_published_before_a_smaller_run_is_still_known_to_be_changed(
    gateway: Callable[..., Sandbox],
) -> None:
    gateway()
    write(["a", "b", "c"])
    ob.run(pipeline())
    ob.run(pipeline(), limit=1)
    write(["a", "b", "d"])
    assert counts(ob.plan(pipeline())) == {"changed": 1, "known": 2, "calls": 1}
    reworded = pipeline(steps=[{**STEP, "instructions": "Otherwise."}])
    plan = ob.plan(reworded)
    assert counts(plan) == {"new": 3, "calls": 3}
    assert any("every row is asked anew" in said for said in plan.warnings)


def test_failed_rows_are_counted_and_asked_again_or_not(gateway: Callable[..., Sandbox]) -> None:
    gateway(bad_request=0.3, seed=3)
    write(texts(20))
    failed = ob.run(pipeline()).counts.failed
    assert failed
    assert counts(ob.plan(pipeline())) == {"known": 20 - failed, "failed": failed, "calls": failed}
    assert ob.plan(pipeline(), retry_failed=False).calls == 0


def test_a_pilot_is_paid_once_and_the_run_costs_what_was_foretold(gateway: Callable[..., Sandbox]) -> None:
    sandbox = gateway()
    write(texts(300))
    listed = ob.plan(pipeline())
    assert not sandbox.journal.calls
    plan = ob.plan(pipeline(), pilot=50)
    assert len(sandbox.journal.calls) == 50
    assert ob.plan(pipeline(), pilot=50) == plan
    assert len(sandbox.journal.calls) == 50, "the second pilot finds the first one's answers"
    assert (plan.calls, plan.as_json()["known"]) == (250, 50)
    assert plan.basis == "50 earlier answers of this step, by length of input"
    cost = ob.run(pipeline()).cost
    assert len(sandbox.journal.calls) == 300
    assert plan.cost is not None
    assert listed.cost is not None
    assert plan.cost.low <= cost <= plan.cost.high < 1.2 * cost
    assert listed.cost.low <= cost * 300 / 250 <= listed.cost.high
    assert plan.seconds is not None


def test_a_pilots_rows_are_spread_over_the_source_and_over_the_inputs_lengths(
    gateway: Callable[..., Sandbox],
) -> None:
    gateway()
    write(texts(400))
    ob.plan(pipeline(), pilot=40)
    frame = ob.run(pipeline()).frame
    asked = frame.filter(frame["read_cached"])
    assert len(asked) == 40
    for column in (asked["id"].cast(int), asked["text"].str.len_bytes()):
        whole = frame["id"].cast(int) if column.name == "id" else frame["text"].str.len_bytes()
        quarters = [sum(a < x <= b for x in column) for a, b in _quarters(whole.to_list())]
        assert all(6 <= number <= 14 for number in quarters), quarters


def _quarters(values: list[int]) -> list[tuple[float, float]]:
    cuts = [-1.0, *(float(sorted(values)[len(values) * part // 4 - 1]) for part in (1, 2, 3, 4))]
    return list(pairwise(cuts))


def test_the_second_step_waits_and_is_told_as_the_most_it_can_be(gateway: Callable[..., Sandbox]) -> None:
    gateway()
    write(texts(60))
    both = pipeline(steps=[STEP, {**STEP, "name": "again", "input": ["mood"], "columns": {"n": "INTEGER"}}])
    plan = ob.plan(both)
    assert (plan.steps[1].waiting, plan.steps[1].calls, plan.calls) == (60, 60, 120)
    assert "at most 60 calls" in str(plan)
    assert "follows from its answers" in str(plan)
    piloted = ob.plan(both, pilot=10)
    assert piloted.steps[0].known == 10
    assert piloted.steps[1].known == 2, "good and bad"
    assert piloted.cost is not None


def test_a_plan_as_json_is_one_object(gateway: Callable[..., Sandbox], program: Program) -> None:
    gateway()
    write(texts(30))
    Path("planned.toml").write_text(PIPELINE)
    said = json.loads(program("plan", "planned.toml", "--json", "--pilot", "10").stdout)
    assert (said["rows"], said["new"], said["known"], said["calls"]) == (30, 20, 10, 20)
    for name in ("cost", "seconds"):
        assert list(said[name]) == ["low", "expected", "high"]
        assert 0 <= said[name]["low"] <= said[name]["expected"] <= said[name]["high"]
    assert {"changed", "folded", "failed", "basis", "warnings"} <= said.keys()
    text = program("plan", "planned.toml").stdout
    assert text.count('"mood"') == 2, "the schema is shown once: a property, and required"
    assert "sends text, keeps id here" in text


def test_a_large_request_is_shown_in_few_lines_and_told_whole_as_json(
    gateway: Callable[..., Sandbox], program: Program
) -> None:
    gateway()
    Path("rows.csv").write_text(f"id,text\n1,{'long ' * 4000}\n")
    columns = "".join(f"c{n} = {{ type = 'VARCHAR', description = '{'x' * 200}' }}\n" for n in range(40))
    Path("planned.toml").write_text(PIPELINE + columns)
    shown = program("plan", "planned.toml").stdout.partition("(POST /v3/call)")[2].splitlines()
    assert len(shown) <= 33
    assert max(map(len, shown)) <= 110
    assert '    "text": "long long ' in "\n".join(shown)
    assert shown[-1] == "(… is cut here; plan --json holds all of it)"
    whole = json.loads(program("plan", "planned.toml", "--json").stdout)["steps"][0]["first_request"]
    assert json.loads(whole)["input"]["text"] == "long " * 4000


def test_a_run_starts_only_where_the_upper_end_is_allowed(
    gateway: Callable[..., Sandbox], program: Program
) -> None:
    sandbox = gateway()
    write(texts(30))
    Path("planned.toml").write_text(PIPELINE)
    plan = ob.plan(pipeline(), pilot=20)
    asked = len(sandbox.journal.calls)
    assert plan.cost is not None
    said = program.json("run", "planned.toml", "--yes-up-to", f"{plan.cost.expected:.9f}")
    assert said["exit"] == 3
    assert "nothing was called" in str(said["stopped"])
    assert len(sandbox.journal.calls) == asked
    assert program.json("run", "planned.toml", "--yes-up-to", f"{1.001 * plan.cost.high:.9f}")["exit"] == 0
    with pytest.raises(ob.RunStopped, match="cannot be told before"):
        ob.run(pipeline(name="modelless", steps=[{**STEP, "model": None}]), yes_up_to=5)


def test_a_model_that_is_unknown_or_retired_is_told_with_what_to_take_instead(
    gateway: Callable[..., Sandbox],
) -> None:
    gateway()
    write(["a"])
    models = ["openai/gpt-3.5-turbo", "openai/gpt-4o-mimi", "anthropic/claude-haiku-4-5"]
    (retired, unknown) = ob.plan(pipeline(steps=[{**STEP, "model": models}])).warnings
    assert "was retired at 2026-01-31" in retired
    assert f"its successor is {MODEL}" in retired
    assert (
        f"openai/gpt-4o-mimi is not among the 63 models that the gateway lists; the nearest is {MODEL}"
        in unknown
    )


def test_without_a_network_it_says_that_it_could_not_check(here: Path) -> None:
    write(["a"])
    plan = ob.plan(pipeline(), base_url="http://127.0.0.1:9")
    (warning,) = plan.warnings
    assert f"whether the gateway offers {MODEL} could not be checked" in warning
    assert plan.cost is None
    assert plan.as_json()["cost"] == {"low": None, "expected": None, "high": None}


def test_a_price_is_set_right_by_what_answers_were_seen_to_cost(gateway: Callable[..., Sandbox]) -> None:
    gateway()
    write(texts(20))
    ob.run(pipeline())
    reworded = ob.plan(pipeline(steps=[{**STEP, "instructions": "Read it in another way."}]))
    assert "times 1.00, as answers were seen to cost" in reworded.basis


def test_a_cap_that_stops_the_run_is_told_with_where(gateway: Callable[..., Sandbox]) -> None:
    gateway()
    write(texts(100))
    plan = ob.plan(pipeline(), pilot=20)
    assert plan.cost is not None
    half = ob.plan(pipeline(), max_cost=20 / 80 * plan.cost.expected + plan.cost.expected / 2)
    (warning,) = half.warnings
    assert "stops the run after about" in warning
    assert 30 < int(warning.split("about ")[1].split()[0]) < 50


def test_a_second_pilot_calls_nothing_whatever_else_the_ledger_holds(
    here: Path, gateway: Callable[..., Sandbox]
) -> None:
    sandbox = gateway()
    Path("rows.csv").write_text("text\n" + "".join(f"matter {n}\n" for n in range(200)))
    steps = [{"name": name, "input": ["text"], "columns": {name: ["x", "y"]}} for name in ("one", "two")]
    both = ob.Pipeline(name="both", source={"path": "rows.csv"}, steps=steps)
    changed = both.model_copy(
        update={
            "steps": ob.Pipeline(
                name="both",
                source={"path": "rows.csv"},
                steps=[{**step, "instructions": "Anew."} for step in steps],
            ).steps
        }
    )
    for pipeline in (both, changed):
        ob.plan(pipeline, pilot=20)
        asked = len(sandbox.journal.calls)
        again = ob.plan(pipeline, pilot=20)
        assert len(sandbox.journal.calls) == asked
        assert again.basis.count("20 earlier answers") == 2
