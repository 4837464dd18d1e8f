"""What leaves the machine: Arrow columns as JSON.

    record batch --encode_inputs--> one JSON object per row, canonical: equal rows are equal bytes
    Arrow schema --input_schema---> the JSON Schema of that object

Work is done per column: ``plain`` knows each plain type, ``encode`` puts lists, structs and rows together
from the texts of their children, ``schema`` describes the same.

======================  ==============================================================================
Arrow                   JSON
======================  ==============================================================================
boolean, integers       true, 42: exact, also beyond 2^53
floats                  the shortest text that reads back equal, at the column's own width
text                    text, non-ASCII kept
decimals                text, exactly as scaled: "1.50"
date, time              "2024-02-29", "13:05:00.000001"
timestamp               "2024-02-29T13:05:00", with its zone's offset when it has a zone; no digit is lost
duration                ISO 8601: "P1DT2H3M4.5S"; a day is 24 hours
UUID, arrow.json        text
binary                  base64 text
dictionary, run-end     as its values
list, struct            array, object
map                     an array of {"key": …, "value": …}: Arrow allows equal keys, a JSON object does not
======================  ==============================================================================

Fractions of a second are cut after their last digit that is not zero.
"""

from opper_batch.inputs.encode import BadValue, Nan, column_texts, encode_inputs, json_rows
from opper_batch.inputs.plain import always_sendable, is_list, is_text
from opper_batch.inputs.schema import input_schema

__all__ = [
    "BadValue",
    "Nan",
    "always_sendable",
    "column_texts",
    "encode_inputs",
    "input_schema",
    "is_list",
    "is_text",
    "json_rows",
]
