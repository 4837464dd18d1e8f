"""The examples for Airflow, Dagster and Prefect, run by them: only what can go on is tried again.

Each needs an environment of its own, since they do not go together: ``pip install '.[test,test-airflow]'``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import opper_batch as ob
from opper_batch.sandbox import Sandbox

pytestmark = pytest.mark.timeout(300)  # they take their time to begin


@dataclass(frozen=True)
class Orchestrator:
    """How an example is run: its file without the wait before a retry, and code that runs it once."""

    library: str
    example: str
    wait: tuple[str, str]
    run: str
    before: tuple[tuple[str, ...], ...] = ()


AIRFLOW = Orchestrator(
    "airflow",
    "airflow_dag.py",
    ("minutes=15", "seconds=0"),
    """
run = example.this.test()
(ti,) = run.get_task_instances()
said(run.state == "success", ti.xcom_pull("enrich", run_id=run.run_id) if run.state == "success" else None)
""",
    (("-m", "airflow", "db", "migrate"), ("-m", "airflow", "dags", "reserialize")),
)
DAGSTER = Orchestrator(
    "dagster",
    "dagster_assets.py",
    ("15 * 60", "0"),
    """
import dagster
example.definitions.resolve_schedule_def("nightly")
result = dagster.materialize([example.products], raise_on_error=False)
made = result.asset_materializations_for_node("products") if result.success else []
said(result.success, {name: value.value for event in made for name, value in event.metadata.items()})
""",
)
PREFECT = Orchestrator(
    "prefect",
    "prefect_flow.py",
    ("15 * 60", "0"),
    """
from prefect.testing.utilities import prefect_test_harness
with prefect_test_harness(server_startup_timeout=100):
    state = example.catalog(return_state=True)
    said(state.is_completed(), state.result() if state.is_completed() else None)
""",
)
HEAD = """
import json, sys
import example
def said(ok, numbers):
    print("SAID " + json.dumps({"ok": ok, "numbers": numbers}))
"""


@pytest.fixture(params=[AIRFLOW, DAGSTER, PREFECT], ids=lambda one: one.library)
def nightly(request: pytest.FixtureRequest, examples: Path) -> Callable[[], dict[str, Any]]:
    """Runs the example once, in a process of its own, and gives what came of it."""
    orchestrator: Orchestrator = request.param
    if find_spec(orchestrator.library) is None:
        pytest.skip(f"{orchestrator.library} is not installed: pip install '.[test-{orchestrator.library}]'")
    home = examples / "home"
    (home / "dags").mkdir(parents=True)
    text = (examples / "pipelines/schedules" / orchestrator.example).read_text()
    assert text.count(orchestrator.wait[0]) == 1
    (home / "dags/example.py").write_text(text.replace(*orchestrator.wait))

    def python(*arguments: str) -> str:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(home / "dags"), str(Path(ob.__file__).parents[1])]),
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "DAGSTER_HOME": str(home),
            "PREFECT_HOME": str(home),
            "DO_NOT_TRACK": "1",
        }
        ended = subprocess.run(
            [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=240
        )
        assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
        return ended.stdout

    def run() -> dict[str, Any]:
        for arguments in orchestrator.before:
            python(*arguments)
        lines = python("-c", HEAD + orchestrator.run).splitlines()
        found: dict[str, Any] = json.loads(
            next(line for line in lines if line.startswith("SAID ")).removeprefix("SAID ")
        )
        return found

    return run


def test_a_night_gives_its_numbers_and_the_next_one_has_nothing_to_ask(
    nightly: Callable[[], dict[str, Any]], gateway: Callable[..., Sandbox]
) -> None:
    sandbox = gateway()
    said = nightly()
    assert said["ok"]
    numbers = said["numbers"]
    calls = len(sandbox.journal.calls)
    assert (numbers["rows"], numbers["calls"]) == (62, calls)
    cost = numbers.get("cost_usd", numbers.get("cost"))
    assert cost == pytest.approx(sandbox.journal.spent)
    ob.run("pipelines/product_catalog.toml")
    assert len(sandbox.journal.calls) == calls


@pytest.mark.parametrize(
    ("script", "tries"), [({"budget": 0.0}, 4), ({"reject_key": "string"}, 1)], ids=["exit 3", "exit 4"]
)
def test_what_can_go_on_is_tried_again_and_a_refused_key_is_not(
    nightly: Callable[[], dict[str, Any]],
    gateway: Callable[..., Sandbox],
    script: dict[str, Any],
    tries: int,
) -> None:
    sandbox = gateway(**script)
    assert not nightly()["ok"]
    assert len(sandbox.journal.calls) == tries
