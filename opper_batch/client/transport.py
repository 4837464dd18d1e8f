"""The seam to the network: one method, a request in and a response out.

A transport follows no redirect, keeps no cookie, sends nothing twice, inflates nothing, and bounds a body's
size and an exchange's time. Of an error's body it gives what the cap allows, for the status is what counts.
Every fault of the network comes out as ``Unreachable`` saying whether the request may have been paid, and
every fault of this machine (no more files, a proxy or certificates that cannot be used) as ``MachineError``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from opper_batch.client.bodies import Share

CONNECT_SECONDS = 10.0
READ_SECONDS = 600.0
# Many servers close after 5 s without a request: one sent at that moment would be lost, and may be paid.
KEEPALIVE_SECONDS = 4.0
BODY_CAP = 16 * 1024 * 1024  # hundreds are in flight, and an answer is one row of a table
OTHER_CAP = 1024 * 1024  # of everything but a 200: it is a sentence, or the names of operations


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = None
    body_cap: int = BODY_CAP
    share: Share | None = field(default=None, repr=False)

    def cap(self, status: int) -> int:
        """How many bytes the body of an answer with this status may have."""
        return self.body_cap if status == 200 else min(self.body_cap, OTHER_CAP)


@dataclass(frozen=True, slots=True)
class Response:
    """``headers`` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """Anything that carries a request to its URL and back.

    Raises Unreachable, BadReply past the cap, or MachineError.
    """

    async def send(self, request: Request) -> Response: ...

    async def close(self) -> None: ...
