"""The ledger against a model of it: whatever is done in whatever order, killed at any moment in between."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from ledger_model import Model, read
from ledger_values import intend

from opper_batch.errors import MachineError
from opper_batch.ledger import Journal, Ledger, View, lock, rescue
from opper_batch.protocol import Template
from opper_batch.records import Outcome, Reply, Usage

MEMORY = Path("/dev/shm")
ROWS = range(5)
PROMPTS = [Template({"name": "f", "instructions": f"Do {n}."}, origin="sandbox") for n in range(2)]
VERSIONS = range(3)

rows = st.sampled_from(ROWS)
costs = st.sampled_from([None, 0.0, 0.25, 0.5])
counts = st.integers(0, 3)
usages = st.builds(Usage, costs, st.sampled_from([None, 7]), st.sampled_from([None, 0, 3]))
replies = st.sampled_from([b'{"data":1}', b'{"data":2}', b"\xff\x00"])


class Ledgers(RuleBasedStateMachine):
    """A table of five rows and a prompt, both of which change; calls of them in run after run."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
        self.loop = asyncio.new_event_loop()
        self.model = Model()
        self.versions = dict.fromkeys(ROWS, 0)
        self.prompt = 0
        self.moved = 0
        self.abandoned: list[Ledger] = []
        self.open()

    # Runs.

    def open(self) -> None:
        self.path = self.folder / str(self.moved) / "rows.ledger"
        self.ledger = Ledger(self.path)
        self.view = self.ledger.view()
        self.begin()

    def begin(self) -> None:
        self.model.run = self.ledger.begin(origin="sandbox", options={})
        self.write_to(self.prompt)

    def write_to(self, prompt: int) -> None:
        template, self.prompt = PROMPTS[prompt], prompt
        self.journal: Journal = self.ledger.journal(step="s", digest=template.digest, fields=template.fields)

    def key(self, row: int) -> bytes:
        return PROMPTS[self.prompt].key(f'{{"row":{row},"version":{self.versions[row]}}}'.encode())

    def do(self, *writes: Coroutine[Any, Any, None]) -> None:
        async def together() -> None:
            await asyncio.gather(*writes)

        self.loop.run_until_complete(together())

    @rule()
    def stops_and_runs_again(self) -> None:
        self.ledger.finish(exit_code=3, published=False, rows=5, summary={})
        self.close()
        self.open()

    @rule()
    def publishes_and_runs_again(self) -> None:
        self.ledger.finish(exit_code=0, published=True, rows=5, summary={})
        self.model.published = self.model.run
        self.close()
        self.open()

    @rule()
    def is_killed_and_runs_again(self) -> None:
        """The next process finds the files as they are: nothing was closed, the log is not folded in."""
        self.view.close()
        self.abandoned.append(self.ledger)
        self.moved += 1
        here, there = self.path.parent, self.folder / str(self.moved)
        there.mkdir(mode=0o700)
        for name in ("rows.ledger", "rows.ledger-wal", "rows.ledger.lock"):
            shutil.copy(here / name, there)
        self.open()

    @rule()
    def is_run_twice_at_once(self) -> None:
        with pytest.raises(MachineError, match="held by another run"):
            Ledger(self.path)

    # The table and the prompt.

    @rule(row=rows, version=st.sampled_from(VERSIONS))
    def a_row_changes(self, row: int, version: int) -> None:
        self.versions[row] = version

    @rule(prompt=st.sampled_from(range(len(PROMPTS))))
    def the_prompt_changes(self, prompt: int) -> None:
        self.write_to(prompt)

    # Calls.

    @rule(asked=st.sets(rows, min_size=1))
    def calls_leave(self, asked: set[int]) -> None:
        self.do(*(intend(self.journal, self.key(row)) for row in asked))
        for row in asked:
            self.model.intend(self.key(row))

    @rule(row=rows)
    def a_call_is_refused(self, row: int) -> None:
        self.do(self.journal.retract(self.key(row)))
        self.model.retract(self.key(row))

    @rule(answered=st.sets(rows, min_size=1), usage=usages, reply=replies, attempts=counts, unpriced=counts)
    def answers_come(
        self, answered: set[int], usage: Usage, reply: bytes, attempts: int, unpriced: int
    ) -> None:
        outcomes = [
            Outcome(
                self.key(row),
                None,
                reply,
                usage=usage,
                attempts=attempts,
                unpriced=unpriced,
                latency_ms=100 + row,
            )
            for row in answered
        ]
        self.do(*(self.journal.record(outcome) for outcome in outcomes))
        for outcome in outcomes:
            self.model.record(outcome, prompt=self.prompt, final=True)

    @rule(row=rows, usage=usages, final=st.booleans(), reply=st.none() | replies, throttled=counts)
    def a_call_fails(self, row: int, usage: Usage, final: bool, reply: bytes | None, throttled: int) -> None:
        """For good, or to be asked again."""
        outcome = Outcome(self.key(row), "no", reply, usage=usage, attempts=1, throttled=throttled)
        self.do(self.journal.record(outcome, final=final))
        self.model.record(outcome, prompt=self.prompt, final=final)

    @rule(row=rows, reply=replies)
    def a_202_comes(self, row: int, reply: bytes) -> None:
        self.do(self.journal.pend(self.key(row), Reply(reply)))
        self.model.pend(self.key(row), reply)

    @precondition(lambda self: self.model.pending)
    @rule(row=rows, usage=usages, begun=st.none() | replies)
    def a_202_does_not_end_in_time(self, row: int, usage: Usage, begun: bytes | None) -> None:
        outcome = Outcome(self.key(row), "late", None, usage=usage, attempts=1)
        self.do(self.journal.record(outcome, still_pending=True, begun=begun))
        self.model.record(outcome, prompt=self.prompt, final=True, still_pending=True, begun=begun)

    # What is read.

    @invariant()
    def the_table_is_what_the_model_says(self) -> None:
        keys = [self.key(row) for row in ROWS]
        assert self.view.settled(keys) == self.model.settled(keys)
        assert read(self.view.lookup(keys)) == self.model.lookup(keys)
        assert self.view.pending(keys) == {
            key: self.model.pending[key] for key in keys if key in self.model.pending
        }

    @invariant()
    def the_numbers_are_what_the_model_says(self) -> None:
        model, view = self.model, self.view
        assert (view.in_doubt(), view.spent()) == (model.in_doubt(), model.spent())
        assert view.pending_calls() == len(model.pending)
        assert view.totals(run=model.run) == model.totals(run=model.run)
        number = view.template(PROMPTS[self.prompt].digest)
        assert view.totals(template=number) == model.totals(prompt=self.prompt)

    def close(self) -> None:
        self.view.close()
        self.ledger.close()

    def teardown(self) -> None:
        everything = [self.key(row) for row in ROWS]
        with View(self.path) as another:
            assert read(another.lookup(everything)) == self.model.lookup(everything)
        self.close()
        for ledger in self.abandoned:
            ledger.close()
        self.loop.close()
        shutil.rmtree(self.folder)


def compared(examples: int) -> None:
    checks = settings(
        max_examples=examples,
        stateful_step_count=50,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Ledgers, settings=checks)


@pytest.fixture(autouse=True)
def quick_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rescue, "RESERVE_BYTES", 4096)  # it is made anew at every step that is a run
    monkeypatch.setattr(lock, "_MOMENT_SECONDS", 0.0)  # nobody who looks at a lock holds it for a moment


def test_the_ledger_is_what_its_model_says() -> None:
    compared(50)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_ledger_is_what_its_model_says_at_length() -> None:
    compared(500)
