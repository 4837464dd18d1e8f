"""A gateway that says the key back: it reaches neither outcomes nor the ledger nor what is shown."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
from client_rig import KEY, Rig, Stub, pending, says
from starlette.requests import Request
from starlette.responses import Response

from opper_batch.client import Gateway, Transport
from opper_batch.client.exchange import exchange
from opper_batch.client.offers import offers
from opper_batch.client.transport import Request as Sent
from opper_batch.client.transport import Response as Got
from opper_batch.errors import RunStopped, Unreachable

Rigs = Callable[..., Rig]
COLUMNS = {"note": "VARCHAR"}


def echo(code: int, shape: Callable[[str], object]) -> Callable[[Request], Response]:
    return lambda request: says(code, shape(request.headers["authorization"]))


def everything(client: Rig) -> str:
    tables = ("outcomes", "pending", "templates", "runs")
    return repr([client.rows(f"SELECT * FROM {table}") for table in tables])


def test_a_key_in_a_refusal_is_shown_to_nobody(stub: Stub, rig: Rigs) -> None:
    client = rig(stub.calls(echo(400, lambda said: {"error": f"bad header {said}"})).url)
    outcome = client.ask()
    assert outcome.error == "400 bad header Bearer [key]"
    assert KEY not in repr(outcome) + everything(client)


def test_a_key_in_an_answer_is_taken_out(stub: Stub, rig: Rigs) -> None:
    client = rig(stub.calls(echo(200, lambda said: {"data": {"note": said}})).url, columns=COLUMNS)
    outcome = client.ask()
    assert json.loads(outcome.reply or b"")["data"] == {"note": "Bearer [key]"}
    assert KEY not in repr(outcome) + everything(client)


def test_a_key_in_a_poll_or_in_an_operations_file_is_taken_out(stub: Stub, rig: Rigs) -> None:
    stub.calls(pending("op-1")).on("/f", says(200, {"note": KEY}))
    stub.on(
        "/v3/artifacts/op-1/status",
        says(200, {"status": "completed", "url": f"{stub.url}/f", "mime_type": "application/json"}),
        echo(200, lambda said: {"status": "failed", "error": said}),
    )
    client = rig(stub.url, columns=COLUMNS)
    fine, failed = client.ask_each(1, 2)
    assert fine.ok
    assert failed.error == "operation op-1 failed: Bearer [key]"
    assert KEY not in repr([fine, failed]) + everything(client)


def test_a_key_in_a_refused_listing_is_taken_out(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPPER_API_KEY", KEY)
    stub.on("/v3/models", echo(400, lambda said: {"error": said}))
    with pytest.raises(RunStopped, match=r"\[key\]"):
        offers(stub.url)


def test_a_key_in_what_is_no_http_is_taken_out() -> None:
    class Odd(Transport):
        async def send(self, request: Sent) -> Got:
            raise Unreachable(f"illegal line {request.headers['Authorization']}", paid=True)

    gateway = Gateway.at("http://127.0.0.1:9", key=KEY)
    with pytest.raises(Unreachable) as caught:
        asyncio.run(exchange(gateway, Odd(), Sent("GET", gateway.url("/x"), gateway.headers)))
    assert (caught.value.message, caught.value.paid) == ("illegal line Bearer [key]", True)


@pytest.mark.parametrize("key", ['op/canary"77', "op-canary-77", "a\\b/c/d/e/f"])
def test_a_key_is_found_however_json_writes_it(key: str) -> None:
    gateway = Gateway.at("http://127.0.0.1:9", key=key)
    for written in (key, json.dumps(key), json.dumps(key).replace("/", "\\/")):
        assert b"[key]" in gateway.without_key(written.encode())


def test_a_key_of_a_few_letters_takes_nothing_out() -> None:
    assert Gateway.at("http://127.0.0.1:9", key="a").without_key(b"banana") == b"banana"
