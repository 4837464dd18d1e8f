"""What is right is read as meant, and what Python gives wrongly is told as plainly as a file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pipeline_texts import GOOD, fields, step
from pydantic import BaseModel, ValidationError

from opper_batch.errors import DefinitionError
from opper_batch.pipeline import METADATA, ModelSpec, Pipeline, load

Write = Callable[..., Path]


def test_a_file_says_the_same_as_python(write: Write) -> None:
    text = """
        name = "ticket-triage_2"
        [source]
        path = ["a.csv", "b.csv"]
        key = ["ticket_id"]
        delimiter = ";"
        null_text = "NA"
        nan = "null"
        types = { ticket_id = "BIGINT" }
        [[steps]]
        name = "triage"
        function = "my.function-1"
        instructions = "Triage."
        input = ["subject", "body"]
        model = "a/b"
        repair = 0
        guard = { input = [{ type = "pii" }] }
        request = { reasoning_effort = "low", parent_span_id = "s" }
        [steps.columns]
        priority = { type = "TINYINT", min = 1, max = 5 }
        [limits]
        concurrency = 64
        requests_per_minute = 600
        tokens_per_minute = 200000
        max_cost = 5
        [sink]
        duckdb = "w.duckdb"
        table = "t"
        mode = "upsert"
    """
    in_python = Pipeline(**tomllib.loads(text))
    assert load(write(text)) == in_python
    assert in_python.source.path == ("a.csv", "b.csv")
    assert in_python.steps[0].columns.names == ("priority",)
    assert in_python.limits.max_cost == 5.0
    assert in_python.steps[0].repair == 0


def test_what_is_left_out_has_a_plain_meaning() -> None:
    pipeline = Pipeline(**fields())
    assert pipeline.sink is None
    assert pipeline.limits.max_cost is None
    assert pipeline.source.nan == "refuse"
    assert pipeline.source.key == ()
    (only,) = pipeline.steps
    assert (only.input, only.model, only.repair) == (None, None, 1)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("a/b", "a/b"),
        ({"name": "a/b"}, ModelSpec(name="a/b")),
        (
            {"name": "a/b", "options": {"temperature": 0}, "extra_headers": {"x-org": "abc"}},
            ModelSpec(name="a/b", options={"temperature": 0}, extra_headers={"x-org": "abc"}),
        ),
        (["a/b"], ("a/b",)),
        (["a/b", {"name": "c/d"}], ("a/b", ModelSpec(name="c/d"))),
    ],
)
def test_a_model_is_text_a_table_or_a_list_of_these(given: Any, read: Any) -> None:
    assert Pipeline(**fields(steps=[step(model=given)])).steps[0].model == read


def test_columns_may_be_a_pydantic_model() -> None:
    class Ticket(BaseModel):
        category: str
        priority: int | None

    assert Pipeline(**fields(steps=[step(columns=Ticket)])).steps[0].columns.names == ("category", "priority")


def test_a_table_in_memory_is_kept_as_it_is() -> None:
    table = pa.table({"a": [1]})
    assert Pipeline(**fields(source={"table": table})).source.table is table


def test_a_pipeline_is_a_frozen_value() -> None:
    pipeline = Pipeline(**fields())
    assert pipeline == Pipeline(**fields())
    assert pipeline != Pipeline(**fields(name="others"))
    assert pipeline != Pipeline(**fields(steps=[step(columns={"category": "BIGINT"})]))
    for place, name in ((pipeline, "name"), (pipeline.source, "path"), (pipeline.steps[0], "repair")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(place, name, "other")


def test_the_function_is_named_after_the_pipeline_and_its_step_where_there_are_several() -> None:
    one = Pipeline(**fields())
    assert one.function(one.steps[0]) == "tickets"
    two = Pipeline(
        **fields(steps=[step(), {"name": "reply", "function": "own", "columns": {"text": "VARCHAR"}}])
    )
    assert [two.function(step) for step in two.steps] == ["tickets_triage", "own"]


def test_a_step_names_its_metadata_columns() -> None:
    metadata = Pipeline(**fields()).steps[0].metadata
    assert metadata[0] == "triage_status"
    assert len(metadata) == len(METADATA) == len(set(metadata))


def test_a_file_saved_with_a_byte_order_mark_is_read(write: Write) -> None:
    assert load(write(b"\xef\xbb\xbf" + GOOD.encode())).name == "tickets"


def test_the_repositorys_own_pipelines_load() -> None:
    folder = Path(__file__).parents[2] / "pipelines"
    assert {load(path).name for path in folder.iterdir() if path.suffix in (".py", ".toml")} == {
        "ticket_triage",
        "product_catalog",
        "review_insights",
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": [step(input={"b", "a"})]}, "steps[0].input: should be a list"),
        ({"steps": [step(model={"a", "b"})]}, "steps[0].model: should be text or a table or a list"),
        ({"steps": [step(columns=[1])]}, "step 'triage': columns"),
        ({"steps": [step(columns=int)]}, "step 'triage': columns"),
        ({"source": {"table": None}}, "it has none"),
        ({"name": None}, "name: should be text, not None"),
        ({"name": "x" * 1000}, "not '" + "x" * 38 + "…"),
    ],
)
def test_python_is_told_as_plainly(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DefinitionError, match=re.escape(said)) as caught:
        Pipeline(**fields(**changes))
    assert len(caught.value.message) < 150
    assert caught.value.__cause__ is None
