"""Every fault of a CSV file is found by check(), as one sentence that names the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from opper_batch.errors import SourceError
from opper_batch.sources import open_source

# What the file holds, and what the sentence must say of it (besides the file's name).
FAULTS = {
    "a short row": (
        b"a,b,c\n1,2,3\n4,5\n",
        ["row 2 (line 3)", "before column 'c'", "2 cells", "header has 3"],
    ),
    "a long row": (b"a,b\n1,2\n3,4,5\n", ["row 2 (line 3)", "after the last column 'b'", "3 cells"]),
    "a row after a quoted line break": (
        b'a,b\n"1\n2",x\n3\n',
        ["row 2 (line 4)", "before column 'b'", "1 cell "],
    ),
    "an unclosed quote": (
        b'a,b\n1,2\n3,"4\n5,6\n',
        ["row 2 (line 3)", "column 'b'", "line 3 is never closed"],
    ),
    "an unclosed quote far on": (
        b'a,b\n"x\ny","z',
        ["row 1 (line 2)", "column 'b'", "line 3 is never closed"],
    ),
    "text after a closing quote": (b'a,b\n1,2\n"3"4,5\n', ["row 2 (line 3)", "column 'a'", "text follows"]),
    "text after a quote closed later": (b'a,b\n1,"2\n3" 4\n', ["row 1 (line 2)", "column 'b'", "on line 3"]),
    "a broken quote in the header": (b'a,"b\n1,2\n', ["line 1 (the header)", "cell 2", "never closed"]),
    "a duplicate header": (b"a,b,a\n1,2,3\n", ["line 1", "columns 1 and 3 are both named 'a'"]),
    "an empty header name": (b"a,,c\n1,2,3\n", ["line 1", "column 2 has no name"]),
    "a blank header name": (b"a,  ,c\n1,2,3\n", ["line 1", "column 2 has no name"]),
    "bytes that are not UTF-8": (
        b"a,b\n1,2\nx,caf\xe9\n",
        ["row 2 (line 3), column 'b'", "byte 0xE9 at offset 13"],
    ),
    "UTF-8 cut at the end": (
        b"a\nx\n\xe2\x82",
        ["row 2 (line 3), column 'a'", "byte 0xE2 at offset 4", "iconv"],
    ),
    "a NUL byte": (b"a,b\n1,2\n3,\x004\n", ["row 2 (line 3), column 'b' holds a NUL byte"]),
    "a NUL byte after a quoted line break": (
        b'a,b\n"1\n2",x\ny,"\x00"\n',
        ["row 2 (line 4), column 'b' holds a NUL byte"],
    ),
    "a NUL byte in the header": (b"a,b\0\n1,2\n", ["line 1 (the header) holds a NUL byte"]),
    "gzip": (b"\x1f\x8b\x08", ["is compressed with gzip: decompress it"]),
    "a spreadsheet": (b"PK\x03\x04\x14", ["is a zip archive or a spreadsheet: save what is in it as CSV"]),
    "Parquet under another name": (
        b"PAR1\x15\x04\x15",
        ["is a Parquet file: let its name end with .parquet"],
    ),
    "UTF-16 without a mark": ("a,b\n1,2\n".encode("utf-16-be"), ["is UTF-16BE, not", "iconv -f UTF-16BE"]),
    "UTF-32 without a mark": ("a,b\n1,2\n".encode("utf-32-le"), ["is UTF-32LE, not", "iconv -f UTF-32LE"]),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), ["is UTF-16, not UTF-8", "iconv -f UTF-16 -t UTF-8"]),
    "UTF-32": ("a,b\n1,2\n".encode("utf-32"), ["is UTF-32, not UTF-8", "iconv -f UTF-32 -t UTF-8"]),
    "an empty file": (b"", ["is empty"]),
    "only a byte order mark": (b"\xef\xbb\xbf", ["is empty"]),
    "a blank first line": (b"\na,b\n", ["begins with a blank line"]),
    "a blank line in the middle": (b"a,b\n1,2\n\n3,4\n", ["row 2 (line 3)", "is blank", "2 cells"]),
    "semicolons read as commas": (
        b"a;b;c\n1;2;3\n",
        ["one column 'a;b;c'", "semicolon", "set delimiter = ';'"],
    ),
    "quoted semicolons": (b'"a";"b"\n1;2\n', ["cell 1 is followed by ';'", "set delimiter = ';'"]),
    "tabs read as commas": (b"a\tb\n1\t2\n", ["holds a tab", r"set delimiter = '\t'"]),
    "bars read as commas": (b"a|b\n1|2\n", ["holds a bar", "set delimiter = '|'"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_sentence_naming_the_place(tmp_path: Path, fault: str) -> None:
    content, parts = FAULTS[fault]
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    with pytest.raises(SourceError) as raised:
        open_source(path=path).check()
    sentence = str(raised.value)
    assert str(path) in sentence
    assert "\n" not in sentence
    for part in parts:
        assert part in sentence


def test_bad_bytes_are_found_far_into_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    start = b"a,b\n" + "é,ü\n".encode() * 300_000
    path.write_bytes(start + b"x,\xff\n")
    with pytest.raises(
        SourceError, match=rf"row 300001 \(line 300002\), column 'b': byte 0xFF at offset {len(start) + 2} "
    ):
        open_source(path=path).check()


def test_a_fault_in_a_later_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a,b\n1,2\n")
    (tmp_path / "2.csv").write_text("a,b\n1\n")
    with pytest.raises(SourceError, match=r"2\.csv, row 1 \(line 2\)"):
        open_source(path=tmp_path).check()


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("a,c", "column 2 is 'c' here and 'b' there"),
        ("b,a", "column 1 is 'b' here and 'a' there"),
        ("a,B", "column 2 is 'B' here and 'b' there"),
        ("a,b,c", "only .*2.csv has the column 'c'"),
        ("a", "only .*1.csv has the column 'b'"),
    ],
)
def test_files_whose_columns_differ_are_refused_naming_both(tmp_path: Path, header: str, said: str) -> None:
    (tmp_path / "1.csv").write_text("a,b\n1,2\n")
    (tmp_path / "2.csv").write_text(f"{header}\n")
    with pytest.raises(SourceError, match=rf"2\.csv and .*1\.csv differ: {said}"):
        open_source(path=tmp_path).check()


@pytest.mark.parametrize(
    ("cell", "declared", "said"),
    [
        ("abc", "INTEGER", "'abc' is no INTEGER: write it like 42"),
        ("1.5", "INTEGER", "'1.5' is no INTEGER"),
        ("300", "TINYINT", "from -128 to 127"),
        ("2024-02-30", "DATE", "'2024-02-30' is no DATE: write it like 2024-01-31"),
        ("x" * 100, "DOUBLE", "'" + "x" * 29 + "…' is no DOUBLE"),
        ("\x1b[31m", "BOOLEAN", r"'\x1b[31m' is no BOOLEAN"),
    ],
)
def test_a_cell_that_is_not_of_its_declared_type_is_shown_cut_and_harmless(
    tmp_path: Path, cell: str, declared: str, said: str
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f'n,v\n"two\nlines",\n2,{cell}\n')
    with pytest.raises(SourceError) as raised:
        open_source(path=path, types={"v": declared}).check()
    assert f"{path}, row 2 (line 4), column 'v': " in str(raised.value)
    assert said in str(raised.value)


def test_a_declared_column_that_is_missing_names_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("Price,b\n1,2\n")
    with pytest.raises(SourceError, match="has no column 'prize': did you mean 'Price'"):
        open_source(path=path, types={"prize": "DOUBLE"}).check()


def test_a_quote_left_open_is_given_up_before_memory_is(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with path.open("w") as file:
        file.write('a,b\n1,"2\n')
        for _ in range(70):
            file.write(("x" * 1023 + "\n") * 1024)
    with pytest.raises(
        SourceError, match=r"row 1 \(line 2\), column 'b': the quote opened on line 2 is never"
    ):
        open_source(path=path).check()


@pytest.mark.parametrize("end", ["\n", "\r"])
def test_a_line_too_long_is_named_whether_or_not_it_ends(
    tmp_path: Path, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opper_batch.sources.csv_rows._CHUNK", 16)
    monkeypatch.setattr("opper_batch.sources.csv_rows.LONGEST", 100)
    path = tmp_path / "rows.csv"
    for text in (f"a{end}1{end}{'x' * 120}", f"a{end}1{end}{'x' * 120}{end}2{end}"):
        path.write_text(text, newline="")
        with pytest.raises(SourceError, match="line 3 is longer than 100 characters"):
            open_source(path=path).check()


def test_what_is_wrong_first_is_told_first(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"a,b\n1,2\n3\n4,\x005\n")
    with pytest.raises(SourceError, match=r"row 2 \(line 3\) ends before column 'b'"):
        open_source(path=path).check()
