"""A pydantic model class as a spec: its fields, its constraints, its own validators."""

from __future__ import annotations

import datetime as dt
import enum
import re
import uuid
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from pydantic import (
    AliasChoices,
    AwareDatetime,
    Base64Bytes,
    BaseModel,
    ConfigDict,
    Field,
    NaiveDatetime,
    RootModel,
    computed_field,
    create_model,
    field_validator,
    model_validator,
)

from opper_batch.columns import Columns
from opper_batch.errors import BadOutput, DefinitionError


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


class Line(BaseModel):
    text: str = Field(min_length=1, description="As written")
    score: float | None = None


class Ticket(BaseModel):
    model_config = ConfigDict(strict=True)

    kind: Literal["a", "b"] = "a"
    mood: Mood
    number: Annotated[int, Field(gt=0, le=9)]
    share: float = Field(gt=0, lt=1, description="A share")
    price: Decimal = Field(max_digits=6, decimal_places=2, ge=0)
    code: str = Field(pattern="^[A-Z]+$", max_length=3, alias="the code")
    done: bool
    day: dt.date | None
    hour: dt.time
    naive: NaiveDatetime
    aware: AwareDatetime
    id: uuid.UUID
    raw: bytes
    lines: list[Line] = Field(max_length=2)
    tags: list[Annotated[str, Field(max_length=2)]] | None = None
    first: Line

    @computed_field
    @property
    def double(self) -> int:
        return self.number * 2


ANSWER = {
    "kind": "a",
    "mood": "good",
    "number": 3,
    "share": 0.5,
    "price": "1.5",
    "the code": "ABC",
    "done": True,
    "day": None,
    "hour": "09:30",
    "naive": "2026-01-31T09:30:00",
    "aware": "2026-01-31T09:30:00+01:00",
    "id": "123E4567-E89B-12D3-A456-426614174000",
    "raw": "AP8=",
    "lines": [{"text": "x", "score": None}],
    "tags": ["p"],
    "first": {"text": "y", "score": 1},
}


def test_fields_become_columns_with_their_constraints_and_aliases():
    columns = {column.name: column for column in Columns.parse(Ticket)}
    assert {name: column.type for name, column in columns.items()} == {
        "kind": "ENUM('a', 'b')",
        "mood": "ENUM('good', 'bad')",
        "number": "BIGINT",
        "share": "DOUBLE",
        "price": "DECIMAL(6,2)",
        "the code": "VARCHAR",
        "done": "BOOLEAN",
        "day": "DATE",
        "hour": "TIME",
        "naive": "TIMESTAMP",
        "aware": "TIMESTAMP WITH TIME ZONE",
        "id": "UUID",
        "raw": "BLOB",
        "lines": 'STRUCT("text" VARCHAR, score DOUBLE)[]',
        "tags": "VARCHAR[]",
        "first": 'STRUCT("text" VARCHAR, score DOUBLE)',
    }
    assert [name for name, column in columns.items() if column.nullable] == ["day", "tags"]
    assert (columns["number"].min, columns["number"].max) == (1, 9)
    assert columns["price"].min == 0
    assert (columns["the code"].pattern, columns["the code"].max_length) == ("^[A-Z]+$", 3)
    assert columns["lines"].max_items == 2
    assert columns["share"].description == "A share More than 0. Less than 1."


def test_the_schema_holds_nested_descriptions_and_nulls_and_requires_fields_with_defaults():
    schema = Columns.parse(Ticket).json_schema
    assert schema["required"] == list(ANSWER)
    line = schema["properties"]["lines"]["items"]
    assert line["properties"]["text"] == {
        "type": "string",
        "description": "As written. At least 1 characters.",
    }
    assert line["properties"]["score"] == {"anyOf": [{"type": "number"}, {"type": "null"}]}
    assert line["required"] == ["text", "score"]


