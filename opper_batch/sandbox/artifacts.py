"""Operations begun by a 202: processing for a while, then completed with a file, or failed.

A file is fetched by a presigned address that needs no key, and refuses one: whoever sends its key along
would hand it to a storage host.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from opper_batch.sandbox.dice import Dice
from opper_batch.sandbox.refusals import Refusal
from opper_batch.sandbox.script import Script

# What a media operation makes: a name that an output schema's property has, its MIME type, and how files of
# that type begin. The rest of the content says that it is synthetic.
_MEDIA = {
    "video": ("video/mp4", b"\x00\x00\x00\x18ftypmp42"),
    "image": ("image/png", b"\x89PNG\r\n\x1a\n"),
    "audio": ("audio/mpeg", b"ID3\x04\x00"),
}


@dataclass(frozen=True, slots=True)
class File:
    content: bytes
    mime_type: str


@dataclass(frozen=True, slots=True)
class _Operation:
    kind: str
    known_at: float
    ready_at: float | None
    fails: bool
    file: File
    signature: str


class Artifacts:
    """All operations by id. ``now`` is a steady clock in seconds."""

    def __init__(self, script: Script, now: Callable[[], float] = time.monotonic) -> None:
        self._script = script
        self._now = now
        self._operations: dict[str, _Operation] = {}

    def begin(
        self, digest: bytes, dice: Dice, schema: Mapping[str, Any] | None, answer: bytes
    ) -> list[tuple[str, str]]:
        """The operations of one reply as (id, type): of the media the schema asks for, else of JSON."""
        properties = (schema or {}).get("properties", {})
        kinds = [kind for kind in _MEDIA if kind in properties] or ["json"]
        begun = []
        for number in range(self._script.operations):
            kind = kinds[number % len(kinds)]
            operation_id = "art_" + _mark(digest, dice.below(2**64), number)
            self._operations[operation_id] = self._operation(kind, dice, operation_id, answer)
            begun.append((operation_id, kind))
        return begun

    def _operation(self, kind: str, dice: Dice, operation_id: str, answer: bytes) -> _Operation:
        script = self._script
        fails = dice.happens(script.pending_failed)
        endless = dice.happens(script.pending_endless)
        unknown = script.pending_unknown > 0 and dice.happens(script.pending_unknown)
        if kind in _MEDIA:
            mime_type, start = _MEDIA[kind]
            file = File(start + b" synthetic " + operation_id.encode(), mime_type)
        else:
            file = File(answer, "application/json")
        ready_at = None if endless else self._now() + script.pending_seconds
        known_at = self._now() + script.unknown_seconds * unknown
        return _Operation(kind, known_at, ready_at, fails, file, _mark(operation_id.encode(), script.seed, 0))

    def status(self, operation_id: str, origin: str) -> dict[str, Any]:
        """Where an operation stands, with the address of its file at ``origin`` once it is completed."""
        operation = self._operations.get(operation_id)
        if operation is None or self._now() < operation.known_at:
            raise Refusal(404, "not_found", f"there is no artifact {operation_id!r}")
        if operation.ready_at is None or self._now() < operation.ready_at:
            return {"id": operation_id, "status": "processing"}
        if operation.fails:
            return {"id": operation_id, "status": "failed", "error": "synthetic failure of the operation"}
        return {
            "id": operation_id,
            "status": "completed",
            "url": f"{origin}/sandbox/files/{operation_id}?sig={operation.signature}",
            "mime_type": operation.file.mime_type,
        }

    def file(self, operation_id: str, signature: str | None, *, key_sent: bool) -> File:
        """A completed operation's file; raises Refusal for a key sent along, a wrong signature, too early."""
        if key_sent:
            raise Refusal(400, "key_leaked", "a presigned address was asked with an Authorization header")
        operation = self._operations.get(operation_id)
        if (
            operation is None
            or operation.fails
            or operation.ready_at is None
            or self._now() < operation.ready_at
        ):
            raise Refusal(404, "not_found", f"there is no file {operation_id!r}")
        if signature != operation.signature:
            raise Refusal(403, "forbidden", "the signature of this address is not right")
        return operation.file


def _mark(content: bytes, number: int, part: int) -> str:
    return hashlib.blake2b(content + repr((number, part)).encode(), digest_size=12).hexdigest()
