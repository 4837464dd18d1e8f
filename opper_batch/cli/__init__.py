"""The shell's face. Commands are thin: they read options, call one verb, and print what it gives.

Results go to stdout or the sink, talk to stderr. Heavy imports wait inside the commands.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import re
import sys
from contextlib import suppress
from typing import Any, NoReturn

import click

from opper_batch.cli.comparing import diff
from opper_batch.cli.gateway import models, sandbox
from opper_batch.cli.looking import export, failures, report, status
from opper_batch.cli.planning import plan
from opper_batch.cli.running import run
from opper_batch.cli.signals import listen
from opper_batch.cli.starting import new
from opper_batch.cli.steering import pause, resume, set_
from opper_batch.errors import MachineError, OpperBatchError
from opper_batch.text import printable

EPILOG = """Exit codes: 0 every row ok, 1 failed rows beyond --max-failed or a check
that does not hold, 2 usage or definition, 3 stopped before the end (run again to go on),
4 refused by the gateway, 5 this machine, 129/130/143 interrupted (terminal closed, Ctrl-C, SIGTERM)."""


class _Commands(click.Group):
    """Ends with an interrupt as with anything else: click itself would write an empty line first.

    In a terminal that line stays, since ``^C`` stands on the one before.
    """

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except KeyboardInterrupt as error:
            if sys.stderr.isatty():
                raise
            raise click.Abort from error


@click.group(
    cls=_Commands,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="opper-batch", prog_name="opper-batch")
def commands() -> None:
    """Fill the columns of a table with models, through the Opper gateway.

    Every answer is kept: stop a run at any moment, run it again, and it goes on.
    """


for command in (new, run, plan, status, pause, resume, set_, diff, export, report, failures, models, sandbox):
    commands.add_command(command)


def main() -> NoReturn:
    """The program ``opper-batch``: every way it ends has its exit code and at most one sentence."""
    _open_what_is_closed()
    listen()
    # Rows are many objects and hardly any cycles: by default a fifth of the time goes into looking for some.
    gc.set_threshold(250_000)
    try:
        code = commands.main(standalone_mode=False)
    except click.ClickException as error:
        code = _said(error.exit_code, error.format_message(), error)
    except OpperBatchError as error:
        code = _said(error.exit_code, error.message, error)
    except (KeyboardInterrupt, click.Abort) as error:
        # Of an Abort the context is the interrupt.
        cause = error.__context__ if isinstance(error, click.Abort) and error.__context__ else error
        code = _said(getattr(cause, "exit_code", 130), "interrupted", cause)
    except OSError as error:
        message = f"{error.filename or 'this machine'}: {error.strerror or error}"
        code = _said(MachineError.exit_code, message, error)
    _leave(code if isinstance(code, int) else 0)


def _said(code: int, message: str, error: BaseException) -> int:
    """The one sentence, and, where it was asked for, the object that says how it ended."""
    line = f"opper-batch: {printable(message)}"
    if "run" in sys.argv[1:] and re.search(r" --log-format[ =]json\b", " ".join(sys.argv)):
        from opper_batch.cli.events import event_line, stop_fields

        usage = {"error": "UsageError", "reason": message}
        why = usage if isinstance(error, click.ClickException) else stop_fields(error)
        line = event_line("finished", None, None, {"exit": code, **why})
    with suppress(OSError):  # whoever read our output has gone, or a disk is full; the exit code still tells
        click.echo(line, err=True)
    if "--json" in sys.argv[1:] and "run" in sys.argv[1:]:
        from opper_batch.report import Summary

        with suppress(OSError):
            click.echo(json.dumps(Summary(run_id=0, pipeline="", exit=code, stopped=message).as_json()))
    return code


def _leave(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # Whoever read our output has gone, or a disk is full; Python shall not complain of it at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    # Everything is written and closed. To take every object of the libraries apart first takes Python a
    # quarter of a second that each command would wait for.
    atexit._run_exitfuncs()
    os._exit(code)


def _open_what_is_closed() -> None:
    """stdin, stdout and stderr, where closed: else a file of ours would get their number and output."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115 - for good
