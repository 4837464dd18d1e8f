"""The columns of a step, together: the one value that the rest of the package works with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
from pydantic import BaseModel
from pydantic_core import SchemaValidator, ValidationError, core_schema, from_json

from opper_batch.columns import models, shapes, spellings
from opper_batch.columns.column import Column
from opper_batch.columns.problems import ROOT, bad_output
from opper_batch.errors import BadOutput


@dataclass(frozen=True, repr=False)
class Columns:
    """What a model fills for each row, in order; made by ``Columns.parse``.

    From it follow the JSON Schema that is sent, the check of what comes back, and the Arrow schema.
    """

    columns: tuple[Column, ...]
    model: type[BaseModel] | None = None

    @classmethod
    def parse(cls, spec: object, *, where: str = "columns") -> Columns:
        """Columns from a mapping of names, a sequence of ``Column``, or a pydantic model class.

        In a mapping a column is type text, a list of texts (an enum), a table of rules, or a ``Column``.
        Raises DefinitionError, in one sentence that names the place under ``where``.
        """
        if isinstance(spec, Columns):
            return spec
        if isinstance(spec, type) and issubclass(spec, BaseModel):
            return cls(spellings.together(models.columns_of(spec, where), where), spec)
        return cls(spellings.columns_of(spec, where))

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @cached_property
    def json_schema(self) -> dict[str, object]:
        """What is sent as ``output_schema``; not to be changed."""
        return shapes.wire_object(self.columns)

    @cached_property
    def arrow(self) -> pa.Schema:
        """The Arrow schema; each field's metadata holds the DuckDB type as ``opper_batch.type``."""
        return pa.schema([shapes.arrow_field(column) for column in self.columns])

    def read(self, data: object) -> dict[str, object]:
        """The answer's values by column name, ready for ``arrays``.

        ``data`` is parsed JSON, or JSON text. Raises BadOutput, which never holds a value.
        """
        try:
            values: dict[str, object] = self._validator.validate_python(_parsed(data))
        except ValidationError as error:
            raise bad_output(error, self.columns) from None
        return values if self.model is None else self._through_model(self.model, values)

    def read_all(self, answers: Sequence[object]) -> list[dict[str, object]]:
        """``read`` of each, which are parsed JSON, or JSON text. Raises BadOutput where one does not fit."""
        if self.model is None:
            try:
                read: list[dict[str, object]] = self._quick.validate_python(list(map(_parsed, answers)))
                return read
            except ValidationError:
                pass  # what is not usual is read one by one, which says what is wrong with it
        return [self.read(data) for data in answers]

    def arrays(self, rows: Sequence[dict[str, object] | None]) -> list[pa.Array]:
        """One array for each column, of exactly the declared type; a row that is None is null in each."""
        return [
            pa.array([None if row is None else row[field.name] for row in rows], field.type)
            for field in self.arrow
        ]

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __repr__(self) -> str:
        of = f"{self.model.__name__}: " if self.model else ""
        return f"Columns({of}{', '.join(map(str, self.columns))})"

    def __reduce__(self) -> tuple[type[Columns], tuple[object, ...]]:
        # What is cached cannot be pickled, and is quickly made again.
        return Columns, (self.columns, self.model)

    @cached_property
    def _validator(self) -> SchemaValidator:
        return SchemaValidator(shapes.read_object(self.columns))

    @cached_property
    def _quick(self) -> SchemaValidator:
        one = shapes.read_object(self.columns, quick=True)
        return SchemaValidator(core_schema.list_schema(one, strict=True, fail_fast=True))

    def _through_model(self, model: type[BaseModel], values: dict[str, object]) -> dict[str, object]:
        """What the user's class makes of the values, which has to fit the columns still."""
        own = f"{model.__name__}'s"
        try:
            passed: dict[str, object] = self._validator.validate_python(models.through(model, values))
        except ValidationError as error:
            raise bad_output(error, self.columns, own) from None
        except Exception as error:  # the user's own code, on one row's values: that row is bad, not the run
            raise BadOutput(((ROOT, f"{own} own check failed with {type(error).__name__}"),)) from None
        return passed


def _parsed(data: object) -> object:
    if not isinstance(data, str):
        return data
    try:
        return from_json(data.encode())
    except ValueError:
        raise BadOutput(((ROOT, "should be a JSON object"),)) from None
