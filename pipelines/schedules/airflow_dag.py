"""Airflow: the catalog pipeline every night, tried again only where trying again can help.

Put this file into the DAGs folder, and opper-batch and OPPER_API_KEY where the workers have them.
CATALOG_FOLDER is where ``pipelines/`` lies and where the state is kept, on a disk that stays.
"""

from __future__ import annotations

import os
from contextlib import chdir
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowFailException

RETRY_DELAY = timedelta(minutes=15)


@dag(schedule="15 2 * * *", start_date=datetime(2026, 1, 1), catchup=False, max_active_runs=1)
def catalog() -> None:
    @task(retries=3, retry_delay=RETRY_DELAY)
    def enrich() -> dict[str, Any]:
        """The run's numbers, for XCom: rows, calls, cost, and the trace at Opper."""
        import opper_batch as ob

        with chdir(os.environ.get("CATALOG_FOLDER", ".")):
            try:
                run = ob.run("pipelines/product_catalog.toml", deadline=2 * 3600, max_cost=5)
            except ob.RunStopped:
                raise  # exit 3: everything answered is kept, and another try goes on from there
            except ob.OpperBatchError as error:
                # A refused key, a pipeline or a table that is wrong: no other try would do better.
                raise AirflowFailException(error.message) from error
        return run.summary.as_json()

    enrich()


this = catalog()

if __name__ == "__main__":
    this.test()
