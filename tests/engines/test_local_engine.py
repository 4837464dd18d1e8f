from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import threading
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import closing
from typing import Any

import pytest
from client_rig import Rig, Stub, ok, pending, reset, says, status
from starlette.requests import Request
from starlette.responses import Response

from opper_batch.client import Gate
from opper_batch.engines import LocalEngine
from opper_batch.errors import MachineError, OpperBatchError, Refused, RunStopped
from opper_batch.pace import Outage, Pace
from opper_batch.records import Call, Outcome
from opper_batch.sandbox import Sandbox

Rigs = Callable[..., Rig]
Sandboxes = Callable[..., Sandbox]


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "engine"]


def questions(rig: Rig, count: int) -> list[Call]:
    return [rig.question(number) for number in range(count)]


def stopped(rig: Rig, calls: Iterable[Call], **settings: Any) -> tuple[list[Outcome], OpperBatchError | None]:
    """The outcomes that came before the run was stopped, and what stopped it."""
    outcomes: list[Outcome] = []
    try:
        for outcome in LocalEngine(rig.client, **settings).outcomes(calls):
            outcomes.append(outcome)  # noqa: PERF402 - extend would lose them at the error
    except OpperBatchError as error:
        return outcomes, error
    return outcomes, None


# The way through.


def test_every_call_has_one_outcome_and_it_is_durable(sandbox: Sandboxes, rig: Rigs) -> None:
    client = rig(sandbox().url)
    calls = questions(client, 100)
    found = []
    for outcome in LocalEngine(client.client).outcomes(calls):
        assert client.settled()[outcome.key]
        found.append(outcome.key)
    assert sorted(found) == sorted(call.key for call in calls)
    assert client.intents() == set()


def test_no_calls_are_no_outcomes(rig: Rigs) -> None:
    assert list(LocalEngine(rig("http://127.0.0.1:9").client).outcomes([])) == []


def test_calls_are_drawn_as_there_is_room_for_them_and_on_the_callers_thread(
    sandbox: Sandboxes, rig: Rigs
) -> None:
    client, drawn, threads = rig(sandbox(latency=0.05).url, pace=Pace(concurrency=4)), 0, set()

    def calls() -> Iterator[Call]:
        nonlocal drawn
        for number in range(100_000):
            drawn += 1
            threads.add(threading.current_thread())
            yield client.question(number)

    with closing(LocalEngine(client.client).outcomes(calls())) as outcomes:
        for _ in range(20):
            next(outcomes)
        assert drawn <= 20 + 64 + 2 * 4
    assert threads == {threading.current_thread()}


def test_a_source_that_is_slow_holds_up_nothing_that_was_drawn(sandbox: Sandboxes, rig: Rigs) -> None:
    running = sandbox()
    client = rig(running.url)

    def calls() -> Iterator[Call]:
        for number in range(5):
            time.sleep(0.1)
            yield client.question(number)

    assert len(list(LocalEngine(client.client).outcomes(calls()))) == 5
    times = [record.arrived for record in running.journal.calls]
    assert times[-1] - times[0] > 0.3


def test_many_are_in_flight_and_never_more_than_allowed(sandbox: Sandboxes, rig: Rigs) -> None:
    running = sandbox(latency=0.02)
    client = rig(running.url, pace=Pace(concurrency=16))
    list(LocalEngine(client.client).outcomes(questions(client, 200)))
    assert running.journal.high_water == 16


def test_it_works_inside_a_running_event_loop(sandbox: Sandboxes, rig: Rigs) -> None:
    client = rig(sandbox().url)

    async def notebook() -> int:
        return len(list(LocalEngine(client.client).outcomes(questions(client, 20))))

    assert asyncio.run(notebook()) == 20


