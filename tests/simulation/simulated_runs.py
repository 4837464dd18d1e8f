"""Whole runs in virtual time: killed, stopped and run again until every row is settled."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from unittest.mock import patch

import pyarrow as pa
from simulated_gateway import URL, Asked, SimulatedGateway, note, question
from simulated_scenario import Scenario
from slow_disk import SlowLedger, left_by_a_kill
from virtual_time import Clock, Turns, VirtualLoop

from opper_batch.client.downloads import Downloads
from opper_batch.pipeline import Pipeline
from opper_batch.runs.execution import Ended, execute
from opper_batch.runs.options import Options
from opper_batch.runs.setting import resolve
from opper_batch.runs.world import World

NAME = "simulated"
COLUMNS = {"tag": ["a", "b", "c"], "note": "VARCHAR"}
# The longest that one run may take: operations that never end take half an hour, calls are tried for an hour,
# and a gateway that answers two at once and forgets every tenth for ten minutes takes its time.
LONGEST = 12 * 3600.0
_MOST_RUNS = 24


@dataclass
class Held:
    """What a ledger held: questions that have a good answer, those pending, those in doubt."""

    answered: frozenset[str] = frozenset()
    pending: frozenset[str] = frozenset()
    in_doubt: frozenset[str] = frozenset()
    ended: frozenset[str] = frozenset()  # with any final outcome
    answers: dict[str, str] = field(default_factory=dict)  # which answer each row has: its note


@dataclass
class Run:
    """One run: when, what the ledger held before and after, how it ended; ``ended`` None when killed."""

    began: float
    before: Held
    cap: float | None
    deadline: float | None = None
    ended: Ended | None = None
    over: float = 0.0
    after: Held = field(default_factory=Held)
    killed: str = ""


class Simulation:
    """Runs the scenario to its end in ``folder``; then what happened is here to be judged."""

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self.scenario, self.folder = scenario, folder
        self.clock = Clock()
        self.gateway = SimulatedGateway(scenario, self.clock, self._happened)
        self.runs: list[Run] = []
        self.pipeline = _pipeline(scenario)
        self._chance = Random(f"world {scenario.seed}")
        self._state = folder / "state-0"
        self._loop: VirtualLoop | None = None
        self._kill = ("", 0.0)
        self._counts: dict[str, int] = {}
        environment = {"OPPER_API_KEY": "op-simulated-key", "OPPER_BATCH_LIMITS": str(folder / "limits")}
        with patch.dict(os.environ, environment):
            self._questions = self._keys()
            self._through()

    @property
    def journal(self) -> list[Asked]:
        return self.gateway.journal

    def _through(self) -> None:
        for number in range(_MOST_RUNS):
            self._run(number)
            run = self.runs[-1]
            # What was pending may have failed just now; the next run asks that anew.
            if run.ended and run.ended.error is None and self.gateway.calm and not run.before.pending:
                return
            self.clock.now += self._chance.choice((0.0, 1.0, 100.0, 2000.0))
            killed = number < len(self.scenario.kills)
            if (run.ended and run.ended.error is None) or number >= len(self.scenario.kills) + 5:
                self.gateway.calm = not killed

    def _run(self, number: int) -> None:
        scenario = self.scenario
        calm = self.gateway.calm
        cap = None if calm or scenario.cap is None else scenario.cap * (1 + number // 3)
        deadline = None if calm else scenario.deadline
        options = Options(
            base_url=URL,
            state_dir=self._state,
            concurrency=scenario.concurrency,
            requests_per_minute=scenario.requests_per_minute,
            max_cost=cap,
            deadline=deadline,
            trace=False,  # it goes over the real network
        )
        self.gateway.run, self.gateway.dead, self.gateway.inside = number, False, 0
        self._kill = scenario.kills[number] if number < len(scenario.kills) else ("", 0.0)
        self._counts = {}
        run = Run(self.clock.now, self._held(), cap, deadline)
        self.runs.append(run)
        self.clock.end = self.clock.now + LONGEST
        ended = execute(self.pipeline, options, world=self._world())
        run.over = self.clock.now
        if run.killed:
            self._state = self.folder / f"state-{len(self.runs)}"
        else:
            run.ended = ended
        run.after = self._held()

    def _world(self) -> World:
        return World(
            clock=self.clock,
            chance=self._chance.random,
            network=lambda **_: self.gateway,
            downloads=partial(Downloads, transport=self.gateway.files),
            ledger=self._ledger,
            loop=self._new_loop,
            handed=lambda: self._turns,
        )

    def _new_loop(self) -> VirtualLoop:
        self._turns = Turns()  # each step has an engine of its own
        self._loop = VirtualLoop(self.clock, self._turns)
        if self._kill[0] == "time":
            self._loop.call_later(self._kill[1], self._dies)
        return self._loop

    def _ledger(self, path: Path) -> SlowLedger:
        return SlowLedger(
            path,
            self._chance,
            self.scenario.slow_disk,
            lambda: self._happened("before commit"),
            lambda: self._happened("after commit"),
        )

    def _happened(self, what: str) -> None:
        self._counts[what] = self._counts.get(what, 0) + 1
        if self._kill == (what, self._counts[what]):
            self._dies()

    def _dies(self) -> None:
        """The process is killed: the disk is as it is, and the gateway never hears of this run again."""
        run = self.runs[-1]
        if run.killed:
            return
        assert self._loop
        run.killed = f"{self._kill[0]} {self._kill[1]:g}"
        left_by_a_kill(self._state, self.folder / f"state-{len(self.runs)}")
        self.gateway.dead = True
        self._loop.stop()

    # What the ledger holds, read without the product.

    def _held(self) -> Held:
        path = self._state / f"{NAME}.ledger"
        if not path.exists():
            return Held()
        with closing(sqlite3.connect(path)) as connection:
            read = lambda text: connection.execute(text).fetchall()  # noqa: E731
            if not read("SELECT 1 FROM sqlite_master WHERE name = 'totals'"):
                return Held()
            replies = read("SELECT key, reply FROM outcomes WHERE ok AND final")
            pending = read("SELECT key FROM pending")
            in_doubt = read("SELECT key FROM intents")
            ended = read("SELECT key FROM outcomes WHERE final")
        answers = {self._questions[key]: note(json.loads(reply)["data"]) for key, reply in replies}
        named = lambda rows: frozenset(self._questions[row[0]] for row in rows)  # noqa: E731
        return Held(named(replies), named(pending), named(in_doubt), named(ended), answers)

    def _keys(self) -> dict[bytes, str]:
        """Which question each key stands for."""
        setting = resolve(self.pipeline, Options(base_url=URL, state_dir=self._state))
        found: dict[bytes, str] = {}
        texts = [text for text in _texts(self.scenario) for _ in "abc"]
        batch = pa.record_batch({"text": texts, "tag": list("abc") * self.scenario.rows})
        for step in setting.steps:
            for call in step.questions(batch, [True] * batch.num_rows, first_row=1):
                assert call
                name = step.template.fields["name"]
                found[call.key] = question(name, json.loads(call.input))
        return found


def _texts(scenario: Scenario) -> list[str]:
    return [f"matter {number % scenario.distinct}" for number in range(scenario.rows)]


def _pipeline(scenario: Scenario) -> Pipeline:
    steps = [{"name": "first", "instructions": "Tag the text.", "input": ["text"], "columns": COLUMNS}]
    if scenario.steps == 2:
        columns = dict(zip(("tag2", "note2"), COLUMNS.values(), strict=True))
        steps.append({"name": "second", "input": ["tag", "text"], "columns": columns})
    table = pa.table({"id": range(scenario.rows), "text": _texts(scenario)})
    return Pipeline(name=NAME, source={"table": table}, steps=steps)
