"""A run, from the source to the published result.

resolve -> lock -> for each step: source -> plan -> engine -> ledger -> publish -> report
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from opper_batch.budget import Budget
from opper_batch.calls import Asking, Questions, Step
from opper_batch.client import Client, Gate, Gateway, StepRules
from opper_batch.client.artifacts import Artifacts
from opper_batch.client.commons import Commons
from opper_batch.client.trace import Trace
from opper_batch.engines import LocalEngine
from opper_batch.errors import DefinitionError, RunStopped, SinkError, SourceError
from opper_batch.ledger import Ledger, View
from opper_batch.pace import Pace
from opper_batch.pipeline import Pipeline
from opper_batch.report import Counts, Summary
from opper_batch.runs.entering import entered
from opper_batch.runs.freshness import policy
from opper_batch.runs.identities import identities_path, remember
from opper_batch.runs.marks import about_since
from opper_batch.runs.options import Options
from opper_batch.runs.places import callable_gateway
from opper_batch.runs.planning import planned, refuse_above
from opper_batch.runs.progress import Telling
from opper_batch.runs.publish import Projector, publish
from opper_batch.runs.reporting import keep_report, profile_of
from opper_batch.runs.setting import Setting, resolve
from opper_batch.runs.spending import learn_costs
from opper_batch.runs.steering import Limits, Steering, UnderWay
from opper_batch.runs.survey import pilot_calls
from opper_batch.runs.world import REAL, World

INTERRUPTED = 130
_OFTEN = 256  # outcomes: then it is looked how many rows can be joined already


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: its numbers, what stopped it (None when nothing did), and what it worked on.

    ``unreported`` is why its report could not be written, None when it was.
    """

    summary: Summary
    error: BaseException | None
    setting: Setting
    unreported: str | None = None


def execute(
    pipeline: Pipeline,
    options: Options,
    *,
    sample: bool = False,
    pilot: int | None = None,
    world: World = REAL,
) -> Ended:
    """Call what is missing, then publish and report; as a ``pilot`` of so many rows, call these and no more.

    A ``sample`` of the rows is no run of the pipeline: what it paid counts for the next one's cap, and the
    report stays that of the last one. What is wrong before the first call is raised; what stops the run
    later is in ``Ended.error``.
    """
    with ExitStack() as stack:
        options = stack.enter_context(_sandboxed(options))
        target = callable_gateway(options)
        setting = resolve(pipeline, options, writing=pilot is None)
        ledger, waited = entered(setting.ledger_path, options, open=world.ledger)
        stack.enter_context(ledger)
        if waited:  # meanwhile the table may have changed
            setting = resolve(pipeline, options, writing=pilot is None)
            options = options.after(waited)
        if options.yes_up_to is not None:
            refuse_above(options.yes_up_to, planned(setting, options))
        view = stack.enter_context(ledger.view())
        kind = {"kind": "sample" if sample else "pilot"} if sample or pilot is not None else {}
        ledger.begin(origin=setting.origin, options={**options.said(), **kind})
        steps = [step.name for step in setting.steps]
        options.tell("started", run_id=ledger.run, rows=setting.checked.rows, steps=steps)
        commons = stack.enter_context(_commons(target, options))
        run = _Run(setting, options, target, ledger, view, commons, pilot, world)
        with run.steering.listening(setting.ledger_path, run=ledger.run):
            counts, error = run.through()
        summary = run.summary(counts, error)
        published = error is None and not sample and bool(counts and not counts.held_back)
        ledger.finish(
            exit_code=summary.exit,
            published=published,
            rows=summary.rows,
            summary={} if sample or pilot is not None else summary.as_json(),
        )
        run.trace.close(summary.numbers(), error=error)
        options.tell("finished", **summary.as_json())
        if published:
            with suppress(OSError):  # the result is out; without it a later plan says new for changed
                remember(identities_path(setting.ledger_path), setting.identities)
        if sample or pilot is not None:
            return Ended(summary, error, setting)
        return Ended(summary, error, setting, keep_report(setting, ledger, view, summary, run.profile))


