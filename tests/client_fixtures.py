"""A client to ask with, and a gateway that says what a test tells it to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from client_rig import Rig, Stub

from opper_batch.sandbox import Sandbox, Script


@pytest.fixture
def stub() -> Iterator[Stub]:
    stub = Stub().start()
    yield stub
    stub.stop()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    """``rig(url, …)`` is a client with a ledger of its own; all close with the test."""
    with ExitStack() as stack:

        def make(url: str, **settings: Any) -> Rig:
            rig = Rig(tmp_path, url, **settings)
            stack.callback(rig.close)
            return rig

        yield make


@pytest.fixture
def sandbox() -> Iterator[Callable[..., Sandbox]]:
    """``sandbox(latency=0.05)`` runs one with that script; all end with the test."""
    with ExitStack() as stack:
        yield lambda **script: stack.enter_context(Sandbox(Script(**script)))
