"""The limiter on real time and real loopback HTTP."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path

import pytest
from client_rig import Stub, ok, says
from limit_worker import ask

from opper_batch.pace import Pace
from opper_batch.sandbox import Sandbox


def asked(url: str, seconds: float, out: Path, pace: Pace) -> tuple[list[float], list[float]]:
    """When requests that were let in and refused ones left, after the first of them."""
    began = time.monotonic()
    asyncio.run(ask(url, seconds, out, pace))
    lines = [line.split() for line in out.read_text().splitlines()]
    times = {said: sorted(float(at) - began for at, end in lines if end == said) for said in ("ok", "no")}
    return times["ok"], times["no"]


def test_after_a_429_with_retry_after_2_nothing_leaves_for_2_s_and_no_burst_follows(
    stub: Stub, tmp_path: Path
) -> None:
    arrived: list[float] = []
    refused: list[float] = []

    def watch(seen: object) -> None:
        arrived.append(time.monotonic())
        if len(arrived) == 200:
            refused.append(arrived[-1])

    stub.watch = watch
    stub.calls(*[ok() for _ in range(199)], says(429, retry_after="2"), ok())
    pace = Pace(concurrency=16, requests_per_minute=60 * 200)
    asked(stub.url, 3.7, tmp_path / "out", pace)
    (at,) = refused
    # What was under way when the refusal was heard may still arrive.
    after = [arrival - at for arrival in arrived if arrival > at + 0.1]
    assert min(after) >= 2.0
    assert len(after) > 20
    most = max(bisect_left(after, begin + 0.1) - place for place, begin in enumerate(after))
    assert most <= 0.1 * 200 * 1.5 + 2


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "latency"), [(50, 1.2), (300, 0.5)])
def test_the_limit_of_a_real_gateway_is_found_and_kept(
    sandbox: Callable[..., Sandbox], tmp_path: Path, rate: int, latency: float
) -> None:
    gateway = sandbox(
        rpm=60 * rate, burst=rate, latency=latency, latency_sigma=0.5, retry_after_form="fraction"
    )
    passed, refused = asked(gateway.url, 30.0, tmp_path / "out", Pace())
    steady = [at for at in passed if 12 <= at < 30]
    assert len(steady) >= 0.97 * rate * 18
    assert sum(at >= 12 for at in refused) < max(6, 0.01 * rate * 18)