def test_whatever_the_gateway_does_every_call_is_settled_once(sandbox: Sandboxes, rig: Rigs) -> None:
    running = sandbox(
        latency=0.005,
        throttled=0.01,
        retry_after=0.02,
        retry_after_form="ms",
        failed=0.05,
        dropped=0.02,
        dropped_after=0.02,
        malformed=0.02,
        schema_breaking=0.05,
        bad_request=0.01,
        pending=0.05,
        pending_seconds=0.05,
        pending_failed=0.1,
    )
    client = rig(running.url, pace=Pace(concurrency=32))
    calls = questions(client, 600)
    outcomes = list(LocalEngine(client.client, proven=True).outcomes(calls))
    assert sorted(outcome.key for outcome in outcomes) == sorted(call.key for call in calls)
    assert client.settled() == {outcome.key: outcome.ok for outcome in outcomes}
    assert (client.intents(), client.pending(), client.gate.pace.in_flight) == (set(), {}, 0)
    assert sum(outcome.ok for outcome in outcomes) > 560
    asked = [(record.input_digest, record.fault) for record in running.journal.calls]
    assert len(asked) == len(calls) + len(_asked_again(asked))


def _asked_again(asked: list[tuple[Any, str]]) -> list[tuple[Any, str]]:
    """What was asked although the same had been asked before; only after a fault that calls for it."""
    faults: dict[Any, str] = {}
    again = []
    for digest, fault in asked:
        if digest in faults:
            assert faults[digest] not in ("", "bad_request", "pending")
            again.append((digest, fault))
        faults[digest] = fault
    return again


def test_memory_does_not_grow_with_the_number_of_calls(sandbox: Sandboxes, rig: Rigs) -> None:
    client = rig(sandbox().url, pace=Pace(concurrency=4))

    def calls() -> Iterator[Call]:
        for number in range(200):
            yield client.question(f"{number}" + "x" * 100_000)  # 20 MB together

    gc.collect()
    tracemalloc.start()
    try:
        for number, outcome in enumerate(LocalEngine(client.client).outcomes(calls())):
            assert outcome.ok
            if number == 80:
                tracemalloc.reset_peak()
        assert tracemalloc.get_traced_memory()[1] < 12_000_000
    finally:
        tracemalloc.stop()


def test_calls_that_wait_are_bounded_too(stub: Stub, rig: Rigs) -> None:
    stub.calls(pending("op-1")).on("/v3/artifacts/op-1/status", status("processing"))
    client = rig(stub.url)
    with closing(
        LocalEngine(client.client, most_open=30, grace=5).outcomes(questions(client, 200))
    ) as outcomes:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            next(outcomes)
    assert len(stub.posts) == 30
    assert len(client.pending()) == 30


@pytest.mark.slow
def test_ten_thousand_calls_leave_nothing_behind(sandbox: Sandboxes, rig: Rigs) -> None:
    client = rig(sandbox().url, pace=Pace(concurrency=64))
    assert sum(1 for _ in LocalEngine(client.client).outcomes(questions(client, 10_000))) == 10_000
    assert (client.intents(), len(client.settled())) == (set(), 10_000)


# The first call.


def test_the_first_call_goes_alone_until_it_is_answered(sandbox: Sandboxes, rig: Rigs) -> None:
    running = sandbox(latency=0.05)
    client = rig(running.url)
    list(LocalEngine(client.client).outcomes(questions(client, 20)))
    first, second, *_ = sorted(running.journal.calls, key=lambda record: record.arrived)
    assert first.answered <= second.arrived


def test_a_gateway_that_has_proven_itself_gets_many_at_once(sandbox: Sandboxes, rig: Rigs) -> None:
    running = sandbox(latency=0.1)
    client = rig(running.url)
    list(LocalEngine(client.client, proven=True).outcomes(questions(client, 8)))
    assert running.journal.high_water == 8


def test_a_first_call_that_is_refused_is_the_only_one(sandbox: Sandboxes, rig: Rigs) -> None:
    running = sandbox(bad_request=1.0)
    client = rig(running.url)
    outcomes, error = stopped(client, questions(client, 50))
    assert isinstance(error, Refused)
    assert "nothing else was sent: 400" in error.message
    assert len(running.journal.calls) == len(outcomes) == 1


def test_a_refused_call_fails_its_row_alone_once_the_gateway_has_proven_itself(stub: Stub, rig: Rigs) -> None:
    client = rig(stub.calls(ok(), says(422), ok()).url, pace=Pace(concurrency=1))
    outcomes = list(LocalEngine(client.client).outcomes(questions(client, 5)))
    assert [outcome.ok for outcome in outcomes] == [True, False, True, True, True]


