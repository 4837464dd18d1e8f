"""``[[checks]]``: what must hold for a result before it takes the place of the one before.

{ name = "few others",  sql = "SELECT avg((category = 'other')::INT) FROM result", max = 0.2 }
{ name = "sane totals", sql = "SELECT sum(refund) < 1e6 FROM result" }
{ name = "few nulls",   null_share = "refund", max = 0.5 }
{ name = "not all bug", enum_share = { category = "bug" }, max = 0.6 }
{ name = "priorities",  range = "priority", min = 1, max = 5 }
{ name = "each once",   unique = ["ticket_id"] }
{ name = "few failed",  failed_share = "triage", max = 0.02 }
"""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

KINDS = ("sql", "null_share", "enum_share", "range", "unique", "failed_share")
_Text = Annotated[str, Field(strict=True, min_length=1)]


def _number_or_date(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return value
    if isinstance(value, datetime.date):
        return value
    raise ValueError("should be a number, or for range a date")


_Bound = Annotated[Any, AfterValidator(_number_or_date)]


class CheckSpec(BaseModel):
    """One check, of exactly one kind; shares are from 0 to 1 and over all rows of the result."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[_Text, Field(max_length=80)]
    sql: _Text | None = None
    null_share: _Text | None = None
    enum_share: dict[str, Any] | None = None
    range: _Text | None = None
    unique: _Text | Annotated[tuple[_Text, ...], Field(min_length=1)] | None = None
    failed_share: _Text | None = None
    min: _Bound = None
    max: _Bound = None

    @model_validator(mode="after")
    def _one_kind(self) -> CheckSpec:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(
                f"check {self.name!r} needs exactly one of {', '.join(KINDS)}; it has "
                f"{' and '.join(given) or 'none'}"
            )
        self._check_bounds(given[0])
        if self.enum_share is not None and not _is_one_value(self.enum_share):
            raise ValueError(f'check {self.name!r}: write enum_share = {{ column = "value" }}')
        return self

    def _check_bounds(self, kind: str) -> None:
        bounds = [bound for bound in (self.min, self.max) if bound is not None]
        if kind == "unique" and bounds:
            raise ValueError(f"check {self.name!r}: unique has no min or max")
        if kind not in ("unique", "sql") and not bounds:
            raise ValueError(f"check {self.name!r}: {kind} needs min or max")
        if kind != "range" and any(isinstance(bound, datetime.date) for bound in bounds):
            raise ValueError(f"check {self.name!r}: min and max of {kind} are numbers")
        if kind.endswith("_share") and not all(0 <= bound <= 1 for bound in bounds):
            raise ValueError(f"check {self.name!r}: a share is from 0 to 1, so 2 % is 0.02")

    @property
    def kind(self) -> str:
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a ready-made check looks at, by name."""
        if self.unique is not None:
            return (self.unique,) if isinstance(self.unique, str) else self.unique
        if self.enum_share is not None:
            return tuple(self.enum_share)
        if self.failed_share is not None:
            return (f"{self.failed_share}_status",)
        return tuple(name for name in (self.null_share, self.range) if name is not None)


def _is_one_value(share: dict[str, Any]) -> bool:
    return len(share) == 1 and all(isinstance(value, str | int) for value in share.values())


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a check came out: the number it gave (or True, False), and why it does not hold if it does not."""

    name: str
    ok: bool
    said: str
    value: float | bool | None = None

    def as_json(self) -> dict[str, Any]:
        value = self.value if self.value is not None and math.isfinite(self.value) else None
        return {"name": self.name, "ok": self.ok, "value": value, "said": self.said}

    def __str__(self) -> str:
        return f"{self.name}: {self.said}"
