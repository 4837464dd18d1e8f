"""Whether the promises were kept, judged from the gateway's journal and what was on the disk."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from simulated_gateway import Asked, note
from simulated_runs import Run, Simulation
from simulated_scenario import Scenario

from opper_batch.engines.local import GRACE_SECONDS
from opper_batch.errors import OpperBatchError
from opper_batch.pace import CEILING

ATTEMPTS = 3  # a repair among them
# A reply whose cost was heard: it fits, does not fit, or promises an answer.
_PRICED = {"", "stall", "misfit", "pending"}
# What nobody would charge for.
_FREE = {"throttled", "limited", "crowded", "before", "400", "401", "402", "403"}
_REFUSALS = {"throttled", "limited", "crowded"}
# So many refusals at least bind all, before one can be known to be one of many that come at random.
_FOUND_OUT = 10


def broken_promises(simulation: Simulation) -> list[str]:
    """One sentence for each promise that was not kept."""
    return [sentence for judge in _JUDGES for sentence in judge(simulation)]


def kept(simulation: Simulation) -> None:
    """Fails with the whole story when a promise was not kept."""
    broken = broken_promises(simulation)
    story = [str(simulation.scenario), *map(told, simulation.runs), *broken[:20]]
    assert not broken, "\n".join(story)


def _ends(simulation: Simulation) -> Iterator[str]:
    """Nothing hangs, and whatever stops a run is said on purpose."""
    for number, run in enumerate(simulation.runs):
        if not run.killed and run.ended and not _is_due(run.ended.error, run, simulation.scenario):
            yield f"run {number} ended with {run.ended.error!r}"
    last = simulation.runs[-1].ended
    if not last or last.error:
        yield f"the last run did not end well: {last and last.error}"


def _is_due(error: Exception | None, run: Run, scenario: Scenario) -> bool:
    """Whether the scenario gives a reason for an end with this error."""
    reasons = {
        "the deadline has passed": run.deadline is not None,
        "the budget of": run.cap is not None,
        "the cap of": run.cap is not None,
        "budget is used up": scenario.shut,
        "refuses the key": scenario.shut,
        "has been out for": scenario.outages or scenario.faults,
        "does not answer": scenario.outages or scenario.faults,
        "fails at every call": scenario.outages or scenario.faults,
    }
    if not isinstance(error, OpperBatchError):
        return error is None
    return any(due for words, due in reasons.items() if words in error.message)


def _rows(simulation: Simulation) -> Iterator[str]:
    """Every row is there, settled once; only what is refused each time has failed."""
    ended, scenario = simulation.runs[-1].ended, simulation.scenario
    if not ended or not ended.summary.counts:
        return
    counts = ended.summary.counts
    refused = sum(n % scenario.distinct >= scenario.distinct - scenario.refused for n in range(scenario.rows))
    if (counts.rows, counts.ok, counts.failed) != (scenario.rows, scenario.rows - refused, refused):
        yield f"{counts} of {scenario.rows} rows, of which {refused} must fail"


def _answers(simulation: Simulation) -> Iterator[str]:
    """What is kept is an answer to that very question; an answer that is kept is never replaced."""
    given = {note(asked.answer): asked.question for asked in simulation.journal if asked.answer}
    given |= {note(made.answer): made.question for made in simulation.gateway.made.values()}
    before: dict[str, str] = {}
    for number, run in enumerate(simulation.runs):
        for question, kept in run.after.answers.items():
            if given.get(kept) != question:
                yield f"run {number}: {question} has {kept!r}"
            if before.get(question, kept) != kept:
                yield f"run {number}: the answer {before[question]!r} became {kept!r}"
        if missing := before.keys() - run.after.answers.keys():
            yield f"run {number}: the answers to {missing} are gone"
        before = run.after.answers


def _asked_again(simulation: Simulation) -> Iterator[str]:
    """Nothing whose answer, or whose 202, is there."""
    for number, run in enumerate(simulation.runs):
        settled = dict.fromkeys(run.before.answered, "its answer was durable")
        settled |= dict.fromkeys(run.before.pending, "its 202 was durable")
        for asked in _calls(simulation, number):
            if reason := settled.get(asked.question):
                yield f"run {number}: {asked.question} was asked at {asked.at:.3f}, though {reason}"
        heard: dict[str, float] = {}
        for asked in _calls(simulation, number):
            if heard.get(asked.question, asked.at) < asked.at:
                yield f"run {number}: {asked.question} was asked at {asked.at:.3f}, though it was answered"
            if asked.heard_at is not None and (asked.operation or (asked.answer and asked.fault in _PRICED)):
                heard[asked.question] = asked.heard_at


def _lost(simulation: Simulation) -> Iterator[str]:
    """After a kill at most what was in flight, and that is known; otherwise nothing that was heard."""
    places = simulation.scenario.concurrency or CEILING
    for number, run in enumerate(simulation.runs):
        calls = _calls(simulation, number)
        durable = run.after.answered | run.after.pending | run.after.ended
        paid = {asked.question for asked in calls if asked.billed is not None}
        made = {
            asked.question
            for asked in calls
            if asked.operation or (asked.answer and (run.killed or asked.heard_at) and asked.fault in _PRICED)
        }
        if run.killed:
            if unknown := paid - durable - run.after.in_doubt:
                yield f"run {number}, {run.killed}: {unknown} may be paid, and the ledger does not know"
            if len(made - durable) > places:
                yield f"run {number}, {run.killed}: {len(made - durable)} answers lost of {places} in flight"
        elif lost := made - durable:
            yield f"run {number}: {lost} were answered and are not durable"
        elif (
            doubts := run.after.in_doubt
            - run.before.in_doubt
            - {asked.question for asked in calls if asked.fault not in _FREE}
        ):
            yield f"run {number}: {doubts} are in doubt, though they cannot have been paid"


def _paid_attempts(simulation: Simulation) -> Iterator[str]:
    for number in range(len(simulation.runs)):
        times = Counter(asked.question for asked in _calls(simulation, number) if asked.billed is not None)
        for question, count in times.items():
            if count > ATTEMPTS:
                yield f"run {number}: {question} was paid {count} times"


def _borne(simulation: Simulation) -> Iterator[str]:
    """A gateway that had answered and then cannot be reached is waited for: no row fails for that."""
    scenario = simulation.scenario
    if scenario.refused:  # those are answered also then, so that it is no outage
        return
    out = [(begin, end) for begin, end, how in scenario.outages if how == "before"]
    for number, run in enumerate(simulation.runs):
        calls = _calls(simulation, number)
        for begin, end in out:
            seen = {_step(asked) for asked in calls if not asked.fault and (asked.heard_at or end) < begin}
            tried = {asked.question for asked in calls if begin <= asked.at < end and _step(asked) in seen}
            other = {asked.question for asked in calls if not begin <= asked.at < end}
            failed = run.after.ended - run.after.answered - run.before.ended
            for question in tried & failed - other:
                yield f"run {number}: {question} failed in an outage"


def _held(simulation: Simulation) -> Iterator[str]:
    """What the user allows a minute, and until when."""
    scenario = simulation.scenario
    for number, run in enumerate(simulation.runs):
        times = [asked.at for asked in _calls(simulation, number)]
        if most := scenario.requests_per_minute:
            for place, at in enumerate(times[int(most) :]):
                if at - times[place] < 60 - 1e-6:
                    yield f"run {number}: more than {most:g} calls left in the minute before {at:.3f}"
        if run.deadline is not None:
            if late := [at for at in times if at > run.began + run.deadline + 1e-6]:
                yield f"run {number}: a call left at {late[0]:.3f}, {run.deadline:g} s after {run.began:.3f}"
            if run.over > run.began + run.deadline + GRACE_SECONDS + 1:
                yield f"run {number} was over at {run.over:.3f}, {run.deadline:g} s after {run.began:.3f}"


def _money(simulation: Simulation) -> Iterator[str]:
    """What the ledger says was paid is what the gateway said."""
    scenario = simulation.scenario
    if scenario.kills:
        return
    told = sum(
        asked.told or 0.0
        for asked in simulation.journal
        if asked.what == "call" and asked.heard_at is not None and asked.fault in _PRICED
    )
    kept = sum(run.ended.summary.totals.cost for run in simulation.runs if run.ended)
    if abs(told - kept) > 1e-9:
        yield f"${told:.9f} were told and ${kept:.9f} kept"


def _cap(simulation: Simulation) -> Iterator[str]:
    """Not crossed by more than what requests cost above every price heard before they left.

    Nobody can know of a dear answer that never arrived, nor of any price before the first answer.
    """
    if simulation.scenario.unpriced:
        return
    spent, above = 0.0, 0.0
    for number, run in enumerate(simulation.runs):
        above += _surprises(simulation, number)
        by_question: dict[str, float] = defaultdict(float)
        for asked in _calls(simulation, number):
            heard = asked.heard_at is not None and asked.fault in _PRICED
            cost = asked.billed or 0.0
            if heard:
                by_question[asked.question] += cost
            elif (
                asked.question in run.after.in_doubt
            ):  # one is known to be in doubt, however often it was tried
                by_question[asked.question] = max(
                    by_question[asked.question], min(cost, simulation.scenario.price)
                )
            else:
                by_question[asked.question] += min(cost, simulation.scenario.price)
        spent += sum(by_question.values())
        if by_question and run.cap is not None and spent - run.cap > above + 1e-9:
            yield f"run {number}: ${spent:.6f} were spent of ${run.cap:.6f}, ${above:.6f} of it a surprise"
        if run.ended and run.ended.error is None:
            spent = above = 0.0


def _surprises(simulation: Simulation, run: int) -> float:
    """What requests of a run cost above every price that was heard before they were asked.

    Of one whose answer was lost it is what it can have cost, without the rare dear ones.
    """
    heard = [
        (asked.heard_at, asked.billed or 0.0)
        for asked in simulation.journal
        if asked.what == "call" and asked.heard_at is not None and asked.fault in _PRICED
    ]
    above = 0.0
    for asked in _calls(simulation, run):
        cost = asked.billed or 0.0
        known = max((price for at, price in heard if at <= asked.at), default=0.0)
        if asked.heard_at is None or asked.fault not in _PRICED:
            cost = min(cost, simulation.scenario.price)
        above += max(0.0, cost - known)
    return above


def _waits(simulation: Simulation) -> Iterator[str]:
    """After a Retry-After nothing leaves until it is over; files come from elsewhere.

    A gateway that refuses at random, or for two reasons, is found out: then a refusal keeps back its own call
    alone.
    """
    scenario, refusals = simulation.scenario, 0
    several = "throttled" in scenario.faults or (scenario.inside and scenario.limit)
    for number in range(len(simulation.runs)):
        until = {"": (-1.0, 0.0)}
        for asked, leaves in _moments(simulation, number):
            if leaves:
                for end, by in (until[""], until.get(asked.question, until[""])):
                    if by < asked.at < end - 1e-6:
                        what = f"run {number}: {asked.question} left at {asked.at:.3f}"
                        yield f"{what}, though at {by:.3f} it was told {end:.3f}"
                continue
            refusals += asked.fault in _REFUSALS
            chance = several and refusals > _FOUND_OUT
            who = asked.question if asked.fault in _REFUSALS and asked.what == "call" and chance else ""
            end = (asked.heard_at or 0.0) + (asked.wait or 0.0)
            if asked.wait and end > until.get(who, until[""])[0]:
                until[who] = end, asked.heard_at or 0.0


def _moments(simulation: Simulation, run: int) -> list[tuple[Asked, bool]]:
    """When something leaves, and when a wait is heard of, in that order."""
    here = [asked for asked in simulation.journal if asked.run == run and asked.what != "file"]
    moments = [(asked.at, 0, asked) for asked in here]
    moments += [(asked.heard_at, 1, asked) for asked in here if asked.heard_at is not None and asked.fault]
    return [(asked, not heard) for _, heard, asked in sorted(moments, key=lambda moment: moment[:2])]


def _places(simulation: Simulation) -> Iterator[str]:
    most = simulation.scenario.concurrency or CEILING
    if simulation.gateway.most_inside > most:
        yield f"{simulation.gateway.most_inside} were in flight where {most} are allowed"


def _calls(simulation: Simulation, run: int) -> list[Asked]:
    return [asked for asked in simulation.journal if asked.run == run and asked.what == "call"]


def _step(asked: Asked) -> str:
    return asked.question.split()[0]


_JUDGES = (
    *(_ends, _rows, _answers, _asked_again, _lost, _paid_attempts, _borne, _held, _money, _cap),
    *(_waits, _places),
)


def told(run: Run) -> str:
    """One line for a run, for whoever looks for what went wrong."""
    end = run.killed or (run.ended and (run.ended.summary.exit, run.ended.summary.stopped))
    return f"{run.began:.3f} to {run.over:.3f}: {end}"
