"""The command line for tests, and the key they use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(sys.executable).with_name("opper-batch")

# A key that must turn up nowhere but at the gateway.
KEY = "op-canary-5f1c2a7e"


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
