"""Every key of a pipeline file misspelt, and every key with every kind of value that it cannot have."""

from __future__ import annotations

import copy
import json
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from opper_batch.errors import DefinitionError
from opper_batch.pipeline import load

WHOLE = tomllib.loads("""
name = "tickets"
[source]
path = "in.csv"
key = ["id"]
types = { id = "BIGINT" }
delimiter = ","
null_text = ""
nan = "refuse"
[[steps]]
name = "triage"
function = "f"
instructions = "x"
input = ["id"]
model = ["a/b", { name = "c/d", options = { temperature = 0 }, extra_headers = { a = "b" } }]
guard = { x = 1 }
request = { route = "x" }
repair = 1
[steps.columns]
kind = ["a", "b"]
score = { type = "TINYINT", description = "d", nullable = true, min = 1, max = 5 }
words = { type = "VARCHAR", min_length = 1, max_length = 5, pattern = "a" }
texts = { type = "VARCHAR[]", min_items = 1, max_items = 3 }
choice = { enum = ["x", "y"] }
[limits]
concurrency = 4
requests_per_minute = 10
tokens_per_minute = 10
max_cost = 1.0
[sink]
duckdb = "x.duckdb"
table = "t"
mode = "upsert"
[[checks]]
name = "few nulls"
null_share = "score"
max = 0.5
""")

Place = tuple[str | int, ...]

# What the user names himself: below these any key will do.
OWN_NAMES = {"types", "options", "extra_headers", "guard", "request", "columns"}


def places(value: Any, path: Place = ()) -> Iterator[Place]:
    """Every key and every entry of a list."""
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in entries:
        yield (*path, key)
        yield from places(inner, (*path, key))


def at(value: Any, path: Place) -> Any:
    for key in path:
        value = value[key]
    return value


def spelled(path: Place) -> str:
    """The place as a sentence names it; a column's by the name of its step."""
    if len(path) > 3 and path[2] == "columns":
        rest = [str(key) for key in path[3:] if not isinstance(key, int)]
        return "step 'triage': columns." + ".".join(rest)
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)[1:]


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value) if isinstance(value, str | bool) else str(value)


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[[dict[str, Any]], str | None]:
    """What is said of such a pipeline, without the file's name; None when nothing is."""
    path = tmp_path / "p.toml"

    def refusal(pipeline: dict[str, Any]) -> str | None:
        path.write_text("".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in pipeline.items()))
        try:
            load(path)
        except DefinitionError as error:
            said = error.message
            assert said.startswith(f"{path}: ")
            assert "\n" not in said
            assert said == said.encode("ascii", "backslashreplace").decode().replace("\\u2026", "…")
            assert len(said) < len(str(path)) + 350, said
            return said.removeprefix(f"{path}: ")
        return None

    return refusal


KEYS = [
    path
    for path in places(WHOLE)
    if isinstance(path[-1], str)
    and (len(path) < 2 or path[-2] not in OWN_NAMES)
    and "request" not in path[:-1]
]


@pytest.mark.parametrize("path", KEYS, ids=spelled)
def test_a_misspelt_key_is_named_with_the_right_one(
    refusal: Callable[[dict[str, Any]], str | None], path: Place
) -> None:
    key = str(path[-1])
    for wrong in (key[:-1], key + "s", key.upper(), key.title(), f" {key}", key[0] + key):
        pipeline = copy.deepcopy(WHOLE)
        owner = at(pipeline, path[:-1])
        entries = {wrong if name == key else name: value for name, value in owner.items()}
        owner.clear()
        owner.update(entries)
        said = refusal(pipeline)
        assert said is not None, wrong
        assert spelled((*path[:-1], "")).rstrip(".") in said
        assert wrong in said
        assert f"did you mean {key}?" in said.replace("'", ""), said


