"""The one place where the parts are joined: run, plan, export."""

from opper_batch.runs.execute import Ended, execute
from opper_batch.runs.inspect import Failure, export, failures, report_of, status, statuses
from opper_batch.runs.options import Options, Progress
from opper_batch.runs.planning import Plan, StepPlan, plan

__all__ = [
    "Ended",
    "Failure",
    "Options",
    "Plan",
    "Progress",
    "StepPlan",
    "execute",
    "export",
    "failures",
    "plan",
    "report_of",
    "status",
    "statuses",
]
