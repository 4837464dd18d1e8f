"""Names and texts that mean something to SQL, a shell, a spreadsheet: here they are names and texts."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pytest

import opper_batch as ob
from opper_batch.sandbox import Sandbox

Gateways = Callable[..., Sandbox]

SOURCE = {
    "select": [1, 2],
    'quo"te': ["a", "b"],
    "'); DROP TABLE calls; --": ["c", "d"],
    "new\nline": ["e", "f"],
    "=1+1": ["g", "h"],
    "😀 Straße": ["i", "j"],
    "../../up": ["k", "l"],
    "[red]": ["m", "n"],
    "%s {0} $1 ?1": ["o", "p"],
    "rowid": [3, 4],
    "c0": [5, 6],
    "raw": ["q", "r"],
}
FILLED = [
    '"; DROP TABLE x; --',
    "order",
    "a.b",
    "[/]",
    "=cmd|' /C calc'!A0",
    "é 日本",
    "key",
    "values",
    "{x}",
]
TABLES = [
    '"order"',
    '"x""; DROP TABLE y; --"',
    '"select * from z"',
    '"😀"',
    '"new\nline"',
    'odd schema."ta.ble"',
    '"' + "long" * 100 + '"',
]


def pipeline(source: dict[str, Any] = SOURCE, **sink: Any) -> ob.Pipeline:
    columns = dict.fromkeys(FILLED, "VARCHAR")
    step = {"name": "fill", "columns": columns}
    return ob.Pipeline(name="names", source={"table": pa.table(source)}, steps=[step], sink=sink)


def same(found: polars.DataFrame, source: dict[str, Any] = SOURCE) -> None:
    """The source's columns as they were, then the step's, filled."""
    names = [*source, *FILLED]
    assert found.columns[: len(names)] == names
    assert found.select(list(source)).to_dict(as_series=False) == source
    assert found.select(FILLED).null_count().row(0) == (0,) * len(FILLED)
    assert found["fill_status"].to_list() == ["ok", "ok"]


@pytest.mark.parametrize("path", ["out.parquet", "out.jsonl", "out.arrow", "out/"])
def test_odd_column_names_go_through_a_run_as_they_are(gateway: Gateways, path: str) -> None:
    gateway()
    ob.run(pipeline(path=path))
    read = {"out.jsonl": polars.read_ndjson, "out.arrow": polars.read_ipc}.get(path, polars.read_parquet)
    same(read("out/*.parquet" if path == "out/" else path))


def test_odd_column_names_go_into_a_csv(gateway: Gateways) -> None:
    gateway()
    ob.run(pipeline(path="out.csv"))
    with Path("out.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file, strict=True)
    expected = [f"'{name}" if name.startswith("=") else name for name in [*SOURCE, *FILLED]]
    assert header[: len(expected)] == expected
    assert len(rows) == 2
    assert {len(row) for row in rows} == {len(header)}


@pytest.mark.parametrize("mode", ["replace", "append"])
@pytest.mark.parametrize("table", TABLES)
def test_odd_table_and_column_names_go_into_a_database(gateway: Gateways, table: str, mode: str) -> None:
    gateway()
    source = {name: values for name, values in SOURCE.items() if mode == "replace" or name != "rowid"}
    with duckdb.connect("out.duckdb") as database:
        database.sql("CREATE TABLE y AS SELECT 1 AS a; CREATE TABLE x AS SELECT 2 AS a")
    for _ in range(2):
        ob.run(pipeline(source, duckdb="out.duckdb", table=table, mode=mode))
    with duckdb.connect("out.duckdb") as database:
        place = '"odd schema"."ta.ble"' if table.startswith("odd") else table
        same(database.sql(f"FROM {place}").pl(), source)
        assert database.sql("SELECT a FROM y UNION ALL SELECT a FROM x").fetchall() == [(1,), (2,)]
        assert database.sql("SELECT count(*) FROM duckdb_tables()").fetchall() == [(3,)]


# Names that are refused, in a sentence and before anything is sent.


@pytest.mark.parametrize(
    ("source", "columns", "said"),
    [
        ({"a": [1], "A": [2]}, {"b": "TEXT"}, r"A"),
        ({"a": [1]}, {"b": "TEXT", "B": "TEXT"}, "SQL ignores case"),
        ({"a": [1]}, {"A": "TEXT"}, "A"),
        ({"a": [1]}, {"fill_status": "TEXT"}, "fill_status"),
        ({"a": [1]}, {"b\x00": "TEXT"}, "control characters"),
        ({"a": [1]}, {"b\x1b[31m": "TEXT"}, "control characters"),
        ({"a": [1]}, {" ": "TEXT"}, "blank"),
    ],
)
def test_names_that_cannot_be_kept_apart_or_shown_are_refused_before_any_call(
    gateway: Gateways, source: dict[str, Any], columns: dict[str, str], said: str
) -> None:
    sandbox = gateway()
    with pytest.raises(ob.OpperBatchError, match=said) as caught:
        ob.run(
            ob.Pipeline(
                name="names",
                source={"table": pa.table(source)},
                steps=[{"name": "fill", "columns": columns}],
                sink={"duckdb": "out.duckdb", "table": "t"},
            )
        )
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.message
    assert "\x1b" not in caught.value.message
    assert not sandbox.journal.records


@pytest.mark.parametrize("table", ["", '"', 'a"b', "a.b.c", '""', "nul\x00", '"a" ; DROP TABLE x'])
def test_a_table_name_that_is_none_is_refused_before_any_call(gateway: Gateways, table: str) -> None:
    sandbox = gateway()
    with pytest.raises(ob.OpperBatchError) as caught:
        ob.run(pipeline(duckdb="out.duckdb", table=table))
    assert caught.value.exit_code == 2
    assert not sandbox.journal.records
    assert not Path("out.duckdb").exists()


def test_source_columns_that_differ_in_case_alone_are_kept_where_a_format_tells_them_apart(
    gateway: Gateways,
) -> None:
    gateway()
    table = pa.table({"a": [1], "A": [2], "text": ["x"]})
    step = {"name": "fill", "input": ["text"], "columns": {"b": "TEXT"}}
    ob.run(ob.Pipeline(name="names", source={"table": table}, steps=[step], sink={"path": "out.parquet"}))
    assert polars.read_parquet("out.parquet").row(0)[:2] == (1, 2)


# Texts.

FORMULAS = ["=cmd|' /C calc'!A0", "=1+1", "+1-1", "@SUM(A1)", "-2+3", "\t=1", "\r=1"]
NO_FORMULAS = [
    "-5",
    "+1.5e3",
    "a=1",
    "'=1",
    "[red]x[/]",
    "\x1b[31m",
    "a\x00b",
    "'); DROP TABLE t; --",
    "\u202e",
]


@pytest.fixture
def texts(gateway: Gateways) -> list[str]:
    """Run over odd texts into a file of each kind; gives the texts."""
    gateway()
    given = FORMULAS + NO_FORMULAS
    step = {"name": "fill", "columns": {"b": "TEXT"}}
    made = ob.Pipeline(name="texts", source={"table": pa.table({"a": given})}, steps=[step])
    ob.run(made, sink="out.parquet")
    for path in ("out.jsonl", "out.csv"):
        ob.export(made, sink=path)
    ob.export(
        ob.Pipeline(
            name="texts",
            source={"table": pa.table({"a": given})},
            steps=[step],
            sink={"duckdb": "out.duckdb", "table": "t"},
        )
    )
    return given


def test_texts_are_never_altered_where_types_are_kept(texts: list[str]) -> None:
    assert polars.read_parquet("out.parquet")["a"].to_list() == texts
    assert [json.loads(line)["a"] for line in Path("out.jsonl").read_text().split("\n") if line] == texts
    with duckdb.connect("out.duckdb") as database:
        assert [text for (text,) in database.sql("SELECT a FROM t").fetchall()] == texts


def test_in_a_csv_a_formula_is_text_by_a_quote_in_front_and_nothing_else_is_altered(texts: list[str]) -> None:
    with Path("out.csv").open(newline="", encoding="utf-8") as file:
        cells = [row["a"] for row in csv.DictReader(file, strict=True)]
    assert cells == ["'" + text for text in FORMULAS] + NO_FORMULAS
