"""What a 202 leads to: its operations are polled, and what they made is fetched as soon as it is there.

``GET /v3/artifacts/{id}/status`` answers ``{id, status, url?, mime_type?, error?}`` with status processing,
completed or failed; ``url`` is presigned and short-lived (getArtifactStatus).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from opper_batch.client.bodies import Share
from opper_batch.client.downloads import Downloads, LinkFailed
from opper_batch.client.exchange import exchange
from opper_batch.client.gate import Gate
from opper_batch.client.gateway import Gateway
from opper_batch.client.transport import OTHER_CAP, Request, Transport
from opper_batch.errors import AccessRefused, CallError, CallRefused, OperationFailed, Throttled
from opper_batch.protocol import OperationStatus, decode_status, status_path
from opper_batch.records import Artifact, Operation
from opper_batch.text import printable, shortened

_GROWTH = 1.5
_AT_ONCE = 32  # status requests and downloads together: ten thousand calls may be waiting


@dataclass(frozen=True, slots=True)
class Polling:
    """When an operation is asked after: the first and the longest wait, and when to give up; in seconds.

    So many ``mishaps`` in a row are forgiven: a fresh id may not be known everywhere yet. So many ``links``
    are tried, since one may go stale before it is used. ``lost`` seconds after its 202 an id that is still
    not known is forgiven no more: the operation is lost.
    """

    first: float = 1.0
    longest: float = 15.0
    deadline: float = 30 * 60.0
    mishaps: int = 5
    links: int = 3
    lost: float = 10 * 60.0


class Artifacts:
    """Waits for operations without a place at the gate, and fetches what they made into ``folder``."""

    def __init__(
        self,
        gateway: Gateway,
        transport: Transport,
        gate: Gate,
        *,
        folder: Path,
        polling: Polling | None = None,
        downloads: Callable[..., Downloads] = Downloads,
    ) -> None:
        self._gateway = gateway
        self._transport = transport
        self._gate = gate
        self._polling = polling or Polling()
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._downloads = downloads(folder, loopback=gateway.is_loopback)

    async def fetch(
        self, operations: Sequence[Operation], *, name: str, share: Share, since: float | None = None
    ) -> list[Artifact | bytes]:
        """What the operations of one call made: files called after ``name`` or, for JSON, the text itself.

        ``since`` is when their 202 came, in Unix seconds (None: just now). The deadline is for all of them.
        Raises OperationFailed, whose ``final`` says whether a later run may still get it.
        """
        fetched: list[Artifact | bytes] = []
        since = time.time() if since is None else since
        try:
            async with asyncio.timeout(self._polling.deadline):
                for operation in operations:
                    share.done()  # whoever has some must not wait for a place: who has one may wait for it
                    fetched.append(await self._fetched(operation, f"{name}-{len(fetched)}", since, share))
        except TimeoutError:
            late, minutes = operations[len(fetched)].id, self._polling.deadline / 60
            message = f"operation {late} did not end in {minutes:g} minutes"
            raise OperationFailed(message, final=False) from None
        return fetched

    async def close(self) -> None:
        await self._downloads.close()

    async def _fetched(self, operation: Operation, name: str, since: float, share: Share) -> Artifact | bytes:
        reason = ""
        for _ in range(self._polling.links):
            status = await self._completed(operation, since)
            try:
                async with self._places:
                    fetched = await self._downloads.fetch(operation, status, name=name, share=share)
                return self._without_key(fetched)
            except LinkFailed as error:
                reason = str(error)
                share.done()
            await self._gate.sleep(self._polling.first)
        raise OperationFailed(f"artifact {operation.id} cannot be fetched: {reason}", final=False)

    def _without_key(self, fetched: Artifact | bytes) -> Artifact | bytes:
        """What is kept of it in ledger and tables; a file is left as it is, made by whoever made it."""
        if isinstance(fetched, bytes):
            return self._gateway.without_key(fetched)
        mime = self._gateway.without_key((fetched.mime_type or "").encode()).decode()
        return replace(fetched, mime_type=mime or None)

    async def _completed(self, operation: Operation, since: float) -> OperationStatus:
        wait, mishaps, unknown = self._polling.first, 0, 0
        while True:
            try:
                status, mishaps, unknown = await self._status(operation), 0, 0
                if status.status == "completed" and status.url:
                    return status
            except Throttled as error:
                self._gate.pause(error.retry_after or wait)
            except (AccessRefused, OperationFailed):
                raise
            except CallError as error:
                mishaps += 1
                unknown += isinstance(error, CallRefused) and error.status == 404
                if mishaps > self._polling.mishaps:
                    if unknown == mishaps and time.time() - since > self._polling.lost:
                        raise _lost(operation, self._polling.lost) from None
                    raise OperationFailed(f"polling {operation.id}: {error.message}", final=False) from None
            await self._gate.sleep(max(wait, self._gate.paused_for))
            wait = min(wait * _GROWTH, self._polling.longest)

    async def _status(self, operation: Operation) -> OperationStatus:
        """Where the operation stands; raises OperationFailed when it failed."""
        url = self._gateway.url(status_path(operation))
        request = Request("GET", url, self._gateway.headers, body_cap=OTHER_CAP)
        async with self._places:
            await self._gate.unpaused()
            response = await exchange(self._gateway, self._transport, request)
        status = decode_status(response.status, response.headers, response.body)
        if status.status == "failed":
            reason = shortened(printable(status.error or "no reason given"))
            raise OperationFailed(f"operation {operation.id} failed: {reason}", final=True)
        return status


def _lost(operation: Operation, seconds: float) -> OperationFailed:
    """Final, or the row would fail in every run: the call is asked anew when failed rows are."""
    return OperationFailed(
        f"operation {operation.id} is lost: the gateway knows nothing of it {seconds / 60:g} minutes after "
        "it took the call, which was possibly paid; the next run that retries failed rows asks anew",
        final=True,
    )
