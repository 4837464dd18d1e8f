"""What a run was answered, as a small text file; and a run that is answered from one.

The file is JSON Lines, to be committed and read in a review: what each step's calls share once, then a line
for each call with its row, its input and how it ended, the reply as it came. It never holds the key, nor what
headers of a model are.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from opper_batch.calls import Step
from opper_batch.errors import DefinitionError, MachineError
from opper_batch.ledger import Ledger, View
from opper_batch.pipeline import Pipeline
from opper_batch.projection import Projected
from opper_batch.records import Artifact, Call, Outcome, Usage
from opper_batch.report import Summary
from opper_batch.runs import Ended, Options
from opper_batch.runs.publish import Projector, publish
from opper_batch.runs.setting import Setting, resolve
from opper_batch.text import printable, shortened
from opper_batch.withheld import without_secrets

_FORMAT = 1
_TOLD_ROWS = 5


class NotRecorded(AssertionError):
    """A run asked what its recording does not hold; says which row and step, and what differs."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What all calls of a step share, and the gateway that answered them."""

    pipeline: str
    step: str
    origin: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One call: the row it was first asked for (from 1), what was sent, and how it ended."""

    prompt: Prompt
    row: int
    input: dict[str, Any]
    outcome: Outcome


class Recording:
    """Calls by their keys. Equal ones are kept once."""

    def __init__(self) -> None:
        self.calls: dict[bytes, Recorded] = {}

    def __repr__(self) -> str:
        return f"<Recording of {len(self.calls):,} calls>"

    def add(self, ended: Ended) -> None:
        """Everything that the run's rows were answered, now or by an earlier run."""
        setting = ended.setting
        with setting.view() as view:
            for projected in setting.projected(setting.steps, view):
                for step in setting.steps:
                    self._add(setting, step, projected, view)

    def _add(self, setting: Setting, step: Step, projected: Projected, view: View) -> None:
        prompt = Prompt(setting.pipeline.name, step.name, setting.origin, _asked(step.template.fields))
        calls = projected.questions(step)
        known = view.lookup(list({call.key for call in calls if call}))
        for row, call in enumerate(calls, projected.first_row):
            if call is not None and call.key in known:
                recorded = Recorded(prompt, row, json.loads(call.input), known[call.key].outcome)
                self.calls.setdefault(call.key, recorded)

    def write(self, path: Path) -> None:
        """All or nothing. Raises MachineError when it would hold the key."""
        text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in self._lines())
        secret = os.environ.get("OPPER_API_KEY", "").strip()
        if secret and secret in text:
            raise MachineError(f"{path} is not written: a row or an answer holds OPPER_API_KEY; take it out")
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        fresh.write_text(text, encoding="utf-8")
        os.replace(fresh, path)

    def _lines(self) -> Iterator[dict[str, Any]]:
        yield {"opper_batch_recording": _FORMAT}
        prompts: list[Prompt] = []
        for recorded in self.calls.values():
            if recorded.prompt not in prompts:
                prompts.append(recorded.prompt)
                yield {"prompt": len(prompts), **asdict(recorded.prompt)}
            number = prompts.index(recorded.prompt) + 1
            sent = {"row": recorded.row, "input": recorded.input}
            yield {"call_of": number, **sent, "outcome": _outcome_line(recorded.outcome)}

    @classmethod
    def read(cls, path: Path) -> Recording:
        """Raises DefinitionError when the file is not there, or no recording."""
        recording, prompts = cls(), dict[int, Prompt]()
        try:
            head, *lines = [json.loads(line) for line in _lines_of(path)]
            if head["opper_batch_recording"] != _FORMAT:
                raise ValueError
            for line in lines:
                if "prompt" in line:
                    number = line.pop("prompt")
                    prompts[number] = Prompt(**line)
                    continue
                outcome = _outcome(line["outcome"])
                recorded = Recorded(prompts[line["call_of"]], line["row"], line["input"], outcome)
                recording.calls[outcome.key] = recorded
        except FileNotFoundError:
            raise DefinitionError(f"there is no recording at {path}") from None
        except (ValueError, KeyError, TypeError):
            raise DefinitionError(f"{path} is no recording of this version; record it again") from None
        return recording

    def of(self, pipeline: str, step: str | None = None) -> list[Recorded]:
        """The calls of one pipeline, or of one of its steps."""
        return [
            recorded
            for recorded in self.calls.values()
            if recorded.prompt.pipeline == pipeline and step in (None, recorded.prompt.step)
        ]


def replay(pipeline: Pipeline, options: Options, recording: Recording, *, state: Path) -> Ended:
    """``execute``, answered by ``recording`` alone: no key, no network. Raises NotRecorded.

    ``state`` is a folder for ledgers; a second run with the same finds what the first was answered.
    """
    started = time.monotonic()
    origins = {recorded.prompt.origin for recorded in recording.of(pipeline.name)}
    real = sorted(origin for origin in origins if "://" in origin)
    setting = resolve(pipeline, replace(options, state_dir=state, base_url=real[0] if real else None))
    with Ledger(setting.ledger_path) as ledger, ledger.view() as view:
        ledger.begin(origin=setting.origin, options={"replayed": "True"})
        for number in range(len(setting.steps)):
            _answer(setting, number, recording, ledger, view)
        counts = publish(Projector(setting, view, run=ledger.run))
        summary = Summary(
            run_id=ledger.run,
            pipeline=pipeline.name,
            counts=counts,
            totals=view.totals(run=ledger.run),
            seconds=time.monotonic() - started,
            output=setting.sink.target if setting.sink and not counts.held_back else None,
            exit=0 if options.allows(counts.failed, counts.rows) and not counts.held_back else 1,
            sandbox=setting.sandbox,
        )
        ledger.finish(
            exit_code=summary.exit,
            published=not summary.held_back,
            rows=counts.rows,
            summary=summary.as_json(),
        )
    return Ended(summary, None, setting)


