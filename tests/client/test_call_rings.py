from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import nullcontext
from email.utils import formatdate
from typing import Any

import pytest
from client_rig import KEY, Rig, Stub, ok, reset, says

from opper_batch.client import GateClosed
from opper_batch.errors import AccessRefused, RunStopped
from opper_batch.pace import Pace
from opper_batch.sandbox import Sandbox

Rigs = Callable[..., Rig]

WRONG = {"category": "Jane Doe's invoice", "priority": 3}


# One call that goes well.


def test_an_answer_that_fits_is_an_outcome_with_all_that_is_known_of_it(stub: Stub, rig: Rigs) -> None:
    stub.calls(ok(cost=0.25, usage={"input_tokens": 7, "output_tokens": 2}, trace_uuid="t-1"))
    client = rig(stub.url)
    outcome = client.ask()
    assert outcome.ok
    assert (outcome.usage.cost, outcome.usage.input_tokens, outcome.usage.output_tokens) == (0.25, 7, 2)
    assert (outcome.model, outcome.trace, outcome.attempts, outcome.throttled) == ("m/one", "t-1", 1, 0)
    assert outcome.reply is not None
    assert b'"category"' in outcome.reply
    assert outcome.latency_ms is not None
    assert client.known(client.question()).outcome == outcome
    assert client.intents() == set()
    assert client.budget.paid == 0.25


def test_the_request_is_the_templates_with_the_key_in_its_header(stub: Stub, rig: Rigs) -> None:
    client = rig(stub.calls(ok()).url)
    client.ask({"subject": "æ"})
    (post,) = stub.posts
    assert post.headers["authorization"] == f"Bearer {KEY}"
    assert post.headers["accept-encoding"] == "identity"
    assert post.body == client.template.body(client.question({"subject": "æ"}).input)


def test_the_intent_is_durable_before_the_request_arrives(stub: Stub, rig: Rigs) -> None:
    client = rig(stub.calls(ok()).url)
    found: list[set[bytes]] = []
    stub.watch = lambda seen: found.append(client.intents())
    client.ask()
    assert found == [{client.question().key}]


def test_an_answer_is_durable_before_a_request_leaves_in_its_place(stub: Stub, rig: Rigs) -> None:
    client = rig(stub.calls(says(500), ok(), ok(), ok()).url, pace=Pace(concurrency=1))
    settled: list[int] = []
    stub.watch = lambda seen: settled.append(len(client.settled()))
    asyncio.run(client.asked([client.question(number) for number in range(3)]))
    asked = [post.json["input"] for post in stub.posts]
    assert asked == [0, 1, 0, 2]  # the third is tried again, in the place of one that was answered
    assert settled == [0, 0, 1, 2]


def test_an_answer_without_meta_has_an_unknown_cost_that_is_not_zero(stub: Stub, rig: Rigs) -> None:
    stub.calls(says(200, {"data": {"category": "bug", "priority": 1}}))
    outcome = rig(stub.url).ask()
    assert outcome.ok
    assert outcome.usage.cost is None


def test_calls_fit_the_sandbox(sandbox: Callable[..., Sandbox], rig: Rigs) -> None:
    running = sandbox()
    client = rig(running.url)
    outcomes = asyncio.run(client.asked([client.question(number) for number in range(50)]))
    assert all(outcome.ok for outcome in outcomes)
    assert running.journal.spent == pytest.approx(client.budget.paid)


# Repairs.


def test_an_answer_that_does_not_fit_is_asked_again_with_path_and_rule_and_without_any_value(
    stub: Stub, rig: Rigs
) -> None:
    client = rig(stub.calls(ok(WRONG, cost=0.1), ok(cost=0.2)).url)
    recorded: list[list[tuple[Any, ...]]] = []
    stub.watch = lambda seen: recorded.append(client.rows("SELECT ok, final, cost FROM outcomes"))
    outcome = client.ask()
    assert outcome.ok
    first, second = (post.json for post in stub.posts)
    assert first["instructions"] == "Triage."
    assert second["instructions"].startswith("Triage.")
    assert "category" in second["instructions"]
    assert "billing" in second["instructions"]  # the rule
    assert "Jane" not in second["instructions"]  # the value
    assert second["input"] == first["input"]
    # The paid answer was in the ledger before it was asked again, and the costs of both add up.
    assert recorded == [[], [(0, 0, 0.1)]]
    known = client.known(client.question()).outcome
    assert (known.usage.cost, known.attempts) == (pytest.approx(0.3), 2)
    assert client.budget.paid == pytest.approx(0.3)
    assert client.intents() == set()


