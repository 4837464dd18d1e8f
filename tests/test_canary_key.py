"""The key reaches nobody but the configured origin: every file and word of a hostile run is searched."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import polars
import pytest
from program import KEY, Program
from raw_gateway import Asked, RawGateway, Said, raw_gateway

PIPELINE = """
name = "canary"
[source]
path = "rows.csv"
[[steps]]
name = "read"
input = ["text"]
columns = { note = "VARCHAR", video = { type = "VARCHAR", nullable = true } }
[sink]
path = "out.parquet"
"""

TO_DATABASE = ('path = "out.parquet"', 'duckdb = "notes.duckdb"\ntable = "notes"')

# A pipeline whose reading of answers has a bug, with every log that there is turned on.
BUGGY = """
import logging
import opper_batch as ob
from opper_batch.client import call

logging.basicConfig(level=logging.DEBUG, filename="everything.log")

def broken(status, headers, body):
    raise ZeroDivisionError("a bug of our own")

call.decode = broken
pipeline = ob.Pipeline(
    name="buggy",
    source={"path": "rows.csv"},
    steps=[{"name": "read", "input": ["text"], "columns": {"note": "VARCHAR"}}],
)
"""


def escaped(text: str) -> str:
    """As JSON may also write it, letter by letter."""
    return "".join(f"\\u{ord(letter):04x}" for letter in text)


def partly(text: str) -> str:
    return "".join(f"\\u{ord(c):04X}" if n % 3 == 0 else c for n, c in enumerate(text))


def reply(note: str, code: int = 200, **meta: Any) -> Said:
    """An answer whose note is spelled as JSON by hand."""
    fields = '{"data":{"note":"%s","video":null},"meta":%s}'
    return Said(code, (fields % (note, json.dumps({"cost": 0.001, **meta}))).encode())


def begun(number: int, kind: str = "json") -> Said:
    operations = [{"id": f"op-{number}", "type": kind, "status_url": f"https://evil.example/{KEY}"}]
    return Said(202, json.dumps({"data": None, "meta": {"pending_operations": operations}}).encode())


def error(code: int, said: object, **headers: str) -> Said:
    return Said(code, json.dumps({"error": said}).encode(), headers)


SEEN = f"Bearer {KEY}"
CALLS: dict[str, Said] = {
    "an answer": reply(SEEN),
    "an escaped answer": reply(escaped(KEY)),
    "a partly escaped answer": reply("so " + partly(KEY)),
    "an answer within text": Said(
        200, json.dumps({"data": f'{{"note":"{escaped(KEY)}","video":null}}'}).encode()
    ),
    "an unknown field": Said(200, json.dumps({"data": {"note": "a", KEY: KEY}}).encode()),
    "names": reply("a", models_used=[f"m/{KEY}"], trace_uuid=KEY, function_name=KEY),
    "a bad answer": Said(200, json.dumps({"data": {"note": 5, "video": KEY}}).encode()),
    "cut json": Said(200, f'{{"data": {{"note": "{KEY}'.encode()),
    "a page": Said(200, f"<html>{KEY}</html>".encode()),
    "a refusal": error(400, f"bad header Authorization: {SEEN}"),
    "an escaped refusal": Said(422, f'{{"error": {{"message": "{escaped(SEEN)}"}}}}'.encode()),
    "a refusal in text": Said(404, f"Authorization: {SEEN}".encode()),
    "a redirect": error(307, SEEN, Location=f"https://evil.example/{KEY}"),
    "a failure": error(500, {"message": SEEN}, **{"Retry-After": "0"}),
    "headers": Said(400, b"{}", {"X-Echo": SEEN, "Retry-After": KEY, "Set-Cookie": f"k={KEY}", KEY: KEY}),
    "an operation": Said(
        202, json.dumps({"data": None, "meta": {"pending_operations": [{"id": KEY, "type": KEY}]}}).encode()
    ),
    "json made": begun(1),
    "a file made": begun(2, "video"),
    "a failed operation": begun(3),
    "a redirected file": begun(4),
    "a file in another place": begun(5, KEY),
}


@pytest.fixture
def gateway(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RawGateway]:
    def answered(asked: Asked) -> Said:
        origin = "http://" + asked.headers["host"]
        if asked.path.startswith("/files/"):
            return FILES[asked.path]
        if asked.path.startswith("/v3/artifacts/"):
            return poll(asked.path.split("/")[3], origin)
        if asked.path.startswith("/v3/models"):
            return error(400, SEEN)
        if asked.text == "everything is refused":
            return error(401, f"wrong key {KEY}")
        return CALLS.get(asked.text, reply("fine"))

    with raw_gateway(answered) as gateway:
        monkeypatch.setenv("OPPER_API_KEY", KEY)
        monkeypatch.setenv("OPPER_BASE_URL", gateway.url)
        Path("p.toml").write_text(PIPELINE)
        Path("db.toml").write_text(PIPELINE.replace(*TO_DATABASE))
        Path("buggy.py").write_text(BUGGY)
        yield gateway


FILES = {
    "/files/op-1": Said(200, f'{{"note": "{escaped(KEY)}", "video": null}}'.encode()),
    "/files/op-2": Said(200, b"film", {"Content-Type": f"video/{KEY}"}),
    "/files/op-4": Said(302, b"", {"Location": f"https://evil.example/{KEY}"}),
    "/files/op-5": Said(200, b"film", {"Content-Disposition": f"attachment; filename={KEY}"}),
}


def poll(operation: str, origin: str) -> Said:
    if operation == "op-3":
        return Said(200, json.dumps({"status": "failed", "error": SEEN}).encode())
    completed = {"status": "completed", "url": f"{origin}/files/{operation}", "id": KEY, "note": SEEN}
    if operation == "op-1":
        completed["mime_type"] = "application/json"
    return Said(200, json.dumps(completed).encode())


def write_rows(*texts: str) -> None:
    Path("rows.csv").write_text("text\n" + "".join(f"{text}\n" for text in texts))


def everything_in(path: Path) -> str:
    """A file's bytes, and what stands in them where they are packed or paged."""
    held = path.read_bytes().decode("latin-1")
    if path.suffix == ".parquet":
        return held + repr(polars.read_parquet(path).rows())
    if path.suffix == ".duckdb":
        with duckdb.connect(str(path)) as database:
            return held + repr(database.sql("FROM notes").fetchall())
    if path.suffix == ".ledger":
        with sqlite3.connect(path) as ledger:
            tables = [
                name for (name,) in ledger.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
            ]
            return held + repr([ledger.execute(f'SELECT * FROM "{name}"').fetchall() for name in tables])
    return held


