"""``opper-batch run``."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from opper_batch.cli.options import (
    Duration,
    asking_options,
    concurrency_option,
    json_option,
    load,
    max_cost_option,
    pipeline_argument,
    place_options,
    rpm_option,
    sink_option,
)
from opper_batch.errors import OpperBatchError
from opper_batch.grace import GRACE_SECONDS
from opper_batch.text import printable

if TYPE_CHECKING:
    from opper_batch.runs import Ended


@click.command()
@pipeline_argument
@place_options
@sink_option
@concurrency_option
@rpm_option
@click.option(
    "--tpm",
    "tokens_per_minute",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="Tokens per minute at most.",
)
@max_cost_option("Stop before this much is spent.")
@click.option(
    "--yes-up-to",
    type=click.FloatRange(min=0),
    metavar="USD",
    help="Start only if the upper end of the expected cost is at most this.",
)
@click.option(
    "--deadline", type=Duration(), metavar="TIME", help="Send nothing after so long (90s, 30m, 2h)."
)
@click.option(
    "--grace",
    type=Duration(),
    default=f"{GRACE_SECONDS:g}s",
    metavar="TIME",
    show_default=True,
    help="Time for calls in flight to end when the run is interrupted or late.",
)
@click.option(
    "--max-failed", default="0", metavar="N|P%", show_default=True, help="Failed rows that still exit with 0."
)
@asking_options
@click.option(
    "--if-locked",
    type=click.Choice(["fail", "skip", "wait"]),
    default="fail",
    show_default=True,
    help="What to do while another run of the pipeline is under way.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="What stderr is told: for people, or one JSON object for each change of state.",
)
@click.option("--trace/--no-trace", default=True, help="Show the run as one trace at the gateway.")
@json_option
@click.option("--quiet", "-q", is_flag=True, help="Say nothing unless something is wrong.")
def run(
    path: str,
    log_format: str,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Call what is missing, publish the result, and report. Running again goes on."""
    from opper_batch.runs import Options, execute

    log = log_format == "json"
    if log and quiet:
        raise click.UsageError("--quiet and --log-format json exclude each other")
    pipeline = load(path)
    gc.freeze()  # what was imported stays: to look through it again and again would hold up the calls
    with _told(pipeline.name, log=log, quiet=quiet) as listeners:
        ended = execute(pipeline, Options(**listeners, **options))
    if not (ended.error is None or isinstance(ended.error, OpperBatchError | KeyboardInterrupt)):
        raise ended.error
    with suppress(BrokenPipeError):  # whoever read our output has gone; the exit code still tells
        _tell(ended, as_json=as_json, quiet=quiet, log=log)
        if pipeline.sink is None and not options["sink"] and not log:
            click.echo("the pipeline has no sink; opper-batch export --sink PATH writes the result", err=True)
    return ended.summary.exit


@contextmanager
def _told(name: str, *, log: bool, quiet: bool) -> Iterator[dict[str, Any]]:
    """The options by which a run is listened to."""
    from opper_batch.cli.events import JsonLog, sentences
    from opper_batch.cli.progress import shown_progress

    if log:
        listening = JsonLog(name)
        yield {"progress": listening.progress, "events": listening}
        return
    with shown_progress(name, quiet=quiet) as progress:
        yield {"progress": progress, "events": sentences(name, quiet=quiet)}


def _tell(ended: Ended, *, as_json: bool, quiet: bool, log: bool) -> None:
    summary = ended.summary
    if ended.error is not None and not log:
        reason = summary.stopped if isinstance(ended.error, OpperBatchError) else _INTERRUPTED
        click.echo(f"opper-batch: {printable(reason or '')}", err=True)
    if ended.unreported is not None:
        click.echo(f"opper-batch: {printable(ended.unreported)}", err=True)
    if (not quiet or summary.exit == 1) and not log:
        click.echo(str(summary), err=as_json or quiet)
    if as_json:
        click.echo(json.dumps(summary.as_json()))


_INTERRUPTED = "interrupted; everything answered is kept, run again to go on"