def test_a_first_call_whose_answer_does_not_fit_proves_the_gateway_too(stub: Stub, rig: Rigs) -> None:
    client = rig(stub.calls(ok({}), ok()).url, repair=0)
    outcomes = list(LocalEngine(client.client).outcomes(questions(client, 5)))
    assert [outcome.ok for outcome in outcomes] == [False, True, True, True, True]


def test_a_first_call_that_is_pending_holds_up_nobody(stub: Stub, rig: Rigs) -> None:
    stub.calls(pending("op-1"), says(400), ok()).on("/v3/artifacts/op-1/status", status("processing"))
    client = rig(stub.url, pace=Pace(concurrency=1))
    with closing(LocalEngine(client.client).outcomes(questions(client, 3))) as outcomes:
        # The 202 says that the gateway takes such calls, so the 400 after it is one row's own.
        assert [next(outcomes).ok for _ in range(2)] == [False, True]


def test_a_call_left_pending_is_polled_at_once_and_the_first_that_is_posted_goes_alone(
    stub: Stub, rig: Rigs
) -> None:
    stub.calls(says(400)).on("/v3/artifacts/op-1/status", status("processing"))
    client = rig(stub.url)
    calls = [client.question(0, pending=pending("op-1").body), *questions(client, 20)[1:]]
    _, error = stopped(client, calls, grace=5)
    assert isinstance(error, Refused)
    assert len(stub.posts) == 1
    assert stub.at("/v3/artifacts/op-1/status")


def test_a_first_row_that_is_never_answered_does_not_block_the_others(stub: Stub, rig: Rigs) -> None:
    client = rig(stub.calls(*[says(500, "boom")] * 3, says(200, "<html>"), ok()).url)
    outcomes, error = stopped(client, questions(client, 20))
    assert error is None
    assert [outcome.ok for outcome in outcomes] == [False] + [True] * 19


def test_calls_go_one_by_one_until_one_is_answered(stub: Stub, rig: Rigs) -> None:
    client = rig(stub.calls(says(500, "boom")).url)
    outcomes, error = stopped(client, questions(client, 50))
    assert isinstance(error, RunStopped)
    assert error.message == "the gateway fails at every call (500 boom); run again to go on"
    assert (len(outcomes), len(stub.posts)) == (3, 9)


def test_a_call_left_pending_that_ends_does_not_prove_the_one_that_is_posted_alone(
    stub: Stub, rig: Rigs
) -> None:
    async def slow(request: Any) -> Any:
        await asyncio.sleep(0.3)
        return says(400)

    stub.calls(slow).on("/v3/artifacts/op-1/status", says(404))
    client = rig(stub.url)
    _, error = stopped(client, [client.question(0, pending=pending("op-1").body), *questions(client, 20)[1:]])
    assert isinstance(error, Refused)
    assert len(stub.posts) == 1


# What stops a run.


def test_a_refused_key_stops_everything_at_the_first_call(sandbox: Sandboxes, rig: Rigs) -> None:
    running = sandbox(reject_key="string")
    client = rig(running.url)
    outcomes, error = stopped(client, questions(client, 50))
    assert isinstance(error, Refused)
    assert "invalid bearer token" in error.message
    assert (outcomes, len(running.journal.calls), client.intents()) == ([], 1, set())


def test_a_spent_budget_at_the_gateway_stops_after_the_calls_in_flight(sandbox: Sandboxes, rig: Rigs) -> None:
    running = sandbox(latency=0.05, budget=0.00005)
    client = rig(running.url, pace=Pace(concurrency=8))
    outcomes, error = stopped(client, questions(client, 2000))
    assert isinstance(error, RunStopped)
    assert "run again when it is lifted" in error.message
    assert len(outcomes) == running.journal.paid == len(client.settled())
    assert len(running.journal.calls) <= running.journal.paid + 8
    assert client.intents() == set()