def test_an_answer_goes_through_the_class_even_a_strict_one_and_fits_arrow():
    columns = Columns.parse(Ticket)
    read = columns.read(ANSWER)
    assert read == {
        **ANSWER,
        "price": Decimal("1.50"),
        "hour": dt.time(9, 30),
        "naive": dt.datetime(2026, 1, 31, 9, 30),
        "aware": dt.datetime(2026, 1, 31, 8, 30, tzinfo=dt.UTC),
        "id": ANSWER["id"].lower(),
        "raw": b"\x00\xff",
    }
    assert [type(read["id"]), type(read["mood"])] == [str, str]
    assert [array.type for array in columns.arrays([read, None])] == columns.arrow.types


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"number": 0}, ("number", "should be at least 1")),
        ({"share": 1}, ("share", "should be less than 1.0")),
        ({"tags": ["long"]}, ("tags[0]", "should have at most 2 characters")),
        ({"lines": [{"text": "", "score": 1}]}, ("lines[0].text", "should have at least 1 characters")),
        ({"code": "ABC"}, ("answer", "has an unknown field")),
        ({"id": 5}, ("id", "should be a UUID like '123e4567-e89b-12d3-a456-426614174000'")),
    ],
)
def test_what_does_not_fit_is_said_like_any_other_column(change, problem):
    with pytest.raises(BadOutput) as caught:
        Columns.parse(Ticket).read({**ANSWER, **change})
    assert caught.value.problems == (problem,)


class Own(BaseModel):
    text: str
    many: list[int]

    @field_validator("text")
    @classmethod
    def _polite(cls, text: str) -> str:
        if "rude" in text:
            raise ValueError(f"{text} is rude")
        return text.strip()

    @model_validator(mode="after")
    def _whole(self) -> Own:
        assert self.text != "all", f"no {self.text}"
        if self.text == "crash":
            raise KeyError(self.text)
        if self.text == "grow":
            self.many.append(2**63)
        return self


def test_validators_change_values():
    assert Columns.parse(Own).read({"text": " hi ", "many": []}) == {"text": "hi", "many": []}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("rude", ("text", "does not pass Own's own check")),
        ("all", ("answer", "does not pass Own's own check")),
        ("crash", ("answer", "Own's own check failed with KeyError")),
        ("grow", ("many[1]", "should be at most 9223372036854775807")),
    ],
)
def test_a_validators_error_is_a_problem_that_holds_no_value(text, problem):
    with pytest.raises(BadOutput) as caught:
        Columns.parse(Own).read({"text": text, "many": [1]})
    assert caught.value.problems == (problem,)


class Tree(BaseModel):
    children: list[Tree]


class Rooted(RootModel[int]):
    pass


class Unfinished(BaseModel):
    a: Missing  # noqa: F821


class Empty(BaseModel):
    pass


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        (dt.datetime, r"columns\.a: datetime cannot .*NaiveDatetime .*AwareDatetime"),
        (Decimal, r"columns\.a: a Decimal needs its size; write Field\(max_digits=10, decimal_places=2\)"),
        (dict[str, int], r"columns\.a: dict.* cannot be a column; use list of a model"),
        (int | str, r"columns\.a: is a union"),
        (int | str | None, r"columns\.a: is a union"),
        (tuple[int, int], r"columns\.a: tuple.*use list"),
        (list, r"columns\.a: list cannot be a column; use list\[str\]"),
        (Any, r"columns\.a: Any cannot be a column; use str"),
        (Literal["x", 1], r"columns\.a: an enum's values are text"),
        (enum.IntEnum("Level", "LOW"), r"columns\.a: an enum's values are text"),
        (list[dict[str, int]], r"columns\.a\.element: dict"),
        (list[dt.timedelta], r"columns\.a\.element: timedelta cannot be a column; use int"),
        (Tree, r"columns\.a\.children\.element: Tree holds itself"),
        (Rooted, r"columns\.a: Rooted is a RootModel"),
        (Empty, r"columns\.a: Empty has no fields"),
        (Base64Bytes, r"columns\.a: answers are decoded from base64 already; use bytes"),
        (Annotated[int, Field(le=2**64)], r"columns\.a\.max: 18446744073709551616 is no BIGINT"),
        (Annotated[str, Field(alias="A", serialization_alias="B")], r"columns\.a: is read and written under"),
        (Annotated[str, Field(alias=" ")], r"a column needs a name"),
        (Annotated[str, Field(exclude=True)], r"columns\.a: is excluded"),
        (
            Annotated[str, Field(validation_alias=AliasChoices("x", "y"))],
            r"columns\.a: is read and written under",
        ),
    ],
)
def test_a_field_that_cannot_be_a_column_is_refused_with_what_to_write(annotation, said):
    with pytest.raises(DefinitionError) as caught:
        Columns.parse(create_model("Made", a=annotation))
    assert re.search(said, caught.value.message), caught.value.message


def test_a_class_that_cannot_be_built_or_has_no_fields_is_refused():
    with pytest.raises(DefinitionError, match="Unfinished cannot be built"):
        Columns.parse(Unfinished)
    with pytest.raises(DefinitionError, match="needs at least one column"):
        Columns.parse(Empty)
