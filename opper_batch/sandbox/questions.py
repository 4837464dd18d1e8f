"""A call's body, read strictly: what is asked, of which model, and the digests it is known by.

Fields and forms: CallRequest and RunRequest of the OpenAPI document. Unknown fields are ignored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opper_batch.sandbox.catalog import DEFAULT_MODEL
from opper_batch.sandbox.refusals import Refusal, compact


@dataclass(frozen=True, slots=True)
class Question:
    """One call. ``digest`` covers what seeds its answer: name, instructions, input, output schema, model.

    ``input`` and ``output_schema`` are compact JSON; no schema is None. ``models`` is the fallback chain.
    """

    name: str
    input: bytes
    instructions: str
    input_schema: Mapping[str, Any] | None
    output_schema: Mapping[str, Any] | None
    schema_text: bytes | None
    models: tuple[str, ...]
    parent_span_id: str | None
    input_digest: bytes
    digest: bytes


def read_question(body: bytes, name: str | None = None) -> Question:
    """The question in ``body``; ``name`` is the one in the path, if there is one. Raises Refusal (400)."""
    fields = read_object(body)
    name = name if name is not None else _text(fields, "name")
    if not name:
        raise Refusal(400, "invalid_input", "field 'name' is required")
    if "input" not in fields:
        raise Refusal(400, "invalid_input", "field 'input' is required")
    call_input = compact(fields["input"])
    instructions = _text(fields, "instructions") or ""
    schema = _schema(fields, "output_schema")
    schema_text = None if schema is None else compact(schema)
    model = fields.get("model")
    asked = compact([name, instructions, model]) + b"\0" + (schema_text or b"") + b"\0" + call_input
    return Question(
        name=name,
        input=call_input,
        instructions=instructions,
        input_schema=_schema(fields, "input_schema"),
        output_schema=schema,
        schema_text=schema_text,
        models=_models(model),
        parent_span_id=_text(fields, "parent_span_id"),
        input_digest=_digest(call_input),
        digest=_digest(asked),
    )


def input_digest(value: object) -> str:
    """What the journal knows an input by: BLAKE2b-128, hexadecimal, over compact JSON, keys as given."""
    return _digest(compact(value)).hex()


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object in ``body``; raises Refusal (400) for anything else, NaN and Infinity included."""
    try:
        fields = _STRICT.decode(body.decode())
    except (ValueError, RecursionError):
        raise Refusal(400, "invalid_input", "the body is not valid JSON") from None
    if not isinstance(fields, dict):
        raise Refusal(400, "invalid_input", "the body must be a JSON object")
    return fields


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_STRICT = json.JSONDecoder(parse_constant=_refuse_constant)


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is None or isinstance(value, str):
        return value
    raise Refusal(400, "invalid_input", f"field '{name}' must be a string")


def _schema(fields: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    value = fields.get(name)
    if value is None or isinstance(value, dict):
        return value
    raise Refusal(400, "invalid_input", f"field '{name}' must be a JSON Schema object")


def _models(value: object) -> tuple[str, ...]:
    """The fallback chain from any of the three forms: text, an object with ``name``, a list of either."""
    if value is None:
        return (DEFAULT_MODEL,)
    chain = value if isinstance(value, list) else [value]
    named = [entry.get("name") if isinstance(entry, dict) else entry for entry in chain]
    names = tuple(name for name in named if isinstance(name, str) and name)
    if names and len(names) == len(chain):
        return names
    raise Refusal(
        400, "invalid_input", "field 'model' must be a model's name, an object with one, or a list of these"
    )