def test_a_forbidden_model_is_refused(stub: Stub, rig: Rigs) -> None:
    client = rig(stub.calls(ok(), says(403, {"error": {"message": "model not allowed"}})).url)
    _, error = stopped(client, questions(client, 20))
    assert isinstance(error, Refused)
    assert "model not allowed" in error.message


def test_a_gateway_that_answers_not_even_the_first_calls_stops_the_run(rig: Rigs, sandbox: Sandboxes) -> None:
    running = sandbox(dropped=1.0)
    client = rig(running.url, pace=Pace(concurrency=4))
    outcomes, error = stopped(client, questions(client, 500))
    assert isinstance(error, RunStopped)
    assert "does not answer" in error.message
    assert len(outcomes) == 3
    assert len(running.journal.calls) == 9


def patient(seconds: float) -> Callable[[Pace], Gate]:
    """A gate that bears an outage of so many seconds."""
    return lambda pace: Gate(pace, outage=Outage(patience=seconds))


def test_an_outage_is_borne_for_as_long_as_there_is_patience(rig: Rigs, sandbox: Sandboxes) -> None:
    running = sandbox(dropped=1.0)
    client = rig(running.url, pace=Pace(concurrency=4), gate=patient(2.0))
    outcomes, error = stopped(client, questions(client, 500), proven=True)
    assert isinstance(error, RunStopped)
    assert "the gateway has been out for" in error.message
    assert outcomes == [], "no row fails for it"
    # Ten until it is noticed, those on their way then, and a look after 1 and after 2 more seconds.
    assert len(running.journal.calls) <= 10 + 4 + 2


def over_time(calls: list[Call], *, seconds: float) -> Iterator[Call]:
    for call in calls:
        time.sleep(seconds / len(calls))
        yield call


@pytest.mark.parametrize("kind", ["reset", "503"])
def test_after_an_outage_the_run_goes_on_and_no_row_has_failed(rig: Rigs, stub: Stub, kind: str) -> None:
    begins = time.monotonic() + 0.5
    over = begins + 2.0

    def answer(request: Request) -> Response | Awaitable[Response]:
        if not begins < time.monotonic() < over:
            return ok()
        return says(503) if kind == "503" else reset(request)

    client = rig(stub.calls(answer).url, pace=Pace(concurrency=8))
    outcomes = list(LocalEngine(client.client).outcomes(over_time(questions(client, 300), seconds=1.5)))
    assert [outcome.error for outcome in outcomes] == [None] * 300
    assert max(outcome.attempts for outcome in outcomes) <= 3
    assert len(stub.posts) <= 300 + 10 + 8 + 3


def test_past_the_deadline_nothing_more_is_sent(sandbox: Sandboxes, rig: Rigs) -> None:
    running = sandbox(latency=0.1)
    client = rig(running.url, pace=Pace(concurrency=4))
    began = time.time()
    outcomes, error = stopped(client, questions(client, 2000), deadline=0.5)
    assert isinstance(error, RunStopped)
    assert "deadline" in error.message
    assert time.time() - began < 1.0
    assert max(record.arrived for record in running.journal.calls) - began < 0.6
    assert len(outcomes) == running.journal.paid == len(client.settled())


@pytest.mark.parametrize("proven", [False, True])
def test_past_the_deadline_the_last_calls_end_as_any_other(
    sandbox: Sandboxes, rig: Rigs, proven: bool
) -> None:
    client = rig(sandbox(latency=0.4).url)
    outcomes, error = stopped(client, questions(client, 8 if proven else 1), deadline=0.2, proven=proven)
    assert error is None
    assert [outcome.ok for outcome in outcomes] == [True] * (8 if proven else 1)


def test_a_deadline_that_passes_while_the_source_is_slow_stops_at_its_next_call(
    sandbox: Sandboxes, rig: Rigs
) -> None:
    running = sandbox()
    client = rig(running.url)

    def calls() -> Iterator[Call]:
        yield client.question(0)
        time.sleep(0.4)
        yield client.question(1)

    outcomes, error = stopped(client, calls(), deadline=0.2)
    assert isinstance(error, RunStopped)
    assert len(outcomes) == len(running.journal.calls) == 1


