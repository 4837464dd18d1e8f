"""Files as they come: for each fault and each format, the exact table or the exact sentence."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from corpus_program import Content, Whole, planned_refusal, write

ICONV = "convert it first, for example with  iconv -f {0} -t UTF-8 {1} > converted"
LIKE_A_DAY = "write it like 2024-01-31, or declare VARCHAR"
LONG = "x" * 20_000_000


def table(**columns: list[Any]) -> pa.Table:
    return pa.table(columns)


A1 = table(id=["1"], v=["a"])
N1 = table(id=[1], v=["a"])

# Case -> file -> what it holds, and the table that comes out, or the sentence instead of any call.
# What else the source says (types, delimiter) is in a third place.
CASES: dict[str, dict[str, tuple[Any, ...]]] = {
    "a short row": {
        "r.csv": (
            b"id,v\n1,a\n2\n",
            (
                "r.csv, row 2 (line 3) ends before column 'v': it has 1 cell "
                "where the header has 2; complete it"
            ),
        ),
        "r.jsonl": (b'{"id":1,"v":"a"}\n{"id":2}\n', table(id=[1, 2], v=["a", None])),
    },
    "a long row": {
        "r.csv": (
            b"id,v\n1,a\n2,b,c\n",
            (
                "r.csv, row 2 (line 3) goes on after the last column 'v': it has 3 cells where the "
                "header has 2; put cells that hold the delimiter in quotes, or remove what is too much"
            ),
        ),
        "r.jsonl": (
            b'{"id":1,"v":"a"}\n{"id":2,"w":"b"}\n',
            table(id=[1, 2], v=["a", None], w=[None, "b"]),
        ),
    },
    "an unclosed quote": {
        "r.csv": (
            b'id,v\n1,a\n2,"b\n3,c\n',
            "r.csv, row 2 (line 3), column 'v': the quote opened on line 3 is never closed; close it",
        ),
        "r.jsonl": (
            b'{"id":1,"v":"a}\n',
            (
                "r.jsonl, line 1, character 16 is not JSON (Invalid control character): "
                "write one whole object on each line"
            ),
        ),
    },
    "a line break in a cell": {
        "r.csv": (b'id,v\n1,"a\r\nb"\n2,c\n', table(id=["1", "2"], v=["a\r\nb", "c"])),
        "r.jsonl": (b'{"id":1,"v":"a\\r\\nb"}\n', table(id=[1], v=["a\r\nb"])),
    },
    "a column twice": {
        "r.csv": (b"id,v,id\n1,a,2\n", "r.csv, line 1: columns 1 and 3 are both named 'id'; rename one"),
        "r.jsonl": (
            b'{"id":1,"id":2}\n',
            "r.jsonl, line 1: the key 'id' comes twice in one object; keep one",
        ),
        "r.parquet": (
            pa.table([["1"], ["2"]], names=["id", "id"]),
            "r.parquet: columns 1 and 2 are both named 'id'; rename one",
        ),
        "r.arrow": (
            pa.table([["1"], ["2"]], names=["id", "id"]),
            "r.arrow: columns 1 and 2 are both named 'id'; rename one",
        ),
    },
    "a column without a name": {
        "r.csv": (b"id,v,\n1,a,\n", "r.csv, line 1: column 3 has no name; give every column a name"),
        "r.jsonl": (b'{"id":1,"":2}\n', "r.jsonl: column 2 has no name; give every column a name"),
        "r.parquet": (
            table(id=[1], **{"": [2]}),
            "r.parquet: column 2 has no name; give every column a name",
        ),
        "r.arrow": (table(id=[1], **{"": [2]}), "r.arrow: column 2 has no name; give every column a name"),
    },
    "semicolons": {
        "r.csv": (
            b"id;v\n1;a\n",
            (
                "r.csv, line 1 is one column 'id;v' with the delimiter ',': it holds a semicolon, "
                "so set delimiter = ';', or put the name in quotes if it is one"
            ),
        ),
    },
    "semicolons, said": {"r.csv": (b"id;v\n1;a\n", A1, {"delimiter": ";"})},
    "UTF-16": {
        "r.csv": (
            "id,v\n1,a\n".encode("utf-16"),
            "r.csv is UTF-16, not UTF-8: " + ICONV.format("UTF-16", "r.csv"),
        ),
        "r.jsonl": (
            '{"id":1}\n'.encode("utf-16"),
            "r.jsonl is UTF-16, not UTF-8: " + ICONV.format("UTF-16", "r.jsonl"),
        ),
    },
    "UTF-16 without a mark": {
        "r.csv": (
            "id,v\n1,a\n".encode("utf-16-le"),
            "r.csv is UTF-16LE, not UTF-8: " + ICONV.format("UTF-16LE", "r.csv"),
        ),
        "r.jsonl": (
            '{"id":1}\n'.encode("utf-16-be"),
            "r.jsonl is UTF-16BE, not UTF-8: " + ICONV.format("UTF-16BE", "r.jsonl"),
        ),
    },
    "bytes that are not UTF-8": {
        "r.csv": (
            b"id,v\n1,a\n2,caf\xe9\n",
            "r.csv, row 2 (line 3), column 'v': byte 0xE9 at offset 14 is not UTF-8; "
            + ICONV.format("WINDOWS-1252", "r.csv"),
        ),
        "r.jsonl": (
            b'{"id":1,"v":"caf\xe9"}\n',
            "r.jsonl, line 1: byte 0xE9 at offset 16 is not UTF-8; "
            + ICONV.format("WINDOWS-1252", "r.jsonl"),
        ),
        "r.parquet": (
            pa.table({"id": [1, 2], "v": pa.array([b"a", b"caf\xe9"]).view(pa.string())}),
            "r.parquet, row 2, column 'v' holds text that is not UTF-8: repair it, or keep it as bytes",
        ),
        "r.arrow": (
            pa.table({"id": [1, 2], "v": pa.array([b"a", b"caf\xe9"]).view(pa.string())}),
            "r.arrow, row 2, column 'v' holds text that is not UTF-8: repair it, or keep it as bytes",
        ),
    },
    "a byte order mark": {
        "r.csv": (b'\xef\xbb\xbf"id",v\n1,a\n', A1),
        "r.jsonl": (b'\xef\xbb\xbf{"id":1,"v":"a"}\n', N1),
    },
    "a byte order mark inside": {
        "r.csv": (b"id,v\n1,\xef\xbb\xbfa\n", table(id=["1"], v=["\ufeffa"])),
        "r.jsonl": (b'{"id":1,"v":"\xef\xbb\xbfa"}\n', table(id=[1], v=["\ufeffa"])),
    },
    "two byte order marks": {
        "r.csv": (
            b"\xef\xbb\xbf\xef\xbb\xbfid,v\n1,a\n",
            "step 's' reads r.csv, which has no column 'id': did you mean '\\ufeffid'?",
        ),
    },
    "NUL": {
        "r.csv": (
            b"id,v\n1,a\n2,b\0c\n",
            "r.csv, row 2 (line 3), column 'v' holds a NUL byte, which is no text: remove it",
        ),
        "r.jsonl": (b'{"id":1,"v":"a\\u0000b"}\n', table(id=[1], v=["a\0b"])),
        "r.parquet": (table(id=[1], v=["a\0b"]), table(id=[1], v=["a\0b"])),
    },
    "a cell of 20 MB": {
        "r.csv": (f"id,v\n1,{LONG}\n".encode(), table(id=["1"], v=[LONG])),
    },
    "a line beyond all bounds": {
        "r.jsonl": (
            b'{"id":1,"v":"' + b"x" * 64 * 2**20,
            "r.jsonl, line 1 is longer than 67,108,864 bytes",
        ),
    },
    "an empty file": {
        "r.csv": (b"", "r.csv is empty: the first line of a CSV file names the columns"),
        "r.jsonl": (b"", "r.jsonl: there is no row, and so there is no column; declare the columns in types"),
        "r.parquet": (
            b"",
            (
                "r.parquet cannot be read as Parquet (Parquet file size is 0 bytes): "
                "it is broken, cut short, or no Parquet file; write it anew"
            ),
        ),
        "r.arrow": (
            b"",
            (
                "r.arrow cannot be read as Arrow IPC (Tried reading schema message, was null or length 0): "
                "it is broken, cut short, or no Arrow IPC file; write it anew"
            ),
        ),
    },
    "no row": {
        "r.csv": (b"id,v\n", A1.slice(1)),
        "r.jsonl": (b"\n", N1.slice(1), {"types": {"id": "BIGINT", "v": "VARCHAR"}}),
        "r.parquet": (N1.slice(1), N1.slice(1)),
        "r.arrow": (N1.slice(1), N1.slice(1)),
    },
    "no column": {
        "r.csv": (b"\n", "r.csv begins with a blank line: the first line of a CSV file names the columns"),
        "r.jsonl": (
            b"{}\n{}\n",
            "r.jsonl: no row has a key, and so there is no column; declare the columns in types",
        ),
        "r.parquet": (pa.table({}), "r.parquet has no columns: a source needs at least one"),
        "r.arrow": (pa.table({}), "r.arrow has no columns: a source needs at least one"),
    },
    "a missing input column": {
        "r.csv": (b"Id,v\n1,a\n", "step 's' reads r.csv, which has no column 'id': did you mean 'Id'?"),
        "r.jsonl": (b'{"key":1}\n', "step 's' reads r.jsonl, which has no column 'id': it has 'key'"),
        "r.parquet": (
            table(ids=[1]),
            "step 's' reads r.parquet, which has no column 'id': did you mean 'ids'?",
        ),
    },
    "007": {
        "r.csv": (b"id,v\n1,007\n", table(id=["1"], v=["007"])),
        "r.jsonl": (
            b'{"id":1,"v":007}\n',
            (
                "r.jsonl, line 1, character 14 is not JSON (Expecting ',' delimiter): "
                "a number has no leading zeros; write it as text, in quotes"
            ),
        ),
    },
    "007, said to be a number": {
        "r.csv": (b"id,v\n1,007\n", table(id=["1"], v=[7]), {"types": {"v": "BIGINT"}}),
        "r.jsonl": (b'{"id":1,"v":"007"}\n', table(id=[1], v=[7]), {"types": {"v": "BIGINT"}}),
    },
    "an integer beyond 64 bits": {
        "r.csv": (b"id,v\n1,18446744073709551616\n", table(id=["1"], v=["18446744073709551616"])),
        "r.jsonl": (
            b'{"id":1,"v":18446744073709551616}\n',
            (
                "r.jsonl, line 1, column 'v' holds an integer that does not fit 64 bits with the others: "
                "declare 'v' in types, for example as \"VARCHAR\""
            ),
        ),
    },
    "an integer beyond 64 bits, said to be one": {
        "r.csv": (
            b"id,v\n1,9223372036854775808\n",
            (
                "r.csv, row 1 (line 2), column 'v': '9223372036854775808' is no BIGINT: "
                "write it like 42, within 64 bits, or declare VARCHAR"
            ),
            {"types": {"v": "BIGINT"}},
        ),
        "r.jsonl": (
            b'{"id":1,"v":9223372036854775808}\n',
            (
                "r.jsonl, line 1, column 'v': '9223372036854775808' is no BIGINT: "
                "write it like 42, within 64 bits, or declare VARCHAR"
            ),
            {"types": {"v": "BIGINT"}},
        ),
    },
    "digits that no double keeps": {
        "r.csv": (b"id,v\n1,0.1234567890123456789\n", table(id=["1"], v=["0.1234567890123456789"])),
        "r.jsonl": (
            b'{"id":1,"v":0.1234567890123456789}\n',
            (
                "r.jsonl, line 1, column 'v' holds a number with more digits than a DOUBLE keeps: "
                "declare 'v' in types, for example as \"VARCHAR\""
            ),
        ),
    },
    "minus zero": {
        "r.csv": (b"id,v\n1,-0.0\n", table(id=["1"], v=[-0.0]), {"types": {"v": "DOUBLE"}}),
        "r.jsonl": (b'{"id":1,"v":-0.0}\n', table(id=[1], v=[-0.0])),
        "r.parquet": (table(id=[1], v=[-0.0]), table(id=[1], v=[-0.0])),
    },
    "NaN": {
        "r.csv": (b"id,v\n1,NaN\n", table(id=["1"], v=["NaN"])),
        "r.jsonl": (b'{"id":1,"v":NaN}\n', "r.jsonl, line 1: NaN is not JSON; write null, or a number"),
    },
    "a day that never was": {
        "r.csv": (
            b"id,v\n1,2024-02-30\n",
            "r.csv, row 1 (line 2), column 'v': '2024-02-30' is no DATE: " + LIKE_A_DAY,
            {"types": {"v": "DATE"}},
        ),
        "r.jsonl": (
            b'{"id":1,"v":"2024-02-30"}\n',
            "r.jsonl, line 1, column 'v': '2024-02-30' is no DATE: " + LIKE_A_DAY,
            {"types": {"v": "DATE"}},
        ),
    },
    "a moment without its offset": {
        "r.csv": (
            b"id,v\n1,2024-10-27 02:30:00\n",
            (
                "r.csv, row 1 (line 2), column 'v': '2024-10-27 02:30:00' is no TIMESTAMP WITH TIME ZONE: "
                "write it like 2024-01-31T10:30:00+02:00, or declare VARCHAR"
            ),
            {"types": {"v": "TIMESTAMPTZ"}},
        ),
    },
    "nulls everywhere": {
        "r.csv": (b"id,v\n,\n,\n", table(id=pa.nulls(2, pa.string()), v=pa.nulls(2, pa.string()))),
        "r.jsonl": (
            b'{"id":null,"v":null}\n{}\n',
            table(id=pa.nulls(2, pa.string()), v=pa.nulls(2, pa.string())),
        ),
        "r.parquet": (
            table(id=pa.nulls(2, pa.int64()), v=pa.nulls(2, pa.string())),
            table(id=pa.nulls(2, pa.int64()), v=pa.nulls(2, pa.string())),
        ),
    },
    "a key twice": {
        "r.csv": (
            b"id,v\n1,a\n1,b\n",
            (
                "r.csv, row 2: its key (id) is that of an earlier row; "
                "make it unique, or name more columns in source.key"
            ),
            {"key": ["id"]},
        ),
        "r.jsonl": (
            b'{"id":1}\n{"id":1}\n',
            (
                "r.jsonl, row 2: its key (id) is that of an earlier row; "
                "make it unique, or name more columns in source.key"
            ),
            {"key": ["id"]},
        ),
        "r.parquet": (
            table(id=[1, 1]),
            (
                "r.parquet, row 2: its key (id) is that of an earlier row; "
                "make it unique, or name more columns in source.key"
            ),
            {"key": ["id"]},
        ),
    },
    "a key that is null": {
        "r.csv": (
            b"id,v\n1,a\n,b\n",
            "r.csv, row 2: key column 'id' is null; give every row a key",
            {"key": ["id"]},
        ),
        "r.parquet": (
            table(id=[1, None]),
            "r.parquet, row 2: key column 'id' is null; give every row a key",
            {"key": ["id"]},
        ),
    },
    "rows of different kinds": {
        "r.jsonl": (
            b'{"id":1,"v":"a"}\n{"id":"2"}\n',
            (
                "r.jsonl, line 2, column 'id' holds text, and a whole number on line 1: "
                "declare 'id' in types, for example as \"VARCHAR\""
            ),
        ),
    },
    "lists and objects": {
        "r.jsonl": (
            b'{"id":1,"v":{"a":[1,null],"b":"x"}}\n{"id":2,"v":null}\n',
            table(id=[1, 2], v=[{"a": [1, None], "b": "x"}, None]),
        ),
        "r.parquet": (
            table(id=[1, 2], v=[{"a": [1, None], "b": "x"}, None]),
            table(id=[1, 2], v=[{"a": [1, None], "b": "x"}, None]),
        ),
    },
    "another format under the name": {
        "r.csv": (b"PAR1\x15\x04\x15\x00", "r.csv is a Parquet file: let its name end with .parquet"),
        "r.tsv": (
            b"\x1f\x8b\x08\0",
            "r.tsv is compressed with gzip: decompress it first, or read it through sql",
        ),
        "r.jsonl": (
            b'[{"id":1},\n{"id":2}]\n',
            (
                "r.jsonl, line 1, character 1 is not JSON (Expecting value): it begins a list; "
                "write one whole object on each line, for example with  jq -c '.[]'"
            ),
        ),
        "r.parquet": (
            b"id,v\n1,a\n",
            (
                "r.parquet cannot be read as Parquet (Parquet magic bytes not found in footer. "
                "Either the file is corrupted or this is not a parquet file): "
                "it is broken, cut short, or no Parquet file; write it anew"
            ),
        ),
    },
}

ALL = [(case, name) for case, files in CASES.items() for name in files]


def told(case: str, name: str) -> tuple[Content, pa.Table | str, dict[str, Any]]:
    content, result, *options = CASES[case][name]
    return content, result, {"path": name, **(options[0] if options else {})}


def refused() -> Iterator[Any]:
    for case, name in ALL:
        if isinstance(told(case, name)[1], str):
            long = case == "a line beyond all bounds"
            yield pytest.param(case, name, marks=pytest.mark.slow if long else ())


@pytest.mark.parametrize(("case", "name"), [*refused()])
def test_a_file_that_will_not_do_is_one_sentence_before_any_call(whole: Whole, case: str, name: str) -> None:
    content, sentence, source = told(case, name)
    write({name: content})
    assert whole.refusal(source) == planned_refusal(source) == sentence


def every_sink() -> Iterator[Any]:
    """A database takes a third of a second to make, so most files go into one in the slow set only."""
    for case, name in ALL:
        if isinstance(told(case, name)[1], str):
            continue
        for sink in ("out.parquet", "out.csv", "out.jsonl", "out.duckdb"):
            long = case == "a cell of 20 MB" and sink != "out.parquet"
            again = sink == "out.duckdb" and (case, name) not in INTO_DATABASE
            yield pytest.param(case, name, sink, marks=pytest.mark.slow if long or again else ())


INTO_DATABASE = {
    ("a line break in a cell", "r.csv"),
    ("no row", "r.csv"),
    ("NUL", "r.parquet"),
    ("007, said to be a number", "r.csv"),
    ("minus zero", "r.jsonl"),
    ("nulls everywhere", "r.jsonl"),
    ("lists and objects", "r.parquet"),
}


@pytest.mark.parametrize(("case", "name", "sink"), [*every_sink()])
def test_a_file_that_will_do_comes_out_as_it_is_in_every_sink(
    whole: Whole, case: str, name: str, sink: str
) -> None:
    content, expected, source = told(case, name)
    write({name: content})
    came = whole.result(source, sink, expected.schema.names)
    rows = expected.to_pylist()
    if sink == "out.parquet":
        assert came.schema.equals(expected.schema)
        came = came.to_pylist()
    if sink == "out.csv":
        rows = [{name: cell(value) for name, value in row.items()} for row in rows]
    assert len(came) == len(rows)
    assert came == rows
    signs = [math.copysign(1, row["v"]) for row in came if isinstance(row.get("v"), float)]
    assert signs == [math.copysign(1, row["v"]) for row in rows if isinstance(row.get("v"), float)]


def cell(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, separators=(",", ":")) if isinstance(value, dict) else str(value)
