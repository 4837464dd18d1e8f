"""Files with some bytes changed, lost or added: each is a table or one sentence, never anything else."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_program import Content, write

from opper_batch.errors import SourceError
from opper_batch.sources import open_source

ROWS = 40
TABLE = pa.table(
    {
        "id": range(ROWS),
        "text": [f"text {number}" for number in range(ROWS)],
        "list": [[number, None] for number in range(ROWS)],
        "struct": [{"a": number, "b": str(number)} for number in range(ROWS)],
        "kind": pa.array(["a", "b"] * (ROWS // 2)).dictionary_encode(),
        "float": [number / 3 for number in range(ROWS)],
    }
)
WHOLE: dict[str, Content] = {
    "r.csv": b"id,v,w\n" + "".join(f'{n},"a ""{n}",é\n' for n in range(ROWS)).encode(),
    "r.jsonl": "".join(
        json.dumps({"id": n, "v": [n, None, 1.5], "w": {"x": "é"}}, ensure_ascii=False) + "\n"
        for n in range(ROWS)
    ).encode(),
    "r.parquet": TABLE,
    "r.arrow": TABLE,
}
ADDED = [b'"', b",", b"\n", b"\r", b"\0", b"{", b"]", b"\xff", b"\xef\xbb\xbf"]


def broken(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 5])):
        at = chance.randrange(len(changed))
        match chance.randrange(6):
            case 0:
                del changed[at : at + chance.randrange(1, 9)]
            case 1:
                changed[at:at] = chance.choice(ADDED)
            case _:
                changed[at] = chance.randrange(256)
    return bytes(changed)


def try_them(name: str, seeds: range) -> None:
    write({name: WHOLE[name]})
    path = Path(name)
    content = path.read_bytes()
    for seed in seeds:
        path.write_bytes(broken(content, random.Random(seed)))
        source = open_source(path=name)
        said = ""
        try:
            checked = source.check()
        except SourceError as error:
            said = str(error)
        if said:
            assert said.startswith(name), seed
            assert "\n" not in said, seed
        else:  # it is read to its end, every value of it
            rows = [row for batch in source.batches() for row in batch.to_pylist()]
            assert len(rows) == checked.rows, seed


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_with_broken_bytes_is_a_table_or_a_sentence(here: Path, name: str) -> None:
    try_them(name, range(40))


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_many_files_with_broken_bytes_are(here: Path, name: str) -> None:
    try_them(name, range(40, 5_000))


def test_a_file_that_gives_fewer_rows_than_it_says_is_refused(here: Path) -> None:
    pq.write_table(pa.table({"id": [1, 2, 3]}), "r.parquet", compression="none")
    footer = pq.read_metadata("r.parquet")
    assert footer.row_group(0).num_rows == 3
    content = Path("r.parquet").read_bytes()
    seeds = [content[:at] + b"\x0a" + content[at + 1 :] for at in range(len(content)) if content[at] == 6]
    told = []
    for changed in seeds:  # 6 is how the footer writes a count of 3, and 10 a count of 5
        Path("r.parquet").write_bytes(changed)
        with suppress(OSError, pa.ArrowException):
            if pq.read_metadata("r.parquet").num_rows == 5:
                with pytest.raises(SourceError, match="says it has 5 rows and has 3") as refused:
                    open_source(path="r.parquet").check()
                told.append(str(refused.value))
    assert told


@pytest.mark.parametrize("name", ["r.parquet", "r.arrow"])
@pytest.mark.parametrize("broken_name", [b"outer", b"inner"])
def test_a_name_that_is_no_text_is_one_sentence(here: Path, name: str, broken_name: bytes) -> None:
    write({name: pa.table({"outer": [{"inner": 1}]})})
    path = Path(name)
    path.write_bytes(path.read_bytes().replace(broken_name, broken_name[:-1] + b"\xd7"))
    with pytest.raises(SourceError, match=f"^{name} cannot be read as"):
        open_source(path=name).check()
