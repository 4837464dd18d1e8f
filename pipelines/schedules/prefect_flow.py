"""Prefect: the catalog pipeline as a flow, tried again only where trying again can help.

    python pipelines/schedules/prefect_flow.py     # serves it, every night at a quarter past two

CATALOG_FOLDER is where ``pipelines/`` lies and where the state is kept, on a disk that stays.
"""

import os
from contextlib import chdir
from typing import Any

from prefect import flow, task
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

import opper_batch as ob

RETRY_SECONDS = 15 * 60


async def can_go_on(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Exit 3: everything answered is kept, and another try goes on from there. Anything else stays wrong."""
    return isinstance(await state.aresult(raise_on_failure=False), ob.RunStopped)


@task(retries=3, retry_delay_seconds=RETRY_SECONDS, retry_condition_fn=can_go_on)
def enrich() -> dict[str, Any]:
    """The run's numbers: rows, calls, cost, and the trace at Opper."""
    with chdir(os.environ.get("CATALOG_FOLDER", ".")):
        run = ob.run("pipelines/product_catalog.toml", deadline=2 * 3600, max_cost=5)
    return run.summary.as_json()


@flow
def catalog() -> dict[str, Any]:
    return enrich()


if __name__ == "__main__":
    catalog.serve(name="nightly", cron="15 2 * * *")
