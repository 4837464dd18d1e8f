"""What a run learns of a gateway's limit is where the next one begins."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path

import pytest
from client_rig import Stub, ok, says
from program import KEY
from starlette.requests import Request
from starlette.responses import Response

from opper_batch.client.commons import Commons
from opper_batch.pipeline import Pipeline
from opper_batch.runs import Options, execute
from opper_batch.sandbox import Sandbox


def pipeline(rows: int) -> Pipeline:
    Path("rows.csv").write_text("id\n" + "".join(f"{number}\n" for number in range(rows)))
    return Pipeline.model_validate(
        {
            "name": "limits",
            "source": {"path": "rows.csv"},
            "steps": [{"name": "one", "instructions": "Say.", "columns": {"said": "VARCHAR"}}],
        }
    )


@pytest.mark.slow
def test_the_second_run_knows_what_the_first_one_learned(
    gateway: Callable[..., Sandbox], limits: Path
) -> None:
    running = gateway(rpm=60 * 100, burst=20, latency=0.02, retry_after_form="fraction")
    assert execute(pipeline(400), Options()).error is None
    (path,) = limits.glob("*.limit")
    met = [record for record in running.journal.calls if record.status == 429]
    assert met, "the limit was met"
    kept = Commons.join(running.url, KEY)
    assert kept is not None
    assert kept.path == path
    assert kept.learned is not None
    assert 70 < kept.learned.measured < 130
    kept.leave()
    before = len(running.journal.calls)
    ended = execute(pipeline(400), Options(refresh=True))
    assert ended.error is None
    refused = [record for record in running.journal.calls[before:] if record.status == 429]
    assert len(refused) <= len(met)


def test_a_sandbox_of_its_own_leaves_nothing_behind(here: Path, limits: Path) -> None:
    assert execute(pipeline(20), Options(sandbox=True)).error is None
    assert not list(limits.iterdir())


class Stating:
    """A bucket of ``burst`` that says in its headers that it allows 40 a second, in one of two ways."""

    def __init__(self, form: str, burst: float) -> None:
        self.form, self.burst, self.level, self.at = form, burst, burst, time.monotonic()
        self.arrived: list[float] = []
        self.refused = 0

    def __call__(self, request: Request) -> Response:
        now = time.monotonic()
        self.level, self.at = min(self.burst, self.level + 40 * (now - self.at)), now
        self.arrived.append(now)
        if self.level < 1:
            self.refused += 1
            return says(429, retry_after="1")
        self.level -= 1
        answer = ok({"said": "yes"})
        answer.headers.update(self._headers())
        return answer

    def _headers(self) -> dict[str, str]:
        if self.form == "policy":
            return {"RateLimit-Policy": '"second";q=40;w=1'}
        return {
            "X-RateLimit-Limit-Requests": f"{self.burst:.0f}",
            "X-RateLimit-Remaining-Requests": f"{self.level:.3f}",
            "X-RateLimit-Reset-Requests": f"{(self.burst - self.level) / 40:.3f}s",
        }


@pytest.mark.parametrize(("form", "burst"), [("policy", 6.0), ("reset", 2400.0)])
def test_what_a_gateway_says_of_its_limit_is_kept_from_then_on(
    here: Path, stub: Stub, monkeypatch: pytest.MonkeyPatch, form: str, burst: float
) -> None:
    """A policy is known with the first reply, which is waited for alone; a reset when two replies agree."""
    stating = Stating(form, burst)
    stub.calls(stating)
    monkeypatch.setenv("OPPER_API_KEY", KEY)
    ended = execute(pipeline(70), Options(base_url=stub.url))
    assert ended.error is None
    assert not stating.refused
    after = [at - stating.arrived[0] for at in stating.arrived]
    steady = [at for at in after if at > 0.5]
    seconds = steady[-1] - steady[0]
    # A busy machine delivers the first or the last of them a little late: two requests to and fro.
    assert len(steady) - 1 == pytest.approx(0.99 * 40 * seconds, rel=0.05, abs=2)
    assert max(bisect_left(steady, at + 0.25) - place for place, at in enumerate(steady)) <= 10 + 4
