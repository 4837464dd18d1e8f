"""opper_batch: fill the columns of a table with models, through the Opper gateway.

    import opper_batch as ob

    run = ob.run(ob.load("pipelines/ticket_triage.toml"), sandbox=True)
    run.frame

Names are imported when they are first used, so that the command line answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from opper_batch import namespace

if TYPE_CHECKING:
    from opper_batch.columns import Column
    from opper_batch.enriching import enrich
    from opper_batch.errors import (
        DefinitionError,
        MachineError,
        OpperBatchError,
        Refused,
        RunStopped,
        SinkError,
        Skipped,
        SourceError,
    )
    from opper_batch.frames import Run, diff, export, plan, run, run_async
    from opper_batch.pipeline import Pipeline, load
    from opper_batch.runs import Options, Plan
    from opper_batch.sandbox import Sandbox, Script

__all__ = [
    "Column",
    "DefinitionError",
    "MachineError",
    "OpperBatchError",
    "Options",
    "Pipeline",
    "Plan",
    "Refused",
    "Run",
    "RunStopped",
    "Sandbox",
    "Script",
    "SinkError",
    "Skipped",
    "SourceError",
    "diff",
    "enrich",
    "export",
    "load",
    "plan",
    "run",
    "run_async",
]

_HOMES = {
    "columns": ["Column"],
    "enriching": ["enrich"],
    "errors": [
        name for name in __all__ if name.endswith("Error") or name in ("Refused", "RunStopped", "Skipped")
    ],
    "frames": ["Run", "diff", "export", "plan", "run", "run_async"],
    "pipeline": ["Pipeline", "load"],
    "runs": ["Options", "Plan"],
    "sandbox": ["Sandbox", "Script"],
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "testing":  # a module for users' tests, not in the list: it needs pytest
        return import_module("opper_batch.testing")
    if name not in _MODULES:
        raise AttributeError(f"module 'opper_batch' has no attribute {name!r}")
    value = getattr(import_module(f"opper_batch.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


namespace.register()
