"""A DuckDB query as a source: run once, so that every pass sees the same rows in the same order."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from opper_batch.errors import SourceError
from opper_batch.sources.places import first_line
from opper_batch.sources.spool import SpooledSource, write_stream

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

_NAME = "the SQL query"


def sql_source(sql: str, spool: Path | None) -> SpooledSource:
    """The rows of the last statement of ``sql``; statements before it may ATTACH, SET or LOAD.

    They run in memory, at the first ``check()``; relative paths start at the working directory.
    """
    return SpooledSource(_NAME, partial(_run, sql, spool), spool)


def relation_source(relation: DuckDBPyRelation, spool: Path | None) -> SpooledSource:
    """A DuckDB relation: running it again could give other rows in another order, so it runs once."""
    name = "the DuckDB relation"
    return SpooledSource(name, partial(_spool_relation, relation, name), spool)


def _run(sql: str, spool: Path | None, path: str) -> None:
    import duckdb

    # Tables are those that the SQL names, never variables of this program that happen to have that name.
    with duckdb.connect(":memory:", config={"python_enable_replacements": "false"}) as connection:
        connection.execute("SET temp_directory = ?", [str(spool or tempfile.gettempdir())])
        # A fixed zone, so that the same query gives the same values, and the same calls, on every machine.
        connection.execute("SET TimeZone = 'UTC'")
        with _in_one_sentence(_NAME):
            relation = _relation(connection, sql)
        _spool_relation(relation, _NAME, path)


def _relation(connection: DuckDBPyConnection, sql: str) -> DuckDBPyRelation:
    statements = connection.extract_statements(sql)
    if not statements or statements[-1].type.name not in ("SELECT", "MULTI"):  # MULTI: PIVOT
        raise SourceError(
            f"{_NAME} gives no rows: its last statement must be a SELECT, FROM, VALUES or PIVOT"
        )
    for statement in statements[:-1]:
        connection.execute(statement)
    return connection.sql(statements[-1].query)


def _spool_relation(relation: DuckDBPyRelation, name: str, path: str) -> None:
    with _in_one_sentence(name):
        write_stream(pa.RecordBatchReader.from_stream(relation), path, name)


@contextmanager
def _in_one_sentence(name: str) -> Iterator[None]:
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise SourceError(f"{name} failed: {first_line(error)}; correct it and run again") from error