def kill_in_the_middle(program: Program, gateway: RawGateway) -> None:
    """What a run leaves that could not clean up: its write-ahead log, and what it was about to write."""
    before = len(gateway.asked)
    running = program.start("run", "p.toml", "--refresh", "--quiet", "--concurrency", "4")
    while len(gateway.asked) < before + 60:
        assert running.poll() is None, running.communicate()
        time.sleep(0.01)
    running.kill()
    running.communicate()


def leaks(said: str) -> list[str]:
    """The spellings of the key that are in ``said``."""
    spellings = {KEY, KEY.upper(), escaped(KEY), escaped(KEY).upper(), partly(KEY), KEY[3:]}
    return [spelling for spelling in spellings if spelling in said]


def test_the_key_is_in_nothing_that_a_run_prints_or_leaves(gateway: RawGateway, program: Program) -> None:
    said: list[subprocess.CompletedProcess[str]] = []

    def tell(*arguments: str) -> subprocess.CompletedProcess[str]:
        said.append(program(*arguments))
        return said[-1]

    write_rows("fine", *CALLS, "fine too")
    assert tell("run", "p.toml").returncode == 1, said[-1].stderr
    tell("run", "p.toml", "--json", "--no-retry-failed")
    for looking in ("plan", "status", "report", "failures", "models"):
        tell(looking, *([] if looking == "models" else ["p.toml"]))
    for looking in ("plan", "status"):
        tell(looking, "p.toml", "--json")
    tell("report", "p.toml", "--format", "json")
    for sink in (["p.toml", "--sink", "out.csv"], ["p.toml", "--sink", "out.jsonl"], ["db.toml"]):
        assert tell("export", *sink).returncode == 0, said[-1].stderr
    write_rows("everything is refused")
    assert tell("run", "p.toml").returncode == 4
    write_rows("fine")
    assert "ZeroDivisionError: a bug of our own" in tell("run", "buggy.py").stderr

    write_rows(*CALLS, *map(str, range(200)))
    kill_in_the_middle(program, gateway)

    assert any(KEY in repr(asked) for asked in gateway.asked), "the configured origin gets it"
    assert not any(KEY in repr(asked) for asked in gateway.asked if asked.path.startswith("/files/"))
    for ended in said:
        assert not leaks(ended.stdout + ended.stderr), ended.args
    files = [path for path in Path().rglob("*") if path.is_file()]
    assert {".parquet", ".duckdb", ".csv", ".jsonl", ".ledger", ".ledger-wal", ".log", ".bin"} <= {
        path.suffix for path in files
    }
    assert {str(path): found for path in files if (found := leaks(everything_in(path) + str(path)))} == {}
    assert "Bearer [key]" in everything_in(Path("out.csv")), "it was echoed, and taken out"
