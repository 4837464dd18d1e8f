"""What is new in a source: rows at or after a mark, and those without a value."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import opper_batch as ob
from opper_batch.sources import SinceRows, Source, open_source
from opper_batch.sources.since import scalar_of, text_of

KINDS = [
    pa.int16(),
    pa.uint64(),
    pa.date32(),
    pa.date64(),
    *(pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC", "Asia/Tokyo")),
]


def taken(source: Source, mark: str | None, column: str = "at") -> list[Any]:
    rows = SinceRows(source, column, mark)
    checked = rows.check()
    ids = [number for batch in rows.batches(2) for number in batch.column("id").to_pylist()]
    assert checked.rows == len(ids)
    assert all(batch.num_rows for batch in rows.batches(2))
    return [int(number) for number in ids]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@settings(deadline=None)
@given(number=st.integers(0, 2**14))
def test_a_mark_is_kept_without_loss_whatever_its_type(kind: pa.DataType, number: int) -> None:
    if pa.types.is_date64(kind):
        number *= 86_400_000
    value = pa.scalar(number, pa.int64()).cast(pa.int32() if kind == pa.date32() else pa.int64()).cast(kind)
    assert scalar_of(text_of(value), kind) == value


@pytest.mark.parametrize("form", ["csv", "parquet", "jsonl", "sql"])
def test_rows_at_the_mark_and_rows_without_a_value_are_taken_from_every_kind_of_source(
    here: Path, form: str
) -> None:
    at = [datetime(2026, 9, day) for day in (1, 2, 2, 3)]
    frame = polars.DataFrame({"id": [1, 2, 3, 4, 5], "at": [*at, None]})
    frame.write_parquet("rows.parquet")
    frame.write_csv("rows.csv", datetime_format="%Y-%m-%d %H:%M:%S")
    frame.with_columns(polars.col("at").dt.to_string("iso")).write_ndjson("rows.jsonl")
    source = {
        "csv": lambda: open_source(path="rows.csv", types={"at": "TIMESTAMP"}),
        "parquet": lambda: open_source(path="rows.parquet"),
        "jsonl": lambda: open_source(path="rows.jsonl", types={"at": "TIMESTAMP"}),
        "sql": lambda: open_source(sql="SELECT * FROM 'rows.parquet'"),
    }[form]()
    assert taken(source, None) == [1, 2, 3, 4, 5]
    assert taken(source, "2026-09-02 00:00:00") == [2, 3, 4, 5]
    assert taken(source, "2026-09-02T00:00:00.000001") == [4, 5]
    assert taken(source, "2026-09-04") == [5]
    rows = SinceRows(source, "at", "2026-09-02")
    rows.check()
    assert (rows.of, rows.nulls, (rows.latest or "")[:19]) == (5, 1, "2026-09-03 00:00:00")


def test_one_wrong_date_does_not_hide_the_rows_after_it() -> None:
    tomorrow = date.today() + timedelta(days=700)
    table = pa.table({"id": [1, 2, 3], "at": [date(2026, 1, 1), tomorrow, date(2026, 1, 2)]})
    rows = SinceRows(open_source(table=table), "at", None)
    rows.check()
    assert (rows.latest, rows.future) == ("2026-01-02", 1)


def test_moments_are_compared_as_moments() -> None:
    at = [datetime(2026, 9, 1, 12, tzinfo=UTC), datetime(2026, 9, 1, 13, tzinfo=UTC)]
    table = pa.table({"id": [1, 2], "at": pa.array(at, pa.timestamp("us", "Asia/Tokyo"))})
    assert taken(open_source(table=table), "2026-09-01T22:00:00+09:00") == [2]
    assert taken(open_source(table=table), "2026-09-01 13:00") == [2]


@pytest.mark.parametrize(
    ("column", "values", "mark", "said"),
    [
        ("at", ["2026-01-01"], None, "declare it under"),
        ("at", [1.5], None, "is double"),
        ("seen", [1], None, "has no column 'seen': it has 'at'"),
        ("at", [1], "yesterday", "is no int64, which the column holds; write it like 1200"),
        ("at", [date(2026, 1, 1)], "yesterday", "write it like 2026-09-16"),
        ("at", [datetime(2026, 1, 1)], "12", "write it like 2026-09-16 07:00:00"),
    ],
)
def test_what_has_no_order_in_time_is_refused(
    column: str, values: list[Any], mark: str | None, said: str
) -> None:
    with pytest.raises((ob.SourceError, ob.DefinitionError), match=said):
        SinceRows(open_source(table=pa.table({"at": values})), column, mark).check()
