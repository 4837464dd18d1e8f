"""Room for the bodies of answers: however many calls are in flight, what they hold together is bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

ROOM = 64 * 1024 * 1024
SMALL = 64 * 1024  # nearly every answer: not counted, not held up
# What a connection may read at once. Of TLS asyncio takes in up to 256 KB, and the begin of one record more,
# before it hands over what they hold: what has no room then would be lost where the connection ends.
BUFFER_BYTES = 320 * 1024


class Bodies:
    """``room`` bytes for all bodies that are large.

    Who finds no room left reads no further until there is some. The one that was the first to be large is
    never held up, so there is always one that comes to its end.
    """

    def __init__(self, room: int = ROOM) -> None:
        self._free = room
        self._large: dict[Share, None] = {}
        self._waiting: dict[Share, Callable[[], None]] = {}

    def share(self) -> Share:
        """The part of one call; it is to be given back by ``done``."""
        return Share(self)

    def grew(self, share: Share, size: int) -> None:
        self._large.setdefault(share)
        self._free -= size - share.size
        share.size = size

    def holds_up(self, share: Share, go_on: Callable[[], None]) -> bool:
        if self._free >= 0 or share is next(iter(self._large)):
            return False
        self._waiting[share] = go_on
        return True

    def done(self, share: Share) -> None:
        self._waiting.pop(share, None)
        del self._large[share]
        self._free += share.size
        first = next(iter(self._large), None)
        if first in self._waiting:
            self._waiting.pop(first)()
        for _ in range(min(len(self._waiting), self._free // BUFFER_BYTES)):
            self._waiting.pop(next(iter(self._waiting)))()

    def __repr__(self) -> str:
        return f"Bodies(large={len(self._large)}, waiting={len(self._waiting)}, free={self._free:,})"


class Share:
    """What one call holds of the room, from its answer's first byte until the answer is durable."""

    __slots__ = ("_bodies", "size")

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self.size = 0

    def grew(self, size: int) -> None:
        """So many bytes of the body have come by now."""
        if size > SMALL:
            self._bodies.grew(self, size)

    def holds_up(self, go_on: Callable[[], None]) -> bool:
        """Whether no more is to be read until ``go_on`` is called."""
        return self.size > 0 and self._bodies.holds_up(self, go_on)

    async def room(self, size: int) -> None:
        """So many bytes have come; wait until more may be read."""
        self.grew(size)
        told = asyncio.Event()
        if self.holds_up(told.set):
            await told.wait()

    def done(self) -> None:
        if self.size:
            self._bodies.done(self)
            self.size = 0
