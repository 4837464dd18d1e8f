"""One call from a table to the same kind of table with more columns."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import duckdb
import pandas
import polars
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal
from pydantic import BaseModel

import opper_batch as ob

COLUMNS = {"mood": ["good", "bad"], "stars": {"type": "TINYINT", "min": 1, "max": 5, "nullable": True}}
NEW = ["mood", "stars", "enrich_status"]


@pytest.fixture(scope="module")
def gateway_url() -> Iterator[ob.Sandbox]:
    with ob.Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def ask(here: Path, gateway_url: ob.Sandbox) -> Any:
    """``ob.enrich`` with the sandbox of this module."""

    def enrich(table: Any, **options: Any) -> Any:
        return ob.enrich(table, **{"columns": COLUMNS, "sandbox": gateway_url, **options})

    return enrich


def reviews() -> polars.DataFrame:
    """With types that a way through Arrow and back would change."""
    return polars.DataFrame(
        {"id": [3, 1, 2], "kind": ["a", "b", "a"], "text": ["fine", "broken", None]},
        schema={"id": polars.UInt8, "kind": polars.Enum(["b", "a"]), "text": polars.String},
    ).with_columns(polars.lit(dt.timedelta(days=1)).alias("age"))


def test_a_polars_frame_keeps_its_columns_to_the_type(ask: Any) -> None:
    frame = reviews()
    out = ask(frame, input=["kind", "text"], instructions="Read it.", key=["id"])
    assert_frame_equal(out[frame.columns], frame)
    assert set(out["mood"]) <= {"good", "bad"}
    assert out.schema["stars"] == polars.Int8
    assert out["enrich_status"].to_list() == ["ok"] * 3


def test_a_lazy_frame_comes_back_lazy_and_of_the_same_types(ask: Any) -> None:
    frame = reviews().lazy().filter(polars.col("id") < 3)
    out = ask(frame, input="text")
    assert isinstance(out, polars.LazyFrame)
    assert_frame_equal(out.collect().select("id", "kind", "text", "age"), frame.collect())


def test_a_pandas_frame_keeps_its_index_and_new_whole_numbers_stay_whole(ask: Any) -> None:
    frame = pandas.DataFrame({"text": ["x", "y"]}, index=pandas.Index(["r1", "r2"], name="place"))
    out = ask(frame)
    assert list(out.index) == ["r1", "r2"]
    assert out.index.name == "place"
    assert list(out.columns[:4]) == ["text", *NEW]
    assert str(out["stars"].dtype) == "int8[pyarrow]"
    assert list(out["enrich_status"]) == ["ok", "ok"]


def test_arrow_comes_back_as_the_kind_that_went_in(ask: Any) -> None:
    table = pa.table({"text": ["x", "y", "z"]})
    assert ask(table).column_names[:4] == ["text", *NEW]
    batch = ask(table.to_batches()[0])
    assert isinstance(batch, pa.RecordBatch)
    assert batch.num_rows == 3
    reader = ask(table.to_reader())
    assert isinstance(reader, pa.RecordBatchReader)
    assert reader.read_all().equals(ask(table))
    assert ask(table.slice(0, 0)).num_rows == 0


def test_a_reader_is_read_by_whichever_thread_comes(ask: Any) -> None:
    table = pa.table({"id": range(100), "text": ["the same"] * 100})
    relation = duckdb.from_arrow(ask(table.to_reader(), input="text"))
    assert relation.aggregate("count(*), count(DISTINCT mood), max(id)").fetchall() == [(100, 1, 99)]
    begun = ask(table.to_reader(), input="text")
    first = begun.read_next_batch().num_rows
    with ThreadPoolExecutor(1) as thread:
        assert first + thread.submit(begun.read_all).result().num_rows == 100


def test_a_relation_stays_on_its_connection(ask: Any) -> None:
    with duckdb.connect() as connection:
        connection.sql("CREATE TABLE texts AS SELECT i AS id, 'text ' || i AS text FROM range(5) r(i)")
        texts = connection.table("texts")
        out = ask(texts.filter("id > 2"))
        assert isinstance(out, duckdb.DuckDBPyRelation)
        joined = out.set_alias("o").join(texts.set_alias("t"), "o.id = t.id")
        assert joined.aggregate("count(*), count(DISTINCT o.mood) <= 2").fetchall() == [(2, True)]


def test_a_relation_of_a_connection_that_looks_at_no_variables(ask: Any) -> None:
    with duckdb.connect(config={"python_enable_replacements": "false"}) as connection:
        out = ask(connection.sql("SELECT 'a' AS text"))
        assert out.columns[:4] == ["text", *NEW]


def test_columns_are_a_dict_a_list_or_a_class(ask: Any) -> None:
    class Look(BaseModel):
        mood: Literal["good", "bad"]

    for columns in ({"mood": ["good", "bad"]}, [ob.Column("mood", enum=("good", "bad"))], Look):
        assert set(ask(reviews(), columns=columns)["mood"]) <= {"good", "bad"}


def test_a_second_time_nothing_is_asked_and_a_second_name_adds_more(
    ask: Any, gateway_url: ob.Sandbox
) -> None:
    first = ask(reviews())
    calls = len(gateway_url.journal.calls)
    again = ask(reviews())
    assert len(gateway_url.journal.calls) == calls
    assert_frame_equal(again.drop("enrich_cached"), first.drop("enrich_cached"))
    more = ask(first, name="tongue", columns={"language": "VARCHAR"}, input=["text"], limit=2)
    assert more.height == 2
    assert more["tongue_status"].to_list() == ["ok", "ok"]


def test_mistakes_are_told_in_a_sentence(ask: Any) -> None:
    with pytest.raises(ob.DefinitionError, match="there is no option 'sink' here"):
        ask(reviews(), sink="x.parquet")
    with pytest.raises(ob.DefinitionError, match="did you mean 'max_cost'"):
        ask(reviews(), max_costs=1)
    with pytest.raises(ob.DefinitionError, match="give the new one another name"):
        ask(ask(reviews()))
    with pytest.raises(ob.DefinitionError, match=r"a step is a dict such as .*, not Pipeline"):
        reviews().opper.map(
            ob.Pipeline(name="p", source={"path": "x"}, steps=[{"name": "s", "columns": COLUMNS}])
        )
    with pytest.raises(ob.SourceError, match="has no column 'identity'"):
        ask(reviews(), key="identity")
    with pytest.raises(ob.DefinitionError, match=r"a source table cannot be a 'builtins\.list'"):
        ask([1, 2])


def test_the_namespace_maps_a_step_over_eager_and_lazy_frames(here: Path, gateway_url: ob.Sandbox) -> None:
    step = {"name": "look", "instructions": "Read it.", "input": "text", "columns": COLUMNS}
    eager = reviews().opper.map(step, sandbox=gateway_url)
    assert eager["look_status"].to_list() == ["ok"] * 3
    lazy = reviews().lazy().opper.map(step, sandbox=gateway_url)
    assert_frame_equal(lazy.collect().drop("look_cached"), eager.drop("look_cached"))
    loaded = ob.Pipeline(name="p", source={"path": "x"}, steps=[{**step, "input": ["text"]}]).steps[0]
    assert reviews().opper.map(loaded, sandbox=gateway_url).columns == eager.columns
    assert "map" in repr(reviews().opper)


@pytest.mark.parametrize(
    "imports",
    [
        "import polars, opper_batch",
        "import opper_batch, polars",
        "import opper_batch, polars.selectors, polars",
        "import opper_batch, importlib.util; importlib.util.find_spec('polars'); import polars",
    ],
)
def test_the_namespace_is_there_in_either_order_and_nothing_is_loaded_for_it(imports: str) -> None:
    code = (
        "import sys, warnings; warnings.simplefilter('error'); before = list(sys.meta_path)\n"
        f"{imports}\n"
        "assert polars.DataFrame().opper and polars.LazyFrame().opper\n"
        "assert sys.meta_path == before and 'pyarrow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