@pytest.mark.parametrize(("repair", "posts"), [(0, 1), (1, 2), (2, 3), (5, 3)])
def test_repairs_are_counted_and_the_last_answer_is_kept(
    stub: Stub, rig: Rigs, repair: int, posts: int
) -> None:
    client = rig(stub.calls(ok(WRONG, cost=0.1)).url, repair=repair)
    outcome = client.ask()
    assert len(stub.posts) == posts
    assert outcome.error is not None
    assert "category" in outcome.error
    assert "Jane" not in outcome.error
    assert outcome.cause == "answer"
    assert outcome.reply is not None
    assert b"Jane" in outcome.reply
    assert client.settled() == {client.question().key: False}
    assert client.rows("SELECT count(*), sum(final) FROM outcomes") == [(posts, 1)]
    assert client.known(client.question()).outcome.usage.cost == pytest.approx(0.1 * posts)


# Trying again.


@pytest.mark.parametrize(
    "fault",
    [
        says(500),
        says(502, "<html>Bad gateway</html>"),
        says(503),
        says(504, ""),
        says(529),
        says(408),
        says(425),
        reset,
        says(200, '{"data": {"category": "bu'),
        says(200, "<html>We will be right back</html>"),
        says(200, ""),
        says(200, "[]"),
        says(200, {"meta": {}}),
        says(202, {"data": None, "meta": {}}),
    ],
    ids=lambda fault: f"{getattr(fault, 'status_code', 'reset')}",
)
def test_what_may_get_better_is_tried_three_times_and_no_more(stub: Stub, rig: Rigs, fault: Any) -> None:
    client = rig(stub.calls(fault, fault, ok(cost=0.1), fault).url)
    better, worse = client.ask_each("one question", "another")
    assert better.ok
    assert (worse.ok, worse.cause) == (False, "gateway")
    assert better.attempts == worse.attempts == 3
    assert len(stub.posts) == 6
    assert client.intents() == set()
    assert worse.usage.cost is None  # it may have been paid


def test_an_exchange_that_takes_too_long_is_tried_again(stub: Stub, rig: Rigs) -> None:
    async def slowly(request: object) -> Any:
        await asyncio.sleep(0.5)
        return ok()

    outcome = rig(stub.calls(slowly, ok()).url, seconds=0.15).ask()
    assert outcome.ok
    assert outcome.attempts == 2


def test_a_refused_connection_cost_nothing(rig: Rigs) -> None:
    client = rig("http://127.0.0.1:9", cap=1.0)
    outcome = client.ask()
    assert (outcome.cause, outcome.attempts, outcome.usage.cost) == ("gateway", 3, 0.0)
    assert client.budget.paid == 0.0


def test_the_last_body_is_kept_whatever_it_was(stub: Stub, rig: Rigs) -> None:
    outcome = rig(stub.calls(says(500), says(200, '{"data": {"cat')).url).ask()
    assert outcome.reply == b'{"data": {"cat'


def test_waits_between_attempts_grow_and_chance_spreads_them(stub: Stub, rig: Rigs) -> None:
    times: list[float] = []
    stub.watch = lambda seen: times.append(time.monotonic())
    rig(stub.calls(says(500), says(500), ok()).url, chance=0.1).ask()
    first, second = times[1] - times[0], times[2] - times[1]
    assert 0.1 <= first < 0.2  # a tenth of one second
    assert 0.2 <= second < 0.4  # a tenth of two


def test_a_failing_server_may_say_how_long_to_wait(stub: Stub, rig: Rigs) -> None:
    times: list[float] = []
    stub.watch = lambda seen: times.append(time.monotonic())
    rig(stub.calls(says(503, retry_after="0.2"), ok()).url).ask()
    assert times[1] - times[0] >= 0.2


