"""``opper-batch plan``."""

from __future__ import annotations

import json
from typing import Any

import click

from opper_batch.cli.options import (
    asking_options,
    concurrency_option,
    json_option,
    load,
    max_cost_option,
    pipeline_argument,
    place_options,
    sink_option,
)
from opper_batch.text import printable


@click.command()
@pipeline_argument
@place_options
@sink_option
@concurrency_option
@asking_options
@max_cost_option("The cap of the run, and the pilot's.")
@click.option(
    "--pilot",
    type=click.IntRange(min=3, max=10_000),
    metavar="N",
    help="Really call N rows, chosen evenly, unless as many were; what is paid is kept.",
)
@json_option
def plan(path: str, as_json: bool, pilot: int | None, **options: Any) -> None:
    """Show what run would do: rows, calls, cost, time, the first request. Calls only what --pilot says."""
    from opper_batch.cli.events import sentences
    from opper_batch.cli.progress import shown_progress
    from opper_batch.runs import Options
    from opper_batch.runs import plan as planned
    from opper_batch.runs.request_text import request_text

    pipeline = load(path)
    if pilot is not None:
        from opper_batch.report import money
        from opper_batch.runs import ask_pilot
        from opper_batch.text import counted

        with shown_progress(pipeline.name, quiet=as_json) as progress:
            events = sentences(pipeline.name, quiet=as_json)
            asked = ask_pilot(pipeline, Options(progress=progress, events=events, **options), pilot).totals
        paid = f"{counted(asked.calls, 'call')}, {money(asked.cost)}; every answer is kept"
        click.echo(f"pilot: {paid if asked.calls else '0 calls, enough answers are known'}", err=True)
    found = planned(pipeline, Options(**options))
    if as_json:
        click.echo(json.dumps(found.as_json()))
        return
    click.echo(str(found))
    for step in found.steps:
        if step.first_request:
            click.echo(f"\nstep {step.step}: first request (POST /v3/call), with the schemas as sent")
            sent = json.loads(step.first_request)
        else:
            click.echo(
                f"\nstep {step.step}: output_schema as sent; the first request waits for an earlier step"
            )
            sent = step.output_schema
        click.echo(printable(request_text(sent)))
