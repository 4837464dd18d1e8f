"""The definition of a pipeline: a frozen value whose parts have the spellings of the pipeline file.

Nothing here reads a table or calls anything; what is wrong is said in one sentence that names the place.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticKnownError

from opper_batch.columns import Columns
from opper_batch.errors import DefinitionError
from opper_batch.pipeline.checks import CheckSpec
from opper_batch.pipeline.sentences import sentence
from opper_batch.shown import card
from opper_batch.text import shown

METADATA = (
    "status",
    "error",
    "model",
    "cost",
    "input_tokens",
    "output_tokens",
    "latency_ms",
    "attempts",
    "cached",
    "trace_uuid",
    "key",
)
_RESERVED_FIELDS = {
    "name",
    "input",
    "input_schema",
    "instructions",
    "output_schema",
    "model",
    "guard",
    "stream",
}


def _in_order(value: Any) -> Any:
    """A set would come in another order each time, and order is part of what is asked."""
    if isinstance(value, list | tuple):
        return value
    raise PydanticKnownError("tuple_type")


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"names {name!r} twice")
    return names


def _spelled(pattern: str, words: str) -> AfterValidator:
    """Text that fits ``pattern``, which is said in ``words``."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"should be {words}, not {shown(text)}")
        return text

    return AfterValidator(check)


def _one_character(text: str) -> str:
    if len(text) != 1 or text in '"\r\n\0':
        raise ValueError(f"should be one character, no quote and no line break, not {shown(text)}")
    return text


_List = BeforeValidator(_in_order)
Text = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[Text, ...], _List]
ColumnNames = Annotated[Names, AfterValidator(_each_once)]
Count = Annotated[int, Field(strict=True)]
Amount = Annotated[float, Field(strict=True, allow_inf_nan=False)]
PipelineName = Annotated[str, _spelled(r"[A-Za-z0-9_-]{1,48}", "1 to 48 letters, digits, _ and -")]
Identifier = Annotated[
    str, _spelled(r"[A-Za-z][A-Za-z0-9_]{0,63}", "a letter, then up to 63 letters, digits and _")
]
FunctionName = Annotated[str, _spelled(r"[A-Za-z0-9_.-]{1,64}", "1 to 64 letters, digits, _, . and -")]
Delimiter = Annotated[str, AfterValidator(_one_character)]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, strict=False)


def _parse_columns(spec: Any, info: ValidationInfo) -> Columns:
    step = info.data.get("name", "?")
    try:
        return spec if isinstance(spec, Columns) else Columns.parse(spec, where=f"step {step!r}: columns")
    except DefinitionError as error:
        raise DefinitionError(error.message + _if_meant_for_the_step(spec, error.message)) from None


def _if_meant_for_the_step(spec: Any, message: str) -> str:
    """In TOML whatever comes after [steps.columns] is a column, also what was meant for the step."""
    for name in StepSpec.model_fields if isinstance(spec, dict) else ():
        if name in spec and f"columns.{name}" in message:
            return f"; if {name} is the step's own, write it above [steps.columns]"
    return ""