class _Run:
    """The parts of one run, joined."""

    def __init__(
        self,
        setting: Setting,
        options: Options,
        target: Gateway,
        ledger: Ledger,
        view: View,
        commons: Commons | None,
        pilot: int | None,
        world: World,
    ) -> None:
        self._world, self._clock = world, world.clock
        self._setting = setting
        self._pilot = pilot
        self._options = options
        self._gateway = target
        self._ledger = ledger
        self._view = view
        self._started = self._clock()
        self.profile = profile_of(setting)
        self._projector = Projector(setting, view, run=ledger.run, seen=self.profile.add)
        self._policy = policy(options, view.runs(), run=ledger.run, now=time.time())
        limits = setting.pipeline.limits
        allowed = Limits.of(limits, options)
        self._pace = Pace(
            concurrency=allowed.concurrency,
            requests_per_minute=allowed.rpm,
            tokens_per_minute=options.tokens_per_minute or limits.tokens_per_minute,
            learned=commons.learned if commons else None,
            commons=commons,
        )
        self._commons = commons
        about = {"pipeline": setting.pipeline.name, "run": ledger.run, "rows": setting.checked.rows}
        self.trace = Trace(target, name=f"batch:{setting.pipeline.name}", about=about, on=options.trace)
        self._budget = Budget(allowed.max_cost)
        self.steering = Steering(allowed, self._pace, self._budget)
        self._telling = Telling(
            ledger,
            view,
            self._pace,
            self.steering,
            rows=setting.checked.rows,
            listener=options.progress,
            clock=self._clock,
        )

    def through(self) -> tuple[Counts | None, BaseException | None]:
        """Every step's missing calls, then the result; gives what came of the rows, and what stopped it."""
        try:
            for number, step in enumerate(self._setting.steps):
                self._settle_step(step, self._setting.steps[:number])
            return self._published() if self._pilot is None else None, None
        except (
            Exception,
            KeyboardInterrupt,
        ) as error:  # whatever it is, the ledger is told before it goes on
            self._options.tell("stopped", error=error)
            return None, error
        finally:
            if self._commons:
                self._commons.keep(self._pace.learned)

    def summary(self, counts: Counts | None, error: BaseException | None) -> Summary:
        published = self._setting.sink if error is None and counts and not counts.held_back else None
        summary = Summary(
            run_id=self._ledger.run,
            pipeline=self._setting.pipeline.name,
            counts=counts,
            totals=self._view.totals(run=self._ledger.run),
            seconds=self._clock() - self._started,
            output=published.target if published else None,
            stopped=str(error) or "interrupted" if error else None,
            in_doubt=self._view.in_doubt(),
            sandbox=self._setting.sandbox,
            span_id=self.trace.span_id,
            trace_id=self.trace.trace_id,
            since=about_since(self._setting, counts, self._options),
        )
        if error is None and self._pilot is not None:
            return summary
        return replace(summary, exit=_exit_code(error, counts, summary.kept, self._options))

    def _settle_step(self, step: Step, earlier: tuple[Step, ...]) -> None:
        self._telling.begin()
        last = step is self._setting.steps[-1] and self._pilot is None
        asking, gate = Asking(self._view, self._policy), Gate(self._pace, clock=self._clock)
        tell = partial(self._telling.step, step.name, asking, gate)
        client = self._client(step, gate)
        learn_costs(self._budget, self._setting, len(earlier), self._view, self._options)
        engine = LocalEngine(
            client,
            proven=self._view.totals(template=self._view.template(step.template.digest)).ok > 0,
            deadline=self._seconds_left(),
            grace=self._options.grace,
            waiting=tell,
            landing=self._draining,
            clock=self._clock,
            loop=self._world.loop,
            handed=self._world.handed,
        )
        self.steering.begin(UnderWay(step.name, self._after(step), engine, client, asking))
        tell(now=True)
        with closing(engine.outcomes(asking.calls(self._questions(step, earlier, tell)))) as outcomes:
            for number, outcome in enumerate(outcomes, 1):
                asking.ended(outcome.key)
                tell()
                if last and number % _OFTEN == 0:
                    self._projector.ahead(asking.settled_through)
        tell(now=True)
        self._options.tell("step_done", step=step.name, rows=asking.settled_rows)
        self.steering.end()

    def _draining(self) -> None:
        """It was interrupted, and what is in flight is waited for."""
        if in_flight := self._pace.in_flight:
            self._options.tell("draining", in_flight=in_flight, seconds=self._options.grace)

    def _after(self, step: Step) -> int:
        """How many steps come after it."""
        return len(self._setting.steps) - 1 - self._setting.steps.index(step)

    def _questions(
        self, step: Step, earlier: tuple[Step, ...], tell: Callable[[], None]
    ) -> Iterator[Questions]:
        """What the step asks of each batch; told of in between, since known rows go by without an outcome.

        A pilot asks those chosen, beside what is known of this prompt already.
        """
        if self._pilot is not None:
            chosen = pilot_calls(self._setting, len(earlier), self._view, self._policy, self._pilot)
            yield Questions.of(chosen)
            return
        for projected in self._setting.projected(earlier, self._view):
            yield projected.questions(step)
            tell()

    def _published(self) -> Counts:
        self._telling.begin()
        about = {"run": str(self._ledger.run), **self.trace.ids}
        counts = publish(self._projector, about=about, told=self._telling.published)
        if self._setting.sink is not None and not counts.held_back:
            self._options.tell("published", output=self._setting.sink.target)
        return counts

    def _client(self, step: Step, gate: Gate) -> Client:
        template = step.template
        journal = self._ledger.journal(step=step.name, digest=template.digest, fields=template.fields)
        transport = self._world.network(direct=self._gateway.is_loopback)
        return Client(
            StepRules(template, step.columns, step.spec.repair),
            gateway=self._gateway,
            transport=transport,
            gate=gate,
            budget=self._budget,
            journal=journal,
            artifacts=Artifacts(
                self._gateway,
                transport,
                gate,
                folder=self._artifacts_folder(),
                downloads=self._world.downloads,
            ),
            trace=self.trace,
            clock=self._clock,
            chance=self._world.chance,
        )

    def _artifacts_folder(self) -> Path:
        if self._setting.sink is not None:
            return self._setting.sink.artifacts
        return self._setting.ledger_path.with_suffix(".artifacts")

    def _seconds_left(self) -> float | None:
        if self._options.deadline is None:
            return None
        return max(0.0, self._options.deadline - (self._clock() - self._started))


@contextmanager
def _sandboxed(options: Options) -> Iterator[Options]:
    """With ``sandbox=True``: a gateway of our own on loopback, for as long as the run takes."""
    if options.sandbox is not True:
        yield options
        return
    from opper_batch.sandbox import Sandbox

    with Sandbox() as sandbox:
        yield replace(options, sandbox=sandbox)


@contextmanager
def _commons(target: Gateway, options: Options) -> Iterator[Commons | None]:
    """What is known of the key's limit; the sandbox of a run ends with it, and its limit is nobody's."""
    commons = None if options.sandbox else Commons.join(target.origin, target.key)
    try:
        yield commons
    finally:
        if commons:
            commons.leave()


def _exit_code(error: BaseException | None, counts: Counts | None, kept: int, options: Options) -> int:
    if isinstance(error, SourceError | SinkError | DefinitionError):
        return RunStopped.exit_code  # exit 2 promises that nothing was called
    if error is not None or counts is None:
        return getattr(error, "exit_code", 1 if isinstance(error, Exception) else INTERRUPTED)
    if counts.held_back:
        return 1
    # Refreshed in vain, a row still has its older answer, but what was asked for did not happen.
    return 0 if options.allows(counts.failed + kept, counts.rows) else 1
