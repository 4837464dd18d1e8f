"""What CSV files hold comes out as it is: text unless declared, nothing trimmed, nothing guessed."""

from __future__ import annotations

import csv
import datetime as dt
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opper_batch.sources import Source, open_source
from opper_batch.sources.contract import TEXT_PER_BATCH


def rows_of(source: Source, size: int = 8192) -> list[dict[str, object]]:
    return pa.Table.from_batches(source.batches(size), source.schema).to_pylist()


def written(folder: Path, text: str, name: str = "rows.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def test_cells_are_text_and_empty_cells_are_null(tmp_path: Path) -> None:
    source = open_source(path=written(tmp_path, 'zip,note\n007, x \n1e5,\nNaN,""\n'))
    checked = source.check()
    assert checked.rows == 3
    assert checked.schema == pa.schema([("zip", pa.string()), ("note", pa.string())])
    assert rows_of(source) == [
        {"zip": "007", "note": " x "},
        {"zip": "1e5", "note": None},
        {"zip": "NaN", "note": None},
    ]


def test_another_null_text_leaves_empty_cells_empty(tmp_path: Path) -> None:
    source = open_source(path=written(tmp_path, "a,b\nNA,\n"), null_text="NA")
    assert rows_of(source) == [{"a": None, "b": ""}]


def test_declared_columns_are_typed_and_the_others_stay_text(tmp_path: Path) -> None:
    path = written(tmp_path, "id,price,day,code\n7,1.50,2024-01-31,007\n,,,\n")
    source = open_source(path=path, types={"id": "BIGINT", "price": "DECIMAL(10,2)", "day": "DATE"})
    assert source.check().schema.types == [pa.int64(), pa.decimal128(10, 2), pa.date32(), pa.string()]
    assert rows_of(source) == [
        {"id": 7, "price": Decimal("1.50"), "day": dt.date(2024, 1, 31), "code": "007"},
        dict.fromkeys(["id", "price", "day", "code"]),
    ]


def test_a_header_alone_is_a_table_without_rows(tmp_path: Path) -> None:
    source = open_source(path=written(tmp_path, "a,b"))
    assert source.check().rows == 0
    assert list(source.batches()) == []


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_rows_end_in_any_line_break_and_blank_lines_at_the_end_are_nothing(tmp_path: Path, end: str) -> None:
    source = open_source(path=written(tmp_path, end.join(["a,b", "1,2", "", "", ""])))
    assert rows_of(source) == [{"a": "1", "b": "2"}]


def test_in_a_single_column_a_blank_line_is_an_empty_cell(tmp_path: Path) -> None:
    source = open_source(path=written(tmp_path, "a\nx\n\ny\n\n"))
    assert [row["a"] for row in rows_of(source)] == ["x", None, "y", None]


def test_line_breaks_inside_quotes_are_kept_exactly(tmp_path: Path) -> None:
    source = open_source(path=written(tmp_path, 'a,b\r\n"1\r\n2\n3\r4",x\r\n'))
    assert rows_of(source) == [{"a": "1\r\n2\n3\r4", "b": "x"}]


def test_a_quote_inside_an_unquoted_cell_is_a_character(tmp_path: Path) -> None:
    source = open_source(path=written(tmp_path, 'a,b\n5" pipe,x\n'))
    assert rows_of(source) == [{"a": '5" pipe', "b": "x"}]


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    source = open_source(path=written(tmp_path, "\ufeffa,b\n1,2\n"))
    assert source.schema.names == ["a", "b"]


def test_names_that_differ_in_case_are_two_columns(tmp_path: Path) -> None:
    assert open_source(path=written(tmp_path, "a,A\n1,2\n")).schema.names == ["a", "A"]


def test_a_quoted_name_may_hold_another_delimiter(tmp_path: Path) -> None:
    assert open_source(path=written(tmp_path, '"a;b"\n1\n')).schema.names == ["a;b"]


def test_tsv_is_split_at_tabs_and_a_delimiter_can_be_set(tmp_path: Path) -> None:
    assert rows_of(open_source(path=written(tmp_path, "a\tb\n1,5\t2\n", "x.tsv"))) == [{"a": "1,5", "b": "2"}]
    semicolons = open_source(path=written(tmp_path, "a;b\n1,5;2\n"), delimiter=";")
    assert rows_of(semicolons) == [{"a": "1,5", "b": "2"}]


def test_a_cell_of_twenty_megabytes_is_read(tmp_path: Path) -> None:
    huge = "x" * 20_000_000
    source = open_source(path=written(tmp_path, f'a,b\n1,"{huge}"\n2,y\n'))
    assert source.check().rows == 2
    assert rows_of(source)[0]["b"] == huge


def test_batches_are_closed_early_when_their_text_is_large(tmp_path: Path) -> None:
    cell = "x" * 1_000_000
    source = open_source(path=written(tmp_path, "a,b\n" + f"1,{cell}\n" * 40))
    sizes = [batch.num_rows for batch in source.batches()]
    assert sum(sizes) == 40
    assert max(sizes) * len(cell) <= TEXT_PER_BATCH + len(cell)


def test_batches_hold_at_most_the_rows_asked_for(tmp_path: Path) -> None:
    source = open_source(path=written(tmp_path, "a,b\n" + "1,2\n" * 10))
    assert [batch.num_rows for batch in source.batches(4)] == [4, 4, 2]
    with pytest.raises(ValueError, match="at least one row"):
        next(source.batches(0))


_CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@st.composite
def _tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    names = draw(st.lists(_CELLS.filter(str.strip), min_size=1, max_size=4, unique=True))
    width = len(names)
    return names, draw(st.lists(st.lists(_CELLS, min_size=width, max_size=width), max_size=12))


@settings(max_examples=150, deadline=None)
@given(table=_tables(), size=st.integers(1, 15), quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_any_table_of_text_comes_back_equal(
    tmp_path_factory: pytest.TempPathFactory,
    table: tuple[list[str], list[list[str]]],
    size: int,
    quoting: int,
) -> None:
    names, rows = table
    path = tmp_path_factory.getbasetemp() / "round.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        # One name alone is quoted: unquoted, a delimiter in it would rightly be refused.
        csv.writer(file, quoting=csv.QUOTE_ALL).writerow(names)
        csv.writer(file, quoting=quoting).writerows(rows)
    source = open_source(path=path)
    assert source.check().rows == len(rows)
    batches = list(source.batches(size))
    assert source.schema.names == names
    assert all(batch.schema == source.schema and 0 < batch.num_rows <= size for batch in batches)
    found = [list(row.values()) for batch in batches for row in batch.to_pylist()]
    assert found == [[cell or None for cell in row] for row in rows]
    kept = open_source(path=path, null_text="\0")
    assert [list(row.values()) for row in rows_of(kept, size)] == rows


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("shift", range(4))
def test_rows_are_whole_wherever_the_text_is_cut_when_it_is_read(
    tmp_path: Path, end: str, shift: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opper_batch.sources.csv_rows._CHUNK", 5)
    cells = ["é" * shift, f"two{end}lines", '"', ""]
    lines = [
        "a,b",
        *(f'{number},"{cell.replace(chr(34), chr(34) * 2)}"' for number, cell in enumerate(cells)),
    ]
    source = open_source(path=written(tmp_path, end.join(lines) + end))
    assert [row["b"] for row in rows_of(source)] == [cell or None for cell in cells]


def test_a_long_line_is_put_together_from_many_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opper_batch.sources.csv_rows._CHUNK", 3)
    source = open_source(path=written(tmp_path, f"a,b\n1,{'x' * 1000}\n2,y"))
    assert [row["b"] for row in rows_of(source)] == ["x" * 1000, "y"]
