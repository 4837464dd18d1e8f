"""Simulations run where nothing has to be waited for: in memory, if there is such a folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from simulated_runs import Simulation
from simulated_scenario import Scenario

from opper_batch.ledger import rescue

_MEMORY = Path("/dev/shm")


@pytest.fixture
def simulate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Scenario], Simulation]]:
    """Runs a scenario in a folder of its own."""
    monkeypatch.setattr(rescue, "RESERVE_BYTES", 4096)  # of memory, which is not full
    within = _MEMORY if os.access(_MEMORY, os.W_OK) else tmp_path
    folder = Path(tempfile.mkdtemp(prefix="opper-batch-", dir=within))
    count = iter(range(1_000_000))

    def simulated(scenario: Scenario) -> Simulation:
        own = folder / str(next(count))
        own.mkdir()
        try:
            return Simulation(scenario, own)
        finally:
            shutil.rmtree(own)

    yield simulated
    shutil.rmtree(folder)
