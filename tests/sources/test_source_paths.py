"""Which files a path means, in which order, and what their folders add."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from opper_batch.errors import SourceError
from opper_batch.sources import Source, open_source
from opper_batch.sources.paths import find_files


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"a\n{path.stem}\n")


def names_of(root: Path, path: object) -> list[str]:
    return [os.path.relpath(found.path, root) for found in find_files(path)]  # type: ignore[arg-type]


def rows_of(source: Source) -> list[dict[str, object]]:
    return pa.Table.from_batches(source.batches(), source.schema).to_pylist()


def test_a_folder_is_read_sorted_and_without_hidden_names(tmp_path: Path) -> None:
    make(
        tmp_path,
        "b.csv",
        "a/z.csv",
        "a.csv",
        "_manifest.json",
        ".x.csv",
        "_tmp/c.csv",
        ".git/c.csv",
        "c/_SUCCESS",
    )
    assert names_of(tmp_path, tmp_path) == ["a/z.csv", "a.csv", "b.csv"]


def test_a_glob_means_files_at_any_depth(tmp_path: Path) -> None:
    make(tmp_path, "b.csv", "a/z.csv", "a/y.txt", ".h/z.csv", "_t/z.csv", "d.csv/x.csv")
    assert names_of(tmp_path, str(tmp_path / "*.csv")) == ["b.csv"]
    assert names_of(tmp_path, str(tmp_path / "**/*.csv")) == ["a/z.csv", "b.csv", "d.csv/x.csv"]
    assert names_of(tmp_path, str(tmp_path / "a/**")) == ["a/y.txt", "a/z.csv"]
    assert names_of(tmp_path, str(tmp_path / "[ab]*/[!x]*.csv")) == ["a/z.csv"]
    assert names_of(tmp_path, str(tmp_path / "_t/*.csv")) == ["_t/z.csv"]


def test_relative_paths_start_at_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "data/a.csv", "data/b.csv")
    monkeypatch.chdir(tmp_path)
    assert [found.path for found in find_files("data/*.csv")] == ["data/a.csv", "data/b.csv"]
    assert [found.path for found in find_files("data")] == ["data/a.csv", "data/b.csv"]


def test_a_name_that_exists_is_no_pattern(tmp_path: Path) -> None:
    make(tmp_path, "a[1].csv", "a1.csv")
    assert names_of(tmp_path, str(tmp_path / "a[1].csv")) == ["a[1].csv"]


def test_a_list_keeps_its_order(tmp_path: Path) -> None:
    make(tmp_path, "a.csv", "b.csv")
    assert names_of(tmp_path, [tmp_path / "b.csv", str(tmp_path / "a.csv")]) == ["b.csv", "a.csv"]


def test_links_in_circles_neither_hang_nor_double_rows(tmp_path: Path) -> None:
    make(tmp_path, "x/a.csv", "y/b.csv")
    make(tmp_path.parent / "elsewhere", "c.csv")
    (tmp_path / "x/up").symlink_to(tmp_path)
    (tmp_path / "y/other").symlink_to(tmp_path / "x")
    (tmp_path / "a_again.csv").symlink_to(tmp_path / "x/a.csv")
    (tmp_path / "linked").symlink_to(tmp_path.parent / "elsewhere")
    assert names_of(tmp_path, tmp_path) == ["linked/c.csv", "x/a.csv", "y/b.csv"]
    assert names_of(tmp_path, str(tmp_path / "**/*.csv")) == ["x/a.csv", "y/b.csv"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("none.csv", "there is no file .*none.csv: check the path; relative paths start at "),
        ("*.none", r"no file matches .*\*\.none: check the pattern"),
        ("empty", "empty holds no file to read"),
        ("pipe.csv", "pipe.csv is not a regular file"),
        ("dangling.csv", "dangling.csv is a link that leads nowhere"),
        ("rows.txt", r"rows.txt has no suffix that says its format: known are .csv, .tsv, .parquet"),
        ("rows.csv.gz", "rows.csv.gz is compressed: decompress it first"),
        ("broken", "self.csv is a link that leads nowhere"),
        ("broken/*", "self.csv is a link that leads nowhere"),
        ("mixed", r"b.tsv and .*a.csv are of different formats"),
    ],
)
def test_what_cannot_be_opened_is_one_sentence(tmp_path: Path, path: str, said: str) -> None:
    make(tmp_path, "rows.txt", "rows.csv.gz", "mixed/a.csv", "mixed/b.tsv")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/self.csv").symlink_to(tmp_path / "broken/self.csv")
    (tmp_path / "dangling.csv").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(SourceError, match=said):
        open_source(path=str(tmp_path / path))


def test_an_empty_list_and_an_empty_path_are_refused() -> None:
    with pytest.raises(SourceError, match="the list of paths is empty"):
        open_source(path=[])
    with pytest.raises(SourceError, match="the source's path is empty"):
        open_source(path="")


def test_a_file_named_twice_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "a.csv")
    with pytest.raises(SourceError, match=r"a\.csv is named twice .* doubled"):
        open_source(path=[tmp_path / "a.csv", str(tmp_path / "*.csv")])


def test_a_suffix_is_known_in_any_case(tmp_path: Path) -> None:
    make(tmp_path, "A.CSV")
    assert rows_of(open_source(path=tmp_path / "A.CSV")) == [{"a": "A"}]


def test_folder_keys_become_text_columns_after_the_files_own(tmp_path: Path) -> None:
    make(tmp_path, "year=2024/city=K%C3%B6ln/x.csv", "year=2025/city=__HIVE_DEFAULT_PARTITION__/y.csv")
    expected = [{"a": "x", "year": "2024", "city": "Köln"}, {"a": "y", "year": "2025", "city": None}]
    assert rows_of(open_source(path=tmp_path)) == expected
    assert rows_of(open_source(path=str(tmp_path / "*/*/*.csv"))) == expected
    assert rows_of(open_source(path=str(tmp_path / "year=2024/*/x.csv"))) == [{"a": "x", "city": "Köln"}]
    assert rows_of(open_source(path=tmp_path / "year=2024/city=K%C3%B6ln/x.csv")) == [{"a": "x"}]


def test_folder_keys_can_be_declared_also_for_parquet(tmp_path: Path) -> None:
    for day in ("2024-01-31", "2024-02-01"):
        folder = tmp_path / f"day={day}"
        folder.mkdir()
        pq.write_table(pa.table({"id": [1, 2]}), folder / "part.parquet")
    source = open_source(path=tmp_path, types={"day": "DATE"})
    assert source.check().schema == pa.schema([("id", pa.int64()), ("day", pa.date32())])
    assert [row["day"] for row in rows_of(source)] == [dt.date(2024, 1, 31)] * 2 + [dt.date(2024, 2, 1)] * 2


def test_folder_keys_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    make(tmp_path, "n=1/x.csv", "n=two/y.csv")
    with pytest.raises(SourceError, match=r"n=two/y\.csv, folder key 'n': 'two' is no INTEGER"):
        open_source(path=tmp_path, types={"n": "INTEGER"})
    make(tmp_path, "z.csv")
    with pytest.raises(SourceError, match=r"z\.csv give the keys \(none\) and those of .*x\.csv 'n'"):
        open_source(path=tmp_path)


def test_a_folder_key_that_is_also_a_column_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "a=1/x.csv")
    with pytest.raises(SourceError, match="'a' is a column of the files and a key of their folders"):
        open_source(path=tmp_path).check()
