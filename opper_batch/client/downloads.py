"""What finished operations made, fetched from presigned addresses by a client that holds no key."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import httpx

from opper_batch.client.bodies import Share
from opper_batch.client.faults import out_of_files, too_many_files, unusable_proxy
from opper_batch.client.gateway import is_loopback
from opper_batch.client.transport import BODY_CAP, CONNECT_SECONDS
from opper_batch.errors import MachineError, OperationFailed
from opper_batch.protocol import OperationStatus
from opper_batch.records import Artifact, Operation

_READ_SECONDS = 60.0
FILE_CAP = 1024**3  # a film of an hour; 32 at once must not fill a disk unseen
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
    "text/plain": ".txt",
}


class LinkFailed(Exception):
    """The address did not give its file; a new one for the same file may."""


class Downloads:
    """Fetches into ``folder``; ``loopback`` allows plain http, to this machine.

    ``transport`` is what it goes over, None for the network.
    """

    def __init__(
        self, folder: Path, *, loopback: bool, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._transport = transport
        self._folder = folder
        self._loopback = loopback
        self._opened: httpx.AsyncClient | None = None

    async def fetch(
        self, operation: Operation, status: OperationStatus, *, name: str, share: Share
    ) -> Artifact | bytes:
        """A durable file called ``name`` or, when it is JSON, the text itself, which takes its ``share``.

        No redirect is followed: a presigned link names its file itself. Raises LinkFailed, OperationFailed
        for what no new link would better, MachineError for the disk.
        """
        url = self._checked(status.url or "")
        try:
            async with self._client().stream("GET", url) as response:
                response.raise_for_status()
                _check_plain(response)
                mime = plain_mime(status.mime_type or response.headers.get("content-type", ""))
                if mime == _JSON:
                    return await _json(response, share)
                path = self._folder / (name + _SUFFIXES.get(mime, ".bin"))
                await _save(response, path)
                return Artifact(operation.type, str(path), mime or None)
        except httpx.HTTPStatusError as error:
            raise LinkFailed(f"its link gives {error.response.status_code}") from None
        except (OSError, httpx.HTTPError) as error:
            if out_of_files(error):
                raise too_many_files() from None
            raise LinkFailed(f"its link broke with {type(error).__name__}") from None
        except (OverflowError, ValueError, httpx.InvalidURL):  # a host or port that no connection takes
            raise _unusable() from None

    async def close(self) -> None:
        if self._opened:
            await self._opened.aclose()

    def _checked(self, url: str) -> httpx.URL:
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, ValueError):
            parsed = httpx.URL()
        plain = parsed.scheme == "http" and self._loopback and is_loopback(parsed.host)
        in_range = parsed.port is None or 0 < parsed.port < 2**16
        if not parsed.host or not in_range or not (parsed.scheme == "https" or plain):
            raise _unusable()
        return parsed

    def _client(self) -> httpx.AsyncClient:
        if self._opened is None:
            try:
                self._opened = httpx.AsyncClient(
                    headers={"Accept-Encoding": "identity", "User-Agent": "opper-batch"},
                    timeout=httpx.Timeout(_READ_SECONDS, connect=CONNECT_SECONDS, pool=None),
                    trust_env=not self._loopback,
                    transport=self._transport,
                )
            except (ImportError, ValueError, httpx.InvalidURL) as error:
                raise unusable_proxy(error) from None
        return self._opened


def _unusable() -> OperationFailed:
    return OperationFailed("the artifact's link is not an https address that can be used", final=True)


def plain_mime(text: str) -> str:
    """The type without parameters; empty when it is not of the form ``type/subtype``."""
    mime = text.split(";")[0].strip().lower()
    return mime if re.fullmatch(r"[a-z0-9][a-z0-9.+-]{0,60}/[a-z0-9][a-z0-9.+-]{0,60}", mime) else ""


async def _json(response: httpx.Response, share: Share) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > BODY_CAP:
            raise OperationFailed(f"the operation's JSON is larger than {BODY_CAP >> 20} MB", final=True)
        await share.room(len(body))
    return bytes(body)


async def _save(response: httpx.Response, path: Path) -> None:
    """The file as it comes; past the cap it is given up, unread where it states its length."""
    _check_size(int(response.headers.get("content-length", 0)))
    with _durable(path) as file:
        async for chunk in response.aiter_raw():
            file.write(chunk)
            _check_size(file.tell())
        if not file.tell():
            raise LinkFailed("its file is empty")


def _check_plain(response: httpx.Response) -> None:
    """A compressed file would lie here under a name that says otherwise, and inflating it has no bound."""
    if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise LinkFailed("its link gives it compressed, which was not asked for")


def _check_size(size: int) -> None:
    # Not final: the file is paid for, and asked after again rather than made, and paid, a second time.
    if size > FILE_CAP:
        raise OperationFailed(f"the artifact is larger than {FILE_CAP / 1024**2:,g} MB", final=False)


@contextmanager
def _durable(path: Path) -> Iterator[BinaryIO]:
    """A file that gets its name once it is whole and on the disk, or leaves nothing."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        if out_of_files(error):
            raise too_many_files() from None
        raise MachineError(
            f"artifact {path} cannot be written ({error.strerror}); make room and run again"
        ) from None
    finally:
        with suppress(OSError):
            temporary.unlink()
