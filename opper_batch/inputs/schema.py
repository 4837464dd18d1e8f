"""Arrow schemas as the JSON Schema of what ``encode_inputs`` makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.types as pt

from opper_batch.errors import DefinitionError
from opper_batch.inputs.encode import Nan
from opper_batch.inputs.plain import is_list, kind_of, plain, utc_offsets


def input_schema(schema: pa.Schema, names: Sequence[str], *, nan: Nan = "refuse") -> dict[str, Any]:
    """The JSON Schema of the object that ``encode_inputs`` makes of ``names``.

    Raises DefinitionError for a column that is not there, is there twice, or has a type that cannot be sent.
    """
    properties = {name: _field_schema(_field(schema, name), name, nan) for name in names}
    return {"type": "object", "properties": properties, "required": list(names)}


def _field(schema: pa.Schema, name: str) -> pa.Field:
    count = schema.names.count(name)
    if count == 1:
        return schema.field(name)
    if count:
        raise DefinitionError(f'column "{name}" is there {count} times: give each column a name of its own')
    raise DefinitionError(f'there is no column "{name}" to send: the columns are {", ".join(schema.names)}')


def _field_schema(field: pa.Field, column: str, nan: Nan) -> dict[str, Any]:
    schema = _type_schema(field.type, column, nan)
    nullable = field.nullable or (nan == "null" and pt.is_floating(field.type))
    if nullable and schema != {"type": "null"}:
        return {"anyOf": [schema, {"type": "null"}]}
    return schema


def _type_schema(type_: pa.DataType, column: str, nan: Nan) -> dict[str, Any]:
    type_ = _plain_type(type_, column)
    if kind := kind_of(type_):
        if pt.is_timestamp(type_):
            _check_zone(type_, column)
        return dict(kind.schema)
    if is_list(type_):
        return {"type": "array", "items": _field_schema(type_.value_field, column, nan)}
    if pt.is_struct(type_):
        fields = [type_.field(index) for index in range(type_.num_fields)]
        names = [field.name for field in fields]
        if len(set(names)) < len(names):
            raise DefinitionError(
                f'column "{column}" has a struct with two fields of one name: rename one of them'
            )
        properties = {field.name: _field_schema(field, column, nan) for field in fields}
        return {"type": "object", "properties": properties, "required": names}
    raise _cannot_send(type_, column)


def _plain_type(type_: pa.DataType, column: str) -> pa.DataType:
    try:
        return plain(pa.nulls(0, type_)).type
    except (pa.ArrowNotImplementedError, pa.ArrowTypeError):
        raise _cannot_send(type_, column) from None


def _cannot_send(type_: pa.DataType, column: str) -> DefinitionError:
    return DefinitionError(
        f'column "{column}" has the type {type_}, which JSON cannot hold: '
        "leave it out, or turn it into text in the source, for example with sql and CAST(… AS VARCHAR)"
    )


def _check_zone(type_: pa.DataType, column: str) -> None:
    try:
        utc_offsets(pa.array([0], type_))
    except pa.ArrowInvalid:
        raise DefinitionError(
            f'column "{column}" has the time zone "{type_.tz}", which is not known here: '
            "cast it to another in the source"
        ) from None
