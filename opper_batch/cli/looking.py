"""The commands that look and never call: status, export, report, failures."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from opper_batch.cli.options import (
    json_option,
    ledger_options,
    load,
    name_of,
    pipeline_argument,
    place_options,
    sink_option,
)
from opper_batch.cli.watching import watched
from opper_batch.text import printable

if TYPE_CHECKING:
    from opper_batch.runs import Status


@click.command()
@click.argument("path", metavar="[PIPELINE]", required=False, type=click.Path(dir_okay=False))
@ledger_options
@click.option("--watch", "--live", "watch", is_flag=True, help="In a terminal: again every second.")
@json_option
def status(path: str | None, watch: bool, as_json: bool, **options: Any) -> None:
    """How the latest run stands, live or past; without PIPELINE, every pipeline that has run here."""
    from opper_batch.runs import Options, statuses
    from opper_batch.runs import status as status_of

    name = name_of(path) if path else None

    def look() -> list[Status]:
        return [status_of(name, Options(**options))] if name else statuses(Options(**options))

    if watch and not as_json and sys.stdout.isatty():
        watched(look)
        return
    found = look()
    if not found:
        click.echo("no pipeline has run here yet", err=True)
    for entry in found:
        click.echo(json.dumps(entry.as_json()) if as_json else printable(str(entry)))


@click.command()
@pipeline_argument
@place_options
@sink_option
@json_option
def export(path: str, as_json: bool, **options: Any) -> int:
    """Write the sink from what is known now; rows not asked yet are in it, as skipped."""
    from opper_batch.runs import Options
    from opper_batch.runs import export as exported

    summary = exported(load(path), Options(**options))
    numbers = summary.as_json()
    if as_json:
        click.echo(json.dumps(numbers))
        return summary.exit
    parts = (f"{numbers[name]:,} {name}" for name in ("rows", "ok", "failed", "skipped"))
    click.echo(printable(f"{summary.output or numbers['rejected']}: {', '.join(parts)}"))
    for check in numbers["checks"]:
        if not check["ok"]:
            said = f"opper-batch: held back, the output is as it was: {check['name']}: {check['said']}"
            click.echo(printable(said), err=True)
    return summary.exit


@click.command()
@pipeline_argument
@ledger_options
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "html"]), default="text", show_default=True
)
@click.option("--output", metavar="FILE", help="Write it there; html goes beside the output by default.")
def report(path: str, form: str, output: str | None, **options: Any) -> None:
    """What the latest run did: rows, cost, tokens, latency, failures, what the columns hold."""
    from opper_batch.runs import Options, report_of
    from opper_batch.runs.reporting import page_place, write_beside

    name = name_of(path)
    found = report_of(name, Options(**options))
    if form == "html":
        from opper_batch.report.page import page

        text = page(found)
        output = output or str(page_place(name, found, Options(**options)))
    else:
        text = (json.dumps(found.as_json()) if form == "json" else printable(str(found))) + "\n"
    if output is None:
        click.echo(text, nl=False)
        return
    write_beside(Path(output), text)
    click.echo(output)


@click.command()
@pipeline_argument
@place_options
def failures(path: str, **options: Any) -> None:
    """The failed rows with reason and trace, as CSV on stdout."""
    from opper_batch.runs import Options
    from opper_batch.runs import failures as failed_rows

    pipeline = load(path)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    header = ["row", *pipeline.source.key, "step", "reason", "trace_uuid", "call_key"]
    for failure in failed_rows(pipeline, Options(**options)):
        if header:
            writer.writerow(header)
            header = []
        texts = [*map(str, failure.key), failure.step, failure.reason, failure.trace_uuid or ""]
        writer.writerow([failure.row, *map(_harmless, texts), failure.call_key])
    if header:
        click.echo("no row has failed", err=True)


def _harmless(text: str) -> str:
    """For a terminal, and for a spreadsheet, which would take it for a formula."""
    text = printable(text)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
