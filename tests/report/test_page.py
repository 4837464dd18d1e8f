"""The page: everything escaped, nothing runs, nothing is fetched; looked at by a real browser."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from opper_batch.errors import DefinitionError
from opper_batch.report import Report
from opper_batch.report.markup import Markup, element

pytest.importorskip("matplotlib", reason="the page's plots need the extra report")
from opper_batch.report.figures import Plots
from opper_batch.report.page import page

HOSTILE = (
    "</title></style></pre><script>document.title='owned'</script>"
    "<img src=http://127.0.0.1:9/x onerror=\"document.title='owned'\">"
    "<svg onload=\"document.title='owned'\"><style>@import 'http://127.0.0.1:9/y'</style></svg>"
    "\" autofocus onfocus=document.title='owned' x='$\\x1b[2J\u202e$1^{$"
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def report(text: str = "plain") -> Report:
    """A report whose every text is ``text``."""
    numbers = {"min": 0.0, "median": 2.0, "max": 5.0, "mean": 2.5, "width": 1.0, "bins": [[0.0, 3], [5.0, 1]]}
    moved = {"distance": 0.2, "values": [[text, 0.1, 0.4]], "null_share": [0.0, 0.1], "medians": None}
    column = {"name": text, "step": text, "type": text, "rows": 9, "null": 1, "distinct": 2, "moved": moved}
    column |= {
        "values": [[text, 5], ["", 3]],
        "other_values": 0,
        "numbers": None,
        "times": False,
        "lengths": numbers,
    }
    row = {"row": 7, "key": {text: text}, "step": text, "trace_uuid": text, "model": text, "latency_ms": 12}
    row |= {"cost": 0.1, "input_tokens": 1, "output_tokens": 2, "attempts": 1, "cached": False}
    model = {"model": text, "answers": 3, "cost": 0.5, "input_tokens": 4, "output_tokens": 5, "unpriced": 1}
    moment = {"slice": 3, "ok": 2, "failed": 1, "throttled": 1}
    summary: dict[str, Any] = dict.fromkeys(("rows", "ok", "calls", "cached", "folded", "retries"), 9)
    summary |= {"pipeline": text, "run_id": 4, "exit": 3, "stopped": text, "output": text, "sandbox": True}
    summary |= {"failed": 0, "skipped": 0, "in_doubt": 2, "cost": 0.5, "table_cost": 0.7, "seconds": 9.5}
    details = {
        "started": 1.7e9,
        "timeline": {"seconds": 0.5, "slices": [moment]},
        "models": [model],
        "latency_ms": {"p50": 3, "p95": 12_000},
        "latency_counts": [[3, 7], [12_000, 2]],
        "columns": [column, {**column, "values": [], "numbers": numbers}],
        "compared_with": 3,
        "slowest": [row],
        "dearest": [row],
        "examples": [{"reason": text, "rows": [row]}],
        "gateway": text,
        "options": {text: text},
        "definition": {"name": text, "steps": [{text: text}]},
    }
    return Report({**summary, "failures": [[text, 3]], "throttled": 1}, details)


class Outline(HTMLParser):
    """Every element with its attributes, as a browser would find them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_hostile_text_adds_no_element_and_no_attribute() -> None:
    """The same elements with the same attributes as for plain text, whatever the texts hold."""
    plain, hostile = (Outline(page(report(text))).found for text in ("plain", HOSTILE))
    assert [(tag, attrs.keys()) for tag, attrs in plain] == [(tag, attrs.keys()) for tag, attrs in hostile]
    assert "<script" not in page(report(HOSTILE))


def test_nothing_is_fetched_and_nothing_runs_by_the_pages_own_policy() -> None:
    text = page(report())
    assert "default-src 'none'; style-src 'sha256-" in text
    for _, attributes in Outline(text).found:
        assert not {"src", "style"} & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)
        assert (attributes.get("href") or "#").startswith("#")
        assert all(
            link.startswith("#")
            for value in attributes.values()
            for link in re.findall(r"url\((.)", value or "")
        )


def test_the_page_is_the_same_each_time_and_its_ids_are_distinct() -> None:
    text = page(report())
    assert page(report()) == text
    ids = [attributes["id"] for _, attributes in Outline(text).found if "id" in attributes]
    assert len(ids) == len(set(ids)) > 20


def test_it_can_be_heard_and_found_through() -> None:
    found = Outline(page(report())).found
    assert ("html", {"lang": "en"}) in found
    figures = [attributes for tag, attributes in found if tag == "svg" and "aria-hidden" not in attributes]
    assert len(figures) == 3
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in figures)
    assert all("scope" in attributes for tag, attributes in found if tag == "th")
    assert [tag for tag, _ in found].count("h1") == 1


def test_what_was_not_kept_is_left_out() -> None:
    stopped = {**report().as_json(), "rows": None, "failures": [], "models": [], "latency_ms": {}}
    stopped = {**stopped, "latency_counts": [], "timeline": {"seconds": 1.0, "slices": []}}
    for name in ("columns", "slowest", "dearest", "examples", "definition"):
        del stopped[name]
    text = page(Report.from_json(stopped))
    assert "published nothing" in text
    assert "<svg" not in text


def test_markup_is_made_of_escaped_text() -> None:
    assert element("p", "<b>", class_='"x') == '<p class="&quot;x">&lt;b&gt;</p>'
    assert element("p", Markup("<b>"), None) == "<p><b></p>"


def test_without_the_library_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(DefinitionError, match=r"pip install 'opper-batch\[report\]'"):
        page(report())


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_a_real_browser_opens_it_without_a_complaint_a_request_or_a_script(tmp_path: Path) -> None:
    """The policy is taken away for the second look, so that escaping alone has to hold."""
    text = page(report(HOSTILE))
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    assert bare != text
    # A page that does complain, fetch and run, so that what is looked for is known to be seen.
    proof = "<script>console.log('seen');document.title='owned'</script><img src=http://127.0.0.1:9/x>"
    for name, content, harmless in (("a", text, True), ("b", bare, True), ("c", proof, False)):
        file = tmp_path / f"{name}.html"
        file.write_text(content, "utf-8")
        dom, said, asked = _browsed(file)
        assert ("CONSOLE" not in said) is harmless, said
        assert ("<title>owned" not in dom) is harmless
        assert ("127.0.0.1:9" not in asked) is harmless


def _browsed(file: Path) -> tuple[str, str, str]:
    """The page as the browser holds it, what its console said, and the addresses it asked for."""
    log = file.with_suffix(".net.json")
    options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync"
    options += (
        " --disable-background-networking --disable-component-update --enable-logging=stderr --dump-dom"
    )
    command = [str(CHROMIUM), *options.split(), f"--user-data-dir={file.with_suffix('.user')}"]
    ended = subprocess.run(
        [*command, f"--log-net-log={log}", "--virtual-time-budget=2000", file.as_uri()],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    events = re.findall(r'"url":("(?:[^"\\]|\\.)*")', log.read_text())
    return ended.stdout, ended.stderr, " ".join(json.loads(event) for event in events)


@pytest.mark.parametrize("moment", [dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31)], ids=str)
def test_a_date_at_the_calendars_end_is_drawn_though_ticks_lie_beyond(moment: dt.datetime) -> None:
    seconds = (moment - dt.datetime(1970, 1, 1)).total_seconds()
    histogram = {"width": 86_400.0 * 365, "bins": [[seconds, 1]]}
    assert "<svg" in Plots().column(histogram, "due", times=True)
