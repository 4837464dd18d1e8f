"""Opper's v3 without I/O: what a call is sent as, and what came back.

``Template`` is what all calls of one step share; ``decode`` reads every shape of reply the gateway, a
provider or a proxy is known to give. Field names and shapes: the OpenAPI document "Task API" 3.0.0
(CallRequest, RunResponse, PendingResponse, ErrorResponse). Where that document is silent nothing is
required: ``meta`` or any part of it may be missing, ``error`` may be text, an object or a page of HTML.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from pydantic_core import from_json, to_json

from opper_batch.errors import (
    AccessRefused,
    BadReply,
    CallError,
    CallRefused,
    OperationFailed,
    ServerFault,
    Throttled,
)
from opper_batch.records import Artifact, Operation, Reply, Usage
from opper_batch.text import printable, shortened

CALL_PATH = "/v3/call"
MODELS_PATH = "/v3/models"
END = b"}"  # of a call's body
_OPERATION_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_RETRYABLE = {408, 425}
_ABSENT = {502, 503, 504}  # said for a gateway that is not there
_LONGEST_WAIT = 1e9  # thirty years in seconds; whoever says more means the same
_LONGEST_LABEL = 200
_MOST_OPERATIONS = 100  # of one call: each is waited for
_LARGEST = 2**53  # what a number in meta is believed up to: beyond it no count or cost is one


def canonical(value: object) -> bytes:
    """Compact UTF-8 JSON in the order given: a model reads a schema in order, so order is content."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


class Template:
    """What every call of a step shares: all of a CallRequest but ``input``.

    ``origin`` is the gateway; a key is BLAKE2b-128 over origin and exact request, so that an answer counts
    for this very question to this very gateway only. ``parent_span_id`` says where a call is traced and
    is not part of what is asked, so it is sent and left out of the key.
    """

    def __init__(self, fields: Mapping[str, Any], *, origin: str) -> None:
        self.fields = dict(fields)
        self._head = canonical(self.fields)[:-1] + b',"input":'
        asked = {name: value for name, value in self.fields.items() if name != "parent_span_id"}
        self._digest = hashlib.blake2b(digest_size=16)
        self._digest.update(canonical([origin, asked]))
        self.digest = self._digest.digest()

    def body(self, call_input: bytes, *, problems: Sequence[tuple[str, str]] = (), end: bytes = END) -> bytes:
        """The request's body; ``problems`` are those of an answer to be repaired, told without any value.

        ``end`` is END, or names the span the call belongs to; one that ``fields`` name goes before it.
        """
        end = END if "parent_span_id" in self.fields else end
        if not problems:
            return self._head + call_input + end
        said = "; ".join(f"{path}: {rule}" for path, rule in problems)
        repair = f"Your previous answer did not fit the output schema ({said}). Answer again so that it fits."
        instructions = "\n\n".join(filter(None, [self.fields.get("instructions"), repair]))
        return canonical({**self.fields, "instructions": instructions})[:-1] + b',"input":' + call_input + end

    def key(self, call_input: bytes) -> bytes:
        """The 16 bytes a call with this input is known by."""
        return self.keys([call_input])[0]

    def keys(self, call_inputs: Sequence[bytes]) -> list[bytes]:
        """The key of each of many inputs."""
        begun, keys = self._digest.copy, []
        for call_input in call_inputs:
            digest = begun()
            digest.update(call_input)
            keys.append(digest.digest())
        return keys


@dataclass(frozen=True, slots=True)
class OperationStatus:
    """Where an operation stands: ``processing`` (or a word not known yet), ``completed``, ``failed``."""

    status: str
    url: str | None = None
    mime_type: str | None = None
    error: str | None = None


def decode(status: int, headers: Mapping[str, str], body: bytes) -> Reply:
    """The reply in ``body``; anything else is raised as the CallError it is.

    Header names are lower case. Raises Throttled (429), ServerFault (408, 425, 5xx), AccessRefused
    (401, 402, 403), CallRefused (any other refusal, redirects included) or BadReply (2xx without a reply).
    """
    if 200 <= status < 300:
        return _reply(status, body)
    raise _refusal(status, headers, body)


