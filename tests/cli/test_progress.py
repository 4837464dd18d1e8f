"""What a run tells while it goes on."""

from __future__ import annotations

from opper_batch.runs import Progress
from opper_batch.runs.telling import Rate, line

BEGUN = Progress(
    step="triage",
    rows=0,
    total_rows=2_000,
    calls=0,
    failed=0,
    throttled=0,
    cost=0.0,
    in_flight=0,
    paused=0.0,
    seconds=0.0,
)


def test_a_line_says_what_is_done_what_it_costs_and_how_long_it_will_take() -> None:
    progress = BEGUN._replace(rows=1_200, failed=3, cost=0.42, in_flight=32, seconds=30.0)
    assert (
        line(progress, 40.0)
        == "1,200/2,000 rows, 800 left, 3 failed, 40.0 rows/s, $0.4200, 32 in flight, 20 s to go"
    )


def test_a_pause_is_told_and_promises_no_end() -> None:
    told = line(BEGUN._replace(rows=10, throttled=2, paused=95.0), 0.0)
    assert told.endswith("2 throttled, paused by the gateway for 1 min 35 s")
    assert "to go" not in told


def test_the_rate_is_that_of_the_last_seconds_and_not_of_rows_that_were_known() -> None:
    rate = Rate()
    assert rate.after(BEGUN) == 0.0
    rate.after(BEGUN._replace(rows=1_000_000, seconds=1.0))
    for second in range(2, 21):
        last = rate.after(BEGUN._replace(rows=1_000_000 + 50 * (second - 1), seconds=float(second)))
    assert last == 50.0


def test_the_next_step_has_a_rate_of_its_own() -> None:
    rate = Rate()
    rate.after(BEGUN._replace(rows=0, seconds=1.0))
    rate.after(BEGUN._replace(rows=500, seconds=2.0))
    assert rate.after(BEGUN._replace(rows=0, seconds=0.1)) == 0.0
    assert rate.after(BEGUN._replace(rows=10, seconds=1.1)) == 10.0
