"""One way to ask a sandbox, and something to ask it."""

from __future__ import annotations

from typing import Any

import httpx

from opper_batch.sandbox import Sandbox

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
        # Certificates are not for loopback, and reading them takes longer than most of these tests.
        key = {"Authorization": "Bearer secret-key"}
        self.http = httpx.Client(base_url=sandbox.url, headers=key, verify=False)

    def call(self, value: object = "a question", **fields: Any) -> httpx.Response:
        return self.http.post("/v3/call", json={"name": "triage", "input": value, **fields})

    def statuses(self, count: int, **fields: Any) -> list[int]:
        return [self.call(number, **fields).status_code for number in range(count)]
