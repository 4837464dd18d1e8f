"""A whole run against a gateway that answers to do harm: a reason for each row, and every other row is ok."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import polars
import pytest
from hostile_answers import CODES, FAILING, FITTING, MARKUP, MEGABYTE, answer, says
from program import KEY, PROGRAM
from raw_gateway import Asked, RawGateway, Said, raw_gateway

PIPELINE = """
name = "hostile"
[source]
path = "rows.csv"
key = ["id"]
[[steps]]
name = "read"
input = ["text"]
repair = 0
[steps.columns]
note  = "VARCHAR"
score = { type = "DOUBLE", nullable = true }
count = { type = "HUGEINT", nullable = true }
extra = { type = "JSON", nullable = true }
[sink]
path = "out.parquet"
"""


@dataclass
class Told:
    """What a program on a terminal said, and the most memory it had, in MB."""

    exit: int
    text: str
    megabytes: float


# In between, since a process that was forked off a large one counts that one's memory as its own peak.
_MEASURING = """
import pathlib, resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
pathlib.Path(sys.argv[1]).write_text(str(used))
sys.exit(code)
"""


def on_a_terminal(*arguments: str, seconds: float = 60, **environment: str) -> Told:
    master, slave = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "-c", _MEASURING, "kilobytes", PROGRAM, *arguments],
        env={**os.environ, "TERM": "xterm-256color", **environment},
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    said = b""
    with suppress(OSError):  # how a terminal on Linux says that the other side has gone
        while chunk := os.read(master, 65536):
            said += chunk
    os.close(master)
    code = running.wait(seconds)
    return Told(code, said.decode(), int(Path("kilobytes").read_text()) / 1024)


# What the live line does: colours, columns, up a line, clear a line, hide and show the cursor.
_LIVE = re.compile(r"\x1b\[(?:[0-9;]*m|\d*[AGK]|2K|\?25[lh])|\r")


def plain(told: Told) -> str:
    """What was said, when nothing but the live line itself acted on the terminal."""
    assert "48;2;6;6;6" not in re.sub(r"\\x1b\[48;2;6;6;6m", "", told.text)
    left = _LIVE.sub("", told.text).replace("\n", "")
    raw = {hex(ord(letter)) for letter in left if not letter.isprintable()}
    assert not raw, raw
    return told.text


@pytest.fixture
def hostile(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RawGateway]:
    """A gateway that gives each row what its text asks for, and everybody else a good answer, if slowly."""
    given = {name: case[0] for name, case in (FAILING | FITTING).items()}

    def answered(asked: Asked) -> Said:
        if asked.text in given:
            return given[asked.text]
        time.sleep(0.05)
        return answer()

    with raw_gateway(answered) as gateway:
        monkeypatch.setenv("OPPER_API_KEY", KEY)
        monkeypatch.setenv("OPPER_BASE_URL", gateway.url)
        Path("p.toml").write_text(PIPELINE)
        yield gateway


def write_rows(*texts: str) -> int:
    """A good row first and some after each, so that the gateway is not taken for one that is down."""
    rows = ["fine", *(text for one in texts for text in (one, *(f"fine {n} after {one}" for n in range(12))))]
    Path("rows.csv").write_text("id,text\n" + "".join(f"{n},{text}\n" for n, text in enumerate(rows)))
    return len(rows)


def by_text() -> dict[str, dict[str, Any]]:
    return {row["text"]: row for row in polars.read_parquet("out.parquet").iter_rows(named=True)}


def test_every_hostile_answer_has_its_reason_and_every_other_row_is_ok(hostile: RawGateway) -> None:
    write_rows("fine too")
    harmless = on_a_terminal("run", "p.toml", "--concurrency", "16")
    assert harmless.exit == 0, harmless.text[-1000:]
    count = write_rows(*FAILING, *FITTING)
    told = on_a_terminal("run", "p.toml", "--concurrency", "16")
    assert told.exit == 1, told.text[-1000:]
    rows = by_text()
    assert len(rows) == count
    reasons = {name: rows[name]["read_error"] or "" for name in FAILING}
    assert {name: said for name, said in reasons.items() if not re.fullmatch(FAILING[name][1], said)} == {}
    assert all(said.isprintable() and len(said) <= 310 for said in reasons.values())
    assert {rows[name]["read_status"] for name in FAILING} == {"failed"}
    assert {rows[name]["note"] for name in FAILING} == {None}
    held = {name: {field: rows[name][field] for field in fields} for name, (_, fields) in FITTING.items()}
    assert held == {name: fields for name, (_, fields) in FITTING.items()}
    assert {rows[name]["read_status"] for name in FITTING} == {"ok"}
    told_of = [rows[name][f"read_{column}"] or "" for name in FITTING for column in ("model", "trace_uuid")]
    assert all(map(str.isprintable, told_of)), told_of
    assert {row["read_status"] for text, row in rows.items() if text.startswith("fine")} == {"ok"}
    assert f"{len(FAILING)} failed" in plain(told)
    assert told.megabytes < harmless.megabytes + 200, (told.megabytes, harmless.megabytes)


def test_what_looks_at_such_a_run_shows_it_and_does_not_obey_it(hostile: RawGateway) -> None:
    write_rows(*(name for name in FAILING if "two gigabytes" not in name), *FITTING)
    on_a_terminal("run", "p.toml", "--concurrency", "16", "--quiet")
    reasons = plain(on_a_terminal("failures", "p.toml"))
    report = plain(on_a_terminal("report", "p.toml"))
    plain(on_a_terminal("status", "p.toml"))
    for said in (reasons, report):
        assert "400 no \\x1b]0;owned\\x07\\x1bc\\x1b[48;2;6;6;6m\\x9b31m" in said
        assert f"400 {MARKUP}" in said
    assert f"model   {MARKUP}" in report, (
        "a model's name is shown as it is spelled, links and colours and all"
    )
    assert "model   \\x1b]0;owned" in report


@pytest.mark.parametrize("code", [401, 403, 400, 500])
def test_a_gateway_that_refuses_everybody_cannot_act_on_the_terminal(here: Path, code: int) -> None:
    hostile = says(code, {"error": {"message": f"{CODES}\nopper-batch: done\n{MARKUP}"}})
    Path("p.toml").write_text(PIPELINE)
    write_rows("one")
    with raw_gateway(lambda asked: hostile) as gateway:
        told = on_a_terminal("run", "p.toml", "--base-url", gateway.url, OPPER_API_KEY=KEY)
    assert told.exit == (3 if code == 500 else 4), told.text[-1000:]
    assert f"{code} \\x1b]0;owned" in plain(told)
    assert not any(line.startswith("opper-batch: done") for line in told.text.splitlines())


def test_a_model_listing_cannot_act_on_the_terminal(here: Path) -> None:
    models = [
        {"id": CODES + "\nfake/model  chat  0 / 0", "type": MARKUP, "pricing": {"input": [10**400, True]}}
    ]
    models += [{"id": "x" * 1_000_000, "retired_at": CODES, "successor": {"a": CODES}}, CODES, None]
    with raw_gateway(lambda asked: says(200, {"models": models, "total": 10**300})) as gateway:
        told = on_a_terminal("models", "--base-url", gateway.url)
    assert told.exit == 0
    assert "\\x1b]0;owned" in plain(told)
    assert not any(line.startswith("fake/model") for line in told.text.splitlines())
    assert max(map(len, told.text.splitlines())) < 400
    assert told.megabytes < 200


def test_large_answers_of_many_rows_are_not_held_together(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """240 MB of answers, each well below the cap of one."""
    large = answer(note="x" * (1 << 20))
    Path("p.toml").write_text(PIPELINE)
    Path("rows.csv").write_text("id,text\n" + "".join(f"{n},text {n}\n" for n in range(240)))
    monkeypatch.setenv("OPPER_API_KEY", KEY)
    with raw_gateway(lambda asked: large) as gateway:
        told = on_a_terminal("run", "p.toml", "--concurrency", "4", "--base-url", gateway.url)
    assert told.exit == 0, told.text[-1000:]
    assert told.megabytes < 450
    for path in Path().glob(".opper_batch/*.ledger*"):
        path.unlink()  # nobody needs to keep as much


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["no answer", "answers"])
def test_five_hundred_large_bodies_at_once_have_a_bounded_part_of_the_memory(
    kind: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 16 MB each: 8 GB that are no answers, then good ones; or 2 GB of answers, which are not published,
    for that is another matter: the last row is told that the budget is spent.
    """
    garbage = Said(200, b"x" * (16 << 20))
    large = answer(note="x" * (15 << 20)) if kind == "answers" else answer()
    rows = 128 if kind == "answers" else 512
    met: set[str] = set()

    def answered(asked: Asked) -> Said:
        if asked.text == f"text {rows - 1}" and kind == "answers":
            return says(402, "no more")
        if kind == "answers" or asked.text in met:
            return large
        met.add(asked.text)
        return garbage

    Path("p.toml").write_text(PIPELINE)
    Path("rows.csv").write_text("id,text\n" + "".join(f"{n},text {n}\n" for n in range(rows)))
    monkeypatch.setenv("OPPER_API_KEY", KEY)
    with raw_gateway(answered) as gateway:
        told = on_a_terminal("run", "p.toml", "--concurrency", "512", "--base-url", gateway.url, seconds=250)
    for path in Path().glob(".opper_batch/*.ledger*"):
        path.unlink()  # nobody needs to keep as much
    assert told.exit == (3 if kind == "answers" else 0), told.text[-1000:]
    print(f"{told.megabytes:.0f} MB")
    assert told.megabytes < 500


def test_a_large_artifact_goes_to_the_disk_and_not_to_memory(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def film() -> Iterator[bytes]:
        yield from repeat(MEGABYTE, 300)

    def answered(asked: Asked) -> Said:
        if asked.path.startswith("/files/"):
            return Said(200, film)
        if asked.method == "GET":
            url = f"http://{asked.headers['host']}/files/film"
            return says(200, {"status": "completed", "url": url, "mime_type": "video/mp4"})
        operations = [{"id": "op-1", "type": "video"}]
        return says(202, {"data": None, "meta": {"pending_operations": operations}})

    Path("p.toml").write_text(PIPELINE.replace("[steps.columns]", '[steps.columns]\nvideo = "VARCHAR"'))
    Path("rows.csv").write_text("id,text\n1,a film\n")
    monkeypatch.setenv("OPPER_API_KEY", KEY)
    with raw_gateway(answered) as gateway:
        told = on_a_terminal("run", "p.toml", "--base-url", gateway.url)
    (made,) = Path("out.parquet.artifacts").iterdir()
    assert made.stat().st_size == 300 << 20
    made.unlink()
    assert told.megabytes < 350
