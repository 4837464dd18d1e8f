"""JSONL: one strict object on each line, types found over everything, nothing widened in silence."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opper_batch.errors import SourceError
from opper_batch.sources import Source, open_source


def written(folder: Path, *lines: str, name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def rows_of(source: Source, size: int = 8192) -> list[dict[str, Any]]:
    return pa.Table.from_batches(source.batches(size), source.schema).to_pylist()


def test_types_come_from_all_rows_and_absent_keys_are_null(tmp_path: Path) -> None:
    lines = [
        '{"a": 1, "t": "2024-01-01"}',
        '{"b": [1, 2.5], "a": null}',
        '{"o": {"x": true}, "n": null, "b": []}',
    ]
    source = open_source(path=written(tmp_path, *lines))
    assert source.check().rows == 3
    assert source.schema == pa.schema(
        [
            ("a", pa.int64()),
            ("t", pa.string()),
            ("b", pa.list_(pa.float64())),
            ("o", pa.struct([("x", pa.bool_())])),
            ("n", pa.string()),
        ]
    )
    assert rows_of(source, 2) == [
        {"a": 1, "t": "2024-01-01", "b": None, "o": None, "n": None},
        {"a": None, "t": None, "b": [1.0, 2.5], "o": None, "n": None},
        {"a": None, "t": None, "b": [], "o": {"x": True}, "n": None},
    ]


def test_types_come_from_all_files(tmp_path: Path) -> None:
    first = written(tmp_path, '{"a": 1}', name="1.jsonl")
    second = written(tmp_path, '{"b": "x", "a": 0.5}', name="2.ndjson")
    source = open_source(path=[first, second])
    assert rows_of(source) == [{"a": 1.0, "b": None}, {"a": 0.5, "b": "x"}]


FAULTS = {
    "broken JSON": (['{"a": 1}', '{"a": }'], ["line 2, character 7 is not JSON"]),
    "an object over lines": (["{", '"a": 1}'], ["line 1", "one whole object on each line"]),
    "text after the object": (['{"a": 1} {"a": 2}'], ["line 1, character 10"]),
    "a list": (["[1]"], ["line 1 holds a list where an object should be"]),
    "null for an object": (["null"], ["line 1 holds null"]),
    "a duplicate key": (['{"a": 1, "b": 1, "a": 2}'], ["line 1: the key 'a' comes twice"]),
    "a duplicate key inside": (['{"o": {"k": 1, "k": 1}}'], ["line 1: the key 'k' comes twice"]),
    "NaN": (['{"a": NaN}'], ["line 1: NaN is not JSON"]),
    "Infinity": (['{"a": -Infinity}'], ["line 1: -Infinity is not JSON"]),
    "a number too large": (['{"a": 1e999}'], ["line 1: the number '1e999' is too large"]),
    "endless digits": (['{"a": ' + "1" * 5000 + "}"], ["line 1: Exceeds the limit"]),
    "half a surrogate pair": (['{"a": "\\ud800"}'], ["line 1 holds half a surrogate pair"]),
    "too deep": (['{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"], ["line 1 is nested too deeply"]),
    "a blank line": (['{"a": 1}', "", '{"a": 1}'], ["line 2 is blank"]),
    "an empty name": (['{"": 1}'], ["column 1 has no name"]),
    "text and a number": (
        ['{"a": 1}', '{"a": "x"}'],
        ["line 2, column 'a' holds text, and a whole number on line 1", "declare 'a' in types"],
    ),
    "true and a number": (['{"a": 1}', '{"a": true}'], ["line 2, column 'a' holds true or false"]),
    "a mix inside": (
        ['{"o": {"x": [1]}}', '{"o": {"x": [null, "y"]}}'],
        ["line 2, column 'o.x[]' holds text", "declare 'o' in types"],
    ),
    "an integer no double holds": (
        ['{"a": 0.5}', '{"a": 9007199254740993}'],
        ["line 2, column 'a' mixes decimals with an integer"],
    ),
    "an integer beyond 64 bits": (['{"a": 18446744073709551616}'], ["line 1, column 'a'", "64 bits"]),
    "unsigned and negative": (['{"a": -1}', '{"a": 9223372036854775808}'], ["line 2, column 'a'", "64 bits"]),
    "only empty objects": (['{"a": {}}'], ["line 1, column 'a' is always an empty object"]),
    "no row": ([""], ["there is no row, and so there is no column"]),
    "no key": (["{}", "{}"], ["no row has a key, and so there is no column"]),
    "a leading zero": (['{"a": 007}'], ["line 1, character 8", "no leading zeros; write it as text"]),
    "a list over lines": (["[", '{"a": 1}', "]"], ["line 1, character 1", "begins a list", "jq -c '.[]'"]),
    "digits that no double keeps": (
        ['{"a": 0.5}', '{"a": 0.1234567890123456789}'],
        ["line 2, column 'a' holds a number with more digits than a DOUBLE keeps", "declare 'a' in types"],
    ),
    "a number too small": (['{"a": 1e-999}'], ["line 1: the number '1e-999' is too small"]),
    "data as keys": ([json.dumps({f"k{n}": 1 for n in range(3000)})], ["more than 2,000 different keys"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_sentence_naming_the_line(tmp_path: Path, fault: str) -> None:
    lines, parts = FAULTS[fault]
    path = written(tmp_path, *lines)
    with pytest.raises(SourceError) as raised:
        open_source(path=path).check()
    assert str(path) in str(raised.value)
    for part in parts:
        assert part in str(raised.value)


def test_a_mix_over_two_files_names_both(tmp_path: Path) -> None:
    written(tmp_path, '{"a": 1}', name="1.jsonl")
    written(tmp_path, '{"a": 2}', '{"a": "x"}', name="2.jsonl")
    with pytest.raises(SourceError, match=r"2\.jsonl, line 2, .* and a whole number on .*1\.jsonl, line 1"):
        open_source(path=tmp_path).check()


def test_bytes_that_are_not_utf8_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": "x"}\n{"a": "\xe9"}\n')
    with pytest.raises(SourceError, match=r"line 2: byte 0xE9 at offset 18 is not UTF-8"):
        open_source(path=path).check()


def test_declared_columns_are_read_from_how_they_are_written(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        '{"p": 1.10, "m": 1.50, "d": "7"}',
        '{"m": "x", "d": 8, "p": null}',
        '{"m": {"k": [1, 1.10, "é"]}}',
    )
    source = open_source(
        path=path, types={"p": "DECIMAL(30,20)", "m": "VARCHAR", "d": "INTEGER", "later": "DATE"}
    )
    assert source.schema.names == ["p", "m", "d", "later"]
    rows = rows_of(source)
    assert rows[0] == {"p": Decimal("1.10000000000000000000"), "m": "1.50", "d": 7, "later": None}
    assert rows[1] == {"p": None, "m": "x", "d": 8, "later": None}
    assert rows[2]["m"] == '{"k":[1,1.10,"é"]}'


def test_a_declared_value_that_does_not_fit_names_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, '{"a": 1}', '{"a": 1.5}')
    with pytest.raises(SourceError, match=r"line 2, column 'a': '1.5' is no INTEGER"):
        open_source(path=path, types={"a": "INTEGER"}).check()


def test_a_double_may_be_written_with_as_many_digits_as_it_has(tmp_path: Path) -> None:
    texts = ["0.1000000000000000055511151231257827", "1.00000000000000000000", "0.10000000000000001", "-0.0"]
    path = written(tmp_path, *(f'{{"a": {text}}}' for text in texts))
    assert [str(row["a"]) for row in rows_of(open_source(path=path))] == ["0.1", "1.0", "0.1", "-0.0"]


def test_digits_that_no_double_keeps_can_be_declared(tmp_path: Path) -> None:
    path = written(tmp_path, '{"a": 0.1234567890123456789}')
    source = open_source(path=path, types={"a": "DECIMAL(20,19)"})
    assert rows_of(source) == [{"a": Decimal("0.1234567890123456789")}]


def test_large_integers_are_kept_exactly(tmp_path: Path) -> None:
    source = open_source(path=written(tmp_path, '{"a": 18446744073709551615, "b": -9223372036854775808}'))
    assert rows_of(source) == [{"a": 2**64 - 1, "b": -(2**63)}]


def test_a_byte_order_mark_and_blank_lines_at_the_end_are_nothing(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n\n')
    assert rows_of(open_source(path=path)) == [{"a": 1}]


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_ROWS = st.lists(
    st.fixed_dictionaries(
        {"id": st.integers(-(2**63), 2**63 - 1)},
        optional={
            "t": _TEXT,
            "f": st.floats(allow_nan=False, allow_infinity=False),
            "b": st.booleans() | st.none(),
            "l": st.lists(_TEXT | st.none(), max_size=3),
            "o": st.fixed_dictionaries({"x": st.integers(0, 9), "y": _TEXT | st.none()}),
        },
    ),
    min_size=1,
    max_size=10,
)


@settings(max_examples=80, deadline=None)
@given(rows=_ROWS, size=st.integers(1, 12), ascii_only=st.booleans())
def test_any_rows_come_back_equal(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], size: int, ascii_only: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.jsonl"
    text = "".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    source = open_source(path=path)
    keys = dict.fromkeys(key for row in rows for key in row)
    assert source.schema.names == list(keys)
    assert rows_of(source, size) == [{key: row.get(key) for key in keys} for row in rows]