def data_of(body: bytes) -> object:
    """What ``decode(200, {}, body).data`` is, without the rest of the reply; raises what that raises."""
    fields = _parsed(body)
    data, meta = fields.get("data"), fields.get("meta")
    if data is None or (isinstance(meta, dict) and meta.get("status") == "pending"):
        return decode(200, {}, body).data
    return data


def decode_object(status: int, headers: Mapping[str, str], body: bytes) -> Mapping[str, Any]:
    """The JSON object of a plain answer; anything else is raised as the CallError it is."""
    if not 200 <= status < 300:
        raise _refusal(status, headers, body)
    return _parsed(body)


def decode_status(status: int, headers: Mapping[str, str], body: bytes) -> OperationStatus:
    """The answer to ``GET /v3/artifacts/{id}/status``; none of its fields is required by the API."""
    fields = decode_object(status, headers, body)
    return OperationStatus(
        status=_text(fields.get("status")) or "processing",
        url=_text(fields.get("url")),
        mime_type=_text(fields.get("mime_type")),
        error=_text(fields.get("error")),
    )


def status_path(operation: Operation) -> str:
    """Where an operation is asked after: built from its checked id, whatever ``status_url`` said."""
    return f"/v3/artifacts/{quote(operation.id, safe='')}/status"


def wrapped(data: bytes, reply: Reply) -> bytes:
    """A body as a 200 would have had it: the JSON a finished operation gave, with its 202's ``meta``.

    Raises BadReply when ``data`` is not exactly one JSON value: it is read and written anew, so that
    nothing in it can stand beside ``data``.
    """
    meta = _object(_parsed(reply.raw).get("meta"))
    try:
        written = to_json(from_json(data, allow_inf_nan=False), inf_nan_mode="constants")
    except ValueError:
        raise BadReply("the operation's file is not JSON") from None
    # Not canonical(): JSON may write numbers too large for a float, and they are read as infinity.
    return b'{"data":' + written + b',"meta":' + to_json(meta, inf_nan_mode="null") + b"}"


def without_usage(raw: bytes) -> bytes:
    """A 202's body that states no more what it used, for when that was recorded already."""
    fields = dict(_parsed(raw))
    meta = {name: value for name, value in _object(fields.get("meta")).items() if name != "usage"}
    return to_json({**fields, "meta": {**meta, "cost": 0.0}}, inf_nan_mode="null")


def with_artifacts(answer: object, artifacts: Sequence[Artifact], names: Sequence[str]) -> object:
    """The answer's fields with the artifacts' paths and MIME types at the columns named after them.

    An artifact of type ``video`` fills the column ``video``, several fill it as a list, and ``mime_type``
    gets the first one's type: the property names that the API's media functions use.
    """
    if not artifacts:
        return answer
    fields = dict(answer) if isinstance(answer, dict) else {}
    for kind in dict.fromkeys(artifact.type for artifact in artifacts):
        paths = [artifact.path for artifact in artifacts if artifact.type == kind]
        if kind in names:
            fields[kind] = paths[0] if len(paths) == 1 else paths
    if "mime_type" in names:
        fields["mime_type"] = artifacts[0].mime_type
    return fields