def test_a_failing_server_that_says_how_long_to_wait_pauses_everybody(stub: Stub, rig: Rigs) -> None:
    times: list[float] = []
    stub.watch = lambda seen: times.append(time.monotonic())
    client = rig(stub.calls(says(503, retry_after="0.4"), ok()).url)

    async def scene() -> None:
        first = asyncio.create_task(client.one(client.question("first")))
        while not client.gate.paused_for:
            await asyncio.sleep(0.005)
        await asyncio.gather(first, *(client.one(client.question(number)) for number in range(5)))
        await client.client.close()

    asyncio.run(scene())
    assert min(times[1:]) - times[0] >= 0.4


def test_a_server_that_fails_for_more_than_ten_minutes_stops_the_run(stub: Stub, rig: Rigs) -> None:
    client = rig(stub.calls(says(503, retry_after="601")).url)
    with pytest.raises(RunStopped, match="wait 601 s"):
        client.ask()


def test_nobody_waits_for_a_place_while_a_call_waits_to_be_tried_again(stub: Stub, rig: Rigs) -> None:
    client = rig(stub.calls(says(500), ok()).url, chance=0.3)

    async def scene() -> None:
        first = asyncio.create_task(client.asked([client.question(1)]))
        while not stub.posts or client.gate.pace.in_flight:
            await asyncio.sleep(0.01)
        assert not first.done()
        await first

    asyncio.run(scene())


# Throttling.


@pytest.mark.parametrize(
    ("headers", "least"),
    [
        ({"retry_after": "1"}, 1.0),
        ({"retry_after": "0.3"}, 0.3),
        ({"retry_after_ms": "300"}, 0.3),
        ({"retry_after": lambda: formatdate(time.time() + 2, usegmt=True)}, 1.0),
        ({}, 0.2),
        ({"retry_after": "soon"}, 0.2),
        ({"retry_after": "0"}, 0.2),
    ],
    ids=["seconds", "fraction", "ms", "date", "none", "nonsense", "zero"],
)
def test_a_429_waits_as_told_and_loses_no_attempt(
    stub: Stub, rig: Rigs, headers: dict[str, Any], least: float
) -> None:
    times: list[float] = []
    stub.watch = lambda seen: times.append(time.monotonic())
    said = {name: value() if callable(value) else value for name, value in headers.items()}
    outcome = rig(stub.calls(says(429, **said), ok()).url, chance=0.1).ask()
    assert outcome.ok
    assert (outcome.attempts, outcome.throttled) == (1, 1)
    assert least <= times[1] - times[0] < least + 1.5


def test_any_number_of_429s_loses_no_attempt(stub: Stub, rig: Rigs) -> None:
    refusals = [says(429, retry_after_ms="5") for _ in range(5)]
    faults = [says(500), says(500)]
    outcome = rig(stub.calls(*refusals, *faults, says(429, retry_after_ms="5"), ok()).url).ask()
    assert outcome.ok
    assert (outcome.attempts, outcome.throttled) == (3, 6)


def test_a_429_pauses_everybody(stub: Stub, rig: Rigs) -> None:
    times: list[float] = []
    stub.watch = lambda seen: times.append(time.monotonic())
    client = rig(stub.calls(says(429, retry_after="0.3"), ok()).url)

    async def scene() -> None:
        try:
            first = asyncio.create_task(client.one(client.question("first")))
            while not client.gate.paused_for:
                await asyncio.sleep(0.005)
            await asyncio.gather(first, *(client.one(client.question(number)) for number in range(5)))
        finally:
            await client.client.close()

    asyncio.run(scene())
    assert len(times) == 7
    assert min(times[1:]) - times[0] >= 0.3


def test_a_429_of_more_than_ten_minutes_stops_the_run_and_leaves_no_doubt(stub: Stub, rig: Rigs) -> None:
    client = rig(stub.calls(says(429, retry_after="601")).url)
    with pytest.raises(RunStopped, match="601 s"):
        client.ask()
    assert len(stub.posts) == 1
    assert (client.intents(), client.settled(), client.budget.paid) == (set(), {}, 0.0)
    assert client.gate.pace.in_flight == 0


# Refusals.


