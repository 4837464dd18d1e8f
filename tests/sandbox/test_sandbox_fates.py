from __future__ import annotations

from collections import Counter

import pytest

from opper_batch.sandbox.dice import Dice
from opper_batch.sandbox.fates import Fates, Gate
from opper_batch.sandbox.script import FAULTS, Script


def _faults(script: Script, inputs: int, times: int = 1) -> list[str]:
    fates = Fates(script)
    return [fates.draw(number.to_bytes(16, "big"))[0] for number in range(inputs) for _ in range(times)]


def test_faults_come_in_the_shares_asked_for() -> None:
    counted = Counter(_faults(Script(throttled=0.05, failed=0.03, dropped=0.02, pending=0.05), 20_000))
    shares = {name: count / 20_000 for name, count in counted.items()}
    assert shares == pytest.approx(
        {"throttled": 0.05, "failed": 0.03, "dropped": 0.02, "pending": 0.05, "": 0.85}, abs=0.006
    )


@pytest.mark.parametrize("fault", FAULTS)
def test_a_share_of_one_is_every_call_and_of_zero_none(fault: str) -> None:
    assert set(_faults(Script(**{fault: 1.0}), 50)) == {fault}  # type: ignore[arg-type]
    assert set(_faults(Script(), 50)) == {""}


def test_the_same_seed_plays_the_same_faults_and_another_seed_others() -> None:
    first = _faults(Script(failed=0.3, seed=1), 300, times=2)
    assert _faults(Script(failed=0.3, seed=1), 300, times=2) == first
    assert _faults(Script(failed=0.3, seed=2), 300, times=2) != first


def test_asking_again_may_fare_better() -> None:
    faults = _faults(Script(failed=0.5), 200, times=2)
    assert any(
        once == "failed" and again == "" for once, again in zip(faults[::2], faults[1::2], strict=True)
    )


def test_faults_do_not_depend_on_the_order_of_inputs() -> None:
    one, other = Fates(Script(failed=0.5)), Fates(Script(failed=0.5))
    digests = [number.to_bytes(16, "big") for number in range(100)]
    forward = {digest: one.draw(digest)[0] for digest in digests}
    assert {digest: other.draw(digest)[0] for digest in reversed(digests)} == forward


def test_a_bucket_lets_its_burst_pass_and_then_its_rate() -> None:
    gate = Gate(Script(rpm=60, burst=3))
    assert [gate.wait(100.0) for _ in range(3)] == [None, None, None]
    assert gate.wait(100.0) == pytest.approx(1.0)
    assert gate.wait(100.4) == pytest.approx(0.6)
    assert gate.wait(101.0) is None
    assert gate.wait(101.0) == pytest.approx(1.0)


def test_a_bucket_admits_its_rate_over_a_long_time() -> None:
    gate = Gate(Script(rpm=600, burst=5))
    admitted = sum(gate.wait(step / 100) is None for step in range(6000))
    assert admitted == pytest.approx(600 + 5, abs=2)


def test_a_fixed_window_counts_anew_when_it_ends() -> None:
    gate = Gate(Script(rpm=120, window="fixed", window_seconds=1.0))
    assert [gate.wait(7.25), gate.wait(7.3)] == [None, None]
    assert gate.wait(7.5) == pytest.approx(0.5)
    assert [gate.wait(8.0), gate.wait(8.1)] == [None, None]
    assert gate.wait(8.2) == pytest.approx(0.8)


def test_no_rate_is_no_limit() -> None:
    gate = Gate(Script())
    assert {gate.wait(1.0) for _ in range(1000)} == {None}


def test_dice_draw_within_their_bounds_and_reach_both_ends() -> None:
    dice = Dice(b"seed")
    assert {dice.between(-2, 2) for _ in range(200)} == {-2, -1, 0, 1, 2}
    wide = [dice.below(2**128) for _ in range(200)]
    assert max(wide) > 2**127
    assert max(wide) < 2**128
    assert all(0 <= dice.share() < 1 for _ in range(200))


def test_lognormal_latencies_lie_around_their_median() -> None:
    dice = Dice(b"seed")
    drawn = sorted(dice.lognormal(0.2, 0.5) for _ in range(4001))
    assert drawn[2000] == pytest.approx(0.2, rel=0.05)
    assert drawn[0] > 0
    assert drawn[-1] > 0.5
    assert dice.lognormal(0.2, 0) == 0.2