def test_a_deadline_that_is_over_sends_nothing(sandbox: Sandboxes, rig: Rigs) -> None:
    running = sandbox()
    client = rig(running.url)
    outcomes, error = stopped(client, questions(client, 20), deadline=0)
    assert isinstance(error, RunStopped)
    assert (outcomes, len(running.journal.calls)) == ([], 0)


@pytest.mark.parametrize("proven", [False, True])
@pytest.mark.parametrize("concurrency", [1, 16])
def test_the_budget_is_never_crossed_by_more_than_one_calls_cost(
    stub: Stub, rig: Rigs, proven: bool, concurrency: int
) -> None:
    client = rig(stub.calls(ok(cost=0.1)).url, cap=1.05, pace=Pace(concurrency=concurrency))
    outcomes, error = stopped(client, questions(client, 200), proven=proven)
    assert isinstance(error, RunStopped)
    assert "the budget of $1.05 is reached ($1 paid, and one more call may cost $0.1)" in error.message
    assert len(outcomes) == len(stub.posts) == 10


def test_calls_left_pending_are_polled_though_the_budget_is_spent(stub: Stub, rig: Rigs) -> None:
    stub.on(
        "/v3/artifacts/op-1/status", status("completed", url=f"{stub.url}/f", mime_type="application/json")
    )
    stub.on("/f", says(200, {"category": "bug", "priority": 1}))
    client = rig(stub.url, cap=1.0)
    client.budget.spend(1.0)
    calls = [client.question(number, pending=pending("op-1").body) for number in range(3)]
    assert [outcome.ok for outcome in LocalEngine(client.client).outcomes(calls)] == [True] * 3


def test_a_pause_of_more_than_ten_minutes_stops_the_run(stub: Stub, rig: Rigs) -> None:
    client = rig(stub.calls(ok(), ok(), says(429, retry_after="3600")).url)
    outcomes, error = stopped(client, questions(client, 50))
    assert isinstance(error, RunStopped)
    assert "3600 s" in error.message
    assert [outcome.ok for outcome in outcomes] == [True, True]
    assert client.intents() == set()


def test_stopping_ends_waits_at_once(stub: Stub, rig: Rigs) -> None:
    client = rig(stub.calls(ok(), says(429, retry_after="300")).url)
    began = time.monotonic()
    _, error = stopped(client, questions(client, 50), deadline=0.5)
    assert time.monotonic() - began < 1.5
    assert "deadline" in error.message
    assert client.intents() == set()  # throttled calls cost nothing


# Interrupts and errors on the caller's side.


def interrupted_after(seconds: float) -> None:
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)).start()


def test_an_interrupt_lets_calls_in_flight_end_and_records_them(sandbox: Sandboxes, rig: Rigs) -> None:
    running = sandbox(latency=0.4)
    client = rig(running.url, pace=Pace(concurrency=8))
    engine = LocalEngine(client.client, proven=True)
    began = time.monotonic()
    interrupted_after(0.2)
    with pytest.raises(KeyboardInterrupt), closing(engine.outcomes(questions(client, 500))) as outcomes:
        list(outcomes)
    assert 0.4 <= time.monotonic() - began < 1.2
    assert len(running.journal.calls) == running.journal.paid == len(client.settled()) == 8
    assert client.intents() == set()


def test_an_interrupt_in_what_the_caller_does_with_an_outcome_is_the_same(
    sandbox: Sandboxes, rig: Rigs
) -> None:
    running = sandbox(latency=0.05)
    client = rig(running.url, pace=Pace(concurrency=8))
    outcomes = LocalEngine(client.client).outcomes(questions(client, 500))
    next(outcomes)
    with pytest.raises(KeyboardInterrupt):
        outcomes.throw(KeyboardInterrupt)
    assert running.journal.paid == len(client.settled()) < 40


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_error_in_the_calls_surfaces_after_the_calls_in_flight(
    sandbox: Sandboxes, rig: Rigs, error: type[BaseException]
) -> None:
    running = sandbox(latency=0.1)
    client = rig(running.url)

    def calls() -> Iterator[Call]:
        yield from questions(client, 5)
        time.sleep(0.05)
        raise error

    engine = LocalEngine(client.client, proven=True)
    with pytest.raises(error), closing(engine.outcomes(calls())) as outcomes:
        list(outcomes)
    assert running.journal.paid == len(client.settled()) == 5
    assert client.intents() == set()


