"""``opper-batch diff``."""

from __future__ import annotations

import json
from typing import Any

import click

from opper_batch.cli.options import json_option, load, place_options


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
@click.option("--concurrency", type=click.IntRange(min=1), metavar="N", help="Calls in flight at most.")
@click.option(
    "--rpm", type=click.FloatRange(min=0, min_open=True), metavar="N", help="Requests per minute at most."
)
@click.option("--max-cost", type=click.FloatRange(min=0), metavar="USD", help="For each of the two.")
@json_option
@click.option("--quiet", "-q", is_flag=True, help="Say nothing of how far it is.")
def diff(a: str, b: str, sample: int, rpm: float | None, as_json: bool, quiet: bool, **options: Any) -> None:
    """Ask two pipelines of the same rows, and show where their answers differ and what they cost.

    What is known is not called again; what is missing is called, and kept.
    """
    from opper_batch.cli.progress import shown_progress
    from opper_batch.runs import Options
    from opper_batch.runs import diff as compared

    first, second = load(a), load(b)
    with shown_progress("diff", quiet=quiet) as progress:
        asked = Options(requests_per_minute=rpm, progress=progress, **options)
        found = compared(first, second, asked, sample=sample, names=(a, b))
    click.echo(json.dumps(found.as_json()) if as_json else str(found))