WRONG: dict[str, Any] = {
    "a number": 5,
    "a negative number": -1,
    "a fraction": 1.5,
    "true": True,
    "no text": "",
    "hostile text": "zzz\x1b[31m",
    "long text": "x" * 400,
    "an empty list": [],
    "a list of texts": ["q"],
    "a list of numbers": [5],
    "an empty table": {},
    "a table": {"q": 5},
    "not a number": float("nan"),
    "infinity": float("inf"),
    "a huge number": 2**70,
}

# Where the values are the user's or the API's own, and read later, if at all.
_TEXT = {"no text", "hostile text", "long text"}
_NUMBERS = {"a number", "a fraction", "a huge number"}
_SHOWN_TEXT = {"hostile text", "long text"}
FINE: dict[str, set[str]] = {
    "source.path": {*_SHOWN_TEXT, "a list of texts"},
    "source.key": {"a list of texts"},
    "source.key[0]": _SHOWN_TEXT,
    "source.types": {"an empty table"},
    "source.types.id": _TEXT,
    "source.null_text": _TEXT,
    "steps[0].instructions": _TEXT,
    "steps[0].input": {"a list of texts"},
    "steps[0].input[0]": _SHOWN_TEXT,
    "steps[0].model": {*_SHOWN_TEXT, "a list of texts"},
    "steps[0].model[0]": _SHOWN_TEXT,
    "steps[0].model[1]": _SHOWN_TEXT,
    "steps[0].model[1].name": _SHOWN_TEXT,
    "steps[0].model[1].options": {"an empty table", "a table"},
    "steps[0].model[1].options.temperature": set(WRONG),
    "steps[0].model[1].extra_headers": {"an empty table"},
    "steps[0].model[1].extra_headers.a": _TEXT,
    "steps[0].guard": {"an empty table", "a table"},
    "steps[0].guard.x": set(WRONG),
    "steps[0].request": {"an empty table", "a table"},
    "steps[0].request.route": set(WRONG),
    "steps[0].repair": {"a number"},
    "limits": {"an empty table"},
    "limits.concurrency": {"a number"},
    "limits.requests_per_minute": _NUMBERS,
    "limits.tokens_per_minute": _NUMBERS,
    "limits.max_cost": _NUMBERS,
    "sink.duckdb": _SHOWN_TEXT,
    "sink.table": _SHOWN_TEXT,
}
FINE_IN_COLUMNS: dict[str, set[str]] = {
    "description": {"no text", "long text"},
    "nullable": {"true"},
    "min": {"a number", "a negative number"},
    "max": {"a number"},
    "min_length": {"a number"},
    "max_length": {"a number", "a huge number"},
    "pattern": {"no text", "long text"},
    "max_items": {"a number", "a huge number"},
    "enum": {"a list of texts"},
}

# What is wrong with two keys together is told at the other one.
TOGETHER = ("is above max", "needs source.key")


def is_fine(path: Place, kind: str) -> bool:
    if len(path) > 3 and path[2] == "columns":
        if len(path) == 4:
            return kind == "a list of texts"
        if isinstance(path[-1], int):
            return kind == "long text"
        return kind in FINE_IN_COLUMNS.get(str(path[-1]), ())
    return kind in FINE.get(spelled(path), ())


# The values of checks have tests of their own.
@pytest.mark.parametrize("path", [path for path in places(WHOLE) if path[0] != "checks"], ids=spelled)
def test_a_value_that_cannot_be_is_named_by_its_place(
    refusal: Callable[[dict[str, Any]], str | None], path: Place
) -> None:
    for kind, wrong in WRONG.items():
        pipeline = copy.deepcopy(WHOLE)
        at(pipeline, path[:-1])[path[-1]] = wrong
        said = refusal(pipeline)
        assert (said is None) == is_fine(path, kind), f"{kind}: {said}"
        if said is not None and not any(other in said for other in TOGETHER):
            named = spelled(path).replace("steps[0].columns", "step 'triage': columns")
            assert named in said, f"{kind}: {said}"
