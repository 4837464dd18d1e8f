"""Specs: every spelling that is taken, and one sentence for every mistake."""

import datetime as dt
import pickle
import re
from decimal import Decimal

import pytest

from opper_batch.columns import Column, Columns
from opper_batch.columns.kinds import KINDS
from opper_batch.errors import DefinitionError

TICKET = {
    "category": ["billing", "bug"],
    "priority": {"type": "tinyint", "min": 1, "max": 5, "description": "1 whenever"},
    "topics": "text[]",
    "refund": {"type": "numeric(10,2)", "nullable": True},
}


def test_every_spelling_of_a_mapping_is_read_and_types_get_duckdbs_own_spelling():
    columns = Columns.parse(TICKET)
    assert columns.names == ("category", "priority", "topics", "refund")
    assert [column.type for column in columns] == [
        "ENUM('billing', 'bug')",
        "TINYINT",
        "VARCHAR[]",
        "DECIMAL(10,2)",
    ]
    assert [column.nullable for column in columns] == [False, False, False, True]


def test_the_same_columns_from_column_values_are_equal_and_parsing_again_changes_nothing():
    columns = Columns.parse(TICKET)
    written = [
        Column("category", enum=("billing", "bug")),
        Column("priority", "TINYINT", min=1, max=5, description="1 whenever"),
        Column("topics", "VARCHAR[]"),
        Column("refund", "DECIMAL(10,2)", nullable=True),
    ]
    assert Columns.parse(written) == columns
    assert Columns.parse(list(columns)) == columns
    assert Columns.parse({column.name: column for column in columns}) == columns
    assert Columns.parse(columns) is columns
    assert hash(Columns.parse(TICKET)) == hash(columns)
    assert Columns.parse({**TICKET, "topics": "text"}) != columns


def test_columns_that_have_read_can_still_be_pickled():
    columns = Columns.parse({"n": "INT"})
    columns.read({"n": 1})
    again = pickle.loads(pickle.dumps(columns))
    assert again == columns
    assert again.read({"n": 2}) == {"n": 2}


def test_columns_print_what_they_hold():
    text = repr(Columns.parse({**TICKET, "kind": {"type": "VARCHAR", "enum": ["a"]}}))
    assert "priority TINYINT NOT NULL min=1 max=5" in text
    assert "refund DECIMAL(10,2)," in text
    assert "kind VARCHAR NOT NULL enum=['a']" in text
    assert repr(Column("n", "INT", min=1)) == "Column(name='n', type='INT', min=1)"


