"""What the ledger knows of a key: everything that was ever paid for it, and the outcome that counts."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ledger_values import answer, failure, intend, key, next_run, wait

from opper_batch.ledger import Journal, Known, Ledger, Totals, View
from opper_batch.records import Artifact, Operation, Outcome, Reply, Usage


def rows(path: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(path.as_uri() + "?mode=ro", uri=True)) as connection:
        return connection.execute(statement).fetchall()


def test_an_outcome_is_found_as_it_was_recorded(journal: Journal, view: View) -> None:
    outcome = Outcome(
        key=key(1),
        error=None,
        reply=b'{"data": {"a": "\xc3\xa9"}}',
        model="a/b",
        usage=Usage(0.000143, 311, 41),
        trace="6f3c",
        latency_ms=812,
        attempts=2,
        throttled=3,
        artifacts=(Artifact("video", "out/a.mp4", "video/mp4"), Artifact("image", "out/b", None)),
    )
    wait(journal.record(outcome))
    known = view.lookup([key(1)])[key(1)]
    assert (known.outcome, known.run) == (outcome, 1)


def test_a_failure_keeps_its_reason_and_its_reply(journal: Journal, view: View) -> None:
    outcome = failure(1, "priority: should be at most 5", reply=b'{"data":{"priority":9}}')
    wait(journal.record(outcome))
    assert view.lookup([key(1)])[key(1)].outcome == outcome


def test_what_is_not_known_stays_unknown(journal: Journal, view: View) -> None:
    wait(journal.record(Outcome(key(1), None, b"{}", attempts=1)))
    outcome = view.lookup([key(1)])[key(1)].outcome
    assert outcome.usage == Usage(None, None, None)
    assert (outcome.model, outcome.trace, outcome.latency_ms) == (None, None, None)


def test_keys_without_an_outcome_are_left_out(journal: Journal, view: View) -> None:
    wait(journal.record(answer(1)))
    assert view.lookup([key(1), key(2)]).keys() == {key(1)}
    assert view.lookup([]) == {}
    assert view.settled([key(2)]) == {}


def test_outcomes_are_only_ever_added(ledger: Ledger, journal: Journal, path: Path) -> None:
    wait(journal.record(answer(1, reply=b"first")))
    before = rows(path, "SELECT * FROM outcomes")
    wait(journal.record(failure(1)))
    wait(next_run(ledger).record(answer(1, reply=b"second")))
    after = rows(path, "SELECT * FROM outcomes ORDER BY id")
    assert after[:1] == before
    assert len(after) == 3


@pytest.mark.parametrize(
    ("written", "counts"),
    [
        ([answer(1, reply=b"first"), failure(1)], b"first"),
        ([failure(1), answer(1, reply=b"only")], b"only"),
        ([answer(1, reply=b"first"), answer(1, reply=b"second")], b"second"),
        ([failure(1, reply=b"first"), failure(1, reply=b"second")], b"second"),
    ],
)
def test_an_answer_wins_over_a_failure_and_the_later_over_the_earlier(
    ledger: Ledger, view: View, written: list[Outcome], counts: bytes
) -> None:
    for number, outcome in enumerate(written):
        ledger.begin(origin="https://gateway", options={})
        journal = ledger.journal(step="triage", digest=bytes([number]) * 16, fields={})
        wait(journal.record(outcome))
    assert view.lookup([key(1)])[key(1)].outcome.reply == counts


def test_cost_and_attempts_are_sums_over_everything_paid_for_a_key(journal: Journal, view: View) -> None:
    wait(journal.record(failure(1, usage=Usage(0.5, 1, 1), attempts=1), final=False))
    wait(journal.record(answer(1, usage=Usage(0.25, 10, 5), attempts=2)))
    wait(journal.record(answer(2, usage=Usage(8.0, 10, 5))))
    outcome = view.lookup([key(1), key(2)])[key(1)].outcome
    assert outcome.usage == Usage(0.75, 11, 6)
    assert outcome.attempts == 3


def test_an_unknown_cost_adds_nothing_to_a_known_one(journal: Journal, view: View) -> None:
    wait(journal.record(failure(1, usage=Usage())), journal.record(answer(1)))
    assert view.lookup([key(1)])[key(1)].outcome.usage.cost == 0.25


def test_settled_says_whether_there_is_an_answer_and_which_run_asked_last(
    ledger: Ledger, journal: Journal, view: View
) -> None:
    wait(journal.record(answer(1)), journal.record(failure(2)), journal.record(failure(3)))
    journal = next_run(ledger)
    wait(journal.record(failure(1)), journal.record(answer(2)))
    assert view.settled([key(number) for number in range(5)]) == {
        key(1): (True, 2, 1),
        key(2): (True, 2, 2),
        key(3): (False, 1, 0),
    }


def test_one_look_up_takes_any_number_of_keys(journal: Journal, view: View) -> None:
    numbers = range(20_000)
    wait(*(journal.record(answer(number)) for number in numbers if number % 2))
    wanted = [key(number) for number in numbers]
    assert view.lookup(wanted).keys() == view.settled(wanted).keys() == set(wanted[1::2])
    assert view.pending(wanted) == {}


def test_a_look_up_gives_so_many_together_as_fit_into_memory(journal: Journal, view: View) -> None:
    large = b"x" * 400_000
    wait(*(journal.record(answer(number, reply=large)) for number in range(7)))
    parts = list(view.parts([key(number) for number in range(9)]))
    assert [len(part) for part in parts] == [3, 3, 1]
    found = [Known._make(found).key for part in parts for found in part]
    assert sorted(found) == sorted(key(number) for number in range(7))


def test_all_that_was_paid_for_a_key_is_told_of_many_too(journal: Journal, view: View) -> None:
    for _ in range(2):
        wait(*(journal.record(answer(number, usage=Usage(0.5, 1, 1))) for number in range(0, 9_000, 3)))
    wait(*(journal.record(answer(number, usage=Usage(0.25, 1, 1))) for number in range(9_000)))
    found = view.lookup([key(number) for number in range(9_000)])
    assert [found[key(number)].cost for number in range(9_000)] == [1.25, 0.25, 0.25] * 3_000


# Calls on their way.


def reply(number: int) -> Reply:
    return Reply(raw=b"202 of %d" % number, operations=(Operation("art_1", "video"),))


def test_a_call_that_left_is_in_doubt_until_its_end_is_known(journal: Journal, view: View) -> None:
    wait(intend(journal, key(1)), intend(journal, key(2)), intend(journal, key(3)))
    wait(intend(journal, key(1)))
    assert view.in_doubt() == 3
    wait(journal.record(answer(1)), journal.retract(key(2)), journal.record(failure(3)))
    assert view.in_doubt() == 0
    assert view.lookup([key(2)]) == {}


def test_an_answer_that_is_asked_for_again_leaves_the_call_in_doubt(journal: Journal, view: View) -> None:
    wait(intend(journal, key(1)))
    wait(journal.record(failure(1), final=False))
    assert view.in_doubt() == 1


def test_a_202_is_kept_until_its_call_has_ended(journal: Journal, view: View) -> None:
    wait(intend(journal, key(1)), intend(journal, key(2)))
    wait(journal.pend(key(1), reply(1)), journal.pend(key(2), reply(2)))
    assert view.pending([key(1), key(2), key(3)]) == {key(1): b"202 of 1", key(2): b"202 of 2"}
    assert (view.in_doubt(), view.pending_calls()) == (0, 2)
    wait(journal.record(answer(1)), journal.record(failure(2), still_pending=True))
    assert view.pending([key(1), key(2)]) == {key(2): b"202 of 2"}


# Numbers.


@pytest.fixture
def written(ledger: Ledger, view: View) -> list[tuple[int, int, bool, Outcome]]:
    """Three runs of two prompts with every kind of outcome: (run, template, final, outcome)."""
    chance, done = random.Random(7), []
    for _ in range(3):
        run = ledger.begin(origin="https://gateway", options={})
        for digest in (b"a" * 16, b"b" * 16):
            journal = ledger.journal(step="triage", digest=digest, fields={})
            template = view.template(digest)
            for _ in range(40):
                outcome, final = _any_outcome(chance)
                wait(journal.record(outcome, final=final))
                done.append((run, template, final, outcome))
    return done


def _any_outcome(chance: random.Random) -> tuple[Outcome, bool]:
    usage = Usage(chance.choice([None, 0.25, 0.5]), chance.choice([None, 7]), chance.choice([None, 3]))
    changes = {
        "usage": usage,
        "attempts": chance.randrange(4),
        "throttled": chance.randrange(3),
        "unpriced": chance.randrange(3),
        "latency_ms": chance.choice([None, 100, 250]),
        "model": chance.choice([None, "a/b", "c/d"]),
    }
    number = chance.randrange(30)
    if chance.random() < 0.6:
        return answer(number, **changes), True
    return failure(number, **changes), chance.random() < 0.7


def _scanned(entries: list[tuple[int, int, bool, Outcome]]) -> Totals:
    usages = [outcome.usage for _, _, _, outcome in entries]
    return Totals(
        ok=sum(outcome.ok for _, _, _, outcome in entries),
        failed=sum(final and not outcome.ok for _, _, final, outcome in entries),
        calls=sum(outcome.attempts for _, _, _, outcome in entries),
        throttled=sum(outcome.throttled for _, _, _, outcome in entries),
        unpriced=sum(outcome.unpriced for _, _, _, outcome in entries),
        cost=sum(usage.cost or 0 for usage in usages),
        input_tokens=sum(usage.input_tokens or 0 for usage in usages),
        output_tokens=sum(usage.output_tokens or 0 for usage in usages),
        latency_ms=sum(outcome.latency_ms or 0 for _, _, _, outcome in entries if outcome.ok),
    )


def test_running_totals_are_what_a_scan_would_find(
    written: list[tuple[int, int, bool, Outcome]], view: View
) -> None:
    assert view.totals() == _scanned(written)
    for run in (2, 3, 4):
        assert view.totals(run=run) == _scanned([entry for entry in written if entry[0] == run])
    for template in {entry[1] for entry in written}:
        mine = [entry for entry in written if entry[1] == template]
        assert view.totals(template=template) == _scanned(mine)
        assert view.totals(run=3, template=template) == _scanned([one for one in mine if one[0] == 3])
    assert view.totals(run=99) == view.totals(template=99) == Totals()


def test_spent_is_what_was_paid_since_a_result_was_published(ledger: Ledger, view: View) -> None:
    def run(published: bool) -> None:
        wait(next_run(ledger).record(answer(1)))
        ledger.finish(exit_code=0 if published else 3, published=published, rows=1, summary={})

    assert view.spent() == (0.0, 0)
    run(published=False)
    run(published=False)
    assert view.spent() == (0.5, 0)
    run(published=True)
    assert view.spent() == (0.0, 0)
    run(published=False)
    assert view.spent() == (0.25, 0)


def test_calls_of_unknown_cost_are_counted_until_a_result_is_published(ledger: Ledger, view: View) -> None:
    journal = next_run(ledger)
    wait(journal.record(answer(1, usage=Usage(), unpriced=1)), intend(journal, key(2)))
    assert view.spent() == (0.0, 2)
    journal = next_run(ledger)
    wait(intend(journal, key(2)))
    wait(journal.record(answer(2)))
    assert (view.spent(), view.in_doubt()) == ((0.25, 2), 1), "what a killed run paid stays in doubt"
    ledger.finish(exit_code=0, published=True, rows=2, summary={})
    assert (view.spent(), view.in_doubt()) == ((0.0, 0), 0)


def test_an_answer_that_was_to_be_asked_again_settles_nothing(journal: Journal, view: View) -> None:
    wait(journal.record(failure(1), final=False))
    assert view.settled([key(1)]) == view.lookup([key(1)]) == {}


def test_recent_costs_are_those_of_the_latest_outcomes_whose_cost_is_known(
    journal: Journal, view: View
) -> None:
    assert view.recent_costs(1) == []
    for number in range(210):
        cost = None if number == 205 else float(number)
        wait(journal.record(answer(number, usage=Usage(cost))))
    assert view.recent_costs(1) == [float(number) for number in range(9, 210) if number != 205]
    assert view.recent_costs(2) == []


def test_a_run_is_told_as_it_stands(ledger: Ledger, view: View) -> None:
    second = ledger.begin(origin="sandbox", options={"limit": "5"})
    assert (second, ledger.run) == (2, 2)
    running = view.runs()[-1]
    assert (running.id, running.origin, running.options) == (2, "sandbox", {"limit": "5"})
    assert (running.ended, running.exit_code, running.published, running.summary) == (None, None, False, {})
    ledger.finish(exit_code=1, published=True, rows=7, summary={"ok": 6})
    ended = view.runs()[-1]
    assert (ended.exit_code, ended.published, ended.rows, ended.summary) == (1, True, 7, {"ok": 6})
    assert ended.ended is not None
    assert ended.ended >= ended.started
    assert [run.id for run in view.runs()] == [1, 2]


def test_a_prompt_has_one_number_however_often_it_is_run(ledger: Ledger, view: View) -> None:
    assert view.template(b"u" * 16) == 0
    for _ in range(2):
        ledger.journal(step="triage", digest=b"u" * 16, fields={"name": "f"})
    first = view.template(b"t" * 16)
    assert 0 not in (first, view.template(b"u" * 16))
    assert first != view.template(b"u" * 16)


def test_a_pipeline_that_never_ran_knows_nothing() -> None:
    with View.empty() as view:
        assert view.lookup([key(1)]) == view.settled([key(1)]) == view.pending([key(1)]) == {}
        assert view.totals() == Totals()
        assert view.runs() == []
        assert (view.spent(), view.in_doubt(), view.pending_calls(), view.template(b"t")) == (
            (0.0, 0),
            0,
            0,
            0,
        )


def test_a_snapshot_is_the_ledger_as_it_was_whatever_is_written_meanwhile(
    journal: Journal, view: View
) -> None:
    wait(journal.record(failure(1, "no")))
    before = view.lookup([key(1)])
    with view.snapshot():
        wait(journal.record(answer(1)))
        wait(journal.record(answer(2)))
        assert view.lookup([key(1), key(2)]) == before
    assert view.settled([key(1), key(2)]).keys() == {key(1), key(2)}
    assert view.lookup([key(1)])[key(1)].ok


def test_a_snapshot_ends_when_what_is_done_with_it_fails(journal: Journal, view: View) -> None:
    with pytest.raises(ZeroDivisionError), view.snapshot():
        raise ZeroDivisionError
    wait(journal.record(answer(1)))
    assert view.settled([key(1)])
