"""The command line as a person and a scheduler meet it: what it prints, where, and its exit codes."""

from __future__ import annotations

import csv
import io
import json
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import polars
import pytest
from program import KEY, PROGRAM, Program

from opper_batch.sandbox import Sandbox, Script

TRIAGE = "pipelines/ticket_triage.toml"
MINIMAL = """
name = "tags"
[source]
path = "rows.csv"
[[steps]]
name = "tag"
input = ["text"]
[steps.columns]
tag = ["a", "b", "c"]
[sink]
path = "out/tags.parquet"
"""


@pytest.fixture
def tags(here: Path) -> str:
    Path("rows.csv").write_text("id,text\n" + "".join(f"{n},matter {n}\n" for n in range(60)))
    Path("tags.toml").write_text(MINIMAL)
    return "tags.toml"


def test_the_newcomers_command_works_and_tells_what_it_did(examples: Path, program: Program) -> None:
    running = program.start("run", TRIAGE, "--sandbox")
    out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    assert "240 ok, 0 failed" in out
    assert "synthetic" in out
    assert polars.read_parquet("out/tickets.sandbox.parquet").height == 240
    assert program.json("run", TRIAGE, "--sandbox")["calls"] == 0


def test_json_is_one_object_with_the_promised_keys_on_the_last_line(tags: str, program: Program) -> None:
    said = program.json("run", tags, "--sandbox")
    promised = (
        "run_id rows ok failed skipped cached folded calls retries throttled cost input_tokens output_tokens"
    )
    assert set(promised.split()) | {"seconds", "output", "exit"} <= set(said)
    assert (said["rows"], said["ok"], said["calls"]) == (60, 60, 60)


def test_without_a_key_it_says_both_ways_on(tags: str, program: Program) -> None:
    ended = program("run", tags)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "OPPER_API_KEY" in ended.stderr
    assert "--sandbox" in ended.stderr
    assert ended.stdout == ""


def test_plan_sends_nothing_and_writes_nothing(
    tags: str, program: Program, gateway: Callable[..., Sandbox]
) -> None:
    sandbox = gateway()
    ended = program("plan", tags)
    assert "60 new" in ended.stdout
    assert "60 calls" in ended.stdout
    assert '"matter 0"' in ended.stdout
    assert '"additionalProperties": false' in ended.stdout
    assert len(sandbox.journal.records) == 0
    assert sorted(path.name for path in Path().iterdir()) == ["rows.csv", "tags.toml"]

    program("run", tags, "--limit", "20", "--quiet")
    said = json.loads(program("plan", tags, "--json").stdout)
    assert (said["rows"], said["calls"], said["steps"][0]["known"]) == (60, 40, 20)
    assert said["cost"]["high"] >= said["cost"]["expected"] >= said["cost"]["low"] > 0


def test_status_report_and_failures_tell_of_the_latest_run(
    tags: str, program: Program, gateway: Callable[..., Sandbox]
) -> None:
    gateway(schema_breaking=0.2, seed=1)
    said = program.json("run", tags)
    assert said["exit"] == 1
    failed = int(str(said["failed"]))
    assert failed > 0

    status = json.loads(program("status", tags, "--json").stdout)
    assert (status["ok"], status["failed"]) == (60 - failed, failed)
    assert (status["rows"], status["done"], status["left"]) == (60, 60, 0)
    assert status["state"] == f"done, {failed} rows failed"
    assert "tags: run 1" in program("status").stdout

    report = json.loads(program("report", tags, "--format", "json").stdout)
    assert report["failed"] == failed
    assert sum(times for _, times in report["failures"]) == failed
    assert set(report["latency_ms"]) == {"p50", "p95", "p99", "max"}
    assert "latency" in program("report", tags).stdout

    rows = list(csv.DictReader(io.StringIO(program("failures", tags).stdout)))
    assert len(rows) == failed
    assert all("does not fit" in row["reason"] for row in rows)
    assert program("run", tags, "--no-retry-failed", "--max-failed", str(failed)).returncode == 0
    assert program("run", tags, "--no-retry-failed", "--max-failed", "50%").returncode == 0