def test_bounds_may_be_text_or_values_and_mean_the_same():
    spelled = Columns.parse(
        {
            "day": {"type": "DATE", "min": "2026-01-01"},
            "at": {"type": "TIMESTAMPTZ", "max": "2026-01-01T01:00:00+01:00"},
            "price": {"type": "DECIMAL(6,2)", "min": 0.05, "max": "99.5"},
            "hour": {"type": "TIME", "min": "09:00"},
        }
    )
    valued = Columns.parse(
        {
            "day": {"type": "DATE", "min": dt.date(2026, 1, 1)},
            "at": {"type": "TIMESTAMPTZ", "max": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)},
            "price": {"type": "DECIMAL(6,2)", "min": Decimal("0.05"), "max": Decimal("99.50")},
            "hour": {"type": "TIME", "min": dt.time(9)},
        }
    )
    assert spelled == valued


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        # the whole spec
        ({}, r"columns: needs at least one column"),
        ([], r"columns: needs at least one column"),
        ("VARCHAR", r"columns: should be a table of names and types.*not str"),
        (7, r"columns: should be .* not int"),
        (["INT"], r"columns\[0\]: should be a Column, not str"),
        # names
        ({"": "INT"}, r"columns: a column needs a name; this one is empty"),
        ({"  ": "INT"}, r"columns: a column needs a name; this one is blank"),
        ({3: "INT"}, r"columns: a column's name is text, not 3"),
        ({"a\nb": "INT"}, r"columns: a column's name cannot hold control characters"),
        ({"\ud800": "INT"}, r"columns: a column's name cannot hold control characters"),
        ({"due": "INT", "Due": "INT"}, r"columns\.Due: is 'due' too, as SQL ignores case"),
        ([Column("a", "INT"), Column("a", "INT")], r"columns\.a: is there twice"),
        ({"a": Column("b", "INT")}, r"columns\.a: holds a Column named 'b'"),
        # one column's shape
        ({"a": 5}, r"columns\.a: should be type text, a list .* not 5"),
        ({"a": None}, r"columns\.a: should be type text"),
        ({"a": {}}, r"columns\.a: needs a type"),
        ({"a": {"min": 1}}, r"columns\.a: needs a type"),
        ({"a": {"typ": "INT"}}, r"columns\.a\.typ: there is no such rule; did you mean type\?"),
        (
            {"a": {"type": "INT", "minimum": 1}},
            r"columns\.a\.minimum: there is no such rule; did you mean min\?",
        ),
        (
            {"a": {"type": "INT", "zzz": 1}},
            r"columns\.a\.zzz: there is no such rule; a column has type, enum",
        ),
        ({"a": {"type": "INT", "children": ()}}, r"columns\.a\.children: there is no such rule"),
        # types
        ({"a": ""}, r"columns\.a: the type is empty"),
        ({"a": {"type": 5}}, r"columns\.a\.type: should be type text .* not 5"),
        ({"a": "VARCHR"}, r"columns\.a\.type: 'VARCHR' is not a DuckDB type; did you mean VARCHAR\?"),
        ({"a": "STRUCT(x INTEGR)"}, r"'INTEGR' is not a DuckDB type; did you mean INTEGER\?"),
        ({"a": "qqqqqqq"}, r"'qqqqqqq' is not a DuckDB type; write it like INTEGER"),
        ({"a": "INT; DROP TABLE x"}, r"'INT; DROP TABLE x' is not a DuckDB type"),
        ({"a": "DECIMAL(39,2)"}, r"DuckDB does not take 'DECIMAL\(39,2\)': DECIMAL type width"),
        ({"a": "INT[0]"}, r"ARRAY type size must be at least 1"),
        ({"a": "STRUCT(x INT, X INT)"}, r"columns\.a\.type: DuckDB does not take .*Duplicate"),
        ({"a": "VARCHAR(10)"}, r"DuckDB does not keep the length of a text; write VARCHAR, and max_length"),
        ({"a": "STRUCT(x VARCHAR(10))"}, r"DuckDB does not keep the length"),
        ({"a": "\ud800"}, r"columns\.a\.type: .*control characters"),
        ({"a": {"type": "INT", "description": "\ud800"}}, r"columns\.a\.description: .*control characters"),
        (
            {"a": {"type": "TEXT", "pattern": "\ud800"}},
            r"columns\.a\.pattern: .*control characters",
        ),
        # enums
        ({"a": []}, r"columns\.a: an enum needs at least one value"),
        ({"a": {"enum": []}}, r"columns\.a\.enum: an enum needs at least one value"),
        ({"a": {"enum": "x"}}, r"columns\.a\.enum: should be a list of texts, not 'x'"),
        ({"a": ["x", 1]}, r"columns\.a\.enum: an enum's values are text, not 1"),
        ({"a": ["x", "x"]}, r"columns\.a\.enum: 'x' is there twice"),
        ({"a": ["x", ""]}, r"columns\.a\.enum: an enum's value cannot be blank"),
        ({"a": ["x\0"]}, r"columns\.a\.enum: .*control characters"),
        ({"a": "ENUM('')[]"}, r"columns\.a\.type: an enum's value cannot be blank"),
        ({"a": "ENUM('x','x')"}, r"columns\.a\.type: DuckDB does not take .*duplicate value x"),
        ({"a": {"type": "INT", "enum": ["1"]}}, r"columns\.a\.enum: is for text, not INTEGER"),
        ({"a": {"type": "ENUM('y')", "enum": ["x"]}}, r"columns\.a\.enum: is for text"),
        # rules of the wrong type
        (
            {"a": {"type": "INT", "nullable": "yes"}},
            r"columns\.a\.nullable: should be true or false, not 'yes'",
        ),
        ({"a": {"type": "INT", "description": 3}}, r"columns\.a\.description: should be text, not 3"),
        (
            {"a": {"type": "INT", "min": "1"}},
            r"columns\.a\.min: '1' is no INTEGER: it should be a whole number",
        ),
        ({"a": {"type": "INT", "min": True}}, r"columns\.a\.min: true is no INTEGER"),
        ({"a": {"type": "INT", "min": 0.5}}, r"columns\.a\.min: 0.5 is no INTEGER"),
        (
            {"a": {"type": "TINYINT", "max": 300}},
            r"columns\.a\.max: 300 is no TINYINT: it should be at most 127",
        ),
        ({"a": {"type": "FLOAT", "max": 1e39}}, r"columns\.a\.max: 1e\+39 is no FLOAT"),
        ({"a": {"type": "DOUBLE", "min": float("nan")}}, r"columns\.a\.min: nan is no DOUBLE"),
        ({"a": {"type": "DECIMAL(4,2)", "min": 0.001}}, r"columns\.a\.min: '0.001' is no DECIMAL\(4,2\)"),
        (
            {"a": {"type": "DATE", "min": "soon"}},
            r"columns\.a\.min: 'soon' is no DATE: it should be a date like",
        ),
        ({"a": {"type": "TIMESTAMP", "min": "2026-01-01T00:00Z"}}, r"columns\.a\.min: .*without offset"),
        (
            {"a": {"type": "TIMESTAMPTZ", "min": dt.datetime(2026, 1, 1)}},
            r"columns\.a\.min: .*with its offset",
        ),
        (
            {"a": {"type": "TEXT", "min_length": -1}},
            r"columns\.a\.min_length: should be a whole number, 0 or more",
        ),
        ({"a": {"type": "TEXT", "max_length": True}}, r"columns\.a\.max_length: .* not true"),
        ({"a": {"type": "INT[]", "max_items": "3"}}, r"columns\.a\.max_items: .* not '3'"),
        (
            {"a": {"type": "TEXT", "pattern": 3}},
            r"columns\.a\.pattern: should be a regular expression as text",
        ),
        (
            {"a": {"type": "TEXT", "pattern": "("}},
            r"columns\.a\.pattern: '\(' is not a regular .*unclosed group",
        ),
        ({"a": {"type": "TEXT", "pattern": "(?=a)"}}, r"columns\.a\.pattern: .*look-around"),
        # rules that are for other types
        ({"a": {"type": "TEXT", "min": 1}}, r"columns\.a\.min: is for numbers.*VARCHAR; use min_length"),
        ({"a": {"type": "INT[]", "max": 1}}, r"columns\.a\.max: is for numbers.*use max_items"),
        ({"a": {"type": "INT", "max_length": 1}}, r"columns\.a\.max_length: is for text.*use max"),
        ({"a": {"type": "INT", "pattern": "1"}}, r"columns\.a\.pattern: is for text.*remove pattern"),
        ({"a": {"type": "BOOLEAN", "min": 0}}, r"columns\.a\.min: .*remove min"),
        ({"a": {"type": "INT[3]", "min_items": 1}}, r"columns\.a\.min_items: is for lists.*remove min_items"),
        ({"a": {"enum": ["x"], "max_length": 1}}, r"columns\.a\.max_length: .*an enum; remove max_length"),
        # nothing would fit
        ({"a": {"type": "INT", "min": 2, "max": 1}}, r"columns\.a\.min: is above max"),
        (
            {"a": {"type": "TEXT", "min_length": 2, "max_length": 1}},
            r"columns\.a\.min_length: is above max_length",
        ),
        (
            {"a": {"type": "INT[]", "min_items": 2, "max_items": 1}},
            r"columns\.a\.min_items: is above max_items",
        ),
        # children that say something else
        (
            [Column("a", "STRUCT(x INT)", children=(Column("y", "INT"),))],
            r"columns\.a\.children: do not agree",
        ),
        ([Column("a", "INT", children=(Column("y", "INT"),))], r"columns\.a\.children: do not agree"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_place(spec, said):
    with pytest.raises(DefinitionError) as caught:
        Columns.parse(spec)
    assert re.search(said, caught.value.message), caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("MAP(VARCHAR, INT)", "STRUCT(key VARCHAR, value VARCHAR)[]"),
        ("UNION(a INT, b TEXT)", "JSON"),
        ("INTERVAL", "BIGINT"),
        ("BIT", "VARCHAR"),
        ("TIMETZ", "TIMESTAMPTZ"),
        ("TIMESTAMP_S", "TIMESTAMP"),
        ("TIMESTAMP_MS", "TIMESTAMP"),
        ("TIMESTAMP_NS", "TIMESTAMP"),
        ('"NULL"', "VARCHAR"),
    ],
)
@pytest.mark.parametrize("around", ["{}", "{}[]", "STRUCT(x {})", "STRUCT(x {}[2])[]"])
def test_a_type_that_cannot_be_filled_is_refused_with_the_one_to_use(text, instead, around):
    with pytest.raises(DefinitionError, match=re.escape(f"use {instead}") + "|use a list of structs"):
        Columns.parse({"a": around.format(text)})


def test_the_place_is_where_the_caller_says():
    with pytest.raises(DefinitionError, match=r"^steps\[0\]\.columns\.a\.type: "):
        Columns.parse({"a": "INTERVAL"}, where="steps[0].columns")


def test_names_that_sql_would_quote_are_kept():
    columns = Columns.parse(
        {'odd "name"': 'STRUCT("select" INT, "a ""b""" TEXT, "it\'s)" ENUM(\'x\'\'y\')[])'}
    )
    answer = {'odd "name"': {"select": 1, 'a "b"': "t", "it's)": ["x'y"]}}
    assert columns.read(answer) == answer
    assert Columns.parse(list(columns)) == columns


def test_a_type_made_in_the_users_own_database_changes_nothing():
    import duckdb

    duckdb.sql("CREATE TYPE mood_of_columns_test AS ENUM ('a')")
    with pytest.raises(DefinitionError, match="is not a DuckDB type"):
        Columns.parse({"a": "mood_of_columns_test"})


def test_every_line_of_the_table_is_a_type_that_duckdb_knows():
    for kind in KINDS:
        text = "ENUM('a')" if kind == "enum" else kind
        assert Columns.parse({"a": text}).columns[0].sql.id == kind
