"""The functions the sandbox knows: one for every name that was called, as the gateway creates them.

A changed schema under the same name is a new revision. Shapes: FunctionInfo, FunctionDetails, RevisionInfo.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from opper_batch.sandbox.questions import Question
from opper_batch.sandbox.refusals import Refusal, compact
from opper_batch.text import iso_time


@dataclass(slots=True)
class _Revision:
    schema_hash: str
    created_at: str
    schemas: tuple[Any, Any]  # of input and output


@dataclass(slots=True)
class _Function:
    name: str
    hit_count: int = 0
    revisions: list[_Revision] = field(default_factory=list)

    def about(self) -> dict[str, Any]:
        """What its list entry and its details have in common."""
        revision = self.revisions[-1]
        return {
            "name": self.name,
            "schema_hash": revision.schema_hash,
            "generated_at": revision.created_at,
            "hit_count": self.hit_count,
        }


class Functions:
    """By name, in order of their first call."""

    def __init__(self) -> None:
        self._functions: dict[str, _Function] = {}

    def called(self, question: Question) -> bool:
        """Count a call; True when its function was there already, with these schemas."""
        function = self._functions.setdefault(question.name, _Function(question.name))
        function.hit_count += 1
        schemas = question.input_schema or {}, question.output_schema or {}
        if function.revisions and function.revisions[-1].schemas == schemas:
            return True
        digest = hashlib.blake2b(compact(schemas), digest_size=16).hexdigest()
        function.revisions.append(_Revision(digest, iso_time(), schemas))
        return False

    def listed(self) -> dict[str, Any]:
        return {
            "functions": [{**function.about(), "has_script": True} for function in self._functions.values()]
        }

    def details(self, name: str) -> dict[str, Any]:
        function = self._function(name)
        revision = function.revisions[-1]
        return {
            **function.about(),
            "source": "# synthetic: the sandbox generates no script\n",
            "input_schema": revision.schemas[0],
            "output_schema": revision.schemas[1],
        }

    def revisions(self, name: str) -> dict[str, Any]:
        revisions = self._function(name).revisions
        return {
            "revisions": [
                {
                    "revision_id": number,
                    "created_at": revision.created_at,
                    "schema_hash": revision.schema_hash,
                    "is_current": number == len(revisions),
                }
                for number, revision in enumerate(revisions, 1)
            ]
        }

    def delete(self, name: str) -> None:
        self._function(name)
        del self._functions[name]

    def _function(self, name: str) -> _Function:
        try:
            return self._functions[name]
        except KeyError:
            raise Refusal(404, "not_found", f"function {name!r} was never called") from None
