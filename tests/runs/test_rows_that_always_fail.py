"""A row that fails the same way every time ends after its attempts with that reason, and holds up nobody."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars
import pytest
from client_rig import Stub, ok, pending, reset, says, status
from crashing import Starter
from program import KEY
from starlette.requests import Request
from starlette.responses import Response

PIPELINE = """
name = "odd"
[source]
path = "rows.csv"
key = ["id"]
[[steps]]
name = "look"
input = ["text"]
[steps.columns]
category = ["billing", "bug"]
priority = { type = "TINYINT", min = 1, max = 5 }
[limits]
concurrency = 8
[sink]
path = "out.parquet"
"""
Answer = Response | Callable[[Request], Any]
FAULTS: dict[str, tuple[Answer, int, str]] = {
    "500": (says(500, {"error": "no such luck"}), 3, "500 no such luck"),
    "503": (says(503, "<html>"), 3, r"503 Service Unavailable \(a page of HTML\)"),
    "408": (says(408), 3, "408 no: 408"),
    "reset": (reset, 3, r"no answer: .*"),
    "html": (says(200, "<html>"), 3, "the gateway's answer is a page of HTML"),
    "cut": (says(200, '{"data": {"cat'), 3, "the gateway's answer is not JSON"),
    "empty": (says(200, ""), 3, "the gateway's answer is empty"),
    "unfit": (ok({"category": "none", "priority": 3}), 2, "answer does not fit: category: .*"),
    "400": (says(400, {"error": "this one, no"}), 1, "400 this one, no"),
    "413": (says(413, {"error": "too much"}), 1, "413 too much"),
    "operation": (pending("op-failed"), 1, "operation op-failed failed: it would not"),
    "odd id": (pending("../../v3/models"), 1, ".* by an id that is not one"),
    "nothing to wait for": (pending(), 3, ".* names no operation to wait for"),
}


def test_each_ends_after_its_attempts_with_its_reason_and_all_others_are_ok(
    stub: Stub, here: Path, starter: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once in the middle, among others; and once as the last rows, where nobody is left to tell them by."""
    middle = [f"{name}!middle" for name in FAULTS]
    last = [f"{name}!last" for name in FAULTS]
    among = [text for one in middle for text in (one, *(f"fine {n} after {one}" for n in range(12)))]
    texts = ["fine", *among, *last]
    times: dict[str, int] = {}

    async def answer(request: Request) -> Response:
        text = json.loads(await request.body())["input"]["text"]
        times[text] = times.get(text, 0) + 1
        name, odd, _ = text.partition("!")
        if not odd or "after" in text:
            return ok()
        given = FAULTS[name][0]
        return given if isinstance(given, Response) else await given(request)

    stub.calls(answer).on("/v3/artifacts/op-failed/status", status("failed", error="it would not"))
    monkeypatch.setenv("OPPER_API_KEY", KEY)
    monkeypatch.setenv("OPPER_BASE_URL", stub.url)
    Path("odd.toml").write_text(PIPELINE)
    Path("rows.csv").write_text("id,text\n" + "".join(f"{n},{text}\n" for n, text in enumerate(texts)))
    running = starter.start("run", "odd.toml", "--json", "--quiet")
    assert running.wait() == 1, running.err
    assert running.said["failed"] == 2 * len(FAULTS)
    rows = {row["text"]: row for row in polars.read_parquet("out.parquet").iter_rows(named=True)}
    wrong = {
        text: rows[text]["look_error"]
        for text in middle + last
        if not re.fullmatch(FAULTS[text.partition("!")[0]][2], rows[text]["look_error"] or "")
    }
    assert wrong == {}
    odd = {text: times[text] for text in middle + last if times[text] != FAULTS[text.partition("!")[0]][1]}
    assert odd == {}, "not once more than its attempts, though faults that fall together look like an outage"
    fine = [row for text, row in rows.items() if text not in middle + last]
    assert {row["look_status"] for row in fine} == {"ok"}
    assert {row["look_attempts"] for row in fine} == {1}, "and none of the others was asked twice"