def _answer(setting: Setting, number: int, recording: Recording, ledger: Ledger, view: View) -> None:
    """Write what the step's new calls were answered to the ledger, as a run would have."""
    step, missing, outcomes = setting.steps[number], list[str](), dict[bytes, Outcome]()
    for projected in setting.projected(setting.steps[:number], view):
        calls = projected.questions(step)
        settled = view.settled(list({call.key for call in calls if call}))
        for index, call in enumerate(calls):
            if call is None or call.key in settled:
                continue
            if call.key in recording.calls:
                outcomes[call.key] = recording.calls[call.key].outcome
            elif len(missing) < _TOLD_ROWS:
                missing.append(_sentence(setting, step, projected, index, call, recording))
            else:
                missing.append("")
    if missing:
        more = len(missing) - _TOLD_ROWS
        told = [*missing[:_TOLD_ROWS], *([f"and {more:,} more rows"] if more > 0 else [])]
        raise NotRecorded("\n".join(told))
    _write_down(step, ledger, list(outcomes.values()))


def _write_down(step: Step, ledger: Ledger, outcomes: Sequence[Outcome]) -> None:
    template = step.template
    journal = ledger.journal(step=step.name, digest=template.digest, fields=template.fields)

    async def all_of_them() -> None:
        await asyncio.gather(*(journal.record(outcome) for outcome in outcomes))

    with ThreadPoolExecutor(1) as thread:  # here a loop may be running already
        thread.submit(asyncio.run, all_of_them()).result()


def _sentence(
    setting: Setting, step: Step, projected: Projected, index: int, call: Call, recording: Recording
) -> str:
    row = projected.first_row + index
    key = [f"{name}={projected.batch.column(name)[index].as_py()!r}" for name in setting.pipeline.source.key]
    named = f" ({shortened(printable(', '.join(key)), 80)})" if key else ""
    known = recording.of(setting.pipeline.name, step.name)
    prompt = Prompt(setting.pipeline.name, step.name, setting.origin, _asked(step.template.fields))
    differs = _differs(prompt, row, json.loads(call.input), known)
    return f"{setting.pipeline.name}, row {row:,}{named}, step {step.name!r}: not recorded; {differs}"


def _differs(prompt: Prompt, row: int, sent: Mapping[str, Any], known: Sequence[Recorded]) -> str:
    """What the nearest recorded call has otherwise: the prompt, which every row shares, or the row."""
    if not known:
        return "nothing is recorded for this step"
    same = [recorded for recorded in known if recorded.prompt == prompt]
    if not same:
        other = known[-1].prompt
        if other.origin != prompt.origin:
            return f"it was recorded of {other.origin}, and this run means {prompt.origin}"
        return f"{_names(prompt.fields, other.fields)} changed since it was recorded"
    nearest = max(same, key=lambda one: (len(_equal(one.input, sent)), one.row == row))
    if not _equal(nearest.input, sent):
        return "no recorded row is like it"
    if nearest.input == sent:
        return "a header of the model changed since it was recorded"
    return f"{_names(sent, nearest.input)} differs from the recorded row {nearest.row:,}"


def _equal(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return [name for name in one if name in other and one[name] == other[name]]


def _names(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    equal = _equal(one, other)
    return ", ".join(repr(printable(name)) for name in {**one, **other} if name not in equal)


def _asked(sent: Mapping[str, Any]) -> dict[str, Any]:
    """What is part of the question, as JSON would give it back; where it is traced is not, nor any secret."""
    asked: dict[str, Any] = without_secrets(json.loads(json.dumps(dict(sent))))
    asked.pop("parent_span_id", None)
    return asked


def _lines_of(path: Path) -> list[str]:
    """By newline alone: text of rows may hold what else Python takes for the end of a line."""
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def _outcome_line(outcome: Outcome) -> dict[str, Any]:
    line = {name: value for name, value in asdict(outcome).items() if value is not None and value != ()}
    line["key"] = outcome.key.hex()
    if outcome.reply is not None:
        try:
            line["reply"] = outcome.reply.decode()
        except UnicodeDecodeError:
            line["reply"] = {"base64": base64.b64encode(outcome.reply).decode()}
    return line


def _outcome(line: Mapping[str, Any]) -> Outcome:
    known = {entry.name: line[entry.name] for entry in fields(Outcome) if entry.name in line}
    reply = line.get("reply")
    known["key"] = bytes.fromhex(line["key"])
    known["error"] = line.get("error")
    if reply is not None:
        known["reply"] = base64.b64decode(reply["base64"]) if isinstance(reply, dict) else reply.encode()
    known["usage"] = Usage(**line["usage"])
    known["artifacts"] = tuple(Artifact(**artifact) for artifact in line.get("artifacts", ()))
    return Outcome(**known)
