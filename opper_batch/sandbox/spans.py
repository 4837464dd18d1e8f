"""Spans and the traces they make up, as the gateway keeps them: metadata of calls, never their contents.

Shapes: CreateSpanResponse, GetSpanResponse, GetTraceResponse and ListTracesItem of the OpenAPI document.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from opper_batch.sandbox.catalog import whole_number
from opper_batch.sandbox.refusals import Refusal
from opper_batch.text import iso_time

_KEPT = 10_000  # traces; the oldest go first
_LARGEST_PAGE = 100
_GIVEN = (
    "type",
    "parent_id",
    "input",
    "output",
    "error",
    "start_time",
    "end_time",
    "meta",
    "metadata",
    "tags",
)
_CHANGEABLE = ("output", "error", "end_time", "meta", "metadata", "tags")

Span = dict[str, Any]


class Spans:
    """All spans by id, and by the trace they belong to. Ids follow from the order of creation."""

    def __init__(self) -> None:
        self._spans: dict[str, Span] = {}
        self._traces: OrderedDict[str, list[str]] = OrderedDict()
        self._created = 0

    def create(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """A new span, in its parent's trace if it names none; raises Refusal (400) without a name."""
        name = fields.get("name")
        if not isinstance(name, str) or not name:
            raise Refusal(400, "invalid_input", "field 'name' is required")
        parent = self._spans.get(str(fields.get("parent_id")))
        trace_id = fields.get("trace_id") or (parent["trace_id"] if parent else self._new_id())
        span = {"id": self._new_id(), "trace_id": str(trace_id), "name": name, "status": "running"}
        span |= {key: fields[key] for key in _GIVEN if fields.get(key) is not None}
        span.setdefault("start_time", iso_time())
        self._keep(_settled(span))
        return {key: span[key] for key in ("id", "trace_id", "name", "parent_id", "type") if key in span}

    def add_call(self, name: str, digest: bytes, parent_id: str | None, seconds: float, model: str) -> str:
        """Keep a finished call's span; gives its trace's id: its parent's, else one out of ``digest``."""
        parent = self._spans.get(parent_id) if parent_id else None
        trace_id = parent["trace_id"] if parent else _uuid(digest)
        ended = time.time()
        span = {
            "id": _uuid(hashlib.blake2b(digest, digest_size=16).digest()),
            "trace_id": trace_id,
            "name": name,
            "type": "call",
            "status": "ok",
            "start_time": iso_time(ended - seconds),
            "end_time": iso_time(ended),
            "meta": {"model": model},
        }
        if parent:
            span["parent_id"] = parent["id"]
        self._keep(span)
        return str(trace_id)

    def get(self, span_id: str) -> Span:
        try:
            return self._spans[span_id]
        except KeyError:
            raise Refusal(404, "not_found", f"there is no span {span_id!r}") from None

    def update(self, span_id: str, fields: Mapping[str, Any]) -> None:
        span = self.get(span_id)
        span.update({key: fields[key] for key in _CHANGEABLE if key in fields})
        _settled(span)

    def delete(self, span_id: str) -> None:
        trace_id = self.get(span_id)["trace_id"]
        del self._spans[span_id]
        self._traces[trace_id].remove(span_id)
        if not self._traces[trace_id]:
            del self._traces[trace_id]

    def traces(self, query: Mapping[str, str]) -> dict[str, Any]:
        """A page of traces, the latest first; ``name`` is a part of their names in any case."""
        limit = whole_number(query, "limit", _LARGEST_PAGE, lowest=1, highest=_LARGEST_PAGE)
        offset = whole_number(query, "offset", 0, lowest=0)
        wanted = query.get("name", "").casefold()
        found = [trace_id for trace_id in reversed(self._traces) if wanted in self._name(trace_id).casefold()]
        page = [self._about(trace_id) for trace_id in found[offset : offset + limit]]
        return {"data": page, "meta": {"total_count": len(found)}}

    def trace(self, trace_id: str) -> dict[str, Any]:
        self._known(trace_id)
        spans = [self._spans[span_id] for span_id in self._traces[trace_id]]
        return {**self._about(trace_id), "spans": spans, "events": []}

    def delete_trace(self, trace_id: str) -> None:
        self._known(trace_id)
        for span_id in self._traces.pop(trace_id):
            del self._spans[span_id]

    def _known(self, trace_id: str) -> None:
        if trace_id not in self._traces:
            raise Refusal(404, "not_found", f"there is no trace {trace_id!r}")

    def _keep(self, span: Span) -> None:
        if span["id"] not in self._spans:
            self._traces.setdefault(span["trace_id"], []).append(span["id"])
        self._spans[span["id"]] = span
        if len(self._traces) > _KEPT:
            for span_id in self._traces.popitem(last=False)[1]:
                del self._spans[span_id]

    def _name(self, trace_id: str) -> str:
        return str(self._spans[self._traces[trace_id][0]]["name"])

    def _about(self, trace_id: str) -> dict[str, Any]:
        spans = [self._spans[span_id] for span_id in self._traces[trace_id]]
        about = {"id": trace_id, "name": spans[0]["name"], "span_count": len(spans), "status": "ok"}
        about["start_time"] = start = min(span["start_time"] for span in spans)
        if any(span.get("error") for span in spans):
            about["status"] = "error"
        if all("end_time" in span for span in spans):
            about["end_time"] = end = max(span["end_time"] for span in spans)
            about["duration_ms"] = _milliseconds(start, end)
        return about

    def _new_id(self) -> str:
        self._created += 1
        return _uuid(hashlib.blake2b(b"span %d" % self._created, digest_size=16).digest())


def _uuid(digest: bytes) -> str:
    """16 bytes as a version 4 UUID; for every call, hence without the UUID class."""
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-8{text[17:20]}-{text[20:]}"


def _settled(span: Span) -> Span:
    span["status"] = "error" if span.get("error") else "ok" if span.get("end_time") else "running"
    return span


def _milliseconds(start: str, end: str) -> int:
    try:
        return round((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds() * 1000)
    except (TypeError, ValueError):
        return 0