@pytest.mark.parametrize("code", [401, 402, 403])
def test_a_refused_key_is_raised_at_once_and_leaves_no_doubt(stub: Stub, rig: Rigs, code: int) -> None:
    client = rig(stub.calls(says(code, {"error": "because"})).url, cap=1.0)
    with pytest.raises(AccessRefused, match="because") as caught:
        client.ask()
    assert caught.value.status == code
    assert len(stub.posts) == 1
    assert (client.intents(), client.settled(), client.budget.paid) == (set(), {}, 0.0)
    assert client.gate.pace.in_flight == 0


def test_a_call_refused_after_it_may_have_been_paid_stays_in_doubt(stub: Stub, rig: Rigs) -> None:
    client = rig(stub.calls(says(500), says(401)).url)
    with pytest.raises(AccessRefused):
        client.ask()
    assert client.intents() == {client.question().key}


@pytest.mark.parametrize("code", [400, 404, 405, 409, 413, 422, 307])
def test_a_refused_call_fails_at_once_and_cost_nothing(stub: Stub, rig: Rigs, code: int) -> None:
    client = rig(stub.calls(says(code, {"error": {"message": "no such thing"}})).url)
    outcome = client.ask()
    assert len(stub.posts) == outcome.attempts == 1
    assert outcome.error is not None
    assert str(code) in outcome.error
    assert (outcome.cause, outcome.usage.cost) == ("refused", 0.0)
    assert client.settled() == {client.question().key: False}
    assert client.intents() == set()


def test_the_key_is_in_no_error(stub: Stub, rig: Rigs) -> None:
    faults = [says(400), *[says(500)] * 3, *[says(200, "")] * 3, *[reset] * 3]
    client = rig(stub.calls(*faults, says(401)).url)
    outcomes = client.ask_each(1, 2, 3, 4)
    assert len({outcome.error for outcome in outcomes}) == 4
    assert KEY not in str(outcomes)
    with pytest.raises(AccessRefused) as caught:
        client.ask()
    assert KEY not in f"{caught.value} {caught.value!r}"


# Money.


def test_what_was_set_aside_is_given_back_whatever_came_of_the_call(stub: Stub, rig: Rigs) -> None:
    client = rig(stub.url, cap=1.0, repair=0)
    answers = [ok(cost=0.4), says(400), ok(WRONG, cost=0.05), says(500), says(429, retry_after="601")]
    stops = {3: "the budget of", 4: "asks to wait"}  # for the fourth there is no money to try again
    for number, answer in enumerate(answers):
        stub.calls(answer)
        with pytest.raises(RunStopped, match=stops[number]) if number in stops else nullcontext():
            client.ask(number)
        if number == 0:
            assert client.budget.admits()
    # The first cost .4, the second nothing, the third .05, the fourth nobody knows: it is valued at .4.
    assert client.budget.paid == pytest.approx(0.85)
    assert not client.budget.admits()
    client.budget.cap = 1.25
    assert client.budget.admits()


def test_each_try_that_may_be_paid_is_worth_a_call_until_its_price_is_known(stub: Stub, rig: Rigs) -> None:
    client = rig(stub.calls(ok(cost=0.4), says(500), ok(cost=0.3)).url, cap=5.0)
    assert client.ask(0).ok
    assert client.ask(1).ok
    assert client.budget.paid == pytest.approx(0.4 + 0.4 + 0.3)
    assert client.rows("SELECT sum(cost), sum(unpriced) FROM totals") == [(pytest.approx(0.7), 1)]


@pytest.mark.parametrize(
    ("answer", "in_doubt"), [(says(429, retry_after="30"), False), (says(500), True)], ids=["429", "500"]
)
def test_a_call_given_up_while_it_waits_is_in_doubt_only_if_it_may_have_been_paid(
    stub: Stub, rig: Rigs, answer: Any, in_doubt: bool
) -> None:
    client = rig(stub.calls(answer).url, chance=1.0)

    async def scene() -> None:
        asking = asyncio.create_task(client.one(client.question()))
        while not stub.posts or client.gate.pace.in_flight:
            await asyncio.sleep(0.005)
        client.gate.close()
        with pytest.raises(GateClosed):
            await asking
        await client.client.close()

    asyncio.run(scene())
    assert len(stub.posts) == 1
    assert client.intents() == ({client.question().key} if in_doubt else set())
    assert client.settled() == {}
