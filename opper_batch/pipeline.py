"""The definition of a pipeline: a frozen value, from TOML or from Python.

Nothing here reads a table or calls anything; what is wrong is said in one sentence that names the place.
"""

from __future__ import annotations

import difflib
import re
import runpy
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from opper_batch.columns import Columns
from opper_batch.errors import DefinitionError, OpperBatchError
from opper_batch.text import printable

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

Names = tuple[str, ...]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]
FunctionName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, strict=False)


def _parse_columns(spec: Any, info: ValidationInfo) -> Columns:
    step = info.data.get("name", "?")
    return spec if isinstance(spec, Columns) else Columns.parse(spec, where=f"step {step!r}: columns")


class SourceSpec(_Frozen):
    """Where the rows come from: ``path``, ``sql`` or, in Python, ``table``."""

    path: str | Annotated[Names, Field(min_length=1)] | None = None
    sql: str | None = None
    table: Any = None
    key: Names = ()
    types: dict[str, str] = {}
    delimiter: str | None = None
    null_text: str | None = None
    nan: Literal["refuse", "null"] = "refuse"

    @model_validator(mode="after")
    def _one_origin(self) -> SourceSpec:
        given = [name for name in ("path", "sql", "table") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of path, sql, table; it has {' and '.join(given) or 'none'}")
        return self


class ModelSpec(_Frozen):
    """A model with its options, as the API takes it."""

    name: str
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
    input: Annotated[Names, Field(min_length=1)] | None = None
    model: str | ModelSpec | Annotated[tuple[str | ModelSpec, ...], Field(min_length=1)] | None = None
    guard: dict[str, Any] | None = None
    request: dict[str, Any] = {}
    repair: Annotated[int, Field(ge=0, le=5)] = 1

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

    concurrency: Annotated[int, Field(ge=1, le=10_000)] | None = None
    requests_per_minute: Annotated[float, Field(gt=0)] | None = None
    tokens_per_minute: Annotated[float, Field(gt=0)] | None = None
    max_cost: Annotated[float, Field(ge=0)] | None = None


class SinkSpec(_Frozen):
    """Where the result goes: a file or folder at ``path``, or a ``table`` of a ``duckdb`` database."""

    path: str | None = None
    duckdb: str | None = None
    table: str | None = None
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


class Pipeline(_Frozen):
    """A table, the columns that models fill for each of its rows, and where the result goes.

    In Python the parts may be given as dicts with the spellings of the pipeline file. Without a sink the
    result is what ``run(...).frame`` gives. Raises DefinitionError.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,48}$")]
    source: SourceSpec
    steps: Annotated[tuple[StepSpec, ...], Field(min_length=1)]
    limits: LimitSpec = LimitSpec()
    sink: SinkSpec | None = None

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise DefinitionError(_sentence(error, type(self))) from None

    @model_validator(mode="after")
    def _names_are_distinct(self) -> Pipeline:
        taken: dict[str, str] = {}
        for step in self.steps:
            for name in (*step.columns.names, *step.metadata):
                if name.lower() in taken:
                    raise ValueError(f"column {name!r} of step {step.name!r} is also {taken[name.lower()]}")
                taken[name.lower()] = f"a column of step {step.name!r}"
        if len({step.name for step in self.steps}) < len(self.steps):
            raise ValueError("two steps have the same name")
        if self.sink and self.sink.mode == "upsert" and not self.source.key:
            raise ValueError('sink.mode = "upsert" needs source.key, the columns that identify a row')
        return self

    def function(self, step: StepSpec) -> str:
        """The name of the step's function at Opper: its own, or the pipeline's (and step's, of several)."""
        if step.function:
            return step.function
        return self.name if len(self.steps) == 1 else f"{self.name}_{step.name}"[:64]


def load(path: str | Path) -> Pipeline:
    """The pipeline in a ``.toml`` file, or ``pipeline`` as a ``.py`` file sets it. Raises DefinitionError."""
    path = Path(path)
    if not path.is_file():
        raise DefinitionError(f"no pipeline file at {path}")
    if path.suffix == ".py":
        return _from_python(path)
    try:
        return Pipeline(**tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DefinitionError(f"{path}: not valid TOML: {error}") from None
    except DefinitionError as error:
        raise DefinitionError(f"{path}: {error.message}") from None


def _from_python(path: Path) -> Pipeline:
    try:
        found = runpy.run_path(str(path)).get("pipeline")
    except OpperBatchError as error:
        raise DefinitionError(f"{path}: {error.message}") from None
    if not isinstance(found, Pipeline):
        raise DefinitionError(f"{path}: has no variable 'pipeline' that is an opper_batch.Pipeline")
    return found


def _instead(name: str) -> str:
    if name in ("instructions", "model", "guard"):
        return f"write {name} beside columns, in the step itself"
    return "calls are never streamed" if name == "stream" else "it follows from the step"


def _sentence(error: ValidationError, model: type[BaseModel]) -> str:
    """The first problem as place and remedy; values are not repeated beyond 40 characters."""
    problem = min(error.errors(include_url=False), key=lambda found: found["type"] != "extra_forbidden")
    place = _place(problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{place}: unknown key{_nearest(problem['loc'], model)}"
    if problem["type"] == "missing":
        return f"{place}: is missing"
    cause = problem.get("ctx", {}).get("error")
    if problem["type"] == "value_error":
        return f"{place}: {cause}" if place else str(cause)
    given = printable(repr(problem["input"])[:40])
    return f"{place}: {problem['msg'][:1].lower()}{problem['msg'][1:]}, not {given}"


def _place(loc: Sequence[int | str]) -> str:
    """``("steps", 0, "model", "str")`` as ``steps[0].model``: without the names of union members."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", part) and part not in ("str", "ModelSpec"):
            text += f".{part}" if text else part
    return text


def _nearest(loc: Sequence[int | str], model: type[BaseModel]) -> str:
    owners: dict[str, type[BaseModel]] = {
        "source": SourceSpec,
        "steps": StepSpec,
        "limits": LimitSpec,
        "sink": SinkSpec,
    }
    owner = owners.get(str(loc[0]), model) if len(loc) > 1 else model
    owner = ModelSpec if "ModelSpec" in loc else owner
    known = [name for name in owner.model_fields if name != "table" or owner is not SourceSpec]
    match = difflib.get_close_matches(str(loc[-1]), known, n=1)
    return f"; did you mean {match[0]!r}?" if match else f"; known are {', '.join(known)}"
