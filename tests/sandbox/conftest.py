"""What the sandbox's tests share: a running sandbox, and one way to ask it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from opper_batch.sandbox import Sandbox, Script

TICKET = {
    "type": "object",
    "properties": {
        "category": {"type": "string", "enum": ["billing", "bug", "how_to", "other"]},
        "priority": {"type": "integer", "description": "1 whenever, 5 right now. Whole number. From 1 to 5."},
        "topics": {"type": "array", "items": {"type": "string"}},
        "refund": {"anyOf": [{"type": "number"}, {"type": "null"}]},
    },
    "required": ["category", "priority", "topics", "refund"],
    "additionalProperties": False,
}


class Asker:
    """A client of one sandbox that sends a key."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.http = httpx.Client(base_url=sandbox.url, headers={"Authorization": "Bearer secret-key"})

    def call(self, value: object = "a question", **fields: Any) -> httpx.Response:
        return self.http.post("/v3/call", json={"name": "triage", "input": value, **fields})

    def statuses(self, count: int, **fields: Any) -> list[int]:
        return [self.call(number, **fields).status_code for number in range(count)]


@pytest.fixture
def gateway() -> Iterator[Callable[..., Asker]]:
    """Starts a sandbox with the script's values given, and asks it; all end with the test."""
    with ExitStack() as stack:

        def start(**script: Any) -> Asker:
            asker = Asker(stack.enter_context(Sandbox(Script(**script))))
            stack.callback(asker.http.close)
            return asker

        yield start
