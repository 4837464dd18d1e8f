"""What is sent and stored: the JSON Schema that providers take, and the Arrow schema."""

import duckdb
import pyarrow as pa
import pytest

from opper_batch.columns import Columns
from opper_batch.columns.kinds import KINDS

ALLOWED = {"type", "properties", "required", "additionalProperties", "items", "enum", "anyOf", "description"}


def test_the_schema_is_a_closed_object_with_every_property_typed_and_required():
    columns = Columns.parse(
        {
            "category": {"enum": ["billing", "bug"], "nullable": True, "description": "What it is about"},
            "priority": {"type": "TINYINT", "min": 1, "max": 5, "description": "5 right now!"},
            "topics": {"type": "TEXT[]", "max_items": 3},
            "who": "STRUCT(name TEXT, age UTINYINT)",
        }
    )
    assert columns.json_schema == {
        "type": "object",
        "properties": {
            "category": {
                "anyOf": [{"type": "string", "enum": ["billing", "bug"]}, {"type": "null"}],
                "description": "What it is about.",
            },
            "priority": {"type": "integer", "description": "5 right now! Whole number. From 1 to 5."},
            "topics": {"type": "array", "items": {"type": "string"}, "description": "At most 3 entries."},
            "who": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "age": {"type": "integer", "description": "Whole number. From 0 to 255."},
                },
                "required": ["name", "age"],
                "additionalProperties": False,
            },
        },
        "required": ["category", "priority", "topics", "who"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"type": "TEXT", "min_length": 2, "max_length": 2}, "Exactly 2 characters."),
        ({"type": "TEXT", "pattern": "^a$"}, "Matches the regular expression ^a$"),
        ({"type": "DOUBLE", "min": 0}, "At least 0.0."),
        ({"type": "FLOAT", "max": 0.1}, "At most 0.1."),
        ({"type": "DATE", "min": "2026-01-01"}, "Date written as YYYY-MM-DD. At least 2026-01-01."),
        ({"type": "BIGINT"}, "Whole number."),
        ({"type": "UHUGEINT", "max": 9}, "Whole number of at most 38 digits. From 0 to 9."),
        ({"type": "INT[3]"}, "Exactly 3 entries."),
        (
            {"type": "DECIMAL(10,2)"},
            "Decimal number written as text, with at most 8 digits before the point and at most 2 after it.",
        ),
    ],
)
def test_rules_are_said_in_the_description_and_never_as_keywords(rules, words):
    schema = Columns.parse({"a": rules}).json_schema["properties"]["a"]
    assert schema["description"] == words
    assert schema.keys() <= ALLOWED


@pytest.mark.parametrize(
    "text",
    [
        *(kind for kind in KINDS if kind not in ("enum", "decimal")),
        "DECIMAL(10,2)",
        "DECIMAL(38,38)",
        "INT[]",
        "INT[2]",
        "DATE[][3]",
        "STRUCT(a INT, b STRUCT(c TEXT, d TIMESTAMPTZ[]))",
    ],
)
def test_arrow_types_are_those_that_duckdb_itself_gives(text):
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    said = connection.sql(f"SELECT CAST(NULL AS {text}) AS a").to_arrow_table().schema.field("a").type
    assert Columns.parse({"a": text}).arrow.field("a").type == said


def test_an_enum_is_text_in_arrow():
    assert Columns.parse({"a": "ENUM('x')[]"}).arrow.field("a").type == pa.list_(pa.string())


def test_arrow_fields_are_nullable_and_hold_the_duckdb_type_and_the_description():
    schema = Columns.parse({"a": {"type": "uuid", "description": "Which é"}, "b": "json"}).arrow
    assert schema.names == ["a", "b"]
    assert all(field.nullable for field in schema)
    assert schema.field("a").metadata == {b"opper_batch.type": b"UUID", b"description": "Which é".encode()}
    assert schema.field("b").metadata == {b"opper_batch.type": b"JSON"}
