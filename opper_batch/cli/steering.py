"""The commands that act on a run that is going on: pause, resume, set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from opper_batch.cli.options import ledger_options, name_of, pipeline_argument
from opper_batch.text import printable


@click.command()
@pipeline_argument
@ledger_options
def pause(path: str, **options: Any) -> None:
    """Send nothing new in the run that is going on; calls in flight end and are kept."""
    _wish(path, {"paused": True}, options)


@click.command()
@pipeline_argument
@ledger_options
def resume(path: str, **options: Any) -> None:
    """Go on with a run that was paused."""
    _wish(path, {"paused": False}, options)


@click.command("set")
@pipeline_argument
@click.argument("settings", metavar="NAME=VALUE...", nargs=-1, required=True)
@ledger_options
def set_(path: str, settings: tuple[str, ...], **options: Any) -> None:
    """Change a run that is going on: concurrency=8, rpm=600, max-cost=5; none takes a limit away."""
    from opper_batch.runs import wishes

    wishes.settings(settings)
    _wish(path, {"set": list(settings)}, options)


def _wish(path: str, wish: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    from opper_batch.runs import Options, wishing

    name = name_of(path)
    click.echo(printable(f"{name}: {wishing.wish(name, wish, Options(**options))}"))