def test_the_grace_is_bounded_and_leaves_what_was_in_flight_in_doubt(sandbox: Sandboxes, rig: Rigs) -> None:
    client = rig(sandbox(latency=30.0).url)
    began = time.monotonic()
    interrupted_after(0.2)
    engine = LocalEngine(client.client, proven=True, grace=0.3)
    with pytest.raises(KeyboardInterrupt), closing(engine.outcomes(questions(client, 20))) as outcomes:
        list(outcomes)
    assert 0.5 <= time.monotonic() - began < 1.5
    assert len(client.intents()) == 8
    assert client.settled() == {}


def test_a_second_interrupt_leaves_at_once(sandbox: Sandboxes, rig: Rigs) -> None:
    client = rig(sandbox(latency=30.0).url)
    began = time.monotonic()
    interrupted_after(0.2)
    interrupted_after(0.5)
    engine = LocalEngine(client.client, proven=True)
    with pytest.raises(KeyboardInterrupt), closing(engine.outcomes(questions(client, 20))) as outcomes:
        list(outcomes)
    assert 0.5 <= time.monotonic() - began < 1.5
    assert len(client.intents()) == 8


def test_outcomes_that_nobody_takes_any_more_are_recorded(sandbox: Sandboxes, rig: Rigs) -> None:
    running = sandbox(latency=0.05)
    client = rig(running.url)
    outcomes = LocalEngine(client.client).outcomes(questions(client, 100))
    next(outcomes)
    outcomes.close()
    assert running.journal.paid == len(client.settled())


# A machine that fails.


def test_a_full_disk_stops_the_run_with_a_sentence(sandbox: Sandboxes, rig: Rigs) -> None:
    running = sandbox()
    client = rig(running.url)
    (pages,) = client.rows("PRAGMA page_count")[0]
    client.ledger.submit((f"PRAGMA max_page_count={pages + 20}", ())).result()
    outcomes, error = stopped(client, [client.question(f"{n}" + "x" * 2000) for n in range(2000)])
    assert isinstance(error, MachineError)
    assert "full" in error.message
    assert 1 <= len(outcomes) < 500
    assert {outcome.key for outcome in outcomes} <= set(client.settled())


def test_a_ledger_that_is_closed_under_the_run_stops_it(sandbox: Sandboxes, rig: Rigs) -> None:
    client = rig(sandbox(latency=0.02).url, pace=Pace(concurrency=4))
    outcomes = LocalEngine(client.client).outcomes(questions(client, 500))
    for _ in range(3):
        next(outcomes)
    client.ledger.close()
    with pytest.raises(MachineError, match="closed"):
        list(outcomes)


def test_the_reply_of_a_failed_call_can_be_read_again(sandbox: Sandboxes, rig: Rigs) -> None:
    client = rig(sandbox(schema_breaking=1.0).url, repair=0)
    outcomes = list(LocalEngine(client.client).outcomes(questions(client, 3)))
    assert all(json.loads(outcome.reply or b"")["data"] is not None for outcome in outcomes)


def test_what_an_outage_took_is_no_attempt_of_a_call(rig: Rigs, stub: Stub) -> None:
    """Refused for two seconds, an answer that does not fit may still be repaired."""
    over = time.monotonic() + 2.0
    odd = says(200, {"data": {"category": "nonsense", "priority": 3}})
    repaired: set[str] = set()

    def answer(request: Request) -> Response | Awaitable[Response]:
        if time.monotonic() < over:
            return reset(request)
        if len(repaired) < 8:
            repaired.add(str(len(repaired)))
            return odd
        return ok()

    client = rig(stub.calls(answer).url, pace=Pace(concurrency=8))
    outcomes = list(LocalEngine(client.client, proven=True).outcomes(questions(client, 30)))
    assert [outcome.error for outcome in outcomes] == [None] * 30
