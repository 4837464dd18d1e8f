"""Bodies that never end, and bodies that spell the key in ways of their own."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable

import pytest
from client_rig import Rig, Stub, ok, pending, status
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from opper_batch.client import Gateway
from opper_batch.client.artifacts import Polling

Rigs = Callable[..., Rig]

POLL = "/v3/artifacts/op-1/status"


def dripping(request: Request) -> Response:
    """A space every 10 ms, for ever: each is JSON so far, and comes well before any wait for it is over."""

    async def drops() -> AsyncIterator[bytes]:
        yield b'{"data": '
        while True:
            yield b" "
            await asyncio.sleep(0.01)

    return StreamingResponse(drops(), media_type="application/json")


def test_an_answer_that_never_ends_fails_its_row_alone_in_the_time_it_has(stub: Stub, rig: Rigs) -> None:
    client = rig(stub.calls(dripping, dripping, dripping, ok()).url, seconds=0.3)
    began = time.monotonic()
    endless, after = client.ask_each(1, 2)
    assert endless.error == "no answer in 0.3 s"
    assert (endless.cause, endless.attempts, after.ok) == ("gateway", 3, True)
    assert 0.9 <= time.monotonic() - began < 5.0
    assert endless.usage.cost is None, "each attempt may have been paid, and nobody said how much"


def test_a_refusal_that_never_ends_is_no_answer_either(stub: Stub, rig: Rigs) -> None:
    def refusing(request: Request) -> Response:
        answer = dripping(request)
        answer.status_code = 400
        return answer

    endless, after = rig(stub.calls(refusing, refusing, refusing, ok()).url, seconds=0.2).ask_each(1, 2)
    assert endless.error == "no answer in 0.2 s"
    assert after.ok


def test_a_poll_that_never_ends_has_the_deadline_of_its_operation(stub: Stub, rig: Rigs) -> None:
    stub.calls(pending("op-1"), ok()).on(POLL, status("processing"), dripping)
    polling = Polling(first=0.01, longest=0.02, deadline=0.5)
    client = rig(stub.url, seconds=30.0, polling=polling)
    endless, after = client.ask_each(1, 2)
    assert endless.error is not None
    assert endless.error.startswith("operation op-1 did not end in ")
    assert after.ok
    assert list(client.pending()) == [client.question(1).key]


# The key, as a body may spell it.

KEYS = ["op-canary-77aa1c", 'op/canary"77', "op_key/with+all=of.them~"]


def escaped(text: str, *, every: int = 1, form: str = "04x") -> str:
    """As JSON may write it: every n-th letter as an escape, the others plainly."""
    return "".join(
        f"\\u{ord(letter):{form}}" if place % every == 0 else json.dumps(letter)[1:-1]
        for place, letter in enumerate(text)
    )


def within_text(text: str) -> str:
    """The JSON text that says ``text`` within JSON text."""
    return json.dumps(text)[1:-1]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("form", ["04x", "04X"])
@pytest.mark.parametrize("deep", [0, 1, 2, 3])
def test_the_key_is_found_in_escapes_and_in_escapes_of_escapes(
    key: str, every: int, form: str, deep: int
) -> None:
    spelled = escaped(key, every=every, form=form)
    for _ in range(deep):
        spelled = within_text(spelled)
    body = f'{{"data": "before {spelled} after"}}'.encode()
    read = json.loads(body)["data"]
    for _ in range(deep):
        read = json.loads(f'"{read}"')
    assert read == f"before {key} after", "what is to be found is there"
    assert Gateway.at("http://127.0.0.1:9", key=key).without_key(body) == b'{"data": "before [key] after"}'


def test_other_escapes_stay_as_they_are() -> None:
    body = rb'{"data": "\u00e9 \u006fp-canary-77aa1d \\u006f \ud83d\ude00 C:\\op\\u00"}'
    assert Gateway.at("http://127.0.0.1:9", key=KEYS[0]).without_key(body) == body


@pytest.mark.parametrize(
    "part", [b"\\", b"\\u006f", KEYS[0][:-1].encode(), b"\\\\\\\\u006fp-canary-77aa1", b"\\u0000"]
)
def test_no_body_is_slow_to_search(part: bytes) -> None:
    """Four times as much takes about four times as long, whatever it is made of."""
    gateway = Gateway.at("http://127.0.0.1:9", key=KEYS[0])

    def seconds(size: int) -> float:
        body = part * (size // len(part)) + b"\\u0041"
        began = time.process_time()
        gateway.without_key(body)
        return time.process_time() - began

    seconds(1000)
    assert min(seconds(4_000_000) for _ in range(2)) < 12 * min(seconds(1_000_000) for _ in range(3)) + 0.05
