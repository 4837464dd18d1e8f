from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from sandbox_asking import TICKET, Asker

from opper_batch.errors import DefinitionError, MachineError
from opper_batch.sandbox import Sandbox, Script, input_digest


def test_it_starts_and_stops_at_once_and_twice_is_fine() -> None:
    began = time.monotonic()
    sandbox = Sandbox()
    with sandbox:
        started = time.monotonic()
        assert httpx.get(sandbox.url + "/health").json() == {"status": "ok"}
        asked = time.monotonic()
    assert started - began < 1.0
    assert time.monotonic() - asked < 1.5
    sandbox.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(sandbox.url + "/health")


def test_stopping_does_not_wait_for_calls_under_way() -> None:
    errors: list[Exception] = []

    def ask(url: str) -> None:
        try:
            httpx.post(
                url + "/v3/call", json={"name": "f", "input": 1}, headers={"Authorization": "Bearer k"}
            )
        except httpx.TransportError as error:
            errors.append(error)

    with Sandbox(Script(latency=60.0)) as sandbox:
        asking = threading.Thread(target=ask, args=(sandbox.url,))
        asking.start()
        time.sleep(0.5)  # it has arrived by then
        began = time.monotonic()
    assert time.monotonic() - began < 2.0
    asking.join(5)
    assert len(errors) == 1
    (record,) = sandbox.journal
    assert (record.status, record.paid) == (0, False)


def test_a_sandbox_that_was_never_started_can_be_stopped() -> None:
    Sandbox().stop()


def test_several_run_side_by_side() -> None:
    with Sandbox() as one, Sandbox(Script(budget=0.0)) as other:
        assert one.url != other.url
        for sandbox, status in ((one, 200), (other, 402), (one, 200)):
            asker = Asker(sandbox)
            assert asker.call().status_code == status
            asker.http.close()


def test_a_port_in_use_is_a_sentence() -> None:
    with Sandbox() as sandbox:
        port = int(sandbox.url.rpartition(":")[2])
        with pytest.raises(
            MachineError, match=rf"cannot listen on 127\.0\.0\.1:{port} .*choose another port"
        ):
            Sandbox(port=port)


def test_a_port_that_is_none_is_a_sentence() -> None:
    with pytest.raises(MachineError, match="cannot listen"):
        Sandbox(port=70_000)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.com", ""])
def test_only_loopback_is_served(host: str) -> None:
    with pytest.raises(DefinitionError, match=r"this machine only"):
        Sandbox(host=host)


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_loopback_has_other_names_too() -> None:
    with Sandbox(host="127.0.0.2") as sandbox:
        assert httpx.get(sandbox.url + "/health").status_code == 200


def test_replies_are_not_held_back_by_small_packets() -> None:
    with Sandbox() as sandbox:
        asker = Asker(sandbox)
        began = time.monotonic()
        asker.statuses(50)
        # A delayed acknowledgement takes 40 ms, so that 50 calls would take two seconds.
        assert time.monotonic() - began < 1.5
        asker.http.close()


def test_the_journal_tells_what_was_asked_and_never_the_key(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Sandbox(journal_path=path) as sandbox:
        asker = Asker(sandbox)
        asker.call({"b": 1, "a": [1.5, "ü"]}, output_schema=TICKET)
        asker.http.post("/v3/functions/a%2Fb/call?x=1", json={"input": 1})
        asker.http.get("/v3/models")
        told = asker.http.get("/sandbox/journal").json()
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        asker.http.close()
    assert told["records"] == lines
    assert (told["requests"], told["paid"], told["in_flight_high_water"]) == (3, 2, 1)
    call, named, models = sandbox.journal.records
    assert call.input_digest == input_digest({"b": 1, "a": [1.5, "ü"]})
    assert call.input_digest != input_digest({"a": [1.5, "ü"], "b": 1})
    assert (call.method, call.path, call.status, call.function, call.paid) == (
        "POST",
        "/v3/call",
        200,
        "triage",
        True,
    )
    assert call.arrived <= call.answered <= time.time()
    assert "authorization" in call.headers
    assert (named.path, named.function) == ("/v3/functions/a%2Fb/call", "a/b")
    assert (models.input_digest, models.paid, models.is_call) == (None, False, False)
    assert sandbox.journal.calls == (call, named)
    assert len(sandbox.journal) == 3
    assert "secret-key" not in path.read_text()
    assert "secret-key" not in json.dumps(told)


def test_the_journal_in_memory_is_bounded_and_its_totals_are_not() -> None:
    with Sandbox(journal_limit=5) as sandbox:
        asker = Asker(sandbox)
        asker.statuses(8)
        assert [record.number for record in sandbox.journal] == [4, 5, 6, 7, 8]
        assert (sandbox.journal.requests, sandbox.journal.paid) == (8, 8)
        told = asker.http.get("/sandbox/journal", params={"last": 2}).json()
        assert [record["number"] for record in told["records"]] == [7, 8]
        assert asker.http.get("/sandbox/journal", params={"last": "x"}).status_code == 400
        asker.http.close()


def test_a_journal_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"journal .* cannot be written"):
        Sandbox(journal_path=tmp_path / "none" / "journal.jsonl")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_the_foreground_it_serves_until_a_signal_and_returns(tmp_path: Path, number: int) -> None:
    journal = tmp_path / "journal.jsonl"
    code = (
        "import sys; from opper_batch.sandbox import Script, serve;"
        "serve(Script(), 0, sys.argv[1], lambda text: print(text, flush=True)); print('returned')"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "error", "-c", code, str(journal)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as server:
        assert server.stdout is not None
        said = server.stdout.readline() + server.stdout.readline()
        assert "synthetic" in said
        url = said.partition("OPPER_BASE_URL=")[2].partition(",")[0]
        assert httpx.get(url + "/health").status_code == 200
        server.send_signal(number)
        rest, errors = server.communicate(timeout=10)
    assert (server.returncode, rest, errors) == (0, "returned\n", "")
    assert json.loads(journal.read_text())["path"] == "/health"
