"""The command line for tests, and the key they use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from crashing import Starter

PROGRAM = Path(sys.executable).with_name("opper-batch")

# A key that must turn up nowhere but at the gateway.
KEY = "op-canary-5f1c2a7e"


class Program:
    """The command line. Called, it is forked off one that is loaded; started, it is a shell's own."""

    def __init__(self, starter: Starter) -> None:
        self._starter = starter

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        with TemporaryDirectory() as folder:
            ended = self._starter.start(*arguments, said=Path(folder))
            return subprocess.CompletedProcess(arguments, ended.wait(), ended.out, ended.err)

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