def retry_after(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Seconds to wait: ``retry-after-ms``, or ``Retry-After`` as seconds, a fraction or an HTTP date."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        if re.fullmatch(r"\d+(\.\d*)?|\.\d+", value := headers.get(name, "").strip()):
            return min(float(value) * scale, _LONGEST_WAIT)
    until = _date(headers.get("retry-after", ""))
    now = now or datetime.now(UTC)
    theirs = _date(headers.get("date", "")) or now  # in whole seconds, so only used where our clock is off
    now = theirs if abs(theirs - now) > timedelta(seconds=5) else now
    return min(max(0.0, (until - now).total_seconds()), _LONGEST_WAIT) if until else None


def error_text(status: int, body: bytes) -> str:
    """What a refusal says, from any of the shapes seen; safe to show, at most 300 characters."""
    text = body[:20_000].decode(errors="replace").strip()
    if not text or text.startswith("<"):
        text = _phrase(status) + (" (a page of HTML)" if text else "")
    with suppress(ValueError):
        text = _said(from_json(body)) or text
    return _shown(text)


def _reply(status: int, body: bytes) -> Reply:
    fields = _parsed(body)
    meta = _object(fields.get("meta"))
    # A kept 202 is read again without its status, and its meta need not say "pending".
    named = bool(meta.get("pending_operations")) and fields.get("data") is None and "status" not in meta
    pending = named or status == 202 or meta.get("status") == "pending"
    operations = _operations(meta) if pending else ()
    if pending and not operations and fields.get("data") is None:
        raise BadReply("the gateway's answer is pending and names no operation to wait for")
    if "data" not in fields and not operations:
        said = _said(fields)
        raise BadReply(f"the gateway's answer has no data{f', it says: {_shown(said)}' if said else ''}")
    return Reply(
        raw=body,
        data=fields.get("data"),
        usage=_usage(meta),
        model=next(filter(None, map(_label, _list(meta.get("models_used"))[::-1])), None),
        trace=_label(meta.get("trace_uuid")),
        operations=operations,
    )


def _operations(meta: Mapping[str, Any]) -> tuple[Operation, ...]:
    operations: list[Operation] = []
    for entry in map(_object, _list(meta.get("pending_operations"))):
        found = _text(entry.get("id")) or ""
        if not _OPERATION_ID.fullmatch(found):
            raise OperationFailed(
                "the gateway named a pending operation by an id that is not one", final=True
            )
        operations.append(Operation(found, _label(entry.get("type")) or "artifact"))
        if len(operations) > _MOST_OPERATIONS:
            raise OperationFailed(f"the gateway named more than {_MOST_OPERATIONS} operations", final=True)
    return tuple(operations)


def _usage(meta: Mapping[str, Any]) -> Usage:
    usage = _object(meta.get("usage"))
    return Usage(
        cost=_number(meta.get("cost")),
        input_tokens=_whole(usage.get("input_tokens")),
        output_tokens=_whole(usage.get("output_tokens")),
    )


def _refusal(status: int, headers: Mapping[str, str], body: bytes) -> CallError:
    said = f"{status} {error_text(status, body)}"
    if status == 429:
        return Throttled(said, retry_after=retry_after(headers))
    if status in _RETRYABLE or status >= 500:
        return ServerFault(said, retry_after=retry_after(headers), absent=status in _ABSENT)
    if status in (401, 402, 403):
        return AccessRefused(said, status=status)
    if 300 <= status < 400:
        return CallRefused(
            f"{status}: the gateway redirects, which is not followed; set the base URL it now has",
            status=status,
        )
    return CallRefused(said, status=status)


def _parsed(body: bytes) -> Mapping[str, Any]:
    try:
        # Names come again with every answer, most values do not.
        fields = from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError:
        if not body.strip():
            raise BadReply("the gateway's answer is empty") from None
        page = body.lstrip()[:1] == b"<"
        raise BadReply(f"the gateway's answer is {'a page of HTML' if page else 'not JSON'}") from None
    if not isinstance(fields, dict):
        raise BadReply("the gateway's answer is not a JSON object")
    return fields


def _date(text: str) -> datetime | None:
    with suppress(ValueError, OverflowError):
        date = parsedate_to_datetime(text)
        return date if date.tzinfo else date.replace(tzinfo=UTC)
    return None


def _shown(text: str) -> str:
    return shortened(printable(text))


def _said(fields: object) -> str | None:
    if not isinstance(fields, dict):
        return None
    error, first = fields.get("error"), next(iter(_list(fields.get("errors"))), None)
    candidates = [
        _object(error).get("message"),
        error,
        fields.get("message"),
        fields.get("detail"),
        *(_object(first).get(name) for name in ("message", "type")),
    ]
    for candidate in candidates:
        if candidate:
            return candidate if isinstance(candidate, str) else json.dumps(candidate)
    return None


def _phrase(status: int) -> str:
    with suppress(ValueError):
        return HTTPStatus(status).phrase
    return "no reason given"


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _label(value: object) -> str | None:
    """A name that the gateway gave: it is shown in terminals and tables, so one short printable line."""
    return shortened(printable(_text(value) or ""), _LONGEST_LABEL) or None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 <= value < _LARGEST else None


def _whole(value: object) -> int | None:
    return None if (number := _number(value)) is None else int(number)


def digest_of(content: bytes) -> bytes:
    """The 16 bytes that stand for ``content``."""
    return hashlib.blake2b(content, digest_size=16).digest()
