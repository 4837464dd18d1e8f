"""The one place where the parts are joined: run, plan, export.

Names are imported when they are first used: who only looks does without all that a run needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opper_batch.runs.comparing import diff
    from opper_batch.runs.execution import Ended, execute
    from opper_batch.runs.inspect import Failure, export, failures
    from opper_batch.runs.options import Options, Progress
    from opper_batch.runs.pilot import ask_pilot
    from opper_batch.runs.planning import Plan, StepPlan, plan
    from opper_batch.runs.reporting import report_of
    from opper_batch.runs.standing import Status, status, statuses

__all__ = [
    "Ended",
    "Failure",
    "Options",
    "Plan",
    "Progress",
    "Status",
    "StepPlan",
    "ask_pilot",
    "diff",
    "execute",
    "export",
    "failures",
    "plan",
    "report_of",
    "status",
    "statuses",
]

_HOMES = {
    "comparing": ["diff"],
    "execution": ["Ended", "execute"],
    "inspect": ["Failure", "export", "failures"],
    "options": ["Options", "Progress"],
    "pilot": ["ask_pilot"],
    "planning": ["Plan", "StepPlan", "plan"],
    "reporting": ["report_of"],
    "standing": ["Status", "status", "statuses"],
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'opper_batch.runs' has no attribute {name!r}")
    value = getattr(import_module(f"opper_batch.runs.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
