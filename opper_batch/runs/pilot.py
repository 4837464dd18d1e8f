"""A pilot: a few rows are really called, so that a plan rests on more than a price."""

from __future__ import annotations

from dataclasses import replace

from opper_batch.errors import DefinitionError
from opper_batch.forecast import LEAST
from opper_batch.pipeline import Pipeline
from opper_batch.report import Summary
from opper_batch.runs.execution import execute
from opper_batch.runs.options import Options


def ask_pilot(pipeline: Pipeline, options: Options, rows: int) -> Summary:
    """Call ``rows`` rows at each step, evenly over the source and over the inputs' lengths.

    What was answered before counts, so a second pilot of as many rows calls nothing; every answer is kept for
    the run. Raises what stops a run.
    """
    if type(rows) is not int or rows < LEAST:
        raise DefinitionError(f"pilot = {rows!r}: give a number of rows, {LEAST} or more; 50 are a good many")
    ended = execute(pipeline, replace(options, yes_up_to=None), pilot=rows)
    if ended.error is not None:
        raise ended.error
    return ended.summary
