"""The definition of a pipeline and where it comes from: a frozen value, from TOML or from Python."""

from opper_batch.pipeline.checks import CheckSpec, Verdict
from opper_batch.pipeline.definition import (
    METADATA,
    LimitSpec,
    ModelSpec,
    Pipeline,
    SinkSpec,
    SourceSpec,
    StepSpec,
)
from opper_batch.pipeline.loading import load

__all__ = [
    "METADATA",
    "CheckSpec",
    "LimitSpec",
    "ModelSpec",
    "Pipeline",
    "SinkSpec",
    "SourceSpec",
    "StepSpec",
    "Verdict",
    "load",
]
