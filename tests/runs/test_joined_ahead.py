"""Rows are joined while others are still asked: the same result, in bounded memory, with little left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

import opper_batch as ob
from opper_batch.ledger import Ledger
from opper_batch.records import Call, Outcome
from opper_batch.runs import publish
from opper_batch.runs.options import Options
from opper_batch.runs.publish import Projector
from opper_batch.runs.setting import Setting, resolve

ROWS = 3_000


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setting:
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text("id,text\n" + "".join(f"{n},text {n % 2900}\n" for n in range(ROWS)))
    pipeline = ob.Pipeline(
        name="ahead",
        source={"path": "rows.csv"},
        steps=[{"name": "look", "input": ["text"], "columns": {"note": "VARCHAR"}}],
    )
    return resolve(pipeline, Options(base_url="http://127.0.0.1:9"))


@pytest.fixture
def ledger(setting: Setting) -> Iterator[Ledger]:
    with Ledger(setting.ledger_path) as ledger:
        ledger.begin(origin=setting.origin, options={})
        yield ledger


def answer(ledger: Ledger, setting: Setting, rows: range) -> None:
    """Every seventh of these rows fails, the others have an answer."""
    (step,) = setting.steps
    journal = ledger.journal(step=step.name, digest=step.template.digest, fields={})
    table = pa.Table.from_batches(setting.source.batches()).slice(rows.start, len(rows)).combine_chunks()
    calls = step.questions(table.to_batches()[0], [True] * len(rows), first_row=rows.start + 1)

    async def record(number: int, call: Call | None) -> None:
        assert call
        error = "no" if number % 7 == 0 else None
        reply = json.dumps({"data": {"note": f"note {number}"}}).encode()
        await journal.record(Outcome(call.key, error, reply, attempts=1))

    async def every() -> None:
        await asyncio.gather(*map(record, rows, calls))

    asyncio.run(every())


def whole(projector: Projector) -> pa.Table:
    return pa.Table.from_batches(projector.batches(), projector.schema)


def test_what_is_joined_ahead_is_what_is_joined_at_the_end(setting: Setting, ledger: Ledger) -> None:
    with ledger.view() as view:
        projector = Projector(setting, view, run=ledger.run)
        for start in range(0, 2_900, 290):
            answer(ledger, setting, range(start, start + 290))
            projector.ahead(start + 290)
        ahead = projector.rows
        assert 2_000 < ahead <= 2_900
        table, later = whole(projector), Projector(setting, view, run=ledger.run)
        assert table.equals(whole(later))
        assert projector.counts == later.counts
        assert (projector.counts.rows, projector.counts.folded) == (ROWS, 100)


def test_nothing_is_joined_before_it_is_settled(setting: Setting, ledger: Ledger) -> None:
    with ledger.view() as view:
        projector = Projector(setting, view, run=ledger.run)
        answer(ledger, setting, range(100))
        projector.ahead(100)
        assert projector.rows == 0, "too few to be worth it"
        answer(ledger, setting, range(100, 1_000))
        projector.ahead(1_000)
        assert 0 < projector.rows <= 1_000
        assert projector.counts.skipped == 0


def test_no_more_is_kept_than_fits_into_memory(
    setting: Setting, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "_AHEAD_BYTES", 50_000)
    answer(ledger, setting, range(2_900))
    with ledger.view() as view:
        projector = Projector(setting, view, run=ledger.run)
        projector.ahead(2_900)
        assert 0 < projector.rows < 2_000
        assert whole(projector).num_rows == ROWS
