"""The bodies of replies to calls. Shapes: RunResponse and PendingResponse of the OpenAPI document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from opper_batch.sandbox.refusals import compact


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call was answered, as compact JSON, and what it cost in USD; ``seconds`` is how long it took."""

    text: bytes
    model: str
    input_tokens: int
    output_tokens: int
    cost: float
    seconds: float
    script_cached: bool
    trace: str


def reply_body(name: str, answer: Answer, omit: Sequence[str] = (), *, as_text: bool = False) -> bytes:
    """The body of a 200 without what ``omit`` names of ``meta``; ``as_text`` gives data as JSON text."""
    text = compact(answer.text.decode(errors="surrogatepass")) if as_text else answer.text
    if "meta" in omit:
        return b'{"data":' + text + b"}"
    meta = {
        "function_name": name,
        "script_cached": answer.script_cached,
        "execution_ms": _milliseconds(answer),
        "llm_calls": 1,
        "tts_calls": 0,
        "image_gen_calls": 0,
        "cost": answer.cost,
        "usage": {"input_tokens": answer.input_tokens, "output_tokens": answer.output_tokens},
        "models_used": [answer.model],
        "trace_uuid": answer.trace,
    }
    for part in omit:
        del meta[part]
    return b'{"data":' + text + b',"meta":' + compact(meta) + b"}"


def pending_body(name: str, answer: Answer, operations: Sequence[tuple[str, str]], origin: str) -> bytes:
    """The body of a 202; ``operations`` are (id, type) and asked after at ``origin``."""
    pending: list[dict[str, Any]] = [
        {"id": operation_id, "status_url": f"{origin}/v3/artifacts/{operation_id}/status", "type": kind}
        for operation_id, kind in operations
    ]
    meta = {
        "function_name": name,
        "status": "pending",
        "execution_ms": _milliseconds(answer),
        "pending_operations": pending,
    }
    return compact({"data": None, "meta": meta})


def _milliseconds(answer: Answer) -> int:
    return round(answer.seconds * 1000)
