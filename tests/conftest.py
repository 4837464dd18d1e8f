"""What most tests stand on: an empty working folder, the repository's examples, and a gateway."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from crashing import Disk, Starter, small_disks, starting
from program import KEY, Program

from opper_batch.sandbox import Sandbox, Script

ROOT = Path(__file__).resolve().parents[1]


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores, since tests wait for gateways about a third of their time."""
    return 1 + (os.cpu_count() or 1)


@pytest.fixture(autouse=True)
def limits(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is learned of limits is kept in a folder of the test's own, never in the user's."""
    folder = tmp_path_factory.mktemp("limits")
    monkeypatch.setenv("OPPER_BATCH_LIMITS", str(folder))
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the working directory, and an environment without a gateway or a key."""
    for name in ("OPPER_API_KEY", "OPPER_BASE_URL", "OPPER_BATCH_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def examples(here: Path) -> Path:
    """The working directory with the repository's pipelines and sample data."""
    for name in ("pipelines", "sample_data"):
        shutil.copytree(ROOT / name, here / name, ignore=shutil.ignore_patterns("__pycache__"))
    return here


@pytest.fixture
def gateway(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Sandbox]]:
    """Starts gateways that are meant by OPPER_BASE_URL, as a real one would be: ``gateway(latency=0.05)``."""
    running: list[Sandbox] = []
    monkeypatch.setenv("OPPER_API_KEY", KEY)

    def start(**script: object) -> Sandbox:
        sandbox = Sandbox(Script(**script)).start()
        running.append(sandbox)
        monkeypatch.setenv("OPPER_BASE_URL", sandbox.url)
        return sandbox

    yield start
    for sandbox in running:
        sandbox.stop()


@pytest.fixture
def program(here: Path, starter: Starter) -> Program:
    return Program(starter)


@pytest.fixture(scope="session")
def starter() -> Iterator[Starter]:
    """The command line, started by forking."""
    with starting() as starter:
        yield starter


@pytest.fixture
def disk(here: Path) -> Iterator[Disk]:
    """Small disks in the working directory, ``disk("out", "64k")``; skips where mounting is not permitted."""
    with small_disks(here) as mount:

        def mounted(name: str, size: str, *options: str) -> Path:
            try:
                return mount(name, size, *options)
            except PermissionError as error:
                pytest.skip(str(error))

        yield mounted
