"""``opper-batch new``."""

from __future__ import annotations

import re
from pathlib import Path

import click

from opper_batch.text import printable


@click.command()
@click.argument("table", metavar="TABLE")
@click.argument("path", metavar="[PIPELINE]", required=False, type=click.Path(dir_okay=False))
def new(table: str, path: str | None) -> None:
    """Write a pipeline file for TABLE (a CSV, Parquet, JSONL or Arrow file), to begin with."""
    from opper_batch.runs.drafting import write

    file = Path(path or re.sub(r"[^\w-]+", "_", Path(table.rstrip("/")).stem).strip("_") + ".toml")
    write(table, file)
    click.echo(printable(f"{file} is written. Look at it, then:\n  opper-batch run {file} --sandbox"))
