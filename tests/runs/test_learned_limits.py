"""What a run learns of a gateway's limit is where the next one begins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from program import KEY

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
