"""What every source keeps: the same rows on every pass or a refusal, limits, and how options go together."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from opper_batch.errors import DefinitionError, SourceError
from opper_batch.sources import Source, missing_column_error, open_source

CSV_ROWS = "a,b\n" + "1,2\n" * 100


def csv_file(folder: Path, text: str = CSV_ROWS) -> Path:
    path = folder / "rows.csv"
    path.write_text(text)
    return path


def rows_of(source: Source) -> list[dict[str, object]]:
    return pa.Table.from_batches(source.batches(), source.schema).to_pylist()


def test_what_was_checked_tells_rows_schema_and_the_state_of_the_files(tmp_path: Path) -> None:
    path = csv_file(tmp_path)
    source = open_source(path=path)
    checked = source.check()
    stat = path.stat()
    assert (checked.rows, checked.schema) == (100, source.schema)
    assert [(one.path, one.size, one.mtime_ns) for one in checked.files] == [
        (str(path), stat.st_size, stat.st_mtime_ns)
    ]
    assert source.name == str(path)
    assert source.describe() == f"{path} (CSV, 100 rows)"
    assert repr(source) == f"FileSource({path} (CSV, 100 rows))"


def test_several_files_are_described_by_their_number(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a\n1\n")
    (tmp_path / "2.csv").write_text("a\n1\n")
    assert open_source(path=tmp_path).describe() == f"{tmp_path} (2 CSV files)"
    assert (
        open_source(path=[tmp_path / "1.csv", tmp_path / "2.csv"]).name == f"{tmp_path / '1.csv'} and 1 more"
    )


def test_batches_without_a_check_check_first(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"row 101"):
        next(open_source(path=csv_file(tmp_path, CSV_ROWS + "x\n")).batches(1))


def touch(path: Path) -> None:
    path.write_text(CSV_ROWS)
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path: path.write_text(CSV_ROWS + "3,4\n"), r"rows\.csv changed during the run: run again"),
        (lambda path: path.write_text("x"), r"rows\.csv changed during the run: run again"),
        (touch, r"rows\.csv changed during the run: run again"),
        (Path.unlink, r"rows\.csv disappeared during the run"),
    ],
)
def test_a_file_that_changed_after_the_check_is_refused(tmp_path: Path, change: object, said: str) -> None:
    path = csv_file(tmp_path)
    source = open_source(path=path)
    source.check()
    change(path)  # type: ignore[operator]
    with pytest.raises(SourceError, match=said):
        next(source.batches())


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "a,b\n" + "1,2\n" * 50_000)
    source = open_source(path=path)
    source.check()
    batches = source.batches(1000)
    next(batches)
    with path.open("a") as file:
        file.write("broken\n")
    with pytest.raises(SourceError, match="changed during the run"):
        list(batches)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "arrow", "sql", "table", "stream", "limit"])
def test_two_passes_at_once_give_the_same_rows(tmp_path: Path, kind: str) -> None:
    """What is answered is joined with its rows while later rows are still read to be asked."""
    table = pa.table({"n": range(1_000)})
    path = str(tmp_path / f"rows.{kind}")
    pq.write_table(table, tmp_path / "rows.parquet")
    (tmp_path / "rows.csv").write_text("n\n" + "".join(f"{n}\n" for n in range(1_000)))
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"n": {n}}}\n' for n in range(1_000)))
    with pa.ipc.new_file(tmp_path / "rows.arrow", table.schema) as writer:
        writer.write_table(table)
    options: dict[str, dict[str, object]] = {
        "sql": {"sql": f"SELECT * FROM '{tmp_path}/rows.parquet'"},
        "table": {"table": table},
        "stream": {"table": pa.RecordBatchReader.from_batches(table.schema, table.to_batches(100))},
        "limit": {"path": tmp_path / "rows.parquet", "limit": 900},
    }
    source = open_source(**options.get(kind, {"path": path}))  # type: ignore[arg-type]
    source.check()
    read: list[list[dict[str, object]]] = [[], []]
    for batches in zip(source.batches(64), source.batches(64), strict=True):
        for rows, batch in zip(read, batches, strict=True):
            rows.extend(batch.to_pylist())
    assert read[0] == read[1] == rows_of(source)
    assert len(read[0]) >= 900


def test_checking_again_takes_the_file_as_it_is_now(tmp_path: Path) -> None:
    path = csv_file(tmp_path)
    source = open_source(path=path)
    source.check()
    path.write_text("a,b\n1,2\n")
    assert source.check().rows == len(rows_of(source)) == 1


def test_a_file_that_may_not_be_read_is_one_sentence(tmp_path: Path) -> None:
    path = csv_file(tmp_path)
    source = open_source(path=path)
    path.unlink()
    with pytest.raises(SourceError, match=r"rows\.csv cannot be read: .*No such file"):
        source.check()


@pytest.mark.parametrize(("limit", "rows"), [(0, 0), (1, 1), (64, 64), (65, 65), (100, 100), (1000, 100)])
def test_a_limit_keeps_the_first_rows(tmp_path: Path, limit: int, rows: int) -> None:
    pq.write_table(pa.table({"n": range(100)}), tmp_path / "rows.parquet")
    source = open_source(path=tmp_path / "rows.parquet", limit=limit)
    assert source.check().rows == rows
    assert [row["n"] for batch in source.batches(64) for row in batch.to_pylist()] == list(range(rows))
    assert source.describe().startswith(f"the first {limit:,} rows of ")


def test_a_limit_hides_no_fault(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="row 101"):
        open_source(path=csv_file(tmp_path, CSV_ROWS + "x\n"), limit=1).check()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "exactly one of path, sql and table"),
        ({"path": "x.csv", "sql": "SELECT 1"}, "exactly one of path, sql and table"),
        ({"path": "rows.csv", "delimiter": ",,"}, "delimiter is ',,': it is one character"),
        ({"path": "rows.csv", "delimiter": '"'}, "delimiter is"),
        ({"path": "rows.csv", "delimiter": ""}, "delimiter is"),
        ({"path": "rows.csv", "limit": -1}, "limit is -1"),
        ({"path": "rows.csv", "types": {"a": "NOPE"}}, "source.types.a: 'NOPE' is not a DuckDB type"),
        (
            {"path": "rows.jsonl", "delimiter": ";"},
            "delimiter and null_text are for CSV, and the source is JSONL",
        ),
        ({"sql": "SELECT 1", "null_text": "NA"}, "types, delimiter and null_text are for files of text"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], said: str
) -> None:
    csv_file(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DefinitionError, match=said):
        open_source(**options)  # type: ignore[arg-type]


def test_a_missing_column_names_the_nearest_or_all() -> None:
    schema = pa.schema([("Subject", pa.string()), ("body", pa.string())])
    near = missing_column_error(schema, "subjct", "tickets.csv")
    assert near.message == "tickets.csv has no column 'subjct': did you mean 'Subject'?"
    far = missing_column_error(schema, "zzz", "tickets.csv")
    assert far.message == "tickets.csv has no column 'zzz': it has 'Subject', 'body'"
