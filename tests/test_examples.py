"""Every example that is shipped runs: the pipelines, and what the README says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars
import pytest
from program import KEY, Program

import opper_batch as ob
from opper_batch.cli import commands, events
from opper_batch.sandbox import Sandbox

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_parquet_into_duckdb_by_upsert_with_nested_columns(examples: Path) -> None:
    catalog = ob.load("pipelines/product_catalog.toml")
    run = ob.run(catalog, sandbox=True)
    assert run.counts.ok == run.counts.rows > 50
    ob.run(catalog, sandbox=True)
    with duckdb.connect("out/catalog.duckdb", read_only=True) as connection:
        counts = connection.sql("SELECT count(*), count(DISTINCT sku) FROM products_sandbox").fetchall()
        assert counts == [(run.counts.rows, run.counts.rows)]
        types = {row[0]: row[1] for row in connection.sql("DESCRIBE products_sandbox").fetchall()}
    assert types["price"] == "STRUCT(amount DECIMAL(12,2), currency VARCHAR)"
    assert types["attributes"] == 'STRUCT("name" VARCHAR, "value" VARCHAR)[]'
    assert types["materials"] == "VARCHAR[]"


def test_a_pydantic_model_gives_the_columns(examples: Path) -> None:
    run = ob.run(ob.load("pipelines/review_insights.py"), sandbox=True)
    assert run.counts.ok == run.counts.rows > 50
    assert set(run.frame["sentiment"]) <= {"positive", "mixed", "neutral", "negative"}
    (aspect,) = {tuple(aspect) for row in run.frame["aspects"] for aspect in row}
    assert aspect == ("name", "sentiment", "evidence")
    assert list(Path("out/reviews.sandbox").glob("part-*.parquet"))


def test_the_readmes_python_runs(here: Path) -> None:
    names: dict[str, Any] = {}
    for part in ("ob.plan(pipeline", "ob.enrich("):
        (source,) = [block for block in blocks("python") if part in block]
        exec(compile(source, "README.md", "exec"), names)
    assert set(names["moods"]["mood"]) <= {"calm", "annoyed", "furious"}
    assert names["languages"]["tongue_status"].to_list() == ["ok", "ok"]
    frame = names["run"].frame
    assert frame["id"].to_list() == [1, 2]
    assert set(frame["sentiment"]) <= {"good", "mixed", "bad"}
    assert frame.schema["refund"] == polars.Decimal(10, 2)


def test_the_readmes_test_is_recorded_once_and_replayed_without_a_key(
    examples: Path, gateway: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    for block in blocks("python"):
        if match := re.match(r"# (\w+\.py)\n", block):
            Path(match[1]).write_text(block)
    sandbox = gateway()
    assert "1 passed" in pytested("--opper-record")
    sandbox.stop()
    monkeypatch.delenv("OPPER_API_KEY")
    monkeypatch.delenv("OPPER_BASE_URL")
    shutil.rmtree(".opper_batch")
    assert "1 passed" in pytested()
    (recording,) = Path("recordings").iterdir()
    assert f"`recordings/{recording.name}`" in README
    assert KEY not in recording.read_text()
    tickets = Path("sample_data/support_tickets.csv")
    tickets.write_text(tickets.read_text().replace("mate the coupon", "mate, the coupon"))
    said = pytested()
    assert "1 failed" in said
    (example,) = re.findall(r"^ticket_triage, row .* not recorded; .*$", README, re.MULTILINE)
    assert example in said
    assert f"to record {recording.absolute()} anew" in said


def pytested(*options: str) -> str:
    """What pytest says in the working directory, as a user's CI would run it."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=100).stdout


def test_the_tests_that_the_readme_names_are_there() -> None:
    """What is promised is tested where it says, or at least by tests."""
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", README))
    assert len(named) > 20
    root = Path(__file__).resolve().parents[1]
    assert [name for name in sorted(named) if "\ndef test_" not in (root / name).read_text()] == []


def test_the_readmes_pipeline_file_is_one(examples: Path) -> None:
    text = next(block for block in blocks("toml") if 'name = "ticket_triage"' in block)
    pipeline = ob.Pipeline(**tomllib.loads(text))
    assert ob.run(pipeline, sandbox=True, limit=20).counts.ok == 20


@pytest.mark.parametrize("verb", commands.commands)
def test_the_readme_names_every_command_and_option(verb: str) -> None:
    assert f"`{verb}" in README
    command = commands.commands[verb]
    if verb == "run":
        for option in command.params:
            spellings = [*option.opts, *option.secondary_opts]
            assert any(spelling in README for spelling in spellings) or option.name == "path", spellings


def test_the_scheduled_command_says_no_calls_the_second_night(
    examples: Path, gateway: Callable[..., Sandbox], program: Program
) -> None:
    sandbox = gateway()
    command = next(line for block in blocks("sh") for line in block.splitlines() if "--if-locked" in line)
    calls = []
    for _ in range(2):
        ended = program(*command.split()[1:])
        assert ended.returncode == 0
        calls.append(len(sandbox.journal.calls))
        assert json.loads(ended.stderr.splitlines()[-1])["calls"] == calls[-1] - sum(calls[:-1])
    assert calls[0] == calls[1] > 60
    assert "0 calls" in str(ob.run("pipelines/product_catalog.toml"))


def test_the_readmes_incremental_pipeline_takes_what_is_new(examples: Path) -> None:
    text = next(block for block in blocks("toml") if "since =" in block)
    pipeline = ob.Pipeline(**tomllib.loads(text))
    assert ob.run(pipeline, sandbox=True).counts.rows == 240
    assert ob.run(pipeline, sandbox=True).counts.rows < 5


def test_the_readme_names_every_event_of_the_log() -> None:
    for event in re.findall(r"^    (\w+(?:, \w+)?)  ", events.__doc__ or "", re.MULTILINE):
        for name in event.split(", "):
            assert re.search(rf"^\| .*`{name}`.* \|", README, re.MULTILINE), name


def test_every_place_that_a_link_or_an_error_points_to_is_there() -> None:
    headings = re.findall(r"^##+ (.*)$", README, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    sources = [path.read_text() for path in Path(ob.__file__).parent.rglob("*.py")]
    named = re.findall(r"README\.md#([\w-]+)", "".join(sources))
    assert len(named) > 3
    assert {*named, *re.findall(r"\]\(#([\w-]+)\)", README)} <= anchors
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (ROOT / picture).is_file()
