"""What a 202 leads to: its operations are polled and their artifacts fetched as soon as they are there.

``GET /v3/artifacts/{id}/status`` answers ``{id, status, url?, mime_type?, error?}`` with status processing,
completed or failed; ``url`` is presigned and short-lived (getArtifactStatus). It is fetched by a client
that holds no key, to a file named after the call's key.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from opper_batch.client.gate import Gate
from opper_batch.client.gateway import Gateway
from opper_batch.client.transport import BODY_CAP, CONNECT_SECONDS, Request, Transport
from opper_batch.errors import CallRefused, MachineError, OperationFailed, ServerFault, Throttled, Unreachable
from opper_batch.protocol import OperationStatus, decode_status, status_path
from opper_batch.records import Artifact, Operation
from opper_batch.text import printable, shortened

FIRST_POLL_SECONDS = 1.0
LONGEST_POLL_SECONDS = 15.0
DEADLINE_SECONDS = 30 * 60.0
_STEP = 1.5
_PATIENCE = 5  # polls in a row that may go wrong: a fresh id may not be known everywhere yet
_LINKS = 3
_JSON = "application/json"
_SUFFIXES = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "audio/mpeg": ".mp3",
    "audio/mp3": ".mp3",
    "audio/wav": ".wav",
    "audio/ogg": ".ogg",
    "video/mp4": ".mp4",
    "video/webm": ".webm",
    _JSON: ".json",
    "text/plain": ".txt",
}


@dataclass(frozen=True, slots=True)
class Fetched:
    """A finished operation's content: a file here, or, when it is JSON, the text itself."""

    artifact: Artifact | None = None
    answer: bytes | None = None


class Artifacts:
    """Polls operations and fetches what they made into ``folder``."""

    def __init__(
        self,
        gateway: Gateway,
        transport: Transport,
        gate: Gate,
        *,
        folder: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gateway = gateway
        self._transport = transport
        self._gate = gate
        self._folder = folder
        self._clock = clock
        self._keyless: httpx.AsyncClient | None = None

    async def fetch(self, operation: Operation, *, name: str) -> Fetched:
        """Wait for the operation and fetch its artifact; raises OperationFailed."""
        for _ in range(_LINKS):
            status = await self._completed(operation)
            with suppress(httpx.HTTPStatusError):  # the link may have gone stale: a new poll gives a new one
                return await self._downloaded(operation, status, name)
        raise OperationFailed(f"artifact {operation.id}: its link is refused", final=False)

    async def close(self) -> None:
        if self._keyless:
            await self._keyless.aclose()

    async def _completed(self, operation: Operation) -> OperationStatus:
        deadline = self._clock() + DEADLINE_SECONDS
        wait, mishaps = FIRST_POLL_SECONDS, 0
        while True:
            try:
                status = await self._status(operation)
                mishaps = 0
            except (Unreachable, ServerFault, CallRefused) as error:
                status, mishaps = OperationStatus("processing"), mishaps + 1
                if mishaps > _PATIENCE:
                    raise OperationFailed(f"polling {operation.id}: {error.message}", final=False) from None
            if status.status == "completed" and status.url:
                return status
            if status.status == "failed":
                reason = shortened(printable(status.error or "no reason given"))
                raise OperationFailed(f"operation {operation.id} failed: {reason}", final=True)
            if self._clock() + wait > deadline:
                raise OperationFailed(f"operation {operation.id} did not end in 30 minutes", final=False)
            await self._gate.sleep(wait)
            wait = min(wait * _STEP, LONGEST_POLL_SECONDS)

    async def _status(self, operation: Operation) -> OperationStatus:
        request = Request("GET", self._gateway.url(status_path(operation)), self._gateway.headers)
        response = await self._transport.send(request)
        try:
            return decode_status(response.status, response.headers, response.body)
        except Throttled as error:
            self._gate.pause(error.retry_after or FIRST_POLL_SECONDS)
            return OperationStatus("processing")

    async def _downloaded(self, operation: Operation, status: OperationStatus, name: str) -> Fetched:
        url = self._checked(status.url or "")
        try:
            async with self._client().stream("GET", url) as response:
                response.raise_for_status()
                mime = _plain_mime(status.mime_type or response.headers.get("content-type", ""))
                if mime == _JSON:
                    return Fetched(answer=await _json(response))
                path = self._folder / (name + _SUFFIXES.get(mime, ".bin"))
                await self._save(response, path)
                return Fetched(artifact=Artifact(operation.type, str(path), mime or None))
        except httpx.TransportError as error:
            message = f"artifact {operation.id} could not be fetched: {type(error).__name__}"
            raise OperationFailed(message, final=False) from None

    def _checked(self, url: str) -> str:
        parts = urlsplit(url)
        plain = parts.scheme == "http" and self._gateway.is_loopback
        if not parts.hostname or not (parts.scheme == "https" or plain):
            raise OperationFailed("the artifact's link is not an https address", final=True)
        return url

    async def _save(self, response: httpx.Response, path: Path) -> None:
        """Stream to a temporary name beside ``path``, make it durable, then give it its name."""
        temporary = path.with_name(f".{path.name}.part")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                async for chunk in response.aiter_raw():
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise MachineError(
                f"artifact {path} cannot be written ({error.strerror}); make room and run again"
            ) from None

    def _client(self) -> httpx.AsyncClient:
        if self._keyless is None:
            timeout = httpx.Timeout(60, connect=CONNECT_SECONDS, pool=None)
            headers = {"Accept-Encoding": "identity", "User-Agent": "opper-batch"}
            self._keyless = httpx.AsyncClient(
                headers=headers, timeout=timeout, trust_env=not self._gateway.is_loopback
            )
        return self._keyless


def _plain_mime(text: str) -> str:
    """The type without parameters; empty when it is not of the form ``type/subtype``."""
    mime = text.split(";")[0].strip().lower()
    return mime if re.fullmatch(r"[a-z0-9][a-z0-9.+-]{0,60}/[a-z0-9][a-z0-9.+-]{0,60}", mime) else ""


async def _json(response: httpx.Response) -> bytes:
    body = b""
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > BODY_CAP:
            raise OperationFailed("the operation's JSON is larger than 64 MB", final=True)
    return body
