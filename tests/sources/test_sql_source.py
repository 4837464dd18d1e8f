"""SQL as a source: run once, by real DuckDB, its complaints as one sentence."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from opper_batch.errors import DefinitionError, SourceError
from opper_batch.sources import Source, open_source


def rows_of(source: Source) -> list[dict[str, object]]:
    return pa.Table.from_batches(source.batches(), source.schema).to_pylist()


def test_a_query_runs_once_however_often_it_is_read(tmp_path: Path) -> None:
    source = open_source(sql="SELECT i, random() AS r FROM range(20000) t(i) ORDER BY r", spool=tmp_path)
    checked = source.check()
    assert checked.rows == 20000
    assert checked.schema == pa.schema([("i", pa.int64()), ("r", pa.float64())])
    assert rows_of(source) == rows_of(source)
    assert max(batch.num_rows for batch in source.batches(1000)) == 1000


def test_relative_paths_start_at_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rows.csv").write_text("a\n1\n2\n")
    monkeypatch.chdir(tmp_path)
    assert open_source(sql="FROM 'rows.csv'").check().rows == 2


def test_statements_before_the_query_may_attach_a_database(tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE t AS SELECT 7 AS x")
    sql = f"ATTACH '{path}' AS w (READ_ONLY); SELECT x FROM w.t;"
    assert rows_of(open_source(sql=sql, spool=tmp_path)) == [{"x": 7}]


def test_moments_are_in_utc_on_every_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    source = open_source(sql="SELECT TIMESTAMPTZ '2024-01-31 00:00:00' AS t", spool=tmp_path)
    assert source.schema.field("t").type == pa.timestamp("us", tz="UTC")
    assert str(rows_of(source)[0]["t"]) == "2024-01-31 00:00:00+00:00"


def test_variables_of_the_program_are_no_tables(tmp_path: Path) -> None:
    secret = pa.table({"a": [1]})
    with pytest.raises(SourceError, match="the SQL query failed: Catalog Error: Table with name secret"):
        open_source(sql="SELECT * FROM secret", spool=tmp_path).check()
    assert secret.num_rows == 1


FAULTS = {
    "SELEC 1": 'failed: Parser Error: syntax error at or near "SELEC"',
    "SELECT x FROM (SELECT 1 AS a)": 'failed: Binder Error: Referenced column "x" not found',
    "SELECT * FROM 'none.parquet'": 'failed: IO Error: No files found that match the pattern "none.parquet"',
    "SELECT CAST(i || 'x' AS INTEGER) AS a FROM range(3) t(i)": "failed.*Could not convert string '0x'",
    "SELECT 1 AS a, 2 AS a": "columns 1 and 2 are both named 'a'",
    "CREATE TABLE t (a INTEGER)": "gives no rows: its last statement must be a SELECT",
    "SELECT 1; SET threads = 1": "gives no rows",
    "": "gives no rows",
    "-- nothing": "gives no rows",
}


@pytest.mark.parametrize("sql", FAULTS)
def test_a_query_that_fails_is_one_sentence(tmp_path: Path, sql: str) -> None:
    with pytest.raises(SourceError, match=f"the SQL query.*{FAULTS[sql]}") as raised:
        open_source(sql=sql, spool=tmp_path).check()
    assert "\n" not in str(raised.value)


def test_a_copy_is_no_query_and_writes_nothing(tmp_path: Path) -> None:
    target = tmp_path / "stolen.csv"
    with pytest.raises(SourceError, match="gives no rows"):
        open_source(sql=f"COPY (SELECT 1) TO '{target}'", spool=tmp_path).check()
    assert not target.exists()


def test_types_are_said_in_the_query(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="SQL and tables bring their own types"):
        open_source(sql="SELECT 1 AS a", types={"a": "DATE"}, spool=tmp_path)
