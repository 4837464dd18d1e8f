"""How long a job of a minute takes, cold and warm, and how soon all places are in use."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from scenarios import whole
from servers import SILENT, Bucket, Open
from simulation import MEDIAN, Seen, counted, lognormal, simulate

from opper_batch.pace import CEILING, Learned, Pace
from opper_batch.pace.places import Places

ROWS = 1000
IDEAL = (ROWS - 50) / 50 + MEDIAN
SEEDS = range(20)
FEW_SEEDS = range(4)


def hardly_any(seen: Seen) -> bool:
    """Less than one request in a hundred was refused, or five at most."""
    refused, all_of_them = len(seen.refused), len(seen.accepted) + len(seen.refused)
    return refused < 0.01 * all_of_them or refused <= 5


@pytest.mark.parametrize("seed", SEEDS)
def test_a_thousand_rows_at_an_unknown_50_a_second(seed: int) -> None:
    chance, pace = Random(seed), Pace()
    seen = simulate(pace, Bucket(50, 50), lognormal(chance), rows=ROWS)
    assert len(seen.accepted) == ROWS
    assert seen.ended <= 1.35 * IDEAL
    assert hardly_any(seen), f"{len(seen.refused)} refused"
    assert pace.learned.measured == pytest.approx(50, rel=0.01)
    warm = simulate(Pace(learned=pace.learned), Bucket(50, 50), lognormal(chance, sigma=0.01), rows=ROWS)
    assert warm.ended <= 1.10 * IDEAL
    assert len(warm.refused) <= 5


@pytest.mark.parametrize("seed", SEEDS)
def test_a_thousand_rows_without_a_word_on_when_to_come_back(seed: int) -> None:
    seen = simulate(Pace(), Bucket(50, 50, says=lambda wait: SILENT), lognormal(Random(seed)), rows=ROWS)
    assert seen.ended <= 1.4 * IDEAL
    assert hardly_any(seen), f"{len(seen.refused)} refused"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_thousand_rows_that_are_told_to_come_back_in_whole_seconds(seed: int) -> None:
    seen = simulate(Pace(), Bucket(50, 50, says=whole), lognormal(Random(seed)), rows=ROWS)
    assert seen.ended <= 1.4 * IDEAL
    assert hardly_any(seen), f"{len(seen.refused)} refused"


@pytest.mark.parametrize("says", [lambda wait: wait, lambda wait: SILENT, whole])
def test_answers_that_come_all_at_once_are_not_followed_all_at_once(says: Callable[[float], float]) -> None:
    """As many would leave at once as all places together, of which the gateway lets a part through."""
    seen = simulate(Pace(), Bucket(50, 50, says=says), lambda: 0.3, rows=ROWS)
    assert seen.ended <= 1.1 * IDEAL
    assert hardly_any(seen), f"{len(seen.refused)} refused"


@pytest.mark.parametrize("seed", FEW_SEEDS)
@pytest.mark.parametrize(
    ("burst", "longest", "refused"),
    [(10, 1.15, 0.01), (3, 1.15, 0.01), (1, 1.25, 0.02)],  # one at a time: half of the first 16 are refused
)
def test_a_gateway_that_saves_up_little_and_speaks_in_whole_seconds(
    burst: int, longest: float, refused: float, seed: int
) -> None:
    """Each refusal costs a second, and the first comes at once and tells nothing of the rate."""
    latency = lognormal(Random(seed), 0.3, 0.05)
    seen = simulate(Pace(), Bucket(50, burst, says=whole), latency, rows=2000)
    assert seen.ended <= longest * 40
    assert len(seen.refused) < refused * 2000


@pytest.mark.parametrize("seed", FEW_SEEDS)
def test_a_refusal_of_a_known_rate_is_no_reason_to_crawl(seed: int) -> None:
    """Somebody else has just emptied the bucket, and does so again after five seconds."""
    server = Bucket(50, 10, says=whole, changes=((5, 1), (5.3, 50)))
    server.level = 0.0
    seen = simulate(Pace(requests_per_minute=3000), server, lognormal(Random(seed), 0.3, 0.05), rows=2000)
    assert seen.ended <= 1.1 * 40
    assert len(seen.refused) <= 8


@pytest.mark.parametrize("concurrency", [None, 256, 1024])
def test_without_a_limit_all_places_are_taken_within_three_seconds(concurrency: int | None) -> None:
    for seed in FEW_SEEDS:
        seen = simulate(Pace(concurrency=concurrency), Open(), lognormal(Random(seed), 0.3, 0.3), seconds=4.0)
        assert seen.full < 3.0
        assert not seen.refused


def test_a_thousand_places_are_taken_within_four_round_trips_of_the_call_that_went_alone() -> None:
    pace = Pace(concurrency=1024)
    pace.sent(0.0)
    pace.returned(0.3, pace.expect(0.0))
    seen = simulate(pace, Open(), lambda: 0.3, rows=10_000, start=0.3)
    assert seen.full <= 5.1 * 0.3
    assert seen.ended <= 10_000 / 2480


def test_places_that_are_shared_double_and_no_more() -> None:
    """Others have places that grow at the same time, and nothing keeps all of them from leaving at once."""
    assert opened(evenly=True) == 64
    assert opened(evenly=False) == 32


def opened(*, evenly: bool) -> float:
    places = Places(CEILING)
    places.filled = 16
    for taken in range(16, 0, -1):
        places.answered(taken, 0.3, limited=False, may_probe=True, evenly=evenly)
    return places.open


@pytest.mark.parametrize("round_trip", [0.02, 0.3, 2.0])
def test_a_warm_run_takes_the_places_that_were_of_use_within_a_quarter_of_a_second(round_trip: float) -> None:
    """Evenly, unless answers come sooner: those to what left all at once come all at once."""
    pace = Pace()
    simulate(pace, Open(), lognormal(Random(1), 0.3, 0.3), seconds=5.0)
    assert pace.learned == Learned(measured=0.0, share=0.0, places=CEILING, cap=0)
    seen = simulate(Pace(learned=pace.learned), Open(), lambda: round_trip, rows=2 * CEILING)
    assert seen.full <= min(0.25, 2 * round_trip)
    together = max(counted(seen.accepted[:CEILING], at, at + 0.025) for at in seen.accepted[:CEILING])
    assert together <= CEILING / 4 or round_trip < 0.1


def test_what_was_learned_is_a_start_and_no_cage() -> None:
    for was, now in ((20.0, 60.0), (200.0, 40.0)):
        pace = Pace(learned=Learned(measured=was, share=0.0, places=512, cap=0))
        seen = simulate(pace, Bucket(now, now), lognormal(Random(2)), seconds=300.0)
        assert seen.within(150, 300)[0] >= 0.97 * now * 150


def begun(pace: Pace, round_trip: float) -> float:
    """How many places are open once the call that went alone is answered."""
    pace.sent(0.0)
    pace.returned(round_trip, pace.expect(0.0))
    return pace.places.open


@pytest.mark.parametrize(("round_trip", "places"), [(0.01, 16), (0.3, 64), (1.2, 16)])
def test_places_after_the_call_that_went_alone(round_trip: float, places: int) -> None:
    assert begun(Pace(), round_trip) == places


def test_a_limit_that_is_stated_and_need_not_be_true_opens_none_at_once() -> None:
    pace = Pace()
    pace.know(requests=10_000.0)
    assert begun(pace, 0.3) == 16


def test_after_a_pause_it_begins_with_sixteen() -> None:
    pace = Pace()
    assert begun(pace, 0.3) == 64
    under_way = []
    for _ in range(20):
        pace.sent(0.5)
        under_way.append(pace.expect(0.5))
    pace.pause(0.6, 1.0)
    pace.returned(0.8, under_way[0])
    assert pace.places.open == 16
