"""The run's ear and mouth: a thread that looks for wishes a few times a second and tells how the run stands.

It makes no calls and takes no locks; a disk that cannot be written is no reason to stop a run.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from opper_batch.runs import wishes
from opper_batch.runs.recent import Recent

_LOOK_SECONDS = 0.15
_TELL_SECONDS = 1.0
_MOST_ANSWERS = 16


class Reading(NamedTuple):
    """How far a step is: answered calls so far in this run, and its rows that are settled."""

    step: str
    answered: int
    rows: int


class Listening:
    """From ``with`` to its end; ``heed`` answers a wish, ``press`` is called at every look.

    ``standing`` gives what is told, and the reading that rates are made from.
    """

    def __init__(
        self,
        ledger: Path,
        *,
        heed: Callable[[Mapping[str, Any]], str],
        press: Callable[[], None],
        standing: Callable[[], tuple[dict[str, Any], Reading]],
    ) -> None:
        self._ledger = ledger
        self._heed = heed
        self._press = press
        self._standing = standing
        self._recent, self._step = Recent(), ""
        self._answers: dict[str, str] = {}
        self._read = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="listening", daemon=True)

    def __enter__(self) -> Listening:
        wishes.forget(self._ledger)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()
        wishes.forget(self._ledger)

    def _listen(self) -> None:
        tell_at = 0.0
        while True:
            with suppress(OSError):
                heard = self._hear()
                if heard or time.monotonic() >= tell_at:
                    tell_at = time.monotonic() + _TELL_SECONDS
                    self._tell()
            if self._over.wait(_LOOK_SECONDS):
                return

    def _hear(self) -> bool:
        """Answers what has been wished since the last look."""
        found, self._read = wishes.appended(self._ledger, self._read)
        for wish in found:
            self._answers[str(wish.get("id"))] = self._heed(wish)
        while len(self._answers) > _MOST_ANSWERS:
            del self._answers[next(iter(self._answers))]
        self._press()
        return bool(found)

    def _tell(self) -> None:
        said, reading = self._standing()
        if said.get("paused") or reading.step != self._step:
            self._recent.anew()  # what did not happen in a pause says nothing of what will
        self._step = reading.step
        calls, rows = self._recent.after(time.monotonic(), reading.answered, reading.rows)
        wishes.tell(
            self._ledger,
            {
                "pid": os.getpid(),
                "at": time.time(),
                "calls_per_second": round(calls, 3),
                "rows_per_second": round(rows, 3),
                **said,
                "answers": self._answers,
            },
        )
