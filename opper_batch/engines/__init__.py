"""What asks many calls at once. An engine is one method; another kind of engine fits the same contract."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Protocol

from opper_batch.engines.local import LocalEngine
from opper_batch.records import Call, Outcome

__all__ = ["Engine", "LocalEngine"]


class Engine(Protocol):
    def outcomes(self, calls: Iterable[Call]) -> Generator[Outcome, None, None]:
        """The outcome of every call, durable, in the order they end.

        Lazy: calls are drawn as there is room for them, on the caller's thread. Raises what stops the run
        (Refused, RunStopped, MachineError) once the calls in flight are over.
        """
        ...
