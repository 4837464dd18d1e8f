"""Names of places: the sandbox's twin, artifacts, tables."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opper_batch.errors import DefinitionError
from opper_batch.sinks import artifacts_dir, sandbox_path, sandbox_table
from opper_batch.sinks.places import TableName, quoted


@pytest.mark.parametrize(
    ("path", "twin"),
    [
        ("out/x.parquet", "out/x.sandbox.parquet"),
        ("out/x/", "out/x.sandbox/"),
        ("x.csv", "x.sandbox.csv"),
        ("/a.b/x.y.JSONL", "/a.b/x.y.sandbox.JSONL"),
    ],
)
def test_the_sandbox_never_writes_where_a_real_run_does(path: str, twin: str) -> None:
    assert sandbox_path(path) == twin


@pytest.mark.parametrize(
    ("table", "twin"),
    [
        ("t", "t_sandbox"),
        ("main.t", "main.t_sandbox"),
        ('"odd.name"', '"odd.name_sandbox"'),
        ('s."odd ""name"', 's."odd ""name_sandbox"'),
    ],
)
def test_the_sandboxs_table_is_named_after_the_real_one(table: str, twin: str) -> None:
    assert sandbox_table(table) == twin


@pytest.mark.parametrize(
    ("text", "schema", "table"),
    [
        ("tickets", None, "tickets"),
        ("main.tickets", "main", "tickets"),
        ('a."b.c"', "a", "b.c"),
        ('"a.b"', None, "a.b"),
        ('"a.b".c', "a.b", "c"),
        ('x."y""z"', "x", 'y"z'),
        ("two words; DROP TABLE x", None, "two words; DROP TABLE x"),
    ],
)
def test_table_names_are_cut_at_the_first_dot_outside_quotes(
    text: str, schema: str | None, table: str
) -> None:
    assert TableName.parse(text) == TableName(schema, table)


@given(st.none() | st.text(min_size=1).filter(lambda name: "\0" not in name), st.text(min_size=1))
def test_a_table_name_written_out_is_read_back_equal(schema: str | None, table: str) -> None:
    name = TableName(schema, table.replace("\0", "0"))
    assert TableName.parse(str(name)) == name


@pytest.mark.parametrize("text", ["", ".", "a\0b", "main.", ".t", "a.b.c", '"open', 'a"b'])
def test_what_is_no_table_name_is_refused(text: str) -> None:
    with pytest.raises(DefinitionError, match="no name for a table"):
        TableName.parse(text)


def test_artifacts_lie_beside_the_output() -> None:
    assert artifacts_dir("out/x.parquet") == Path("out/x.parquet.artifacts")
    assert artifacts_dir("out/x/") == Path("out/x.artifacts")
    assert artifacts_dir("w.duckdb", "main.t") == Path("w.duckdb.main.t.artifacts")
    assert artifacts_dir("w.duckdb", "../up%").name == "w.duckdb...%2Fup%25.artifacts"


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20))
def test_any_identifier_is_one_identifier_when_quoted(name: str) -> None:
    assert duckdb.sql(f"SELECT 1 AS {quoted(name)}").columns == [name]
