"""What did not fit, as (path, rule) pairs: told to the model and kept in the ledger, so never a value.

A path is built only from the columns' own names and list indexes, never from a name that the model invented.
"""

from __future__ import annotations

from pydantic_core import ErrorDetails, ValidationError

from opper_batch.columns.column import Column
from opper_batch.columns.scalars import MISFIT
from opper_batch.errors import BadOutput
from opper_batch.text import shortened

ROOT = "answer"
_MOST = 5

# pydantic's kinds of error in our words. Those of a user's own model class are in it too, as far as they tell
# only what the class asks for.
_RULES = {
    MISFIT: "{rule}",
    "missing": "is missing",
    "extra_forbidden": "has an unknown field",
    "dict_type": "should be an object",
    "list_type": "should be a list",
    "string_type": "should be text",
    "string_unicode": "should be text without unpaired surrogates",
    "string_too_short": "should have at least {min_length} characters",
    "string_too_long": "should have at most {max_length} characters",
    "string_pattern_mismatch": "should match the regular expression {pattern}",
    "too_short": "should have at least {min_length} entries",
    "too_long": "should have at most {max_length} entries",
    "bytes_too_short": "should have at least {min_length} bytes",
    "bytes_too_long": "should have at most {max_length} bytes",
    "greater_than": "should be more than {gt}",
    "greater_than_equal": "should be at least {ge}",
    "less_than": "should be less than {lt}",
    "less_than_equal": "should be at most {le}",
    "multiple_of": "should be a multiple of {multiple_of}",
    "literal_error": "should be one of {expected}",
    "enum": "should be one of {expected}",
}


def bad_output(error: ValidationError, columns: tuple[Column, ...], own: str = "its") -> BadOutput:
    """At most five problems, each once. ``own`` names whose check it was, where it was not ours."""
    details = error.errors(include_url=False, include_input=False)
    pairs = dict.fromkeys((_path(one, columns), _rule(one, own)) for one in details)
    return BadOutput(tuple(pairs)[:_MOST])


def _rule(detail: ErrorDetails, own: str) -> str:
    try:
        return shortened(_RULES[detail["type"]].format_map(detail.get("ctx", {})), 1000)
    except KeyError:  # a validator's own kind of error: its message may hold the value
        return f"does not pass {own} own check"


def _path(detail: ErrorDetails, columns: tuple[Column, ...]) -> str:
    """``topics[2].name``: as far as it is known."""
    path = ""
    known = {column.name: column for column in columns}
    column: Column | None = None
    for step in detail["loc"]:
        if isinstance(step, int) and column is not None and column.sql.id in ("list", "array"):
            column = column.children[0]
            path += f"[{step}]"
        elif isinstance(step, str) and step in known:
            column = known[step]
            path += f".{step}" if path else step
        else:
            break
        known = {child.name: child for child in column.children} if column.sql.id == "struct" else {}
    return path or ROOT
