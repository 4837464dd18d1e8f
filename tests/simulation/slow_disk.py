"""The real ledger on a disk that takes virtual time, and what a kill leaves of it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from random import Random
from typing import Any

from opper_batch.ledger import Ledger


class SlowLedger(Ledger):
    """Commits a while after it was asked to, all that has come until then together.

    ``before`` and ``after`` are called around each commit. Writes of the caller's thread are waited for, so
    that the file is at rest whenever the loop is.
    """

    def __init__(
        self, path: Path, chance: Random, slow: float, before: Callable[[], None], after: Callable[[], None]
    ) -> None:
        self._chance, self._slow, self._before, self._after = chance, slow, before, after
        self._unwritten: list[tuple[tuple[Any, ...], Future[int]]] = []
        super().__init__(path)

    def submit(self, *statements: Any) -> Future[int]:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return _done(super().submit(*statements))
        asked: Future[int] = Future()
        if not self._unwritten:
            loop.call_later(self._chance.uniform(0.001, self._slow), self._written_at_last)
        self._unwritten.append((statements, asked))
        return asked

    def close(self) -> None:
        """What was asked for is written, though the loop has ended before its time came."""
        if self._unwritten:
            self._written_at_last()
        super().close()

    def _written_at_last(self) -> None:
        asked, self._unwritten = self._unwritten, []
        self._before()
        written = [super(SlowLedger, self).submit(*statements) for statements, _ in asked]
        for future in written:
            _done(future)
        self._after()
        for (_, waiting), future in zip(asked, written, strict=True):
            if error := future.exception():
                waiting.set_exception(error)
            else:
                waiting.set_result(future.result())


def _done(future: Future[int]) -> Future[int]:
    future.exception(timeout=20)
    return future


def left_by_a_kill(state: Path, to: Path) -> None:
    """The files as they are now, as the next process would find them."""
    to.mkdir(mode=0o700)
    for path in state.iterdir():
        if path.is_file() and not path.name.endswith(("-shm", ".reserve")):
            shutil.copy(path, to)
