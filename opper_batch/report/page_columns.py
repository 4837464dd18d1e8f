"""The part of the page that shows the output's columns, and how they moved."""

from __future__ import annotations

from typing import Any

from opper_batch.report.figures import Plots
from opper_batch.report.markup import Markup, element, together
from opper_batch.report.words import percent, spread

_SHOWN_VALUES = 12
_FEW_VALUES = 60


def columns_section(said: dict[str, Any], plots: Plots) -> Markup | None:
    """A card for each column that models filled."""
    columns = said.get("columns")
    if not columns:
        return None
    run = said.get("compared_with")
    note = (
        f"Shares are of rows with an answer. Moved: against run {run}, 0 % the same, 100 % nothing in common."
    )
    if run is None:
        note = "Shares are of rows with an answer. There is no earlier run to compare with."
    return element(
        "section",
        element("h2", "What the columns hold"),
        element("p", note, class_="note"),
        element("div", *(_card(column, plots) for column in columns), class_="columns"),
    )


def _card(column: dict[str, Any], plots: Plots) -> Markup:
    kind = column["type"] if len(column["type"]) <= 40 else column["type"][:39] + "…"
    return element(
        "article",
        element("header", element("h3", column["name"]), element("code", kind)),
        element("p", _facts(column), class_="soft"),
        _moved(column.get("moved")),
        _shown(column, plots),
        class_="column",
    )


def _facts(column: dict[str, Any]) -> str:
    facts = [f"{column['rows']:,} values", f"{percent(column['null'], column['rows'])} null"]
    if column["distinct"]:
        facts.append(f"{column['distinct']:,} different")
    if numbers := column["numbers"]:
        low, middle, high = spread(numbers, times=column["times"])
        facts.append(f"{low} to {high}, median {middle}")
    elif lengths := column["lengths"]:
        facts.append(
            f"lengths {lengths['min']:,.0f} to {lengths['max']:,.0f}, median {lengths['median']:,.0f}"
        )
    return " · ".join(facts)


def _moved(moved: dict[str, Any] | None) -> Markup | None:
    if moved is None:
        return None
    parts = []
    if moved["distance"] is not None:
        parts.append(f"Moved {percent(moved['distance'], 1)}" if moved["distance"] else "Not moved")
    parts += [
        f"{value} {percent(then, 1)} → {percent(now, 1)}"
        for value, then, now in moved["values"][:2]
        if abs(now - then) >= 0.001
    ]
    then, now = moved["null_share"]
    if then != now:
        parts.append(f"null {percent(then, 1)} → {percent(now, 1)}")
    much = (moved["distance"] or 0) >= 0.1 or abs(now - then) >= 0.05
    return element("p", " · ".join(parts), class_="bad" if much else "soft") if parts else None


def _shown(column: dict[str, Any], plots: Plots) -> Markup | None:
    if column["numbers"]:
        label = f"Histogram of {column['name']}"
        return element(
            "figure", plots.column(column["numbers"], label, times=column["times"], whole=_is_whole(column))
        )
    if column["values"] and column["distinct"] <= _FEW_VALUES:
        return _shares(column)
    if column["lengths"] and len(column["lengths"]["bins"]) > 1:
        label = f"Histogram of the lengths of {column['name']}"
        return element("figure", plots.column(column["lengths"], label, axis="length", whole=True))
    return None


def _is_whole(column: dict[str, Any]) -> bool:
    return "INT" in column["type"] and not column["times"]


def _shares(column: dict[str, Any]) -> Markup:
    values = column["values"]
    whole = sum(count for _, count in values) + column["other_values"]
    shown = [*values[:_SHOWN_VALUES]]
    if rest := whole - sum(count for _, count in shown):
        shown.append(["all others", rest])
    rows = (
        element(
            "tr",
            element("th", value or "(empty)", scope="row"),
            element("td", _bar(count / whole), class_="bar"),
            element("td", percent(count, whole), class_="n"),
            element("td", f"{count:,}", class_="n"),
        )
        for value, count in shown
    )
    return element("table", element("tbody", *rows), aria_label=f"Shares of values of {column['name']}")


def _bar(share: float) -> Markup:
    rail = element("rect", width="100%", height="100%", rx="2", class_="rail")
    return element(
        "svg",
        together(rail, element("rect", width=f"{100 * share:.2f}%", height="100%", rx="2")),
        aria_hidden="true",
    )
