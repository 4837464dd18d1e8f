"""``opper-batch new``: from a table to a pipeline file that runs as it is."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import polars
import pytest

import opper_batch as ob
from opper_batch.runs.drafting import write

PROSE = [f"The parcel of order {number} came late, and wet too." for number in range(30)]


def drafted(table: str) -> dict[str, Any]:
    """The file's fields; the pipeline is run to see that it does."""
    file = Path("draft.toml")
    file.unlink(missing_ok=True)
    write(table, file)
    counts = ob.run(ob.load(file), sandbox=True).counts
    assert counts.ok == counts.rows > 0
    return tomllib.loads(file.read_text())


@pytest.mark.parametrize(
    ("table", "key", "read"),
    [
        ("sample_data/support_tickets.csv", "ticket_id", ["subject", "body"]),
        ("sample_data/products.parquet", "sku", ["title", "raw_description"]),
        ("sample_data/reviews.jsonl", "review_id", ["product", "text"]),
    ],
)
def test_of_a_table_it_finds_the_key_and_what_is_to_be_read(
    examples: Path, table: str, key: str, read: list[str]
) -> None:
    fields = drafted(table)
    assert (fields["source"]["key"], fields["steps"][0]["input"]) == ([key], read)
    text = Path("draft.toml").read_text()
    columns = ob.plan("draft.toml", sandbox=True).steps[0]
    assert columns.rows > 50
    assert f"#   {key}  (" in text, "the table's columns are listed"
    assert len(fields["steps"][0]["columns"]) == 2


def test_a_key_is_unique_and_never_empty_in_the_whole_table(here: Path) -> None:
    many = list(range(3000))
    frame = polars.DataFrame({"id": [*many[:-1], 0], "n": many, "text": 100 * PROSE})
    frame.write_parquet("late.parquet")
    assert drafted("late.parquet")["source"]["key"] == ["n"]
    frame.select("text").write_parquet("none.parquet")
    assert "key" not in drafted("none.parquet")["source"]


def test_columns_that_have_our_names_and_names_that_are_no_names_are_no_obstacle(here: Path) -> None:
    names = ["kind", "summary", "READ_status", 'a "quoted"\nname', "[steps]", "x\x7f\u202ey", "'''", "# id"]
    polars.DataFrame(dict.fromkeys(names, PROSE)).write_parquet("odd name #1.parquet")
    fields = drafted("odd name #1.parquet")
    assert fields["name"] == "odd_name_1"
    assert set(fields["steps"][0]["columns"]) == {"kind_new", "summary_new"}
    assert set(fields["steps"][0]["input"]) == set(names) - {"# id"}
    assert not set(Path("draft.toml").read_text()) & {"\x7f", "\u202e"}


def test_a_table_without_anything_to_read_sends_all_but_its_key(here: Path) -> None:
    Path("numbers.csv").write_text("id,a,b\n1,x,2\n2,y,2\n")
    fields = drafted("numbers.csv")
    assert (fields["source"]["key"], fields["steps"][0]["input"]) == (["id"], ["a", "b"])


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_another_delimiter_is_found_where_every_row_has_it(here: Path, delimiter: str) -> None:
    rows = [["id", "more or less", "text"], ["1", "x,y", "a"], ["2", "'z'", '"b, c"']]
    Path("rows.csv").write_text("".join(delimiter.join(cells) + "\n" for cells in rows))
    fields = drafted("rows.csv")
    assert fields["source"] == {"path": "rows.csv", "delimiter": delimiter, "key": ["id"]}
    assert ob.load("draft.toml").source.delimiter == delimiter


@pytest.mark.parametrize("text", ["id;text\n1;x;y\n2;z\n", "a|b;c\n1|2;3\n", "id,text\n1,x\n2\n"])
def test_a_delimiter_that_not_every_row_has_is_left_to_the_user(here: Path, text: str) -> None:
    Path("rows.csv").write_text(text)
    with pytest.raises(ob.SourceError, match=r"rows\.csv"):
        write("rows.csv", Path("new.toml"))


def test_nothing_is_overwritten_and_an_empty_or_missing_table_is_told(here: Path) -> None:
    Path("rows.csv").write_text("id,text\n")
    Path("mine.toml").write_text("mine")
    for table, said in (("rows.csv", "has no rows yet"), ("nowhere.csv", "there is no file nowhere")):
        with pytest.raises(ob.SourceError, match=said):
            write(table, Path("new.toml"))
    with pytest.raises(ob.DefinitionError, match="is not overwritten"):
        write("rows.csv", Path("mine.toml"))
    assert (Path("mine.toml").read_text(), Path("new.toml").exists()) == ("mine", False)
