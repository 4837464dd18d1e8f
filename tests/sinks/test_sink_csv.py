"""CSV: read by Python's csv in strict mode, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import tempfile
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opper_batch.sinks import open_sink


def written(table: pa.Table, folder: Path, name: str = "x.csv") -> Path:
    path = folder / name
    with open_sink(path=str(path)).open(table.schema) as writer:
        for batch in table.to_batches():
            writer.write(batch)
    return path


def cells(path: Path, delimiter: str = ",") -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, strict=True, delimiter=delimiter))


def test_every_cell_has_its_documented_form(tmp_path: Path, tickets: pa.Table) -> None:
    rows = cells(written(tickets, tmp_path))
    assert rows[0] == tickets.schema.names
    assert rows[1:] == [
        ["1", "refund, please", '["a","b"]', "1.50", "2024-02-29", "1970-01-01T00:00:00", "0.1", "ok"],
        ["2", 'say "hi"\nnow', "[]", "", "", "", "", "failed"],
        ["3", "", "", "-0.05", "0001-01-01", "2024-02-29T13:05:00.123456", "1e+300", "ok"],
        ["4", "", '["日本",""]', "0.00", "9999-12-31", "1969-12-31T23:59:59.999999", "-0.0", "skipped"],
    ]


def test_null_and_empty_text_can_be_told_apart(tmp_path: Path) -> None:
    path = written(pa.table({"a": ["", None], "b": [1, 2]}), tmp_path)
    assert path.read_text() == 'a,b\n"",1\n,2\n'
    options = pa.csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False)
    assert pa.csv.read_csv(path, convert_options=options)["a"].to_pylist() == ["", None]


def test_a_null_in_a_table_of_one_column_is_still_a_row(tmp_path: Path) -> None:
    assert cells(written(pa.table({"a": ["x", None, ""]}), tmp_path)) == [["a"], ["x"], [""], [""]]


def test_polars_and_duckdb_read_it_too(tmp_path: Path, tickets: pa.Table) -> None:
    path = written(tickets, tmp_path)
    for read in (pl.read_csv(path).to_arrow(), duckdb.read_csv(str(path)).to_arrow_table()):
        for name in ("ticket_id", "score", "triage_status"):
            assert read[name].to_pylist() == tickets[name].to_pylist()


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+HYPERLINK(1)", "'+HYPERLINK(1)"),
        ("-2+3", "'-2+3"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ('=cmd|" /C calc"!A0', '\'=cmd|" /C calc"!A0'),
        ("-", "'-"),
        ("-5\n", "'-5\n"),
        ("-٣", "'-٣"),
        ("-5", "-5"),
        ("+1.5", "+1.5"),
        ("-.5e-3", "-.5e-3"),
        ("a=1", "a=1"),
        ("", ""),
    ],
)
def test_formulas_are_defused_and_numbers_are_not(tmp_path: Path, text: str, cell: str) -> None:
    dictionary = pa.array([text]).dictionary_encode()
    rows = cells(written(pa.table({"t": [text], "d": dictionary, "n": [1]}), tmp_path))
    assert rows[1] == [cell, cell, "1"]


def test_formulas_in_column_names_are_defused(tmp_path: Path) -> None:
    assert cells(written(pa.table({"=1+1": ["a"], "-5": ["b"]}), tmp_path))[0] == ["'=1+1", "-5"]


def test_numbers_and_bytes_are_never_taken_for_formulas(tmp_path: Path) -> None:
    table = pa.table({"i": [-1], "d": [Decimal("-0.5")], "f": [float("-inf")], "b": [b"\xfb\xef\xbe"]})
    assert cells(written(table, tmp_path))[1] == ["-1", "-0.5", "-inf", "++++"]


def test_tsv_has_tabs(tmp_path: Path) -> None:
    path = written(pa.table({"a": ["x\ty"], "b": ["1,2"]}), tmp_path, "x.tsv")
    assert path.read_text() == 'a\tb\n"x\ty"\t1,2\n'
    assert cells(path, "\t")[1] == ["x\ty", "1,2"]


_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ['"', "\r\n", ",", "\x00"]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_texts, _texts), min_size=1, max_size=5))
def test_any_text_comes_back_from_pythons_csv_in_strict_mode(rows: list[tuple[str, str]]) -> None:
    table = pa.table({"a": [row[0] for row in rows], "b": [row[1] for row in rows]})
    with tempfile.TemporaryDirectory() as folder:
        read = cells(written(table, Path(folder)))[1:]
    assert len(read) == len(rows)
    for found, row in zip(read, rows, strict=True):
        assert [cell.removeprefix("'") for cell in found] == [text.removeprefix("'") for text in row]