def test_export_writes_what_is_known_at_any_time(
    tags: str, program: Program, gateway: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway()
    program("run", tags, "--limit", "20", "--quiet")
    monkeypatch.delenv("OPPER_API_KEY")
    monkeypatch.delenv("OPPER_BASE_URL")
    ended = program("export", tags, "--sink", "so_far.csv")
    assert "60 rows, 20 ok, 0 failed, 40 skipped" in ended.stdout
    frame = polars.read_csv("so_far.csv")
    assert frame["tag_status"].to_list() == ["ok"] * 20 + ["skipped"] * 40
    assert set(frame["tag_error"][20:]) == {"not asked yet; run the pipeline to fill it"}


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        ({"reject_key": "string"}, 4, "refuses the key"),
        ({"bad_request": 1.0}, 4, "nothing else was sent"),
        ({"budget": 0.00005}, 3, "run again when it is lifted"),
        ({"failed": 1.0}, 3, "fails at every call"),
        ({"throttled": 1.0, "retry_after": 3600.0}, 3, "asks to wait 3600 s"),
    ],
)
def test_what_stops_a_run_has_its_exit_code_and_one_sentence(
    script: dict[str, object],
    code: int,
    words: str,
    tags: str,
    program: Program,
    gateway: Callable[..., Sandbox],
) -> None:
    gateway(**script)
    ended = program("run", tags, "--quiet")
    assert ended.returncode == code
    assert words in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not Path("out/tags.parquet").exists()


def test_a_run_stopped_by_its_budget_goes_on_with_a_higher_one(
    tags: str, program: Program, gateway: Callable[..., Sandbox]
) -> None:
    sandbox = gateway()
    whole = program.json("run", tags, "--state-dir", "elsewhere")["cost"]
    cap = float(str(whole)) / 2
    calls = len(sandbox.journal.calls)
    assert program.json("run", tags, "--max-cost", str(cap))["exit"] == 3
    spent = sum(record.cost or 0.0 for record in sandbox.journal.calls[calls:])
    assert 0.5 * cap < spent <= cap
    assert program.json("run", tags, "--max-cost", str(cap))["exit"] == 3, "what was spent counts"
    assert sum(record.cost or 0.0 for record in sandbox.journal.calls[calls:]) <= cap
    assert program.json("run", tags)["ok"] == 60
    assert len(sandbox.journal.calls) == 120, "nothing was asked twice"


def test_a_deadline_stops_sending_and_keeps_what_came(
    tags: str, program: Program, gateway: Callable[..., Sandbox]
) -> None:
    gateway(latency=0.2)
    said = program.json("run", tags, "--concurrency", "4", "--deadline", "1s")
    assert said["exit"] == 3
    assert 0 < int(str(said["calls"])) < 60
    assert program.json("run", tags)["ok"] == 60


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_drains_commits_and_says_so(
    number: int, code: int, tags: str, program: Program, gateway: Callable[..., Sandbox]
) -> None:
    sandbox = gateway(latency=0.3)
    running = program.start("run", tags, "--concurrency", "8", "--json")
    while len(sandbox.journal.calls) < 16:
        time.sleep(0.02)
    running.send_signal(number)
    out, err = running.communicate(timeout=30)
    assert running.returncode == code
    assert re.search(
        r"tags: stopping: nothing more is sent, \d calls? in flight may end within 20 s; Ctrl-C", err
    )
    assert "run again to go on" in err
    said = json.loads(out.splitlines()[-1])
    assert said["exit"] == code
    assert said["in_doubt"] == 0, "what was in flight came home"
    asked = len(sandbox.journal.calls)
    assert said["calls"] == asked
    assert program.json("run", tags)["calls"] == 60 - asked


