"""The official SDK, unchanged, against the sandbox."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from opperai import Opper
from opperai.types import ApiError, AuthenticationError, BadRequestError, NotFoundError, RateLimitError
from pydantic import BaseModel
from sandbox_asking import TICKET, Asker

Gateway = Callable[..., Asker]


@contextmanager
def _opper(asker: Asker) -> Iterator[Opper]:
    opper = Opper("any-key", asker.sandbox.url)
    try:
        yield opper
    finally:
        opper._client._get_sync_client().close()


class Ticket(BaseModel):
    category: str
    priority: int
    due: str | None


def test_a_call_gives_data_and_meta(gateway: Gateway) -> None:
    with _opper(gateway()) as opper:
        reply = opper.call("triage", input={"subject": "Help"}, output_schema=TICKET, model="openai/gpt-4o")
        assert set(reply.data) == set(TICKET["properties"])
        assert reply.meta["models_used"] == ["openai/gpt-4o"]
        assert reply.meta["script_cached"] is False
        again = opper.call("triage", input={"subject": "Help"}, output_schema=TICKET, model="openai/gpt-4o")
        assert again.data == reply.data
        assert again.meta["script_cached"] is True
        assert isinstance(opper.call("triage", input="Help").data, str)
        assert isinstance(opper.call("typed", input="Help", output_schema=Ticket).data, Ticket)


def test_the_async_client_works_too(gateway: Gateway) -> None:
    asker = gateway(latency=0.01)

    async def ask() -> list[object]:
        opper = Opper("any-key", asker.sandbox.url)
        calls = [opper.call_async("triage", input=number, output_schema=TICKET) for number in range(20)]
        replies = await asyncio.gather(*calls)
        models = await opper.models.list_async(type="llm", limit=3)
        assert len(models.models) == 3
        await opper._client._get_async_client().aclose()
        return [reply.data for reply in replies]

    answers = asyncio.run(ask())
    assert len({str(answer) for answer in answers}) > 15


def test_functions_are_created_by_calls_and_listed(gateway: Gateway) -> None:
    with _opper(gateway()) as opper:
        assert opper.functions.list() == []
        for schema in (TICKET, TICKET, {"type": "object", "properties": {"a": {"type": "integer"}}}):
            opper.functions.run("a/name with ü", {"input": 1, "output_schema": schema})
        (info,) = opper.functions.list()
        assert (info.name, info.hit_count, info.has_script) == ("a/name with ü", 3, True)
        details = opper.functions.get("a/name with ü")
        assert details.output_schema == schema
        assert details.schema_hash == info.schema_hash
        revisions = opper.functions.list_revisions("a/name with ü")
        assert [revision.is_current for revision in revisions] == [False, True]
        opper.functions.delete("a/name with ü")
        with pytest.raises(NotFoundError):
            opper.functions.get("a/name with ü")


def test_models_are_listed_in_pages(gateway: Gateway) -> None:
    with _opper(gateway()) as opper:
        assert len(opper.models.list().models) == 50
        assert opper.models.list(offset=50).models
        (mini,) = opper.models.list(provider="openai", q="gpt-4o-mini", deprecated=False).models
        assert mini.id == "openai/gpt-4o-mini"


def test_spans_and_traces_hold_calls_together(gateway: Gateway) -> None:
    with _opper(gateway()) as opper:
        with opper.trace("Nightly batch", input="{}") as root:
            reply = opper.call("triage", input="Help", output_schema=TICKET)
        assert reply.meta["trace_uuid"] == root.trace_id
        span = opper.spans.get(root.id)
        assert (span.name, span.status) == ("Nightly batch", "ok")
        child = opper.spans.create(name="child", parent_id=root.id)
        assert child.trace_id == root.trace_id
        opper.spans.update(child.id, output="done", end_time="2026-01-01T00:00:00Z")
        assert opper.spans.get(child.id).output == "done"
        trace = opper.traces.get(root.trace_id)
        assert (trace.name, trace.span_count) == ("Nightly batch", 3)
        assert [span.name for span in trace.spans] == ["Nightly batch", "triage", "child"]
        opper.spans.delete(child.id)
        (listed,) = opper.traces.list(name="nightly").data
        assert (listed.id, listed.span_count) == (root.trace_id, 2)
        opper.traces.delete(root.trace_id)
        assert opper.traces.list(name="nightly").data == []
        with pytest.raises(NotFoundError):
            opper.spans.get(root.id)


def test_a_call_of_its_own_is_a_trace_of_its_own(gateway: Gateway) -> None:
    with _opper(gateway()) as opper:
        trace_id = opper.call("triage", input="Help").meta["trace_uuid"]
        (listed,) = opper.traces.list().data
        assert (listed.id, listed.name, listed.span_count, listed.status) == (trace_id, "triage", 1, "ok")


def test_a_video_pends_and_is_downloaded_without_the_key(gateway: Gateway) -> None:
    asker = gateway(pending=1.0, pending_seconds=0.05)
    with _opper(asker) as opper:
        video = opper.generate_video(prompt="A river", model="openai/sora-2", poll_interval=0.02)
        assert video.data["mime_type"] == "video/mp4"
        assert b"synthetic" in base64.b64decode(video.data["video"])
    assert [record.status for record in asker.sandbox.journal][:2] == [202, 200]


def test_health_and_the_refusals_are_told_as_the_sdk_knows_them(gateway: Gateway) -> None:
    with _opper(gateway(throttled=1.0)) as opper:
        assert opper.system.health().status == "ok"
        with pytest.raises(RateLimitError):
            opper.call("triage", input=1)
    with _opper(gateway(bad_request=1.0)) as opper, pytest.raises(BadRequestError):
        opper.call("triage", input=1)
    with _opper(gateway(budget=0.0)) as opper, pytest.raises(ApiError) as refused:
        opper.call("triage", input=1)
    assert refused.value.status == 402
    with _opper(gateway(reject_key="string")) as opper, pytest.raises(AuthenticationError):
        opper.call("triage", input=1)
