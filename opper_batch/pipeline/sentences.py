"""What is wrong with a definition, as one sentence."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from opper_batch.text import printable, shown

# pydantic's kinds of error in a pipeline's words: what was wanted, and which rule was broken.
_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "dict_type": "a table",
    "model_type": "a table",
    "tuple_type": "a list",
}
_RULES = {
    "too_short": "needs at least {min_length} entry",
    "string_too_short": "should not be empty",
    "finite_number": "should be a finite number",
    "greater_than": "should be above {gt:g}",
    "greater_than_equal": "should be {ge:g} or more",
    "less_than_equal": "should be {le:g} or less",
    "literal_error": "should be {expected}",
}
# What the same is called by the command line and elsewhere.
_ELSEWHERE = {
    "rpm": "requests_per_minute",
    "tpm": "tokens_per_minute",
    "budget": "max_cost",
    "prompt": "instructions",
    "output": "columns",
    "outputs": "columns",
    "file": "path",
    "query": "sql",
    "separator": "delimiter",
    "sep": "delimiter",
    "retries": "repair",
    "inputs": "input",
}
_HOMES = {
    "": "at the top of the file",
    "steps": "in [[steps]]",
    "checks": "in [[checks]]",
    "ModelSpec": "in model = { name = … }",
}
_UNION_MEMBER = re.compile(r"(constrained-)?str|ModelSpec|tuple\[.*|function-\w+\[.*")


def sentence(error: ValidationError, parts: Mapping[str, type[BaseModel]]) -> str:
    """The most telling problem as place and remedy; values are not repeated beyond 40 characters.

    ``parts`` are the models by where they are found, the outermost under "".
    """
    problems = error.errors(include_url=False)
    problem = min(problems, key=_how_vague)
    place, kind, context = _place(problem["loc"]), problem["type"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        return f"{place}: unknown key{_nearest(problem['loc'], parts)}"
    if kind == "missing":
        return f"{place}: is missing"
    if kind == "value_error":
        return f"{place}: {context['error']}" if place else str(context["error"])
    given = shown(problem["input"])
    if kind in _WANTED:
        # Where several forms will do, each has a problem of its own at the same place.
        here = [_WANTED.get(other["type"]) for other in problems if _place(other["loc"]) == place]
        hint = f"; in TOML write [[{place}]]" if kind == "tuple_type" and place in parts else ""
        return f"{place}: should be {' or '.join(dict.fromkeys(filter(None, here)))}, not {given}{hint}"
    rule = problem["msg"][:1].lower() + problem["msg"][1:]
    if kind in _RULES:
        rule = _RULES[kind].format_map(context)
    return f"{place}: {rule}, not {given}"


def _how_vague(problem: ErrorDetails) -> tuple[bool, bool, int]:
    """Sorts an unknown key, a typing error most likely, first; then what is wrong inside a form that fits."""
    return problem["type"] != "extra_forbidden", problem["type"] in _WANTED, -len(problem["loc"])


def _place(loc: Sequence[int | str]) -> str:
    """``("steps", 0, "model", "str")`` as ``steps[0].model``: without the names of union members."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        elif not _UNION_MEMBER.fullmatch(part):
            name = part if part.isidentifier() else f'"{printable(part)}"'
            text += f".{name}" if text else name
    return text


def _nearest(loc: Sequence[int | str], parts: Mapping[str, type[BaseModel]]) -> str:
    owner = next((parts[str(part)] for part in reversed(loc[:-1]) if part in parts), parts[""])
    known, key = list(owner.model_fields), str(loc[-1]).strip().lower()
    key = _ELSEWHERE.get(key, key)
    match = difflib.get_close_matches(key, known, n=1)
    if match:
        return f"; did you mean {match[0]!r}?"
    home = next((name for name, part in parts.items() if key in part.model_fields), None)
    if home is not None:
        return f"; it belongs {_HOMES.get(home) or f'in [{home}]'}"
    return f"; known are {', '.join(known)}"
