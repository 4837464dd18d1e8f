"""Files that a hostile gateway or storage gives: bounded in size and time, named by us, plain or refused."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from client_rig import KEY, MEDIA, Rig, Stub, ok, pending, status
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from opper_batch.client import downloads
from opper_batch.client.artifacts import Polling
from opper_batch.client.transport import BODY_CAP

Rigs = Callable[..., Rig]

POLL = "/v3/artifacts/op-1/status"
FILE = "/files/one"
FINE = {"video": "v", "mime_type": "m"}
MEGABYTE = bytes(1 << 20)


def begun(stub: Stub, content: Any, *, mime_type: str | None = "video/mp4", kind: str = "video") -> Stub:
    """A stub whose first call leads to the file ``content``; the next is answered as it should be."""
    stub.calls(pending("op-1", kind=kind), ok(FINE)).on(FILE, content)
    return stub.on(POLL, status("completed", url=stub.url + FILE, mime_type=mime_type))


async def endless(sent: list[int], chunk: bytes = MEGABYTE, pause: float = 0.0) -> AsyncIterator[bytes]:
    while True:
        sent.append(len(chunk))
        yield chunk
        await asyncio.sleep(pause)


# Size.


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_a_file_beyond_the_cap_is_given_up_and_nothing_of_it_stays(
    stub: Stub, rig: Rigs, monkeypatch: pytest.MonkeyPatch, declared: bool
) -> None:
    monkeypatch.setattr(downloads, "FILE_CAP", 8 << 20)
    sent: list[int] = []
    headers = {"content-length": str(1 << 40)} if declared else {}
    begun(stub, lambda _: StreamingResponse(endless(sent), headers=headers, media_type="video/mp4"))
    client = rig(stub.url, columns=MEDIA)
    large, after = client.ask_each(1, 2)
    assert large.error == "the artifact is larger than 8 MB"
    assert after.ok
    assert list(client.folder.glob("*")) == []
    assert len(stub.at(FILE)) == 1, "a new link would lead to the same file"
    assert sum(sent) < 80 << 20, "the connection is left, not read to its end"
    assert list(client.pending()) == [client.question(1).key], "paid for: asked after again, never made again"


def test_a_file_just_below_the_cap_is_taken(stub: Stub, rig: Rigs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "FILE_CAP", 1000)
    begun(stub, Response(b"x" * 1000, media_type="video/mp4"))
    (artifact,) = rig(stub.url, columns=MEDIA).ask().artifacts
    assert Path(artifact.path).read_bytes() == b"x" * 1000


def test_json_that_an_operation_made_has_the_cap_of_an_answer(stub: Stub, rig: Rigs) -> None:
    sent: list[int] = []
    begun(stub, lambda _: StreamingResponse(endless(sent)), mime_type="application/json", kind="json")
    large, after = rig(stub.url, columns=MEDIA).ask_each(1, 2)
    assert large.error == f"the operation's JSON is larger than {BODY_CAP >> 20} MB"
    assert after.ok


# Time.


def test_a_file_that_never_ends_has_the_deadline_of_its_operation(stub: Stub, rig: Rigs) -> None:
    sent: list[int] = []
    begun(stub, lambda _: StreamingResponse(endless(sent, b"x", 0.01), media_type="video/mp4"))
    polling = Polling(first=0.01, longest=0.02, deadline=0.5)
    client = rig(stub.url, columns=MEDIA, polling=polling)
    slow, after = client.ask_each(1, 2)
    assert slow.error is not None
    assert slow.error.startswith("operation op-1 did not end in ")
    assert sent
    assert after.ok
    assert list(client.folder.glob("*")) == []
    assert list(client.pending()) == [client.question(1).key]


# Encoding.


@pytest.mark.parametrize("mime_type", ["video/mp4", "application/json"])
def test_a_file_that_comes_compressed_is_neither_inflated_nor_kept_as_what_it_is_not(
    stub: Stub, rig: Rigs, mime_type: str
) -> None:
    bomb = gzip.compress(bytes(100 << 20), 9)
    begun(
        stub, Response(bomb, headers={"content-encoding": "GZIP"}, media_type=mime_type), mime_type=mime_type
    )
    client = rig(stub.url, columns=MEDIA)
    packed, after = client.ask_each(1, 2)
    assert packed.error == (
        "artifact op-1 cannot be fetched: its link gives it compressed, which was not asked for"
    )
    assert after.ok
    assert list(client.folder.glob("*")) == []


def test_a_file_whose_encoding_is_identity_is_plain(stub: Stub, rig: Rigs) -> None:
    begun(stub, Response(b"film", headers={"content-encoding": "identity"}, media_type="video/mp4"))
    assert rig(stub.url, columns=MEDIA).ask().ok


# Names.


@pytest.mark.parametrize(
    "disposition",
    [
        'attachment; filename="../../../escaped.sh"',
        'attachment; filename="/escaped"',
        "attachment; filename*=UTF-8''..%2f..%2fescaped",
        'attachment; filename=".bashrc"',
    ],
)
def test_the_files_name_is_ours_whatever_anybody_calls_it(
    stub: Stub, rig: Rigs, tmp_path: Path, disposition: str
) -> None:
    path = "/files/..%2f..%2fescaped;name=..%2fescaped"
    made = Response(b"film", headers={"content-disposition": disposition}, media_type="video/mp4")
    begun(stub, made, kind="../../escaped")
    stub.on(POLL, status("completed", url=stub.url + path, mime_type="video/mp4", filename="../escaped"))
    stub.on("/files/../../escaped;name=../escaped", made)
    client = rig(stub.url, columns={"note": "VARCHAR"})
    client.ask()
    name = client.question().key.hex() + "-0.mp4"
    assert [found.name for found in client.folder.iterdir()] == [name]
    outside = {found.name for found in tmp_path.iterdir()} - {"artifacts"}
    assert all(found.startswith("ledger.sqlite") for found in outside), outside


def test_the_key_in_a_files_header_is_not_kept(stub: Stub, rig: Rigs) -> None:
    def echoing(request: Request) -> Response:
        return Response(b"film", media_type=f"text/{KEY}")

    client = rig(begun(stub, echoing, mime_type=None).url, columns=MEDIA)
    outcome = client.ask()
    assert outcome.ok
    assert KEY not in repr(outcome)
    assert KEY not in repr(client.rows("SELECT * FROM outcomes"))
