"""Runs that are killed, and the judge of what became of them: gateway's journal and ledger's tables."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet

import opper_batch as ob
from opper_batch.protocol import digest_of
from opper_batch.runs.options import Options
from opper_batch.runs.setting import resolve
from opper_batch.sandbox import Sandbox

IN_FLIGHT = 8
PIPELINE = """
name = "killed"
[source]
path = "rows.csv"
key = ["id"]
[[steps]]
name = "tag"
instructions = "Tag the text."
input = ["text"]
[steps.columns]
tag = ["a", "b", "c"]
[limits]
concurrency = {in_flight}
[sink]
{sink}
"""
PARQUET = 'path = "out.parquet"'
PARTS = 'path = "out/"'
APPENDED = 'duckdb = "out.duckdb"\ntable = "tags"\nmode = "append"'


Disk = Callable[..., Path]


class Starter:
    """Starts the command line by forking a process that has imported it already."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("starter.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, *arguments: str, said: Path = Path(), **environment: str) -> Started:
        """A run in the working directory; ``environment`` is beside this process's own.

        What it says goes to files in ``said``.
        """
        out, err = said / "said.out", said / "said.err"
        request = {
            "arguments": arguments,
            "environment": {**os.environ, **environment},
            "folder": os.getcwd(),
            "out": str(out),
            "err": str(err),
        }
        for file in (out, err):
            file.unlink(missing_ok=True)
        return Started(int(self._asked(request)), self, said)

    def exit_code(self, number: int, *, hang: bool) -> int | None:
        code: int | None = self._asked({"wait": number, "hang": hang})
        return code

    def stop(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(10)

    def _asked(self, request: dict[str, Any]) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@dataclass
class Started:
    """A process of the command line."""

    number: int
    starter: Starter
    _folder: Path
    _code: int | None = None

    @property
    def over(self) -> bool:
        if self._code is None:
            self._code = self.starter.exit_code(self.number, hang=False)
        return self._code is not None

    def wait(self) -> int:
        """Its exit code, negative for the signal that killed it."""
        if self._code is None:
            self._code = self.starter.exit_code(self.number, hang=True)
        assert self._code is not None
        return self._code

    def send(self, number: signal.Signals) -> None:
        if not self.over:
            os.kill(self.number, number)

    def killed(self) -> bool:
        """Kill it now; whether it still lived."""
        self.send(signal.SIGKILL)
        return self.wait() == -signal.SIGKILL

    @property
    def out(self) -> str:
        return (self._folder / "said.out").read_text()

    @property
    def err(self) -> str:
        return (self._folder / "said.err").read_text()

    @property
    def said(self) -> dict[str, Any]:
        """The object that ``--json`` prints last."""
        found: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return found


@dataclass(frozen=True)
class Held:
    """What a ledger held, by the gateway's digest of each call's input; read without the product."""

    answered: dict[str, str | None] = field(default_factory=dict)  # with the answer's trace
    pending: frozenset[str] = frozenset()
    in_doubt: tuple[str, ...] = ()  # an input once for each run that may have paid for it


class Case:
    """A pipeline of ``rows`` rows in the working directory, run against ``sandbox`` and killed.

    ``begin`` is to be called before every start; ``check`` afterwards, when all processes are gone.
    """

    def __init__(
        self, sandbox: Sandbox, rows: int, *, sink: str = PARQUET, in_flight: int = IN_FLIGHT
    ) -> None:
        self.sandbox, self.rows, self.in_flight, self._sink = sandbox, rows, in_flight, sink
        Path("rows.csv").write_text("id,text\n" + "".join(f"{n},matter {n}\n" for n in range(rows)))
        Path("killed.toml").write_text(PIPELINE.format(in_flight=in_flight, sink=sink))
        self.ledger = Path(".opper_batch/killed.ledger")
        self._digests = _digests(ob.load("killed.toml"))
        self._starts: list[tuple[float, Held]] = []

    def begin(self) -> Held:
        """A run is about to start; what the ledger holds now must not be asked again."""
        held = self.held()
        self._starts.append((time.time(), held))
        return held

    def held(self) -> Held:
        if not self.ledger.exists() or not self.ledger.stat().st_size:
            return Held()
        with closing(sqlite3.connect(f"{self.ledger.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            if not connection.execute("SELECT count(*) FROM sqlite_master WHERE name='totals'").fetchone()[0]:
                return Held()
            connection.execute("BEGIN")
            read = lambda text: connection.execute(text).fetchall()  # noqa: E731
            answered = read("SELECT key, trace FROM outcomes WHERE ok AND final")
            pending = read("SELECT key FROM pending")
            in_doubt = read(
                "SELECT key FROM intents WHERE run > (SELECT coalesce(max(id), 0) FROM runs WHERE published)"
            )
        return Held(
            {self._digests[key]: trace for key, trace in answered},
            frozenset(self._digests[key] for (key,) in pending),
            tuple(self._digests[key] for (key,) in in_doubt),
        )

    def check_after_kill(self) -> Held:
        """Whatever has arrived at the gateway is known to the ledger, if only as possibly paid."""
        held = self.held()
        known = {*held.answered, *held.pending, *held.in_doubt}
        assert {digest for _, digest in self.asked()} <= known
        return held

    def check(self, *, faultless: bool = True) -> None:
        """All rows are there, once, in order, with the answers that were durable first; and nothing durable
        was asked again. Of a ``faultless`` gateway nothing was asked again but what was in flight at a kill;
        of another one calls are, and those that wait for it hold no place.
        """
        asked = self.asked()
        ends = [began for began, _ in self._starts[1:]] + [float("inf")]
        doubtful, doubts = set[str](), 0
        for (began, held), ended in zip(self._starts, ends, strict=True):
            here = {digest for arrived, digest in asked if began <= arrived < ended}
            assert not here & held.answered.keys(), "asked again, though the answer was durable"
            assert not here & held.pending, "posted again, though the 202 was durable"
            assert len(held.in_doubt) - doubts <= self.in_flight or not faultless
            doubtful, doubts = doubtful | set(held.in_doubt), len(held.in_doubt)
        self.check_output()
        times = Counter(digest for _, digest in asked)
        again = {digest for digest, number in times.items() if number > 1}
        assert again <= doubtful or not faultless, "asked again, though it was not in flight at a kill"
        assert times.keys() == set(self._digests.values())

    def check_output(self) -> None:
        table = self.output()
        assert table["id"].to_pylist() == [str(number) for number in range(self.rows)]
        assert set(table["tag_status"].to_pylist()) == {"ok"}
        traces = dict(zip(table["tag_key"].to_pylist(), table["tag_trace_uuid"].to_pylist(), strict=True))
        traces_by_input = {self._digests[bytes.fromhex(key)]: trace for key, trace in traces.items()}
        for _, held in self._starts:
            assert held.answered.items() <= traces_by_input.items(), "an answer was replaced"

    def output(self) -> pa.Table:
        if self._sink == PARQUET:
            return pyarrow.parquet.read_table("out.parquet")
        if self._sink == PARTS:
            named = json.loads(Path("out/_manifest.json").read_text())["parts"]
            return pa.concat_tables(pyarrow.parquet.read_table(f"out/{part['name']}") for part in named)
        with duckdb.connect("out.duckdb", read_only=True) as connection:
            return connection.sql("FROM tags ORDER BY CAST(id AS BIGINT)").to_arrow_table()

    @property
    def requests(self) -> int:
        """How many the gateway has answered, polls included and spans not."""
        return sum(not record.path.startswith("/v3/spans") for record in self.sandbox.journal)

    def asked(self) -> list[tuple[float, str]]:
        """When each call arrived, and its input's digest."""
        records = self.sandbox.journal.calls
        return [(record.arrived, record.input_digest) for record in records if record.input_digest]


def until(happened: Callable[[], bool], *, seconds: float = 30) -> None:
    ends = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < ends, f"waited {seconds:g} s in vain"
        time.sleep(0.005)


@contextmanager
def starting() -> Iterator[Starter]:
    starter = Starter()
    try:
        yield starter
    finally:
        starter.stop()


@contextmanager
def small_disks(folder: Path) -> Iterator[Disk]:
    """Mounts small disks there: ``disk("out", "64k")``; PermissionError where that is not permitted."""
    mounted: list[Path] = []

    def mount(name: str, size: str, *options: str) -> Path:
        place = folder / name
        place.mkdir(exist_ok=True)
        settings = ",".join([f"size={size}", "mode=0700", *options])
        command = ["mount", "-t", "tmpfs", "-o", settings, "tmpfs", str(place)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
            raise PermissionError("mounting a small disk is not permitted here")
        mounted.append(place)
        return place

    try:
        yield mount
    finally:
        for place in mounted:
            subprocess.run(["umount", "-l", place], check=True)


def filled(folder: Path) -> Path:
    """A file that takes all the room that is left."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (2**20, 2**12, 1):
            with suppress(OSError):
                while file.write(b"x" * size) == size:
                    pass
    return filler


def _digests(pipeline: ob.Pipeline) -> dict[bytes, str]:
    """For each call's key in the ledger, the digest of its input in the gateway's journal."""
    setting = resolve(pipeline, Options())
    with setting.view() as view:
        return {
            call.key: digest_of(call.input).hex()
            for projected in setting.projected((), view)
            for call in projected.questions(setting.steps[0])
            if call
        }
