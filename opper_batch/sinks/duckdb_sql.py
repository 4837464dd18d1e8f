"""The DuckDB sink's SQL as text: what to run is decided here, and run elsewhere.

The staged rows are ``temp.main.opper_batch_staged``, whose columns are called c0, c1, … so that no name of
the user's can be in the way; in modes other than replace it is a table, so that its rows have a ``rowid``.
"""

from __future__ import annotations

from collections.abc import Sequence

from opper_batch.sinks.places import quoted

STREAM = "opper_batch_stream"
_STAGED = "temp.main.opper_batch_staged"
_PAIRS = "temp.main.opper_batch_pairs"

EXISTING = """
SELECT column_name, data_type FROM duckdb_columns()
WHERE database_name = current_database() AND lower(schema_name) = lower($1) AND lower(table_name) = lower($2)
ORDER BY column_index
"""

VIEWS = """
SELECT count(*) FROM duckdb_views()
WHERE database_name = current_database() AND lower(schema_name) = lower($1) AND lower(view_name) = lower($2)
"""


def stage(columns: Sequence[tuple[str, str]], *, rereadable: bool) -> str:
    """The registered stream's rows, cast to their types; a view passes them on without holding them."""
    casts = ", ".join(f"CAST({quoted(name)} AS {type_}) AS c{i}" for i, (name, type_) in enumerate(columns))
    kind = "TABLE" if rereadable else "VIEW"
    return f"CREATE OR REPLACE TEMP {kind} opper_batch_staged AS SELECT {casts} FROM {STREAM}"


def unstage(*, rereadable: bool) -> list[str]:
    kind = "TABLE" if rereadable else "VIEW"
    return [f"DROP TABLE IF EXISTS {_PAIRS}", f"DROP {kind} IF EXISTS {_STAGED}"]


def create(target: str, columns: Sequence[tuple[str, str]]) -> str:
    """An empty table of these columns, unless the table is there."""
    declared = ", ".join(f"{quoted(name)} {type_}" for name, type_ in columns)
    return f"CREATE TABLE IF NOT EXISTS {target} ({declared})"


def replace(target: str, names: Sequence[str]) -> list[str]:
    return [f"CREATE OR REPLACE TABLE {target} AS SELECT {_named('s', names)} FROM {_STAGED} s"]


def null_keys(names: Sequence[str], key: Sequence[str]) -> str:
    missing = " OR ".join(f"{column} IS NULL" for column in _columns(names, key))
    return f"SELECT count(*) FROM {_STAGED} WHERE {missing}"


def repeated_keys(names: Sequence[str], key: Sequence[str]) -> str:
    columns = ", ".join(_columns(names, key))
    return f"SELECT {columns} FROM {_STAGED} GROUP BY {columns} HAVING count(*) > 1 LIMIT 1"


def upsert(target: str, names: Sequence[str], key: Sequence[str]) -> list[str]:
    """Rows whose key is staged go, and the staged rows come."""
    same = " AND ".join(
        f"t.{quoted(name)} = s.{column}" for name, column in zip(key, _columns(names, key), strict=True)
    )
    return [
        f"DELETE FROM {target} t USING {_STAGED} s WHERE {same}",
        f"INSERT INTO {target} BY NAME SELECT {_named('s', names)} FROM {_STAGED} s ORDER BY s.rowid",
    ]


def append(target: str, names: Sequence[str], source: Sequence[str], status: Sequence[str]) -> list[str]:
    """The n-th of some equal staged rows is the n-th of the equal rows held: added if there is none.

    A row held is unsettled when one of its statuses is not ok; then the staged row takes its place.
    """
    columns = _columns(names, source)
    held = [quoted(name) for name in source]
    unsettled = " OR ".join(f"t.{quoted(name)} IS DISTINCT FROM 'ok'" for name in status) or "false"
    aliases = ", ".join(f"t.{name} AS {column}" for name, column in zip(held, columns, strict=True))
    same = " AND ".join(f"h.{column} IS NOT DISTINCT FROM s.{column}" for column in columns)
    pairs = f"""
CREATE OR REPLACE TEMP TABLE opper_batch_pairs AS
WITH s AS (
  SELECT {", ".join(columns)}, rowid AS staged_row,
         row_number() OVER (PARTITION BY {", ".join(columns)} ORDER BY rowid) AS nth
  FROM {_STAGED}
), h AS (
  SELECT {aliases}, t.rowid AS held_row, ({unsettled}) AS unsettled,
         row_number() OVER (PARTITION BY {", ".join("t." + name for name in held)} ORDER BY t.rowid) AS nth
  FROM {target} t
)
SELECT s.staged_row, h.held_row, coalesce(h.unsettled, true) AS wanted
FROM s LEFT JOIN h ON h.nth = s.nth AND {same}
"""
    wanted = f"{_STAGED} s JOIN {_PAIRS} p ON s.rowid = p.staged_row WHERE p.wanted ORDER BY s.rowid"
    return [
        pairs,
        f"DELETE FROM {target} t USING {_PAIRS} p WHERE t.rowid = p.held_row AND p.wanted",
        f"INSERT INTO {target} BY NAME SELECT {_named('s', names)} FROM {wanted}",
    ]


def _named(alias: str, names: Sequence[str]) -> str:
    return ", ".join(f"{alias}.c{index} AS {quoted(name)}" for index, name in enumerate(names))


def _columns(names: Sequence[str], chosen: Sequence[str]) -> list[str]:
    """The staged names of some of the columns."""
    return [f"c{names.index(name)}" for name in chosen]
