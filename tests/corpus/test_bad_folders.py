"""Folders as they come: what is read of them, what is refused, and files that change under the run."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_program import STEP, Content, Whole, write

import opper_batch as ob
from opper_batch.sandbox import Sandbox, Script


def typed(*rows: dict[str, object], **types: pa.DataType) -> pa.Table:
    return pa.Table.from_pylist(list(rows), pa.schema(list(types.items())))


DRIFT = "; give all files of one source the same columns and types"
INT, TEXT = pa.int64(), pa.string()

# Case -> the files of a folder, and the ids that come out in order, or the sentence.
FOLDERS: dict[str, tuple[dict[str, Content], list[object] | str]] = {
    "hidden files, and marks of being done": (
        {
            "d/a.csv": b"id,v\n1,a\n",
            "d/_SUCCESS": b"",
            "d/.b.csv": b"broken",
            "d/_temporary/c.csv": b"broken",
            "d/.a.csv.crc": b"\0",
            "d/e/f.csv": b"id,v\n2,b\n",
        },
        ["1", "2"],
    ),
    "nothing but marks of being done": (
        {"d/_SUCCESS": b""},
        "d holds no file to read: it is empty, or all its files are hidden",
    ),
    "a file of another kind": (
        {"d/a.csv": b"id\n1\n", "d/readme.txt": b"x"},
        (
            "d/readme.txt has no suffix that says its format: known are .csv, .tsv, .parquet, .jsonl, "
            ".ndjson, .arrow, .feather, .ipc; of a folder with other files in it, name yours by a glob "
            "such as folder/*.csv"
        ),
    ),
    "formats mixed": (
        {"d/a.csv": b"id\n1\n", "d/b.jsonl": b'{"id":2}\n'},
        "d/b.jsonl and d/a.csv are of different formats: one source reads one; use a glob",
    ),
    "CSV: another order": (
        {"d/a.csv": b"id,v\n1,a\n", "d/b.csv": b"v,id\nb,2\n"},
        "d/b.csv and d/a.csv differ: column 1 is 'v' here and 'id' there" + DRIFT,
    ),
    "CSV: wider": (
        {"d/a.csv": b"id,v\n1,a\n", "d/b.csv": b"id,v,w\n2,b,c\n"},
        "d/b.csv and d/a.csv differ: only d/b.csv has the column 'w'" + DRIFT,
    ),
    "CSV: an empty file among others": (
        {"d/a.csv": b"id\n1\n", "d/b.csv": b""},
        "d/b.csv is empty: the first line of a CSV file names the columns",
    ),
    "CSV: a header and no row among others": (
        {"d/a.csv": b"id\n1\n", "d/b.csv": b"id\n", "d/c.csv": b"id\n3\n"},
        ["1", "3"],
    ),
    "JSONL: another order and width": (
        {"d/a.jsonl": b'{"id":1,"v":2}\n', "d/b.jsonl": b'{"w":0.5,"id":2}\n'},
        [1, 2],
    ),
    "JSONL: another type": (
        {"d/a.jsonl": b'{"id":1}\n', "d/b.jsonl": b'{"id":"2"}\n'},
        (
            "d/b.jsonl, line 1, column 'id' holds text, and a whole number on d/a.jsonl, line 1: "
            "declare 'id' in types, for example as \"VARCHAR\""
        ),
    ),
    "Parquet: another type": (
        {"d/a.parquet": typed({"id": 1}, id=INT), "d/b.parquet": typed({"id": "2"}, id=TEXT)},
        "d/b.parquet and d/a.parquet differ: column 'id' is string here and int64 there" + DRIFT,
    ),
    "Parquet: another order": (
        {"d/a.parquet": typed(id=INT, v=TEXT), "d/b.parquet": typed(v=TEXT, id=INT)},
        "d/b.parquet and d/a.parquet differ: column 1 is 'v' here and 'id' there" + DRIFT,
    ),
    "Parquet: another nullability": (
        {
            "d/a.parquet": pa.table({"id": [1]}, pa.schema([pa.field("id", INT, nullable=False)])),
            "d/b.parquet": typed({"id": None}, {"id": 3}, id=INT),
        },
        [1, None, 3],
    ),
    "Arrow: another width": (
        {"d/a.arrow": typed({"id": 1}, id=INT), "d/b.arrow": typed(id=INT, v=TEXT)},
        "d/b.arrow and d/a.arrow differ: only d/b.arrow has the column 'v'" + DRIFT,
    ),
    "folders with keys": (
        {"d/day=2024-02-29/a.csv": b"id\n1\n", "d/day=2024-03-01/b.csv": b"id\n2\n"},
        ["1", "2"],
    ),
    "folders with keys that differ": (
        {"d/day=1/a.csv": b"id\n1\n", "d/month=1/b.csv": b"id\n2\n"},
        (
            "the folders of d/month=1/b.csv give the keys 'month' and those of d/day=1/a.csv 'day': "
            "every file of one source needs the same key=value folders"
        ),
    ),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_folder_is_read_in_order_or_refused_naming_the_file(whole: Whole, case: str) -> None:
    files, expected = FOLDERS[case]
    write(files)
    if isinstance(expected, str):
        assert whole.refusal({"path": "d"}) == expected
    else:
        assert whole.result({"path": "d"}, "out.parquet", ["id"]).column("id").to_pylist() == expected


def test_links_in_a_circle_double_nothing_and_end(whole: Whole) -> None:
    write({"d/a.csv": b"id\n1\n", "d/e/b.csv": b"id\n2\n"})
    Path("d/e/up").symlink_to(Path("d").resolve())
    Path("d/again.csv").symlink_to("a.csv")
    Path("d/self").symlink_to("self")
    assert whole.refusal({"path": "d"}) == (
        "d/self is a link that leads nowhere, and a source is read more than once: put the file itself there"
    )
    Path("d/self").unlink()
    assert whole.result({"path": "d"}, "out.parquet", ["id"]).column("id").to_pylist() == ["1", "2"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([1, 2], "d/b.parquet, row 2: its key (id) is that of an earlier row"),
        ([4, None], "d/b.parquet, row 2: key column 'id' is null"),
    ],
)
def test_a_row_of_many_files_is_named_by_its_own_file(whole: Whole, rows: list[object], said: str) -> None:
    files = {"d/a.parquet": typed({"id": 2}, {"id": 3}, id=INT), "d/c.parquet": typed({"id": 9}, id=INT)}
    write({**files, "d/b.parquet": typed(*({"id": row} for row in rows), id=INT)})
    assert whole.refusal({"path": "d", "key": ["id"]}).startswith(said)


def test_a_page_that_is_broken_is_found_before_any_call(whole: Whole) -> None:
    write({"d/a.parquet": typed({"id": 1}, id=INT)})
    pq.write_table(pa.table({"id": [f"text {n}" for n in range(3000)]}), "r.parquet", row_group_size=1000)
    content = bytearray(Path("r.parquet").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 300] = b"\xff" * 300
    Path("r.parquet").write_bytes(content)
    said = whole.refusal({"path": "r.parquet"})
    assert said.startswith("r.parquet")
    assert "broken" in said or "not UTF-8" in said


# What changes in the middle of a run was whole when it was looked at: the run stops, and can go on.


@pytest.mark.parametrize("change", ["a row more", "gone", "another file of the same size"])
def test_a_file_that_changes_during_the_run_stops_it_and_nothing_paid_is_lost(
    here: Path, change: str
) -> None:
    path, rows = Path("r.csv"), [b"id\n", *(b"%05d\n" % number for number in range(20))]
    path.write_bytes(b"".join(rows))
    pipeline = ob.Pipeline(name="p", source={"path": "r.csv"}, steps=[STEP], sink={"path": "out.parquet"})
    changed: list[int] = []

    def change_it(progress: ob.Progress) -> None:
        if changed or not progress.calls:
            return
        changed.append(progress.calls)
        if change == "gone":
            path.unlink()
        elif change == "a row more":
            path.write_bytes(b"".join([*rows, b"99999\n"]))
        else:
            Path("other.csv").write_bytes(b"".join(rows).replace(b"00001", b"77777"))
            os.replace("other.csv", path)

    with Sandbox(Script(latency=0.02)) as sandbox:
        with pytest.raises(ob.SourceError) as stopped:
            ob.run(pipeline, sandbox=sandbox, concurrency=1, progress=change_it)
        assert changed
        what = "disappeared" if change == "gone" else "changed"
        assert stopped.value.message.startswith(f"r.csv {what} during the run: ")
        assert not Path("out.sandbox.parquet").exists()
        asked = len(sandbox.journal.records)
        path.write_bytes(b"".join(rows))
        ended = ob.run(pipeline, sandbox=sandbox)
        assert ended.counts.ok == 20
        assert len(sandbox.journal.records) == max(asked, 20)
