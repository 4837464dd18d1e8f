"""Killed at a random moment, a run goes on where it was. The gateway's journal is the judge."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest
from crashing import APPENDED, PARQUET, Case, Started, Starter, until

from opper_batch.sandbox import Sandbox

LIVELY = {"latency": 0.03, "latency_sigma": 0.4, "pending": 0.1, "pending_seconds": 0.1}


def killed_at_random(case: Case, starter: Starter, chance: random.Random, *, kills: int) -> int:
    """So many runs, each killed at a random moment if it lives so long; gives how many did."""
    done = 0
    for _ in range(kills):
        case.begin()
        running, asked = starter.start("run", "killed.toml", "--quiet"), case.requests
        if chance.random() < 0.7:
            _until_asked(case, running, asked + chance.randrange(1, case.rows // kills * 2))
        else:
            time.sleep(chance.random() * 0.3)
        done += running.killed()
        case.check_after_kill()
    return done


def _until_asked(case: Case, running: Started, requests: int) -> None:
    until(lambda: case.requests >= requests or running.over)


def settled(case: Case, starter: Starter) -> None:
    """A last run that nobody disturbs, and the judgement."""
    held = case.begin()
    running = starter.start("run", "killed.toml", "--json", "--quiet")
    assert running.wait() == 0, running.err
    said = running.said
    assert (said["rows"], said["ok"], said["failed"]) == (case.rows, case.rows, 0)
    assert said["in_doubt"] == len(held.in_doubt), "what may have been paid twice is told"
    case.check()


@pytest.mark.parametrize("seed", [0, 1])
def test_twenty_kills_at_random_moments(seed: int, gateway: Callable[..., Sandbox], starter: Starter) -> None:
    """The first of the two hundred: into a file, and into a database."""
    killed_ten_times(seed, gateway, starter)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(20))
def test_two_hundred_kills_at_random_moments(
    seed: int, gateway: Callable[..., Sandbox], starter: Starter
) -> None:
    killed_ten_times(seed, gateway, starter)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(5))
def test_kills_while_the_gateway_misbehaves_too(
    seed: int, gateway: Callable[..., Sandbox], starter: Starter
) -> None:
    faults = dict.fromkeys(("failed", "dropped", "dropped_after", "malformed", "throttled"), 0.02)
    case = Case(gateway(**LIVELY, **faults, retry_after=0.1, seed=seed), 240)
    killed_at_random(case, starter, random.Random(seed), kills=8)
    case.begin()
    running = starter.start("run", "killed.toml", "--quiet")
    assert running.wait() == 0, running.err
    case.check(faultless=False)


def killed_ten_times(seed: int, gateway: Callable[..., Sandbox], starter: Starter) -> None:
    case = Case(gateway(**LIVELY, seed=seed), 160, sink=(PARQUET, APPENDED)[seed % 2])
    assert killed_at_random(case, starter, random.Random(seed), kills=10) >= 5
    settled(case, starter)
