"""What a run tells of itself at its end: gathered once, kept in the ledger, written beside the output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opper_batch.errors import DefinitionError, OpperBatchError
from opper_batch.ledger import Ledger, RunRecord, View, findings, kept_report, report_before
from opper_batch.report import Report, Summary
from opper_batch.runs.options import Options
from opper_batch.runs.state import elsewhere, ledger_path
from opper_batch.text import shortened
from opper_batch.withheld import without_secrets

if TYPE_CHECKING:
    from opper_batch.report.profile import Profile
    from opper_batch.runs.setting import Setting


def profile_of(setting: Setting) -> Profile:
    """What gets to see the output's batches."""
    from opper_batch.report.profile import Profile

    return Profile({step.name: step.columns.arrow for step in setting.steps}, setting.pipeline.source.key)


def keep_report(
    setting: Setting, ledger: Ledger, view: View, summary: Summary, profile: Profile
) -> str | None:
    """Keep it in the ledger and beside the output; gives why that failed, which never fails the run."""
    try:
        record = next(record for record in view.runs() if record.id == ledger.run)
        report = Report(summary.as_json(), _details(setting, view, record, summary, profile))
        text = json.dumps(report.as_json(), ensure_ascii=False, allow_nan=False)
        ledger.keep_report(text, whole=summary.counts is not None and not summary.held_back)
        if setting.sink is not None:
            write_beside(report_path(setting, ".json", held_back=summary.held_back), text + "\n")
    except OpperBatchError as error:
        return f"the report of this run could not be written: {error.message}"
    except Exception as error:  # whatever it is: the result is there and paid for
        reason = shortened(f"{type(error).__name__}: {error}", 200)
        return f"the report of this run could not be written ({reason})"
    return None


def report_path(setting: Setting, suffix: str, *, held_back: bool = False) -> Path:
    """``<output>.report<suffix>``, beside what was ``held_back`` too; without a sink beside the ledger."""
    from opper_batch.runs.places import sink_of
    from opper_batch.sinks import report_place

    sink = setting.sink
    if held_back:
        sink = sink_of(setting.pipeline, setting.checked.schema, sandbox=setting.sandbox, rejected=True)
    place = sink.artifacts if sink is not None else setting.ledger_path
    return Path(f"{report_place(place)}{suffix}")


def page_place(pipeline: str, report: Report, options: Options) -> Path:
    """Where its page goes by default: beside the output, or the ledger when there is none."""
    place = report.as_json().get("report_place")
    return Path(place or str(ledger_path(pipeline, options)) + ".report").with_suffix(".report.html")


def write_beside(path: Path, text: str) -> None:
    """Write the file whole or not at all. Raises MachineError."""
    from opper_batch.sinks.staging import check_folder, machine_errors, publish, staged

    check_folder(path.resolve().parent, str(path))
    with machine_errors(str(path)), staged(path.resolve()) as temporary:
        temporary.write_text(text, "utf-8", errors="backslashreplace")
        publish(temporary, path.resolve())


def report_of(pipeline: str, options: Options) -> Report:
    """The latest run that ended: what it said of itself."""
    path = ledger_path(pipeline, options)
    if path.exists():
        with View(path) as view:
            for record in reversed(view.runs()):
                if record.summary:
                    kept = kept_report(view, record.id)
                    return (
                        Report.from_json(json.loads(kept))
                        if kept
                        else Report(record.summary, _calls(view, record))
                    )
    hint = elsewhere(pipeline, options) or "; run it first"
    raise DefinitionError(f"pipeline {pipeline!r} has no finished run to report{hint}")


def _calls(view: View, record: RunRecord) -> dict[str, Any]:
    ended = record.ended or record.started
    found = findings(view, record.id, started=record.started, ended=ended)
    return {"started": record.started, "ended": ended, "gateway": record.origin, **found}


def _details(
    setting: Setting, view: View, record: RunRecord, summary: Summary, profile: Profile
) -> dict[str, Any]:
    from opper_batch.report.movement import with_movement

    place = str(report_path(setting, "", held_back=summary.held_back)) if setting.sink else None
    details = {
        **_calls(view, record),
        "report_place": place,
        "options": record.options,
        "definition": _definition(setting),
    }
    if summary.counts is None:
        return details
    output = profile.as_json()
    before = report_before(view, record.id)
    earlier = json.loads(before) if before else {}
    output["columns"] = with_movement(output["columns"], earlier.get("columns", []))
    return {**details, **output, "compared_with": earlier.get("run_id")}


def _definition(setting: Setting) -> dict[str, Any]:
    """The pipeline as it was; headers may hold secrets, so that only their names are told."""
    pipeline = setting.pipeline
    source = pipeline.source.model_dump(exclude={"table"}, exclude_none=True, mode="json")
    steps = [{"step": step.name, "reads": step.inputs, **step.template.fields} for step in setting.steps]
    return {
        "name": pipeline.name,
        "source": {"name": setting.source.name, **source},
        "steps": without_secrets(steps),
        "limits": pipeline.limits.model_dump(exclude_none=True),
        "sink": pipeline.sink.model_dump(exclude_none=True) if pipeline.sink else None,
    }
