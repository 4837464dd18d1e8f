"""What travels: small frozen values, passed from one floor to the next."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

Cause = Literal["", "gateway", "refused", "answer"]
_LARGE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Operation:
    """One pending operation of a 202: the gateway's id for it and the kind of thing being made."""

    id: str
    type: str


@dataclass(frozen=True, slots=True)
class Call:
    """One question: its key (16 bytes) and its input as JSON text.

    ``pending`` is the body of an earlier 202, which came at ``since`` (Unix seconds): such a call is polled
    and never posted again.
    """

    key: bytes
    input: bytes
    pending: bytes | None = None
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What calls used; None is unknown, which is not zero. ``cost`` is in USD."""

    cost: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None

    @property
    def tokens(self) -> int | None:
        """Both kinds together; None when neither is known."""
        return _plus(self.input_tokens, self.output_tokens)

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            _plus(self.cost, other.cost),
            _plus(self.input_tokens, other.input_tokens),
            _plus(self.output_tokens, other.output_tokens),
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """What v3 answered, 200 or 202, read from whatever shape it came in; ``raw`` is the body as it came."""

    raw: bytes
    data: object = None
    usage: Usage = field(default_factory=Usage)
    model: str | None = None
    trace: str | None = None
    operations: tuple[Operation, ...] = ()


@dataclass(frozen=True, slots=True)
class Artifact:
    """A finished operation's file: where it lies here, its MIME type, and the kind of thing it is."""

    type: str
    path: str
    mime_type: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended: with an answer that fits (``error`` is None), or with a reason.

    ``reply`` is the last body as it came, kept for failures too. ``usage`` and ``attempts`` cover every
    attempt; ``latency_ms`` is the last attempt's, from sending to the whole answer. ``cause`` says whose a
    failure was: the ``gateway``'s (no answer came), the call's (``refused``), or the ``answer``'s.
    ``unpriced`` counts the requests that may have been paid and whose cost nobody said.
    """

    key: bytes
    error: str | None
    reply: bytes | None = None
    model: str | None = None
    usage: Usage = field(default_factory=Usage)
    trace: str | None = None
    latency_ms: int | None = None
    attempts: int = 0
    throttled: int = 0
    artifacts: tuple[Artifact, ...] = ()
    cause: Cause = ""
    unpriced: int = 0

    @property
    def ok(self) -> bool:
        return self.error is None

    def without_large_reply(self) -> Outcome:
        """The same with the beginning of a reply that is large: the ledger has it, and many may wait."""
        if self.reply is None or len(self.reply) <= _LARGE:
            return self
        return replace(self, reply=self.reply[:_LARGE])


_N = TypeVar("_N", int, float)


def _plus(a: _N | None, b: _N | None) -> _N | None:
    if a is None or b is None:
        return a if b is None else b
    return a + b
