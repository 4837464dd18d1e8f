"""What notebooks show: tables of whatever numbers there are, and no markup of rows or models."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import polars

import opper_batch as ob
from opper_batch.runs.reporting import report_of
from opper_batch.shown import card

HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)">\'\u202e'


class Tags(HTMLParser):
    """Which elements and attributes a page has; fails where they do not close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self._open: list[str] = []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


def harmless(page: str) -> bool:
    tags = Tags(page)
    known = {"div", "strong", "table", "tr", "th", "td", "details", "summary", "pre"}
    return tags.names <= known and tags.attributes <= {"style"} and "\u202e" not in page


def test_names_and_values_are_escaped_wherever_they_stand() -> None:
    page = card(
        HOSTILE,
        {
            HOSTILE: HOSTILE,
            "list": [HOSTILE],
            "pairs": [[HOSTILE, 3]],
            "tables": [{HOSTILE: HOSTILE * 10}],
            "output_schema": {"description": HOSTILE},
        },
    )
    assert harmless(page)
    assert "&lt;script&gt;" in page


def test_a_long_list_is_cut_and_counted() -> None:
    page = card("x", {"changed": [{"row": number} for number in range(500)]})
    assert page.count("<th") == 21
    assert "and 480 more" in page
    assert harmless(page)


def test_numbers_are_written_for_people_and_what_is_not_known_is_left_out() -> None:
    page = card("x", {"rows": 12000, "cost": 0.0000123, "seconds": 1.23456, "sandbox": True, "output": None})
    for said in ("12,000", "$0.0000123", "1.235", "yes"):
        assert f">{said}<" in page
    assert "output" not in page


def test_the_parts_of_a_cost_are_costs() -> None:
    assert ">$0.25<" in card("x", {"cost": {"low": 0.25, "high": None}, "seconds": {"low": 2.5}, "no": ()})
    assert ">2.5<" in card("x", {"seconds": {"low": 2.5}})


def test_pipeline_plan_run_and_report_show_themselves(here: Path) -> None:
    frame = polars.DataFrame({"id": [1, 2], "text": [HOSTILE, "b"]})
    step = {
        "name": "look",
        "instructions": HOSTILE,
        "columns": {"good": {"type": "BOOLEAN", "description": HOSTILE[:-1]}},
    }
    pipeline = ob.Pipeline(name="shown", source={"table": frame}, steps=[step])
    plan = ob.plan(pipeline, sandbox=True)
    run = ob.run(pipeline, sandbox=True)
    report = report_of("shown", ob.Options(sandbox=True))
    for shown in (pipeline, plan, run, report):
        assert harmless(shown._repr_html_())
        assert "shown" in shown._repr_html_()
    assert repr(pipeline) == (
        "Pipeline('shown', source=a polars DataFrame, steps=[StepSpec('look', columns=['good'])])"
    )
    assert repr(run).startswith("shown: run 1 done")
    assert repr(plan).startswith("shown: 2 rows of the polars DataFrame")
    assert repr(report).startswith("shown: run 1, exit 0")
