"""``opper-batch diff``."""

from __future__ import annotations

import json
from typing import Any

import click

from opper_batch.cli.options import (
    concurrency_option,
    json_option,
    load,
    max_cost_option,
    place_options,
    rpm_option,
)


@click.command()
@click.argument("a", metavar="PIPELINE_A", type=click.Path(dir_okay=False))
@click.argument("b", metavar="PIPELINE_B", type=click.Path(dir_okay=False))
@click.option(
    "--sample",
    type=click.IntRange(1, 100_000),
    default=200,
    show_default=True,
    metavar="N",
    help="So many rows, chosen evenly over the source.",
)
@place_options
@concurrency_option
@rpm_option
@max_cost_option("For each of the two.")
@json_option
@click.option("--quiet", "-q", is_flag=True, help="Say nothing of how far it is.")
def diff(a: str, b: str, sample: int, as_json: bool, quiet: bool, **options: Any) -> None:
    """Ask two pipelines of the same rows, and show where their answers differ and what they cost.

    What is known is not called again; what is missing is called, and kept.
    """
    from opper_batch.cli.events import sentences
    from opper_batch.cli.progress import shown_progress
    from opper_batch.runs import Options
    from opper_batch.runs import diff as compared

    first, second = load(a), load(b)
    with shown_progress("diff", quiet=quiet) as progress:
        asked = Options(progress=progress, events=sentences("diff", quiet=quiet), **options)
        found = compared(first, second, asked, sample=sample, names=(a, b))
    click.echo(json.dumps(found.as_json()) if as_json else str(found))
