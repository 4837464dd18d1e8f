"""Signals and broken pipes: nothing is lost, no traceback, and no burst after a pause."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from crashing import Case, Starter, until
from program import PROGRAM

from opper_batch.sandbox import Sandbox


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_leaves_at_once(
    number: signal.Signals, code: int, gateway: Callable[..., Sandbox], starter: Starter
) -> None:
    sandbox = gateway(latency=60.0)
    case = Case(sandbox, 30)
    case.begin()
    running = starter.start("run", "killed.toml", "--quiet")
    until(lambda: len(case.held().in_doubt) >= 1)
    running.send(number)
    time.sleep(0.3)
    assert not running.over, "it waits for what is in flight"
    began = time.monotonic()
    running.send(number)
    assert running.wait() == code
    assert time.monotonic() - began < 5
    assert running.err.count("\n") <= 2
    assert "Traceback" not in running.err
    status = starter.start("status", "killed.toml")
    status.wait()
    assert f"{len(case.held().in_doubt)} possibly paid, answer unknown" in status.out


def test_the_grace_is_as_long_as_it_was_said_to_be(gateway: Callable[..., Sandbox], starter: Starter) -> None:
    case = Case(gateway(latency=60.0), 30)
    running = starter.start("run", "killed.toml", "--json", "--quiet", "--grace", "0.2s")
    until(lambda: len(case.held().in_doubt) >= 1)
    began = time.monotonic()
    running.send(signal.SIGTERM)
    assert running.wait() == 143
    assert 0.2 <= time.monotonic() - began < 5
    assert running.said["in_doubt"] == len(case.held().in_doubt) > 0


def test_past_the_deadline_calls_in_flight_have_the_grace_and_are_then_left_in_doubt(
    gateway: Callable[..., Sandbox], starter: Starter
) -> None:
    sandbox = gateway(latency=60.0)
    case = Case(sandbox, 1)
    began = time.monotonic()
    running = starter.start("run", "killed.toml", "--json", "--deadline", "0.3s", "--grace", "0.3s")
    assert running.wait() == 3
    assert 0.6 <= time.monotonic() - began < 10
    assert "deadline" in running.err
    assert running.said["in_doubt"] == len(case.held().in_doubt) == 1


def test_after_a_stop_it_goes_on_without_a_burst(gateway: Callable[..., Sandbox], starter: Starter) -> None:
    sandbox = gateway(latency=0.05)
    case = Case(sandbox, 80)
    case.begin()
    running = starter.start("run", "killed.toml", "--quiet", "--rpm", "2400")
    until(lambda: case.requests >= 20)
    running.send(signal.SIGSTOP)
    time.sleep(0.8)  # the stop itself
    running.send(signal.SIGCONT)
    assert running.wait() == 0, running.err
    case.check()
    arrived = sorted(record.arrived for record in sandbox.journal.calls)
    assert len(arrived) == 80, "calls in flight at the stop came home"
    pause = max(range(79), key=lambda number: arrived[number + 1] - arrived[number])
    assert arrived[pause + 1] - arrived[pause] > 0.5
    resumed = arrived[pause + 1 :]
    for number in range(len(resumed) - 10):  # 40 a second, and a burst of two
        assert resumed[number + 10] - resumed[number] > 0.15


# Nobody listens any more.


def shell(script: str) -> subprocess.CompletedProcess[str]:
    """A script for bash in which ``$P`` is the program; what it writes to the third file is its own."""
    return subprocess.run(
        ["bash", "-c", f"P='{PROGRAM}'; {script}"], capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(
    "script",
    [
        "$P run killed.toml >&- 2>&- <&-; echo $? >code",
        "{ $P run killed.toml; echo $? >code; } 2> >(exec true) >/dev/null",
        "{ $P run killed.toml --json; echo $? >code; } | head -c 1",
    ],
    ids=["all closed", "stderr broken", "head"],
)
def test_a_run_that_nobody_listens_to_loses_nothing(script: str, gateway: Callable[..., Sandbox]) -> None:
    case = Case(gateway(), 40)
    case.begin()
    ended = shell(script)
    assert "Traceback" not in ended.stderr
    assert Path("code").read_text() == "0\n"
    case.check()


def test_what_is_looked_at_may_be_cut_off(gateway: Callable[..., Sandbox], starter: Starter) -> None:
    case = Case(gateway(), 20)
    assert starter.start("run", "killed.toml", "--quiet").wait() == 0
    ended = shell("$P plan killed.toml | true; echo ${PIPESTATUS[0]} >code")
    assert ended.stderr == ""
    assert Path("code").read_text() == "1\n"
    assert case.requests == 20
