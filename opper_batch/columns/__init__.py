"""Column specs: one spec gives the JSON Schema that is sent, the check of the answer, and the Arrow type.

spellings, models   TOML, dict, Column, pydantic class  -> Column
sqltypes            type text                           -> DuckDB's reading of it
kinds, scalars      the table of types                  -> how each is read, sent, stored and said
shapes              Column                              -> JSON Schema, reader, Arrow field
table               Columns: all of it together
"""

from opper_batch.columns.column import Column
from opper_batch.columns.table import Columns

__all__ = ["Column", "Columns"]
