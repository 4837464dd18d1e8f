"""What the sandbox's tests share: sandboxes that end with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from sandbox_asking import Asker

from opper_batch.sandbox import Sandbox, Script


@pytest.fixture
def gateway() -> Iterator[Callable[..., Asker]]:
    """Starts a sandbox with the script's values given, and asks it; all end with the test."""
    with ExitStack() as stack:

        def start(**script: Any) -> Asker:
            asker = Asker(stack.enter_context(Sandbox(Script(**script))))
            stack.callback(asker.http.close)
            return asker

        yield start
