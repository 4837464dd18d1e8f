"""A gateway on a bad day: every row is settled, nothing is paid twice, and the last rows never hang."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mixed_load import BAD_DAY, asked_quickly, check, intents

import opper_batch as ob
from opper_batch.sandbox import Sandbox

Gateways = Callable[..., Sandbox]


@pytest.mark.timeout(60)
def test_a_thousand_rows_on_a_bad_day(gateway: Gateways, monkeypatch: pytest.MonkeyPatch) -> None:
    asked_quickly(monkeypatch, deadline=3.0)
    sandbox = gateway(latency=0.05, retry_after=0.3, stall_seconds=2.0, **BAD_DAY)
    check(ob.run(intents(1_000, concurrency=256)), sandbox, 1_000)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [0, 1])
def test_twenty_thousand_rows_on_a_bad_day(
    seed: int, gateway: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_quickly(monkeypatch, deadline=60.0)
    sandbox = gateway(latency=0.3, latency_sigma=0.5, stall_seconds=60.0, seed=seed, **BAD_DAY)
    told = check(ob.run(intents(20_000, concurrency=256)), sandbox, 20_000)
    print(told)
