"""The examples for cron and systemd: their commands run, and what can go on is tried again."""

from __future__ import annotations

import configparser
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from program import PROGRAM, Program

from opper_batch.sandbox import Sandbox

SCHEDULES = Path("pipelines/schedules")


def cron(sandbox: Sandbox) -> int:
    """What cron would do at a quarter past two, without the waits; gives the calls."""
    (line,) = [line for line in (SCHEDULES / "crontab").read_text().splitlines() if line[:1].isdigit()]
    command = line.split(maxsplit=5)[5]
    for before, after in (("/srv/catalog", "."), ("sleep 900", "true"), ("opper-batch", str(PROGRAM))):
        assert before in command
        command = command.replace(before, after)
    Path("opper.env").touch()
    subprocess.run(["sh", "-c", command], timeout=60, check=False)
    return len(sandbox.journal.calls)


@pytest.mark.parametrize(
    ("script", "calls"),
    [({}, 124), ({"budget": 0.0}, 4), ({"reject_key": "string"}, 1)],
    ids=["exit 0", "exit 3", "exit 4"],
)
def test_cron_goes_on_where_that_can_help(
    examples: Path, gateway: Callable[..., Sandbox], script: dict[str, Any], calls: int
) -> None:
    assert cron(gateway(**script)) == calls
    assert '"event": "finished"' in Path("catalog.log").read_text()


def test_systemd_begins_a_command_that_runs_and_restarts_it_after_exit_3_alone(
    examples: Path, gateway: Callable[..., Sandbox], program: Program
) -> None:
    gateway()
    unit = configparser.ConfigParser(delimiters="=", comment_prefixes="#", interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(SCHEDULES / "opper-batch.service")
    service = unit["Service"]
    assert program(*shlex.split(service["ExecStart"])[1:]).returncode == 0
    assert service["Restart"] == "on-failure"
    assert set(service["RestartPreventExitStatus"].split()) == {"1", "2", "4", "5"}


def test_systemd_takes_the_units_as_they_are(examples: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    for name in ("opper-batch.service", "opper-batch.timer"):
        text = (SCHEDULES / name).read_text()
        Path(name).write_text(text.replace("/usr/local/bin/opper-batch", str(PROGRAM)))
    verify = [
        "systemd-analyze",
        "verify",
        "--recursive-errors=no",
        "./opper-batch.service",
        "./opper-batch.timer",
    ]
    ended = subprocess.run(verify, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
