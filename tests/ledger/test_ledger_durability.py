"""What was waited for is on the disk, whatever happens next."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_values import answer, failure, intend, key, wait

from opper_batch.errors import MachineError
from opper_batch.ledger import Journal, Ledger, View
from opper_batch.records import Operation, Reply

# Writes down answers, many at once, and says each number as soon as it is told that it is durable.
RECORDING = """
import asyncio, itertools, os, sys
from pathlib import Path
from ledger_values import answer, begun

_, journal = begun(Path(sys.argv[1]))

async def one(number):
    await journal.record(answer(number))
    os.write(1, b"%d\\n" % number)

async def forever():
    for start in itertools.count(step=50):
        await asyncio.gather(*(one(start + more) for more in range(50)))

asyncio.run(forever())
"""


@pytest.fixture
def recording(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", RECORDING, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("told", [1, 777])
def test_what_was_told_to_be_durable_survives_a_kill(
    recording: subprocess.Popen[bytes], path: Path, told: int
) -> None:
    assert recording.stdout is not None
    numbers = [int(recording.stdout.readline()) for _ in range(told)]
    recording.send_signal(signal.SIGKILL)
    numbers += [int(line) for line in recording.stdout.read().split(b"\n")[:-1]]
    recording.wait()
    with Ledger(path) as ledger, ledger.view() as view:
        found = view.lookup([key(number) for number in numbers])
        assert len(found) == len(set(numbers)) >= told
        assert found[key(numbers[0])].outcome == answer(numbers[0])
        assert view.totals().ok >= len(numbers), "the totals are of the same transaction"


def test_a_look_at_a_killed_runs_ledger_needs_no_repair_first(
    recording: subprocess.Popen[bytes], path: Path
) -> None:
    assert recording.stdout is not None
    number = int(recording.stdout.readline())
    recording.kill()
    recording.wait()
    with View(path) as view:
        assert view.lookup([key(number)])
        assert view.runs()[0].ended is None


def test_a_202_is_durable_when_pend_returns(journal: Journal, path: Path) -> None:
    wait(journal.pend(key(1), Reply(raw=b"202", operations=(Operation("a", "video"),))))
    with View(path) as another:
        assert another.pending([key(1)]) == {key(1): b"202"}


def test_many_records_at_once_all_arrive_and_share_their_commits(journal: Journal, view: View) -> None:
    wait(*(journal.record(answer(number)) for number in range(3_000)))
    assert view.totals().ok == 3_000
    assert len(view.lookup([key(number) for number in range(3_000)])) == 3_000


def test_what_has_left_is_committed_though_the_one_who_waits_is_cancelled(
    journal: Journal, ledger: Ledger, path: Path
) -> None:
    async def cancelled() -> None:
        record = asyncio.ensure_future(journal.record(answer(1)))
        await asyncio.sleep(0)
        record.cancel()
        with pytest.raises(asyncio.CancelledError):
            await record

    asyncio.run(cancelled())
    ledger.close()
    with View(path) as view:
        assert view.lookup([key(1)])


def test_a_write_that_fails_fails_alone_and_the_ledger_goes_on(journal: Journal, view: View) -> None:
    async def together() -> list[BaseException | None]:
        impossible = answer(1, latency_ms=2**70)
        unwritable = failure(2, error="\ud800")
        writes = [answer(3), impossible, answer(4), unwritable, answer(5)]
        return await asyncio.gather(*map(journal.record, writes), return_exceptions=True)

    ended = asyncio.run(together())
    assert [type(one) for one in ended] == [type(None), MachineError, type(None), MachineError, type(None)]
    assert view.lookup([key(number) for number in range(9)]).keys() == {key(3), key(4), key(5)}
    assert view.totals().ok == 3
    wait(journal.record(answer(6)))
    assert view.totals().ok == 4


def test_closing_commits_what_was_queued(journal: Journal, ledger: Ledger, path: Path) -> None:
    queued = [ledger.submit(("INSERT INTO intents VALUES (?, 1, 0)", (key(n),))) for n in range(1_000)]
    ledger.close()
    assert all(future.done() for future in queued)
    with View(path) as view:
        assert view.in_doubt() == 1_000


def test_a_closed_ledger_refuses_at_once_instead_of_waiting_for_ever(
    journal: Journal, ledger: Ledger
) -> None:
    ledger.close()
    ledger.close()
    with pytest.raises(MachineError, match="closed"):
        wait(journal.record(answer(1)))


def test_an_answer_is_kept_though_an_intent_beside_it_is_refused_and_nobody_waits_any_more(
    journal: Journal, ledger: Ledger, path: Path
) -> None:
    path.unlink()  # noticed with the next commit: from then on nothing may leave
    wait(journal.record(answer(1)))
    with pytest.raises(MachineError, match="removed"):
        wait(intend(journal, key(3)))

    async def given_up() -> None:
        both = [asyncio.ensure_future(one) for one in (intend(journal, key(4)), journal.record(answer(5)))]
        await asyncio.sleep(0)
        for one in both:
            one.cancel()
        await asyncio.wait(both)

    asyncio.run(given_up())
    ledger.close()
    with View(path) as view:
        assert view.lookup([key(5)])