class SourceSpec(_Frozen):
    """Where the rows come from: ``path``, ``sql`` or, in Python, ``table``.

    ``since`` names the column that tells which rows are new or changed since the last run that published.
    """

    path: Text | Annotated[Names, Field(min_length=1)] | None = None
    sql: Text | None = None
    table: Any = None
    key: ColumnNames = ()
    since: str | None = None
    types: dict[str, str] = {}
    delimiter: Delimiter | None = None
    null_text: str | None = None
    nan: Literal["refuse", "null"] = "refuse"

    @model_validator(mode="after")
    def _one_origin(self) -> SourceSpec:
        given = [name for name in ("path", "sql", "table") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of path, sql, table; it has {' and '.join(given) or 'none'}")
        return self

    @property
    def described(self) -> str:
        """Where the rows come from, in a few words; a table is told by its kind and not by what it holds."""
        if self.table is not None:
            return f"a {type(self.table).__module__.split('.')[0]} {type(self.table).__name__}"
        return f"SQL {self.sql!r}" if self.sql is not None else repr(self.path)

    def __repr__(self) -> str:
        return f"SourceSpec({self.described})"


class ModelSpec(_Frozen):
    """A model with its options, as the API takes it."""

    name: Text
    options: dict[str, Any] | None = None
    extra_headers: dict[str, str] | None = None


class StepSpec(_Frozen):
    """One call for each row: what is sent, and the columns that come back.

    ``input`` None sends every column there is. ``request`` holds further fields of the API's CallRequest
    (``route``, ``tools``, ``reasoning_effort`` …). ``repair`` is how often an answer that does not fit is
    asked for again.
    """

    name: Identifier
    columns: Annotated[Columns, BeforeValidator(_parse_columns)]
    function: FunctionName | None = None
    instructions: str | None = None
    input: Annotated[ColumnNames, Field(min_length=1)] | None = None
    model: Text | ModelSpec | Annotated[tuple[Text | ModelSpec, ...], _List, Field(min_length=1)] | None = (
        None
    )
    guard: dict[str, Any] | None = None
    request: dict[str, Any] = {}
    repair: Annotated[Count, Field(ge=0, le=5)] = 1

    @model_validator(mode="after")
    def _own_fields(self) -> StepSpec:
        for name in sorted(_RESERVED_FIELDS & self.request.keys()):
            raise ValueError(f"request.{name} is not set there: {_instead(name)}")
        return self

    @property
    def metadata(self) -> Names:
        """The names of the step's metadata columns."""
        return tuple(f"{self.name}_{suffix}" for suffix in METADATA)

    def __repr__(self) -> str:
        return f"StepSpec({self.name!r}, columns={list(self.columns.names)})"


class LimitSpec(_Frozen):
    """What is known of the gateway's limits, and what may be spent; None is not known, or no limit."""

    concurrency: Annotated[Count, Field(ge=1, le=10_000)] | None = None
    requests_per_minute: Annotated[Amount, Field(gt=0)] | None = None
    tokens_per_minute: Annotated[Amount, Field(gt=0)] | None = None
    max_cost: Annotated[Amount, Field(ge=0)] | None = None


class SinkSpec(_Frozen):
    """Where the result goes: a file or folder at ``path``, or a ``table`` of a ``duckdb`` database."""

    path: Text | None = None
    duckdb: Text | None = None
    table: Text | None = None
    mode: Literal["replace", "append", "upsert"] = "replace"

    @model_validator(mode="after")
    def _one_place(self) -> SinkSpec:
        if (self.path is None) == (self.duckdb is None):
            raise ValueError("needs either path, or duckdb with table")
        if (self.duckdb is None) != (self.table is None):
            raise ValueError("duckdb and table go together")
        if self.path is not None and self.mode != "replace":
            raise ValueError(f"mode = {self.mode!r} needs a duckdb table; a file is always replaced whole")
        return self

    @property
    def described(self) -> str:
        """Where the result goes, in a few words."""
        return (
            repr(self.path) if self.path is not None else f"{self.duckdb!r} table {self.table!r}, {self.mode}"
        )


class Pipeline(_Frozen):
    """A table, the columns that models fill for each of its rows, and where the result goes.

    In Python the parts may be given as dicts with the spellings of the pipeline file. Without a sink the
    result is what ``run(...).frame`` gives. Raises DefinitionError.
    """

    name: PipelineName
    source: SourceSpec
    steps: Annotated[tuple[StepSpec, ...], _List, Field(min_length=1)]
    limits: LimitSpec = LimitSpec()
    sink: SinkSpec | None = None
    checks: Annotated[tuple[CheckSpec, ...], _List] = ()

    def __init__(self, /, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise DefinitionError(sentence(error, _PARTS)) from None

    @model_validator(mode="after")
    def _names_are_distinct(self) -> Pipeline:
        steps: set[str] = set()
        taken: dict[str, str] = {}
        for step in self.steps:
            if step.name.lower() in steps:
                raise ValueError(f"steps: two are named {step.name!r}; rename one")
            steps.add(step.name.lower())
        for step in self.steps:
            columns = [(name, f"a column of step {step.name!r}") for name in step.columns.names]
            metadata = [(name, f"a metadata column of step {step.name!r}") for name in step.metadata]
            for name, what in (*columns, *metadata):
                if name.lower() in taken:
                    raise ValueError(f"{name!r} is {taken[name.lower()]} and {what}; rename a column or step")
                taken[name.lower()] = what
        if self.sink and self.sink.mode == "upsert" and not self.source.key:
            raise ValueError('sink.mode = "upsert" needs source.key, the columns that identify a row')
        if self.sink and self.source.since and self.sink.mode == "replace":
            raise ValueError(
                "source.since takes only what is new, and this sink is replaced whole, so every older row "
                'would be lost; write to a duckdb table with mode = "upsert" or "append", or leave since out '
                "(README.md#scheduled-runs)"
            )
        for step in self.steps:
            if len(self.function(step)) > 64:
                raise ValueError(f"step {step.name!r}: its function's name would be too long; set function")
        names = [check.name for check in self.checks]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"checks: two are named {name!r}; rename one")
        return self

    def function(self, step: StepSpec) -> str:
        """The name of the step's function at Opper: its own, or the pipeline's (and step's, of several)."""
        if step.function:
            return step.function
        return self.name if len(self.steps) == 1 else f"{self.name}_{step.name}"

    def __repr__(self) -> str:
        parts = [repr(self.name), f"source={self.source.described}", f"steps={list(self.steps)}"]
        return f"Pipeline({', '.join(parts)}{f', sink={self.sink.described}' if self.sink else ''})"

    def _repr_html_(self) -> str:
        limits = self.limits.model_dump(exclude_none=True)
        sink = self.sink.described if self.sink else None
        steps = [
            {
                "step": step.name,
                "instructions": step.instructions,
                "input": list(step.input or ["all columns"]),
                "model": step.model_dump(include={"model"}, exclude_none=True).get("model"),
                "columns": {
                    column.name: str(column).removeprefix(f"{column.name} ") for column in step.columns
                },
            }
            for step in self.steps
        ]
        source = {"source": self.source.described, "key": list(self.source.key)}
        return card(f"pipeline {self.name}", {**source, "steps": steps, "limits": limits, "sink": sink})


def _instead(name: str) -> str:
    if name in ("instructions", "model", "guard"):
        return f"write {name} beside columns, in the step itself"
    return "calls are never streamed" if name == "stream" else "it follows from the step"


# Where each part of a definition is found: for naming the keys it may have.
_PARTS: dict[str, type[BaseModel]] = {
    "": Pipeline,
    "source": SourceSpec,
    "steps": StepSpec,
    "ModelSpec": ModelSpec,
    "limits": LimitSpec,
    "sink": SinkSpec,
    "checks": CheckSpec,
}
