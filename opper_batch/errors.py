"""Every way things go wrong, as one tree.

    OpperBatchError
      DefinitionError      the pipeline, a column, an option: nothing was called         exit 2
      SourceError          a table that cannot be read as it is: nothing was called      exit 2
      SinkError            a table that cannot be written as asked                       exit 2
      RunStopped           stopped before the end; running again goes on                 exit 3
      Refused              the gateway refuses the key or the request's shape            exit 4
      MachineError         this machine: a lock, a disk, a broken ledger                 exit 5
        Locked               another run of the pipeline is under way
      Skipped              nothing was done, since another run does it, as was asked     exit 0
      CallError            one call went wrong; a run turns it into a failed row
        Unreachable          no answer: connecting, reading, a reset
        ServerFault          408, 425, 5xx
        BadReply             an answer that is not one: HTML, cut JSON, an empty body
        Throttled            429
        BadOutput            an answer that does not fit the columns
        CallRefused          400, 404, 409, 413, 422 and the like: this row, as it is, will not do
        OperationFailed      a 202 whose operation failed or never ended
        AccessRefused        401, 402, 403: stops the run

A bad row is a value, a bad run is an exception: ``CallError`` never leaves an engine.
Messages are one sentence: what, where, what to do. They never hold the key.
"""

from __future__ import annotations

from typing import Self


class OpperBatchError(Exception):
    """The root: anything this package raises on purpose."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the sentence alone. A traceback through this package would not say more."""
        said = "".join(char if char.isprintable() else repr(char)[1:-1] for char in self.message)
        return [f"{type(self).__name__}: {said}"]


class DefinitionError(OpperBatchError):
    """The pipeline, a column, or an option is not right; says where. Nothing was called."""

    exit_code = 2


class SourceError(OpperBatchError):
    """The source cannot be read as it is; names file, row and column. Nothing was called."""

    exit_code = 2


class SinkError(OpperBatchError):
    """The result cannot be written as asked; what was there before is untouched."""

    exit_code = 2


class RunStopped(OpperBatchError):
    """The run stopped before the end with everything committed; running again goes on."""

    exit_code = 3


class Refused(OpperBatchError):
    """The gateway refuses the key (401, 403) or what every row would send (400 on the first call)."""

    exit_code = 4


class MachineError(OpperBatchError):
    """This machine stands in the way: a lock, a full disk, a ledger that cannot be read."""

    exit_code = 5


class Locked(MachineError):
    """Another run holds the ledger; ``holder`` says which process, as far as it is known."""

    def __init__(self, message: str, *, holder: str) -> None:
        super().__init__(message)
        self.holder = holder


class Skipped(OpperBatchError):
    """With ``if_locked="skip"``: another run is under way, so this one did nothing."""

    exit_code = 0


class CallError(OpperBatchError):
    """One call went wrong.

    ``retryable`` says whether trying again can help; ``paid`` whether the attempt may have been billed;
    ``absent`` that nobody seems to be there, which is no fault of this call.
    """

    retryable = False
    paid = False
    absent = False

    def bare(self) -> Self:
        """The same without the frames it went through: they hold a body, and a call may wait for long."""
        self.__context__ = None
        return self.with_traceback(None)


class Unreachable(CallError):
    """No answer came: connecting failed, the connection broke, or reading took too long."""

    retryable = True
    absent = True

    def __init__(self, message: str, *, paid: bool) -> None:
        super().__init__(message)
        self.paid = paid


class ServerFault(CallError):
    """The gateway or a provider behind it failed: 408, 425 or 5xx."""

    retryable = True
    paid = True

    def __init__(self, message: str, *, retry_after: float | None = None, absent: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.absent = absent


class BadReply(CallError):
    """A 2xx whose body is no reply: HTML, cut JSON, empty, too large."""

    retryable = True
    paid = True


class Throttled(CallError):
    """429: the call was not done. ``retry_after`` is in seconds, None when the gateway did not say."""

    retryable = True

    def __init__(self, message: str, *, retry_after: float | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BadOutput(CallError):
    """The answer does not fit the columns; ``problems`` are (path, rule) pairs that never hold a value."""

    paid = True

    def __init__(self, problems: tuple[tuple[str, str], ...]) -> None:
        super().__init__("answer does not fit: " + "; ".join(f"{path}: {rule}" for path, rule in problems))
        self.problems = problems


class CallRefused(CallError):
    """The gateway will not do this call, however often it is asked: 400, 404, 409, 413, 422."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class OperationFailed(CallError):
    """An operation begun by a 202 failed, or did not end in time; ``final`` says which."""

    paid = True

    def __init__(self, message: str, *, final: bool) -> None:
        super().__init__(message)
        self.final = final


class AccessRefused(CallError):
    """401, 402 or 403: no call will do any better, so the run stops."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status
