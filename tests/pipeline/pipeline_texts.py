"""Pipelines to begin with, and what a refusal has to be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from opper_batch.errors import DefinitionError
from opper_batch.pipeline import load

SOURCE = """
[source]
path = "in.csv"
"""
STEP = """
[[steps]]
name = "triage"
"""
COLUMNS = """
[steps.columns]
category = ["billing", "bug"]
"""
GOOD = 'name = "tickets"\n' + SOURCE + STEP + COLUMNS


def fields(**changes: Any) -> dict[str, Any]:
    """A pipeline in Python, with changes."""
    return {"name": "tickets", "source": {"path": "in.csv"}, "steps": [step()], **changes}


def step(**changes: Any) -> dict[str, Any]:
    return {"name": "triage", "columns": {"category": "VARCHAR"}, **changes}


def expect_refusal(path: Path, *said: str) -> None:
    """One sentence that begins with the file and holds what is expected; never a traceback."""
    with pytest.raises(DefinitionError) as caught:
        load(path)
    message = caught.value.message
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < len(str(path)) + 350
    for part in said:
        assert part in message
