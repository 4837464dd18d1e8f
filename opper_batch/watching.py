"""A run as a notebook shows it while it goes: one line and one bar that renew themselves.

IPython's display updates do it, so no widget has to be installed. Outside a notebook nothing is shown.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from opper_batch.report import duration, money
from opper_batch.runs import Progress
from opper_batch.runs.telling import Rate, line
from opper_batch.text import printable

Listener = Callable[[Progress], None]


@contextmanager
def watched(name: str, progress: Listener | None) -> Iterator[Listener | None]:
    """``progress`` itself when there is one; in a notebook a live display; else None.

    The display's last word is how the run ended, whatever ended it.
    """
    if progress is not None or not in_notebook():
        yield progress
        return
    display = _Display(name)
    try:
        yield display
    except BaseException as error:
        display.end(_ending(error))
        raise
    else:
        display.end("done")


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this code; a terminal's IPython is none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


class _Display:
    def __init__(self, name: str) -> None:
        self._name = name
        self._rate = Rate()
        self._last: Progress | None = None
        self._handle: Any = None

    def __call__(self, progress: Progress) -> None:
        self._last = progress
        self._show(line(progress, self._rate.after(progress)))

    def end(self, how: str) -> None:
        """Leave how it ended in place of what it was doing; a run that asked nothing says that too."""
        if self._last is not None:
            self._show(f"{how}, {settled(self._last)}")

    def _show(self, said: str) -> None:
        from IPython.display import display

        assert self._last is not None
        step = self._last.step
        text = printable(f"{self._name}{f' · {step}' if step != self._name else ''}: {said}")
        bundle = {"text/plain": text, "text/html": _html(self._last, text)}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


def settled(progress: Progress) -> str:
    """``1,200 of 2,000 rows, 3 failed, $0.4200, 19 s``."""
    rows = f"{progress.rows:,} of {progress.total_rows:,} rows"
    failed = f", {progress.failed:,} failed" if progress.failed else ""
    return f"{rows}{failed}, {money(progress.cost)}, {duration(progress.seconds)}"


def _html(progress: Progress, text: str) -> str:
    bar = f'<progress value="{progress.rows}" max="{max(1, progress.total_rows)}"></progress>'
    return f"<div>{bar} {escape(text)}</div>"


def _ending(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt | asyncio.CancelledError):
        return "interrupted; everything answered is kept, run again to go on"
    return f"stopped ({error})"
