"""When exchanges have to be over: one timer for all, since all may take equally long."""

from __future__ import annotations

import asyncio

from opper_batch.client.connection import Connection
from opper_batch.client.faults import too_late


class Deadlines:
    """An exchange that is not over ``seconds`` after it began fails. Of one event loop.

    A timer for each would be set and taken back thousands of times a second.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends: dict[Connection, float] = {}  # those begun first come first
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        self._ends[connection] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._look, loop)

    def end(self, connection: Connection) -> None:
        del self._ends[connection]

    def close(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        for connection, end in self._ends.items():
            if end > now:
                self._timer = loop.call_at(end, self._look, loop)
                return
            connection.fail(too_late(self._seconds))
