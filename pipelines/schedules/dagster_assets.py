"""Dagster: the catalog as an asset, with rows and cost as metadata of each materialization.

    dagster dev -f pipelines/schedules/dagster_assets.py

CATALOG_FOLDER is where ``pipelines/`` lies and where the state is kept, on a disk that stays.
"""

import os
from contextlib import chdir

import dagster as dg

import opper_batch as ob

RETRY_SECONDS = 15 * 60


@dg.asset(group_name="catalog", kinds={"duckdb"})
def products() -> dg.MaterializeResult:
    """Product listings with what a model read out of them."""
    with chdir(os.environ.get("CATALOG_FOLDER", ".")):
        try:
            run = ob.run("pipelines/product_catalog.toml", deadline=2 * 3600, max_cost=5)
        except ob.RunStopped as error:
            # Exit 3: everything answered is kept, and another try goes on from there.
            raise dg.RetryRequested(max_retries=3, seconds_to_wait=RETRY_SECONDS) from error
        except ob.OpperBatchError as error:
            # A refused key, a pipeline or a table that is wrong: no other try would do better.
            raise dg.Failure(error.message, allow_retries=False) from error
    numbers = run.summary.as_json()
    named = ("rows", "ok", "failed", "skipped", "calls", "output", "trace_id")
    return dg.MaterializeResult(
        metadata={
            **{name: numbers[name] for name in named if numbers[name] is not None},
            "dagster/row_count": numbers["rows"],
            "cost_usd": numbers["cost"],
        }
    )


nightly = dg.ScheduleDefinition(name="nightly", target="products", cron_schedule="15 2 * * *")
definitions = dg.Definitions(assets=[products], schedules=[nightly])
