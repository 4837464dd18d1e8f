"""A terminal that is closed ends a run as SIGTERM does: drained, committed, with an exit code of its own."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from crashing import Case, Starter, until
from program import PROGRAM

from opper_batch.sandbox import Sandbox


def test_a_hang_up_drains_and_commits(gateway: Callable[..., Sandbox], starter: Starter) -> None:
    case = Case(gateway(latency=0.3), 60)
    case.begin()
    running = starter.start("run", "killed.toml", "--json", "--quiet")
    until(lambda: case.requests >= 8)
    running.send(signal.SIGHUP)
    running.send(signal.SIGHUP)  # a shell passes it on, and the kernel tells it once more
    assert running.wait() == 129
    assert "in flight may end within 20 s" in running.err, "with --quiet, too"
    assert "run again to go on" in running.err
    assert (running.said["exit"], running.said["in_doubt"]) == (129, 0)
    assert case.held().answered.keys() == {digest for _, digest in case.asked()}
    again = starter.start("run", "killed.toml", "--quiet")
    case.begin()
    assert again.wait() == 0
    case.check()


@pytest.mark.parametrize("quiet", [True, False], ids=["quiet", "live"])
def test_a_terminal_that_is_closed_loses_nothing(quiet: bool, gateway: Callable[..., Sandbox]) -> None:
    """The real thing: the live line writes to a terminal that is gone, and nobody is there to be told."""
    case = Case(gateway(latency=0.3), 60)
    case.begin()
    master, slave = pty.openpty()
    arguments = [PROGRAM, "run", "killed.toml", *(["--quiet"] if quiet else [])]
    running = subprocess.Popen(
        ["setsid", "-c", "-w", *arguments], stdin=slave, stdout=slave, stderr=slave, env={**os.environ}
    )
    os.close(slave)
    until(lambda: case.requests >= 8)
    os.close(master)
    assert running.wait(30) == 129
    held = case.held()
    assert held.in_doubt == ()
    assert held.answered.keys() == {digest for _, digest in case.asked()}
    assert 8 <= len(held.answered) < 60


def test_nohup_is_left_as_it_was_asked_for(gateway: Callable[..., Sandbox]) -> None:
    case = Case(gateway(latency=0.1), 30)
    case.begin()
    with Path("said").open("wb") as said:
        running = subprocess.Popen(
            ["nohup", PROGRAM, "run", "killed.toml", "--quiet"], stderr=said, stdout=said
        )
    until(lambda: case.requests >= 8)
    running.send_signal(signal.SIGHUP)
    assert running.wait(30) == 0
    case.check()
