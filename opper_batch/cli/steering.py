"""The commands that act on a run that is going on: pause, resume, set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from opper_batch.cli.options import name_of, pipeline_argument
from opper_batch.text import printable

Command = TypeVar("Command", bound=Callable[..., Any])


def _place(command: Command) -> Command:
    command = click.option("--sandbox", is_flag=True, help="The sandbox's run.")(command)
    return click.option(
        "--state-dir", metavar="DIR", help="Where ledgers lie (or OPPER_BATCH_HOME) [.opper_batch]."
    )(command)


@click.command()
@pipeline_argument
@_place
def pause(path: str, **options: Any) -> None:
    """Send nothing new in the run that is going on; calls in flight end and are kept."""
    _wish(path, {"paused": True}, options)


@click.command()
@pipeline_argument
@_place
def resume(path: str, **options: Any) -> None:
    """Go on with a run that was paused."""
    _wish(path, {"paused": False}, options)


@click.command("set")
@pipeline_argument
@click.argument("settings", metavar="NAME=VALUE...", nargs=-1, required=True)
@_place
def set_(path: str, settings: tuple[str, ...], **options: Any) -> None:
    """Change a run that is going on: concurrency=8, rpm=600, max-cost=5; none takes a limit away."""
    from opper_batch.runs import wishes

    wishes.settings(settings)
    _wish(path, {"set": list(settings)}, options)


def _wish(path: str, wish: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    from opper_batch.runs import Options, wishing

    name = name_of(path)
    click.echo(printable(f"{name}: {wishing.wish(name, wish, Options(**options))}"))
