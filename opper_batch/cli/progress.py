"""Progress on stderr: a live line in a terminal, a plain line every ten seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import click

from opper_batch.runs import Progress
from opper_batch.runs.telling import Rate, line
from opper_batch.text import counted

_EVERY_SECONDS = 10.0


@contextmanager
def shown_progress(name: str, *, quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """A function that takes Progress and shows it; None when nothing shall be shown."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with _live(name) as show:
            yield show
    else:
        yield _PlainLines(name)


class _PlainLines:
    """For logs: a line when a step begins, and one every ten seconds."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._rate = Rate()
        self._step = ""
        self._told = 0.0

    def __call__(self, progress: Progress) -> None:
        now, rate = time.monotonic(), self._rate.after(progress)
        if progress.step != self._step:
            self._step, self._told = progress.step, now
            _say(f"{self._name}: step {progress.step}, {counted(progress.total_rows, 'row')}")
        elif now - self._told >= _EVERY_SECONDS:
            self._told = now
            _say(f"{self._name}: {progress.step}: {line(progress, rate)}")


def _say(text: str) -> None:
    """To whoever still listens: that nobody does is no reason to stop a run."""
    with suppress(OSError):
        click.echo(text, err=True)


@contextmanager
def _live(name: str) -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.fields[name]}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[line]}", markup=False),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks, rate = {}, Rate()

        def show(progress: Progress) -> None:
            if progress.step not in tasks:
                tasks[progress.step] = bars.add_task("", total=None, name=f"{name} {progress.step}", line="")
            total, done, told = progress.total_rows, progress.rows, line(progress, rate.after(progress))
            bars.update(tasks[progress.step], total=total, completed=done, line=told)

        yield show
