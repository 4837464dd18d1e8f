"""The main job on the sample tickets: every row answered for, types as declared, and nothing asked twice."""

from __future__ import annotations

import csv
import datetime
from collections.abc import Callable
from pathlib import Path

import polars
import pyarrow as pa
import pyarrow.parquet
import pytest

import opper_batch as ob
from opper_batch.sandbox import Sandbox

TICKETS = "sample_data/support_tickets.csv"
PIPELINE = "pipelines/ticket_triage.toml"


@pytest.fixture
def triage(examples: Path) -> ob.Pipeline:
    return ob.load(PIPELINE)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True))


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_every_row_comes_out_in_order_with_the_declared_types(triage: ob.Pipeline) -> None:
    run = ob.run(triage, sandbox=True)

    table = pa.parquet.read_table("out/tickets.sandbox.parquet")
    source = rows_of(Path(TICKETS))
    assert table.num_rows == len(source) >= 200
    assert table["ticket_id"].to_pylist() == [row["ticket_id"] for row in source]
    assert table["body"].to_pylist() == [row["body"] or None for row in source]
    assert set(table["triage_status"].to_pylist()) == {"ok"}
    for field in triage.steps[0].columns.arrow:
        assert table.schema.field(field.name).type == field.type
    assert table.schema.field("refund").type == pa.decimal128(10, 2)
    assert table.schema.field("priority").type == pa.int8()
    assert set(table["priority"].to_pylist()) <= {1, 2, 3, 4, 5}
    assert all(isinstance(due, datetime.date | None) for due in table["due"].to_pylist())
    assert polars.from_arrow(table).equals(run.frame)


def test_the_sums_reconcile_with_what_the_gateway_says(
    triage: ob.Pipeline, gateway: Callable[..., Sandbox]
) -> None:
    sandbox = gateway()
    run = ob.run(triage)
    counts = run.summary.counts

    assert counts.rows == counts.ok + counts.failed + counts.skipped
    assert sum(run.frame["triage_cost"].to_list()) == pytest.approx(sandbox.journal.spent)
    assert run.cost == pytest.approx(sandbox.journal.spent)
    assert run.summary.totals.calls == len(sandbox.journal.calls)


def test_equal_inputs_are_asked_once_and_each_row_is_told_so(
    triage: ob.Pipeline, gateway: Callable[..., Sandbox]
) -> None:
    sandbox = gateway()
    frame = ob.run(triage).frame
    asked = {(row["subject"], row["body"]) for row in rows_of(Path(TICKETS))}

    assert len(sandbox.journal.calls) == len(asked) < frame.height
    folded = frame.filter(polars.col("triage_cached"))
    assert folded.height == frame.height - len(asked)
    assert set(folded["triage_cost"]) == {0.0}
    assert frame["triage_key"].n_unique() == len(asked)


def test_a_second_run_makes_no_call_and_publishes_the_same_answers(
    triage: ob.Pipeline, gateway: Callable[..., Sandbox]
) -> None:
    sandbox = gateway()
    first = ob.run(triage)
    calls = len(sandbox.journal.calls)
    again = ob.run(triage)

    assert len(sandbox.journal.calls) == calls
    assert again.summary.totals.calls == 0
    answers = triage.steps[0].columns.names
    assert again.frame.select(answers).equals(first.frame.select(answers))
    assert again.frame["triage_cost"].equals(first.frame["triage_cost"])
    assert again.frame["triage_cached"].all()


def test_ten_changed_and_five_new_rows_make_fifteen_calls(
    triage: ob.Pipeline, gateway: Callable[..., Sandbox]
) -> None:
    sandbox = gateway()
    ob.run(triage)
    before = len(sandbox.journal.calls)
    rows = rows_of(Path(TICKETS))
    pairs = [(row["subject"], row["body"]) for row in rows]
    single = [row for row, pair in zip(rows, pairs, strict=True) if pairs.count(pair) == 1]
    for row in single[3:200:20]:
        row["body"] += " Please hurry."
    rows += [{**rows[0], "ticket_id": f"N-{number}", "body": f"New matter {number}"} for number in range(5)]
    write_rows(Path(TICKETS), rows)

    run = ob.run(triage)
    assert len(sandbox.journal.calls) - before == run.summary.totals.calls == 15
    assert run.frame.height == len(rows)


def test_a_changed_prompt_asks_every_row_anew_and_the_old_answers_stay_known(
    triage: ob.Pipeline, gateway: Callable[..., Sandbox]
) -> None:
    sandbox = gateway()
    ob.run(triage, limit=20)
    calls = len(sandbox.journal.calls)
    step = triage.steps[0].model_copy(update={"instructions": "Triage it differently."})
    ob.run(triage.model_copy(update={"steps": (step,)}), limit=20)
    assert len(sandbox.journal.calls) == 2 * calls

    ob.run(triage, limit=20)
    assert len(sandbox.journal.calls) == 2 * calls


def test_refresh_asks_anew_and_once_for_equal_rows(
    triage: ob.Pipeline, gateway: Callable[..., Sandbox]
) -> None:
    sandbox = gateway()
    ob.run(triage)
    calls = len(sandbox.journal.calls)
    run = ob.run(triage, refresh=True)
    assert len(sandbox.journal.calls) == 2 * calls
    assert run.frame["triage_cached"].sum() == run.frame.height - calls


def test_failed_rows_are_asked_again_unless_told_not_to(
    triage: ob.Pipeline, gateway: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking = gateway(schema_breaking=1.0)
    run = ob.run(triage, limit=10)
    assert run.counts.failed == 10
    assert run.frame["priority"].null_count() == 10
    assert all("answer does not fit" in reason for reason in run.frame["triage_error"])
    assert len(breaking.journal.calls) == 20, "each row is asked for a repair once"

    calls = len(breaking.journal.calls)
    ob.run(triage, limit=10, retry_failed=False)
    assert len(breaking.journal.calls) == calls
    ob.run(triage, limit=10)
    assert len(breaking.journal.calls) == 2 * calls


def test_the_sandbox_writes_neither_ledger_nor_output_of_a_real_run(
    triage: ob.Pipeline, gateway: Callable[..., Sandbox]
) -> None:
    ob.run(triage, sandbox=True)
    assert not Path("out/tickets.parquet").exists()
    real = gateway()
    ob.run(triage)
    assert len(real.journal.calls) == 234, "what the sandbox answered counts for nothing"
    metadata = pa.parquet.read_schema("out/tickets.sandbox.parquet").metadata
    assert metadata[b"opper_batch.sandbox"] == b"synthetic answers"
    assert b"opper_batch.sandbox" not in pa.parquet.read_schema("out/tickets.parquet").metadata
