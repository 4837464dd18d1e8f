"""What most tests stand on: an empty working folder, the repository's examples, and a gateway."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opper_batch.sandbox import Sandbox, Script

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = Path(sys.executable).with_name("opper-batch")

# A key that must turn up nowhere but at the gateway.
KEY = "op-canary-5f1c2a7e"


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


class Program:
    """The command line as a shell starts it."""

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=100)

    def json(self, *arguments: str) -> dict[str, object]:
        """The object that ``--json`` prints last, its ``exit`` checked against the real exit code."""
        ended = self(*arguments, "--json")
        said = json.loads(ended.stdout.splitlines()[-1])
        assert said["exit"] == ended.returncode, ended.stderr
        return said

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [PROGRAM, *arguments],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def program(here: Path) -> Program:
    return Program()
