"""One schema for many Arrow files: the same names, order and types, nullable where any of them is."""

from __future__ import annotations

import pyarrow as pa

from opper_batch.errors import SourceError
from opper_batch.sources.places import quoted


def merged(first: str, schema: pa.Schema, path: str, other: pa.Schema) -> pa.Schema:
    """``schema`` widened to hold the file at ``path`` too; SourceError names both files and the column.

    Only nullability may differ, at any depth; it becomes nullable. CSV headers are compared here too.
    """
    for number, (known, found) in enumerate(zip(schema, other, strict=False), start=1):
        if known.name != found.name:
            raise _drift(
                path, first, f"column {number} is {quoted(found.name)} here and {quoted(known.name)} there"
            )
        if known.type != found.type and nullable(known.type) != nullable(found.type):
            raise _drift(
                path, first, f"column {quoted(known.name)} is {found.type} here and {known.type} there"
            )
    if len(schema) != len(other):
        longer, extra = (
            (path, other.names[len(schema) :])
            if len(other) > len(schema)
            else (first, schema.names[len(other) :])
        )
        raise _drift(path, first, f"only {longer} has the column {quoted(extra[0])}")
    return pa.schema([_merged_field(known, found) for known, found in zip(schema, other, strict=True)])


def conformed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """``batch`` with exactly ``schema``, which differs from its own in nullability and metadata at most."""
    columns = [
        column if column.type == field.type else column.cast(field.type)
        for column, field in zip(batch.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def nullable(kind: pa.DataType) -> pa.DataType:
    """``kind`` with every field inside it nullable."""
    if pa.types.is_struct(kind):
        return pa.struct([_nullable_field(field) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(_nullable_field(kind.value_field))
    if pa.types.is_large_list(kind):
        return pa.large_list(_nullable_field(kind.value_field))
    return kind


def _nullable_field(field: pa.Field) -> pa.Field:
    return pa.field(field.name, nullable(field.type))


def _merged_field(known: pa.Field, found: pa.Field) -> pa.Field:
    if known.type == found.type:
        return known.with_nullable(known.nullable or found.nullable)
    return pa.field(known.name, nullable(known.type), known.nullable or found.nullable)


def _drift(path: str, first: str, what: str) -> SourceError:
    return SourceError(
        f"{path} and {first} differ: {what}; give all files of one source the same columns and types"
    )
