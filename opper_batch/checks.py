"""A result is judged before it is published: by DuckDB, in bounded memory, with no way out to files or net.

``refuse_wrong`` asks every check of an empty result before anything is called; ``judge`` asks them of the
staged one. The result is the table ``result``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from opper_batch.errors import DefinitionError
from opper_batch.pipeline import CheckSpec, Verdict
from opper_batch.sinks.places import quoted
from opper_batch.sources.places import first_line
from opper_batch.text import counted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_MEMORY = "1GB"  # what needs more goes to the disk
_NUMBER = re.compile(r"U?(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)|FLOAT|DOUBLE|DECIMAL\(\d+,\s*\d+\)")
_PLACE = "\n\nLINE"  # from here on DuckDB quotes the SQL; above may stand which columns it could mean


def refuse_wrong(checks: Sequence[CheckSpec], schema: pa.Schema, *, folder: Path) -> None:
    """DefinitionError for a check that cannot be asked of a result of this schema."""
    if not checks:
        return
    import duckdb

    with _connected(schema.empty_table, folder) as connection:
        for check in checks:
            where = f"check {check.name!r}"
            for name in check.columns:
                if name not in schema.names:
                    raise DefinitionError(f"{where}: {_missing(check, name, schema)}")
            try:
                _refuse_form(connection, check)
                cursor = connection.execute(*_question(check))
            except duckdb.Error as error:
                raise DefinitionError(f"{where}: {first_line(error, end=_PLACE)}") from None
            _refuse_type(check, cursor.description or [])


def judge(checks: Sequence[CheckSpec], result: Path, *, folder: Path) -> tuple[Verdict, ...]:
    """What each check says of the result in the Arrow file ``result``; spills into ``folder``."""
    from pyarrow import dataset

    with _connected(lambda: dataset.dataset(result, format="ipc"), folder) as connection:
        return tuple(_judged(connection, check) for check in checks)


@contextmanager
def _connected(result: Callable[[], Any], folder: Path) -> Iterator[DuckDBPyConnection]:
    import duckdb

    config: dict[str, str | bool | int | float | list[str]] = {
        "enable_external_access": "false",
        "python_enable_replacements": "false",
        "temp_directory": str(folder / ".checking"),
        "memory_limit": _MEMORY,
    }
    with duckdb.connect(":memory:", config=config) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET lock_configuration = true")
        try:
            connection.register("result", result())
        except (duckdb.Error, pa.ArrowException) as error:
            raise DefinitionError(
                f"checks cannot look at this result: {first_line(error)}; cast the column in the source"
            ) from None
        yield connection


def _judged(connection: DuckDBPyConnection, check: CheckSpec) -> Verdict:
    import duckdb

    try:
        rows = connection.execute(*_question(check)).fetchmany(2)
    except duckdb.Error as error:  # of the rows: a text that is no number, for instance
        return Verdict(check.name, False, f"cannot be evaluated: {first_line(error, end=_PLACE)}")
    if len(rows) != 1:
        return Verdict(check.name, False, f"gave {'several rows' if rows else 'no row'} instead of one value")
    (value,) = rows[0]
    value = float(value) if isinstance(value, Decimal) else value
    return Verdict(check.name, _holds(check, value), _said(check, value), value)


def _holds(check: CheckSpec, value: Any) -> bool:
    if check.kind in ("range", "unique"):
        return bool(value == 0)
    if value is None or isinstance(value, bool):
        return value is True
    low, high = check.min, check.max
    return (low is None or value >= low) and (high is None or value <= high)


def _question(check: CheckSpec) -> tuple[str, list[Any]]:
    """The SQL that gives its one value, and the parameters."""
    columns = [quoted(name) for name in check.columns]
    first = columns[0] if columns else ""
    if check.sql is not None:
        return check.sql, []
    if check.null_share is not None:
        return _share(f"{first} IS NULL"), []
    if check.enum_share is not None:
        return _share(f"{first} IS NOT DISTINCT FROM ?"), [*check.enum_share.values()]
    if check.failed_share is not None:
        return _share(f"{first} IS NOT DISTINCT FROM 'failed'"), []
    if check.range is not None:
        bounds = [(sign, bound) for sign, bound in (("<", check.min), (">", check.max)) if bound is not None]
        outside = " OR ".join(f"{first} {sign} ?" for sign, _ in bounds)
        return f"SELECT count(*) FROM result WHERE {outside}", [bound for _, bound in bounds]
    filled = " AND ".join(f"{column} IS NOT NULL" for column in columns)
    return (
        f"SELECT count(*) - count(DISTINCT ({', '.join(columns)})) FROM result WHERE {filled}",
        [],
    )


def _share(condition: str) -> str:
    """Of all rows; of none it is 0."""
    return f"SELECT coalesce(avg(CAST(({condition}) AS INTEGER)), 0.0) FROM result"


def _said(check: CheckSpec, value: Any) -> str:
    names = ", ".join(check.columns)
    low, high = check.min, check.max
    if check.range is not None:
        bounds = " and ".join(
            f"{word} {bound}" for word, bound in (("below", low), ("above", high)) if bound is not None
        ).replace(" and ", " or ")
        return f"{counted(value, 'row')} with {names} {bounds}"
    if check.unique is not None:
        return f"{counted(value, 'row')} with the {names} of another row"
    given = "no value" if value is None else f"{value:,.6g}" if not isinstance(value, bool) else str(value)
    limits = [
        f"{word} {bound:,.6g}"
        for word, bound in (("at least", low), ("at most", high))
        if isinstance(bound, int | float)
    ]
    what = "" if check.sql is not None else f"{check.kind} of {check.failed_share or names} is "
    return f"{what}{given.lower()}, should be {' and '.join(limits) or 'true'}"


def _refuse_form(connection: DuckDBPyConnection, check: CheckSpec) -> None:
    """One SELECT and nothing else."""
    if check.sql is None:
        return
    kinds = [statement.type.name for statement in connection.extract_statements(check.sql)]
    if kinds != ["SELECT"]:
        raise DefinitionError(f"check {check.name!r}: sql must be a single SELECT over the table result")


def _refuse_type(check: CheckSpec, columns: Sequence[Any]) -> None:
    if check.sql is None:
        return
    where = f"check {check.name!r}"
    if len(columns) != 1:
        raise DefinitionError(f"{where}: sql must give one value, it gives {len(columns)} columns")
    kind = str(columns[0][1]).upper()
    bounded = check.min is not None or check.max is not None
    if kind == "BOOLEAN" and bounded:
        raise DefinitionError(f"{where}: sql gives true or false, so leave out min and max")
    if kind != "BOOLEAN" and not _NUMBER.fullmatch(kind):
        raise DefinitionError(f"{where}: sql must give a boolean or a number, it gives {kind}")
    if kind != "BOOLEAN" and not bounded:
        raise DefinitionError(f"{where}: sql gives a number, so say what it should be with min or max")


def _missing(check: CheckSpec, name: str, schema: pa.Schema) -> str:
    if check.failed_share is not None:
        return f"there is no step {check.failed_share!r}"
    near = difflib.get_close_matches(name, schema.names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(schema.names[:12])}"
    return f"the result has no column {name!r}; {hint}"
