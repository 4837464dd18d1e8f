"""202: operations that have not ended, and what they come to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from opper_batch.errors import (
    BadReply,
    CallRefused,
    OperationFailed,
)
from opper_batch.protocol import (
    OperationStatus,
    decode,
    decode_object,
    decode_status,
    status_path,
    with_artifacts,
    without_usage,
    wrapped,
)
from opper_batch.records import Artifact, Operation, Usage


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def pending(*operations: Any, **meta: Any) -> bytes:
    return body(data=None, meta={"status": "pending", "pending_operations": list(operations), **meta})


def test_a_202_names_every_operation() -> None:
    raw = pending({"id": "art_1", "type": "video", "status_url": "/x"}, {"id": "art-2.b"})
    reply = decode(202, {}, raw)
    assert reply.operations == (Operation("art_1", "video"), Operation("art-2.b", "artifact"))
    assert reply.raw == raw
    assert reply.usage == Usage()


def test_pending_is_understood_from_either_the_status_or_meta() -> None:
    operation = {"id": "art_1", "type": "video"}
    assert decode(200, {}, pending(operation)).operations == (Operation("art_1", "video"),)
    said = body(data=None, meta={"pending_operations": [operation]})
    assert decode(202, {}, said).operations == (Operation("art_1", "video"),)
    assert decode(200, {}, said).operations == (Operation("art_1", "video"),), "a kept 202, read again"
    ended = body(data=None, meta={"pending_operations": [operation], "status": "completed"})
    assert decode(200, {}, ended).operations == ()
    assert decode(202, {}, body(meta={"pending_operations": [operation]})).data is None


def test_a_pending_reply_that_has_the_answer_and_no_operation_is_the_answer() -> None:
    reply = decode(202, {}, body(data={"a": 1}, meta={"status": "pending"}))
    assert (reply.data, reply.operations) == ({"a": 1}, ())


@pytest.mark.parametrize("operations", [None, [], {}, "art_1"])
def test_a_pending_reply_without_anything_to_wait_for_is_a_bad_reply(operations: Any) -> None:
    with pytest.raises(BadReply, match="names no operation"):
        decode(202, {}, body(data=None, meta={"pending_operations": operations}))


@pytest.mark.parametrize(
    "id",
    [
        "../x",
        "a/b",
        "",
        ".",
        "..",
        ".hidden",
        "a" * 129,
        "a\n",
        "a b",
        "a%2f",
        "a?b",
        "a#b",
        "é",
        "a\x00",
        None,
        5,
        ["a"],
    ],
)
def test_an_operation_id_that_is_not_one_is_never_asked_after(id: Any) -> None:
    with pytest.raises(OperationFailed, match="id that is not one") as caught:
        decode(202, {}, pending({"id": "good", "type": "video"}, {"id": id, "type": "video"}))
    assert caught.value.final
    assert not caught.value.retryable


def test_an_operation_is_asked_after_where_its_id_says_and_nowhere_else() -> None:
    raw = pending({"id": "art_1.x-Y", "status_url": "https://evil.example/steal"})
    (operation,) = decode(202, {}, raw).operations
    assert status_path(operation) == "/v3/artifacts/art_1.x-Y/status"
    assert decode(202, {}, pending({"id": "a" * 128})).operations[0].id == "a" * 128


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (body(id="a", status="processing"), OperationStatus("processing")),
        (
            body(id="a", status="completed", url="https://s/x", mime_type="video/mp4"),
            OperationStatus("completed", url="https://s/x", mime_type="video/mp4"),
        ),
        (body(id="a", status="failed", error="no"), OperationStatus("failed", error="no")),
        (body(), OperationStatus("processing")),
        (body(status=None, url=5, mime_type=[], error={}), OperationStatus("processing")),
        (body(status="queued"), OperationStatus("queued")),
    ],
)
def test_the_status_of_an_operation_is_read_from_whatever_is_there(
    raw: bytes, status: OperationStatus
) -> None:
    assert decode_status(200, {}, raw) == status


def test_a_status_that_is_refused_is_raised_as_any_other_refusal() -> None:
    with pytest.raises(CallRefused, match="404 gone"):
        decode_status(404, {}, body(error="gone"))
    with pytest.raises(BadReply, match="not JSON"):
        decode_object(200, {}, b"{")


@pytest.mark.parametrize("odd", ["1e999", "123456789012345678901234567890", '"\\u0000"', "[[[[1]]]]"])
def test_an_operations_json_is_wrapped_as_an_answer_with_the_meta_of_its_202(odd: str) -> None:
    raw = pending({"id": "a"}, trace_uuid="t", models_used=["m"], odd=0).replace(
        b": 0}", f": {odd}}}".encode()
    )
    whole = wrapped(b'{"a": 1.50}', decode(202, {}, raw))
    reply = decode(200, {}, whole)
    assert (reply.data, reply.trace, reply.model) == ({"a": 1.5}, "t", "m")


@pytest.mark.parametrize("made", [b'{"a":1},"injected":{"b":2}', b"1 2", b"", b"{cut", b"NaN", b'{"a":1}}'])
def test_an_operations_file_that_is_not_exactly_one_json_value_is_no_answer(made: bytes) -> None:
    with pytest.raises(BadReply, match="not JSON"):
        wrapped(made, decode(202, {}, pending({"id": "a"})))


def test_a_number_too_large_for_a_float_does_not_become_null() -> None:
    with pytest.raises(BadReply):
        decode(200, {}, wrapped(b'{"a": 1e999}', decode(202, {}, pending({"id": "a"}))))


def test_what_a_202_used_can_be_taken_out_of_it() -> None:
    raw = pending({"id": "a"}, cost=0.5, usage={"input_tokens": 7}, trace_uuid="t")
    reply = decode(202, {}, without_usage(raw))
    assert (reply.usage, reply.trace, reply.operations) == (
        Usage(cost=0.0),
        "t",
        decode(202, {}, raw).operations,
    )


def test_artifacts_fill_the_columns_named_after_them() -> None:
    video = Artifact("video", "out/a.mp4", "video/mp4")
    images = (Artifact("image", "out/b.png", "image/png"), Artifact("image", "out/c.png", None))
    names = ("title", "video", "mime_type")
    assert with_artifacts({"title": "t"}, [video], names) == {
        "title": "t",
        "video": "out/a.mp4",
        "mime_type": "video/mp4",
    }
    assert with_artifacts(None, images, ("image",)) == {"image": ["out/b.png", "out/c.png"]}
    assert with_artifacts({"video": "made up"}, images, ("video",)) == {"video": "made up"}
    assert with_artifacts("text", [], names) == "text"
