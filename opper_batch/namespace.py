"""``df.opper`` on polars frames, whichever of polars and opper_batch is imported first.

``import opper_batch`` must not load polars, and ``df.opper`` must be there without another line. So where
polars is not loaded yet, the namespace is registered as the last act of loading it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from opper_batch.pipeline import StepSpec

F = TypeVar("F")

_NAME = "opper"


class Opper(Generic[F]):
    """What ``df.opper`` is: models fill columns of the frame."""

    def __init__(self, frame: F) -> None:
        self._frame = frame

    def map(self, step: Mapping[str, Any] | StepSpec, *, key: str | Sequence[str] = (), **options: Any) -> F:
        """The frame with the step's columns, and what each row cost.

        ``step`` is one as pipelines have it: ``{"columns": …, "instructions": …, "input": …}``, or a loaded
        pipeline's ``steps[0]``. ``options`` are those of ``opper_batch.run``. The calls are made now, for a
        LazyFrame too.
        """
        from opper_batch.enriching import mapped

        return mapped(self._frame, step, key=key, **options)

    def __repr__(self) -> str:
        return "<opper: df.opper.map(step) fills columns with models>"


def register() -> None:
    """Now when polars is loaded, else as soon as it is."""
    polars = sys.modules.get("polars")
    if polars is not None and hasattr(polars, "LazyFrame"):
        _register(polars)
    else:
        sys.meta_path.insert(0, _WhenLoaded())


def _register(polars: ModuleType) -> None:
    if not hasattr(polars.DataFrame, _NAME):
        polars.api.register_dataframe_namespace(_NAME)(Opper)
        polars.api.register_lazyframe_namespace(_NAME)(Opper)


class _WhenLoaded:
    """Finds polars as Python itself does, and registers the namespace once it is loaded."""

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "polars":
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_register(module: ModuleType) -> None:
            if self in sys.meta_path:  # not sooner: who asks for the spec may load it later, or never
                sys.meta_path.remove(self)
            load(module)
            _register(module)

        spec.loader.exec_module = load_and_register  # type: ignore[method-assign]
        return spec
