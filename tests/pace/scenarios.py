"""What the limiter is held to, as a table, and one run of one scenario with one seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from servers import SILENT, Bucket, FixedWindow, InFlight, Moody, Open, SlidingLog
from simulation import MEAN, REFUSAL_SECONDS, SECONDS, STEADY, lognormal, simulate

from opper_batch.pace import Pace

TPM = 100_000.0
TOKENS = 150.0  # median of a request
FEW = 5  # so many refusals are always allowed
PLACES = 64  # where nothing else limits


def whole(wait: float) -> float:
    """Retry-After as most servers write it."""
    return float(math.ceil(wait))


def silent(wait: float) -> float:
    return SILENT


def twenty(wait: float) -> float:
    return 20.0


@dataclass(frozen=True)
class Scenario:
    """A server, the use of its limit that is asked for, and the share of requests it may refuse (None: any).

    ``tokens``: requests have sizes. The rest is what the client is told.
    """

    name: str
    server: Callable[[Random], Open]
    use: float
    refused: float | None = 0.01
    tokens: bool = False
    rpm: float | None = None
    tpm: float | None = None
    concurrency: int | None = None
    stated: float | None = None  # a second, in the headers of the first reply


def bucket(rate: float, burst: float, **more: object) -> Callable[[Random], Open]:
    return lambda chance: Bucket(rate, burst, **more)  # type: ignore[arg-type]


def moody(behind: Callable[[], Open], says: float) -> Callable[[Random], Open]:
    return lambda chance: Moody(0.05, chance, behind(), says=says)


TABLE = [
    Scenario("10/s, burst 10", bucket(10, 10), 0.97),
    Scenario("50/s, burst 50", bucket(50, 50), 0.97),
    Scenario("50/s, burst 3000", bucket(50, 3000), 0.97),
    Scenario("300/s, burst 300", bucket(300, 300), 0.97),
    Scenario("50/s without Retry-After", bucket(50, 50, says=silent), 0.97),
    Scenario("fixed window, 600 a minute", lambda chance: FixedWindow(600), 0.95),
    Scenario("sliding log, 3000 a minute", lambda chance: SlidingLog(3000), 0.95),
    Scenario("tokens per minute", bucket(TPM / 60, TPM, by_size=True), 0.95, tokens=True),
    Scenario("1/s, burst 5", bucket(1, 5), 0.90, 0.02),
    Scenario("Retry-After always 20 s", bucket(50, 50, says=twenty), 0.90, 0.02),
    Scenario("40 in flight", lambda chance: InFlight(40, MEAN), 0.90),
    Scenario("5 % at random", moody(Open, SILENT), 0.80, None, concurrency=PLACES),
    Scenario("5 % at random, 1 s", moody(Open, 1.0), 0.80, None, concurrency=PLACES),
    Scenario("5 % at random, and 50/s", moody(lambda: Bucket(50, 50), SILENT), 0.80, None),
    Scenario("5 % at random, 1 s, and 50/s", moody(lambda: Bucket(50, 50), 1.0), 0.80, None),
    Scenario("50, then 25, then 100/s", bucket(50, 50, changes=((240, 25), (360, 100))), 0.85),
    Scenario("known requests", bucket(10, 10), 0.98, 0.0, rpm=600),
    Scenario("known requests, fixed window", lambda chance: FixedWindow(600), 0.98, 0.0, rpm=600),
    Scenario("known by headers", bucket(10, 10), 0.98, 0.0, stated=10.0),
    Scenario("known tokens", bucket(TPM / 60, TPM, by_size=True), 0.98, 0.0, tokens=True, tpm=TPM),
]

# Not asked for, but met in the wild.
MORE = [
    Scenario("10/s, whole seconds", bucket(10, 10, says=whole), 0.96),
    Scenario("50/s, whole seconds", bucket(50, 50, says=whole), 0.97),
    Scenario("50/s, burst 3000, whole seconds", bucket(50, 3000, says=whole), 0.97),
    Scenario("300/s, whole seconds", bucket(300, 300, says=whole), 0.97),
    Scenario("10/s without Retry-After", bucket(10, 10, says=silent), 0.97),
    Scenario("1/s without Retry-After", bucket(1, 5, says=silent), 0.90, 0.02),
    Scenario("1/s, whole seconds", bucket(1, 5, says=whole), 0.90, 0.02),
    Scenario("window that began before", lambda chance: FixedWindow(600, start=37), 0.95),
    Scenario("tokens, fixed window", lambda chance: FixedWindow(TPM, by_size=True), 0.95, tokens=True),
    Scenario("tokens, ten seconds saved", bucket(TPM / 60, TPM / 6, by_size=True), 0.95, tokens=True),
    Scenario("5 % at random, 20 ms", moody(Open, 0.02), 0.80, None, concurrency=PLACES),
    Scenario(
        "known tokens, window", lambda c: FixedWindow(TPM, by_size=True), 0.98, 0.0, tokens=True, tpm=TPM
    ),
    Scenario("changes, whole s", bucket(50, 50, says=whole, changes=((240, 25), (360, 100))), 0.80),
]
BY_NAME = {scenario.name: scenario for scenario in TABLE + MORE}


@dataclass(frozen=True)
class Result:
    """Of the steady window: use of the limit, refused requests and their share; ``rates`` are accepted
    requests a second in windows of ten seconds from 0 on."""

    use: float
    refused: int
    share: float
    rates: list[float]

    def holds(self, scenario: Scenario) -> bool:
        most = scenario.refused
        rarely = most is None or self.share < most or self.refused <= (FEW if most else 0)
        return self.use >= scenario.use and rarely


def measure(name: str, seed: int) -> Result:
    """One scenario, once."""
    scenario, chance = BY_NAME[name], Random(seed)

    def sizes() -> tuple[float, float]:
        used = TOKENS * math.exp(chance.gauss(0, 0.5))
        return used / 4 * (1 + chance.random() / 5), used  # a fourth is sent, the rest is the answer

    pace = Pace(
        concurrency=scenario.concurrency, requests_per_minute=scenario.rpm, tokens_per_minute=scenario.tpm
    )
    if scenario.stated:
        pace.know(requests=scenario.stated)
    server = scenario.server(chance)
    seen = simulate(pace, server, lognormal(chance), sizes=sizes if scenario.tokens else None)
    accepted, refused = seen.within(STEADY, SECONDS)
    most = server.capacity(STEADY, SECONDS)
    if scenario.concurrency:
        most = min(most, PLACES / (MEAN + REFUSAL_SECONDS * 0.05) * (SECONDS - STEADY))
    used = seen.used(STEADY, SECONDS) if scenario.tokens else accepted
    return Result(used / most, refused, refused / (accepted + refused), seen.rates(10.0))