def test_a_second_run_at_once_is_told_who_runs(
    tags: str, program: Program, gateway: Callable[..., Sandbox]
) -> None:
    sandbox = gateway(latency=1.0)
    running = program.start("run", tags, "--quiet")
    while not len(sandbox.journal.calls):
        time.sleep(0.02)
    second = program("run", tags)
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=30)
    assert second.returncode == 5
    assert f"process {running.pid}" in second.stderr


def test_a_closed_stdout_loses_nothing(tags: str, program: Program, gateway: Callable[..., Sandbox]) -> None:
    gateway()
    with program.start("run", tags) as running:
        assert running.stdout
        running.stdout.close()
        assert running.wait(timeout=30) == 0
    assert polars.read_parquet("out/tags.parquet").height == 60


def test_models_lists_what_the_gateway_offers(program: Program, gateway: Callable[..., Sandbox]) -> None:
    gateway()
    ended = program("models", "--search", "gpt-4o-mini")
    assert "openai/gpt-4o-mini" in ended.stdout
    everything = json.loads(program("models", "--json").stdout)
    assert len(everything) > 50, "every page is read"


def test_the_sandbox_serves_until_it_is_told_to_stop(
    tags: str, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving = program.start("sandbox", "--latency", "0.01", "--journal", "journal.jsonl", "--set", "seed=4")
    assert serving.stdout
    url = next(word for line in serving.stdout for word in line.split() if word.startswith("http://"))
    monkeypatch.setenv("OPPER_API_KEY", KEY)
    ended = program("run", tags, "--base-url", url)
    serving.send_signal(signal.SIGINT)
    serving.communicate(timeout=10)
    assert ended.returncode == 0, ended.stderr
    assert serving.returncode == 0
    asked = [json.loads(line) for line in Path("journal.jsonl").read_text().splitlines()]
    assert len([record for record in asked if record["path"] == "/v3/call"]) == 60
    assert KEY not in Path("journal.jsonl").read_text()


def test_a_users_mistake_is_one_sentence_and_exit_2(tags: str, program: Program) -> None:
    Path("wrong.toml").write_text(MINIMAL.replace("input =", "inputs ="))
    Path("ragged.csv").write_text("id,text\n1,a\n2\n")
    mistakes = {
        ("run", "nowhere.toml"): "no pipeline file at nowhere.toml",
        ("run", "wrong.toml", "--sandbox"): "did you mean 'input'",
        ("run", tags, "--sandbox", "--source", "ragged.csv"): "row 2",
        ("run", tags, "--sandbox", "--source", "*.parquet"): "*.parquet",
        ("run", tags, "--sandbox", "--max-failed", "many"): "max_failed",
        ("run", tags, "--sandbox", "--base-url", "http://api.opper.ai", "--deadline", "soon"): "soon",
        ("run", tags, "--sandbox", "--sink", "out.xlsx"): ".xlsx",
        ("sandbox", "--set", "latenzy=1"): "latency",
        ("report", tags): "no finished run",
        ("status", tags): "has not run yet",
    }
    for arguments, words in mistakes.items():
        ended = program(*arguments)
        assert ended.returncode == 2, (arguments, ended.stderr)
        assert words in ended.stderr, (arguments, ended.stderr)
        assert "Traceback" not in ended.stderr


def test_who_looks_for_a_real_run_is_shown_the_way_to_the_sandboxs(tags: str, program: Program) -> None:
    assert "--sandbox" not in program("status", tags).stderr
    program("run", tags, "--sandbox", "--limit", "3")
    for command in ("status", "report", "failures", "export"):
        assert "; on the sandbox it has: add --sandbox" in program(command, tags).stderr
    assert program("status", tags, "--sandbox").returncode == 0
    assert program("failures", tags, "--sandbox").stderr == "no row has failed\n"


def test_the_key_is_in_no_file_and_no_output(
    tags: str, program: Program, gateway: Callable[..., Sandbox]
) -> None:
    gateway(failed=0.1, dropped=0.1, pending=0.2, malformed=0.1)
    ended = program("run", tags)
    said = ended.stdout + ended.stderr + program("status", tags).stdout + program("report", tags).stdout
    assert KEY not in said
    files = [path for path in Path().rglob("*") if path.is_file()]
    assert any(path.suffix == ".ledger" for path in files)
    for path in files:
        assert KEY.encode() not in path.read_bytes(), path


def test_every_way_of_ending_prints_the_object_that_json_asks_for(tags: str, program: Program) -> None:
    keys = set(program.json("run", tags, "--sandbox"))
    for arguments in ([tags], ["nowhere.toml"], [tags, "--max-cost", "abc"], [tags, "--nonsense"]):
        said = program.json("run", *arguments)
        assert set(said) == keys
        assert (said["exit"], said["run_id"], said["rows"]) == (2, None, None)
        assert said["stopped"]


def test_an_interrupt_before_the_first_call_has_its_exit_code_too(here: Path, program: Program) -> None:
    Path("tags.toml").write_text(MINIMAL)
    with Path("rows.csv").open("w") as file:
        file.write("id,text\n")
        file.writelines(f"{number},matter {number}\n" for number in range(3_000_000))
    running = program.start("run", "tags.toml", "--sandbox", "--json")
    until_it_reads("rows.csv", running.pid)
    running.send_signal(signal.SIGTERM)
    out, err = running.communicate(timeout=30)
    assert running.returncode == 143
    assert json.loads(out.splitlines()[-1])["exit"] == 143
    assert err.strip() == "opper-batch: interrupted"


def until_it_reads(name: str, pid: int) -> None:
    """Wait until the process has the file open, as far as this system tells."""
    files = Path(f"/proc/{pid}/fd")
    if not files.exists():
        time.sleep(1.0)
    while files.exists() and not any(is_file(link, name) for link in files.iterdir()):
        time.sleep(0.01)


def is_file(link: Path, name: str) -> bool:
    try:
        return link.readlink().name == name
    except OSError:  # it was closed meanwhile
        return False


def test_quiet_still_says_what_is_wrong(tags: str, program: Program, gateway: Callable[..., Sandbox]) -> None:
    gateway(schema_breaking=0.3, seed=1)
    ended = program("run", tags, "--quiet")
    assert ended.returncode == 1
    assert "failed" in ended.stderr
    assert ended.stdout == ""


def test_status_tells_a_live_run_from_a_killed_one(
    tags: str, program: Program, gateway: Callable[..., Sandbox]
) -> None:
    sandbox = gateway(latency=1.0)
    running = program.start("run", tags, "--quiet", "--concurrency", "4")
    while len(sandbox.journal.calls) < 5:
        time.sleep(0.02)
    assert json.loads(program("status", tags, "--json").stdout)["state"] == "running"
    running.kill()
    running.communicate()
    status = json.loads(program("status", tags, "--json").stdout)
    assert status["state"] == "was killed; run again to go on"
    assert status["in_doubt"] == 4


def test_gateway_text_cannot_act_on_a_terminal_or_a_spreadsheet(here: Path, program: Program) -> None:
    Path("tags.toml").write_text(MINIMAL.replace('path = "rows.csv"', 'path = "rows.csv"\nkey = ["id"]'))
    Path("rows.csv").write_text("id,text\n=1+1|cmd,a\n\x1b[31mred,b\n")
    with Sandbox(Script(schema_breaking=1.0)) as broken:
        environment = {"OPPER_API_KEY": KEY, "OPPER_BASE_URL": broken.url}
        running = program.start("run", "tags.toml", "--quiet", **environment)
        running.communicate(timeout=30)
    said = program("failures", "tags.toml").stdout
    assert "'=1+1|cmd" in said
    assert "\x1b" not in said
    assert len(said.splitlines()) == 3


@pytest.mark.parametrize("stream", [">", "2>", ">&"])
def test_where_nothing_can_be_written_the_exit_code_still_tells(here: Path, stream: str) -> None:
    command = f"{PROGRAM} run nowhere.toml --json {stream}/dev/full"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
