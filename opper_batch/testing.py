"""For users' own tests: a pipeline is run once for real, and ever after from what it was answered then.

    pytest_plugins = ["opper_batch.testing"]        # in conftest.py

    def test_tickets(opper_recording):
        run = ob.run("pipelines/ticket_triage.toml")
        assert run.counts.failed == 0

``pytest --opper-record`` runs and records; without it nothing is sent and no key is needed. A plugin is
asked for and not installed for everybody, so that nobody's pytest loads what it does not use.
"""

from __future__ import annotations

import atexit
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from opper_batch import frames, runs
from opper_batch.errors import DefinitionError
from opper_batch.pipeline import Pipeline
from opper_batch.recording import NotRecorded, Recording, replay
from opper_batch.runs import Ended, Options, comparing, pilot

__all__ = ["opper_recording", "recording", "replaying"]

_HOMES = (runs, frames, comparing, pilot)


@contextmanager
def recording(path: str | Path) -> Iterator[None]:
    """Every run of this process inside is a real one, and ``path`` holds afterwards what it was answered.

    What a ledger knows is not asked again. Nothing is written when the block raises.
    """
    real, kept = runs.execute, Recording()

    def execute(pipeline: Pipeline, options: Options, **how: Any) -> Ended:
        _refuse_pilot(how)
        ended = real(pipeline, options, **how)
        if ended.error is None:
            kept.add(ended)
        return ended

    with _in_place_of(execute):
        yield
    kept.write(Path(path))


@contextmanager
def replaying(path: str | Path) -> Iterator[None]:
    """Every run of this process inside is answered from ``path``: no key, no network, no ledger touched.

    What is not recorded fails the test, saying row, step and what differs.
    """
    kept = _read(Path(path))
    state = Path(tempfile.mkdtemp(prefix="opper-batch-"))
    atexit.register(shutil.rmtree, state, ignore_errors=True)  # results may be looked at after the block

    def execute(pipeline: Pipeline, options: Options, **how: Any) -> Ended:
        _refuse_pilot(how)
        try:
            return replay(pipeline, options, kept, state=state)
        except NotRecorded as error:
            missing = str(error)
        pytest.fail(f"{missing}\n{_remedy(Path(path))}", pytrace=False)

    with _in_place_of(execute):
        yield


@pytest.fixture
def opper_recording(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The test's runs are replayed; with ``--opper-record`` they are real and recorded.

    The recording lies in ``recordings/`` beside the test's file, named after file and test.
    """
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{request.path.stem}.{request.node.name}").rstrip("-")
    path = request.path.parent / "recordings" / f"{name}.jsonl"
    if request.config.getoption("--opper-record"):
        with recording(path):
            yield path
        return
    monkeypatch.delenv("OPPER_API_KEY", raising=False)  # a program that is started asks nobody either
    with replaying(path):
        yield path


def pytest_addoption(parser: pytest.Parser) -> None:
    """pytest's hook: ``--opper-record``."""
    about = "Run the pipelines of tests with the fixture opper_recording for real, and record the answers."
    parser.getgroup("opper_batch").addoption("--opper-record", action="store_true", help=about)


def _read(path: Path) -> Recording:
    try:
        return Recording.read(path)
    except DefinitionError as error:
        unreadable = str(error)
    pytest.fail(f"{unreadable}\n{_remedy(path)}", pytrace=False)


def _remedy(path: Path) -> str:
    return f"to record {path} anew, with OPPER_API_KEY set: pytest --opper-record and the test's name"


def _refuse_pilot(how: Mapping[str, Any]) -> None:
    """What a plan is told by is the ledger of real runs, which a replay has not."""
    if how.get("pilot") is not None:
        pytest.fail(
            "a plan's pilot is neither recorded nor replayed: leave pilot out, or run with limit instead",
            pytrace=False,
        )


@contextmanager
def _in_place_of(execute: Callable[..., Ended]) -> Iterator[None]:
    """For a while what runs pipelines: from notebooks, from the command line's own code, and in a diff."""
    with pytest.MonkeyPatch.context() as patch:
        for home in _HOMES:
            patch.setattr(home, "execute", execute)
        yield
