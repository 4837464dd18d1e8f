"""One page that tells what a run did: self-contained, and nothing in it runs or fetches anything."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from importlib.resources import files
from typing import Any

from opper_batch.report.figures import Plots
from opper_batch.report.markup import Markup, element, together
from opper_batch.report.page_columns import columns_section
from opper_batch.report.summary import Report, doubt_text
from opper_batch.report.words import duration, money, percent

_ROW_HEADS = ("row", "step", "model", "took", "cost", "tokens in", "out", "trace")


def page(report: Report) -> str:
    """The whole page. DefinitionError when the library that draws is not installed."""
    said, plots = report.as_json(), Plots()
    title = f"{said['pipeline']}: run {said['run_id']}"
    style = files(__package__).joinpath("page.css").read_text()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = element(
        "head",
        Markup('<meta charset="utf-8">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta name="referrer" content="no-referrer">'),
        element("title", title),
        Markup(f"<style>{style}</style>"),
    )
    body = element("body", element("main", *_sections(said, plots)))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _sections(said: dict[str, Any], plots: Plots) -> list[Markup | None]:
    return [
        _opening(said),
        _tiles(said),
        _reconciled(said),
        columns_section(said, plots),
        _failures(said),
        _models(said),
        _over_time(said, plots),
        _rows(
            "Slowest rows", "Of the answers in the output, whichever run paid for them.", said.get("slowest")
        ),
        _rows("Dearest rows", "What all attempts for the row cost together.", said.get("dearest")),
        _definition(said),
        element("footer", "Costs are US dollars as the gateway stated them. Made by opper_batch."),
    ]


def _opening(said: dict[str, Any]) -> Markup:
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(said["started"]))
    banners = []
    if said["sandbox"]:
        banners.append("Synthetic answers: they come from the sandbox, and so do the costs.")
    if said["stopped"]:
        banners.append(f"Stopped before its end: {said['stopped']}")
    if said["in_doubt"]:
        banners.append(f"{doubt_text(said['in_doubt'])}.")
    return element(
        "header",
        element("p", f"Run {said['run_id']} · {when} · exit {said['exit']}", class_="kicker"),
        element("h1", said["pipeline"]),
        element("p", f"Output: {said['output']}", class_="soft") if said["output"] else None,
        *(element("p", text, class_="banner") for text in banners),
    )


def _tiles(said: dict[str, Any]) -> Markup:
    rows, ok, failed = said["rows"], said["ok"], said["failed"]
    counted = rows is not None
    each = said["cost"] / said["calls"] if said["calls"] else 0.0
    latency = said["latency_ms"]
    tiles = [
        ("Rows with an answer", f"{ok:,}" if counted else "not counted", f"of {rows:,}" if counted else ""),
        (
            "Failed rows",
            f"{failed:,}" if counted else "–",
            f"{percent(failed, rows)} of all" if counted else "",
        ),
        ("Paid in this run", money(said["cost"]), f"{money(each)} for each of {said['calls']:,} calls"),
        (
            "Took",
            duration(said["seconds"]),
            f"{said['calls'] / max(said['seconds'], 0.001):,.1f} calls a second",
        ),
        (
            "Typical answer",
            _took(latency["p50"]) if latency else "–",
            f"19 of 20 within {_took(latency['p95'])}" if latency else "no new answers",
        ),
    ]
    return element("dl", *(_tile(*tile) for tile in tiles), class_="tiles")


def _took(milliseconds: int) -> str:
    return f"{milliseconds} ms" if milliseconds < 1000 else duration(milliseconds / 1000)


def _tile(name: str, number: str, beside: str) -> Markup:
    return element(
        "div", element("dt", name), element("dd", number, class_="big"), element("dd", beside, class_="small")
    )


def _reconciled(said: dict[str, Any]) -> Markup | None:
    if said["rows"] is None:
        return element(
            "p", "The run published nothing: there is no output to tell of yet. Run it again to go on."
        )
    sums = said["ok"] + said["failed"] + said["skipped"] == said["rows"]
    known = (
        f"{said['cached']:,} answers were known before, {said['folded']:,} rows share an equal row's call."
    )
    parts = " + ".join(f"{said[name]:,} {name}" for name in ("ok", "failed", "skipped"))
    return element(
        "p",
        f"{said['rows']:,} rows = {parts}",
        element("strong", " ✓" if sums else " ✗ does not add up", class_="good" if sums else "bad"),
        f". {known} The answers in the output cost {money(said['table_cost'])} in all.",
    )


def _failures(said: dict[str, Any]) -> Markup | None:
    if not said["failures"]:
        return None
    examples = {entry["reason"]: entry["rows"] for entry in said.get("examples") or ()}
    rows = [
        [_n(f"{times:,}"), reason, together(*map(_example, examples.get(reason, ())))]
        for reason, times in said["failures"][:25]
    ]
    more = len(said["failures"]) - len(rows)
    return element(
        "section",
        element("h2", "Failures by reason"),
        _table(("rows", "reason", "examples"), rows),
        element("p", f"and {more:,} more reasons; opper-batch failures lists every row", class_="note")
        if more > 0
        else None,
    )


def _example(row: dict[str, Any]) -> Markup:
    return element(
        "div", _row_name(row), " ", element("code", row["trace_uuid"] or "no trace", class_="trace")
    )


def _models(said: dict[str, Any]) -> Markup | None:
    models = said["models"]
    if not models:
        return None
    total = sum(model["cost"] for model in models)
    rows = [
        [
            model["model"],
            _n(f"{model['answers']:,}"),
            _n(money(model["cost"])),
            _n(percent(model["cost"], total)),
            _n(f"{model.get('input_tokens', 0):,}"),
            _n(f"{model.get('output_tokens', 0):,}"),
            _n(f"{model.get('unpriced', 0):,}"),
        ]
        for model in models
    ]
    heads = ("model", "answers", "cost", "share", "tokens in", "tokens out", "cost not stated")
    return element("section", element("h2", "Cost and tokens by model"), _table(heads, rows))


def _over_time(said: dict[str, Any], plots: Plots) -> Markup | None:
    if not said["timeline"]["slices"]:
        return None
    quantiles = " · ".join(f"{name} {value:,} ms" for name, value in said["latency_ms"].items())
    retries = (
        f"{said['retries']:,} requests beyond the first for a call, {said['throttled']:,} throttled (429)."
    )
    latencies = said["latency_counts"] and element(
        "section",
        element("h2", "How long answers took"),
        element("p", quantiles, class_="soft"),
        element("figure", plots.latencies(said["latency_counts"]), class_="wide"),
    )
    return together(
        element(
            "section",
            element("h2", "Throughput over time"),
            element("p", retries, class_="soft"),
            element("figure", plots.over_time(said["timeline"]), class_="wide"),
        ),
        latencies or None,
    )


def _rows(title: str, note: str, rows: list[dict[str, Any]] | None) -> Markup | None:
    if not rows:
        return None
    cells = [
        [
            _row_name(row),
            row["step"],
            row["model"] or "not stated",
            _n("–" if row["latency_ms"] is None else f"{row['latency_ms']:,} ms"),
            _n("not stated" if row["cost"] is None else money(row["cost"])),
            _n("–" if row["input_tokens"] is None else f"{row['input_tokens']:,}"),
            _n("–" if row["output_tokens"] is None else f"{row['output_tokens']:,}"),
            element("code", row["trace_uuid"] or "none", class_="trace"),
        ]
        for row in rows
    ]
    return element(
        "section", element("h2", title), element("p", note, class_="note"), _table(_ROW_HEADS, cells)
    )


def _definition(said: dict[str, Any]) -> Markup | None:
    if "definition" not in said:
        return None
    told = {"gateway": said["gateway"], "options": said["options"], **said["definition"]}
    text = json.dumps(told, indent=2, ensure_ascii=False)
    return element(
        "section",
        element("h2", "The pipeline as it was"),
        element("details", element("summary", "Definition, with what each step sends"), element("pre", text)),
    )


def _row_name(row: dict[str, Any]) -> str:
    key = ", ".join(f"{name} {value}" for name, value in row["key"].items())
    return f"row {row['row']:,}" + (f" ({key})" if key else "")


def _n(text: str) -> tuple[str, str]:
    """A cell that stands to the right, as numbers do."""
    return text, "n"


def _table(heads: tuple[str, ...], rows: list[list[Any]]) -> Markup:
    numbers = {index for row in rows for index, cell in enumerate(row) if isinstance(cell, tuple)}
    head = (
        element("th", name, scope="col", class_="n" if index in numbers else None)
        for index, name in enumerate(heads)
    )
    body = (element("tr", *map(_cell, row)) for row in rows)
    table = element("table", element("thead", element("tr", *head)), element("tbody", *body))
    return element("div", table, class_="scroll")


def _cell(cell: Any) -> Markup:
    return element("td", cell[0], class_=cell[1]) if isinstance(cell, tuple) else element("td", cell)
