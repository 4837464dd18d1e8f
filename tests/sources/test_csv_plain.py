"""Text without quotes is read by Arrow: the same rows, lines and faults as from the strict reader."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opper_batch.errors import SourceError
from opper_batch.sources import open_source
from opper_batch.sources.csv_plain import plain_columns
from opper_batch.sources.csv_rows import PlainBlock, read_blocks

_CHUNK = "opper_batch.sources.csv_rows._CHUNK"
# Everything that may mean something somewhere: delimiters, quotes, line ends of CSV and those of others.
_TEXTS = st.text(st.sampled_from('a,;"\n\r \u2028\x0b\x1c\ufeffé\0'), max_size=40)


def read(path: Path, size: int) -> tuple[list[tuple[int, int, list[str]]], str]:
    """Every row with its number and line, and the sentence for the fault that ended it."""
    rows: list[tuple[int, int, list[str]]] = []
    try:
        for block in read_blocks(str(path), ",", ["a", "b"], size):
            columns = [block.texts(index).to_pylist() for index in range(2)]
            cells = [list(row) for row in zip(*columns, strict=True)]
            numbers = range(block.first_row, block.first_row + len(block))
            rows += zip(numbers, block.lines, cells, strict=True)
    except SourceError as error:
        return rows, error.message
    return rows, ""


@settings(max_examples=400, deadline=None)
@given(text=_TEXTS, repeats=st.integers(1, 3), size=st.integers(1, 9), chunk=st.integers(1, 30))
def test_both_readers_make_the_same_of_any_text(
    tmp_path_factory: pytest.TempPathFactory, text: str, repeats: int, size: int, chunk: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(("a,b\r\n" + (text + "1,2\n") * repeats).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_CHUNK, chunk)
        found = read(path, size)
        patch.setattr("opper_batch.sources.csv_rows.plain_columns", lambda *_: None)
        assert found[1] == (strict := read(path, size))[1]
    # Rows before a fault may be handed out earlier or later; those of a whole file are all there.
    assert found[0] == strict[0] if not found[1] else found[0][: len(strict[0])] == strict[0]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_quote_is_read_strictly_and_what_follows_is_plain_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(_CHUNK, 64)
    lines = [f"{number},x" for number in range(150)]
    lines[100] = f'100,"two{end}lines"'
    path = tmp_path / "rows.csv"
    path.write_text(end.join(["a,b", *lines, ""]), newline="")
    blocks = list(read_blocks(str(path), ",", ["a", "b"], 8192))
    kinds = [isinstance(block, PlainBlock) for block in blocks]
    assert True in kinds[: kinds.index(False, 1)]
    assert kinds[-1]
    rows, _ = read(path, 8192)
    assert [row for row, _, _ in rows] == list(range(1, 151))
    assert [line for _, line, _ in rows] == [number + 2 + (number > 100) for number in range(150)]
    assert rows[100][2] == ["100", f"two{end}lines"]


def test_a_cell_far_into_plain_text_is_named_by_row_and_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    rows = [f"{number},1" for number in range(300_000)]
    rows[1_000] = '1000,"1"'
    rows[299_998] = "299998,many"
    path.write_text("\n".join(["a,b", *rows]))
    with pytest.raises(SourceError, match=r"row 299999 \(line 300000\), column 'b'"):
        open_source(path=path, types={"b": "BIGINT"}).check()


@pytest.mark.parametrize(
    "text", ['"a",b\n', "a,b\r1,2\n", "a\0,b\n", "a,b\n\n1,2\n", "\na,b\n", "\ufeffa,b\n", "a\n", "a,b,c\n"]
)
def test_what_is_not_plain_or_not_that_wide_is_left_to_the_strict_reader(text: str) -> None:
    assert plain_columns("a,b\n", ",", 2) == [pa.array(["a"]), pa.array(["b"])]
    assert plain_columns(text, ",", 2) is None
