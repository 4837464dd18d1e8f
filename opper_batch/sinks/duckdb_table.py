"""A table in a DuckDB database: staged beside it, published in one transaction.

The database is locked only while checking and publishing, never while calls are made. A database that is
not there yet is made under a hidden name and put in place when it is whole.

``replace``   the table's content and columns become those of the result
``upsert``    rows with a staged key are replaced, all others stay
``append``    rows that the table holds already, known by their source columns, are not added again; of
              equal rows, as many are kept as there are; a row held with a status other than ok is replaced
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from opper_batch.errors import DefinitionError, MachineError, SinkError
from opper_batch.inputs import Nan
from opper_batch.sinks import duckdb_sql as sql
from opper_batch.sinks.arrow import StreamFormat
from opper_batch.sinks.duckdb_values import is_temporal, temporal_fault
from opper_batch.sinks.files import FileWriter, check_names, written
from opper_batch.sinks.leaves import check_leaves, leaves_of
from opper_batch.sinks.places import TableName, artifacts_dir, quoted
from opper_batch.sinks.staging import check_folder, machine_errors, publish_new, staged
from opper_batch.text import counted, shortened

_MODES = ("replace", "append", "upsert")
_Columns = list[tuple[str, str]]  # names and DuckDB types, in order


@dataclass(frozen=True)
class DuckdbSink:
    """One table of one database file; ``of`` makes it, and refuses what contradicts itself."""

    database: Path
    table: TableName
    mode: str
    key: tuple[str, ...]
    source_columns: tuple[str, ...]
    status_columns: tuple[str, ...]

    @classmethod
    def of(
        cls,
        database: Path,
        table: str,
        *,
        mode: str,
        key: tuple[str, ...],
        source_columns: tuple[str, ...],
        status_columns: tuple[str, ...],
    ) -> DuckdbSink:
        if mode not in _MODES:
            raise DefinitionError(f'[sink] mode "{mode}" is none of {", ".join(_MODES)}')
        if mode == "upsert" and not key:
            raise DefinitionError(
                '[sink] mode "upsert" needs a key in [source]: the columns that tell rows apart'
            )
        if mode == "append" and not source_columns:
            raise DefinitionError(
                '[sink] mode "append" needs the source\'s columns to know which rows are new'
            )
        return cls(database, TableName.parse(table), mode, key, source_columns, status_columns)

    @property
    def target(self) -> str:
        return f"{self.database}:{self.table}"

    @property
    def artifacts(self) -> Path:
        return artifacts_dir(str(self.database), str(self.table))

    @property
    def _file(self) -> Path:
        return self.database.resolve()

    def check(self, schema: pa.Schema) -> None:
        self._check_schema(schema)
        if self._file.is_dir():
            raise SinkError(f"{self.database} is a folder: name a DuckDB database file")
        check_folder(self._file.parent, self.target)
        if self._file.exists():
            with self._connected(self._file) as connection:
                self._check_table(connection, _column_types(connection, schema))

    def doubts(self, kind: pa.DataType) -> bool:
        return leaves_of(kind, is_temporal)

    def check_values(self, batch: pa.RecordBatch, *, nan: Nan, first_row: int) -> None:
        check_leaves(batch, temporal_fault, first_row=first_row)

    @contextmanager
    def open(self, schema: pa.Schema) -> Iterator[FileWriter]:
        self.check(schema)
        with staged(self._file) as stream:
            with written(StreamFormat(), stream, schema, self.target) as writer:
                yield writer
            with machine_errors(self.target):
                self._publish(stream, schema)

    def remove(self) -> None:
        if self._file.exists():
            with self._connected(self._file) as connection:
                connection.execute(f"DROP TABLE IF EXISTS {self._qualified(connection)}")

    # -- checking ---------------------------------------------------------------------------------------

    def _check_schema(self, schema: pa.Schema) -> None:
        check_names(schema)
        seen: dict[str, str] = {}
        for name in schema.names:
            if not name or "\0" in name:
                raise SinkError(f"{name!r} cannot be a column's name in DuckDB: rename the column")
            other = seen.setdefault(_folded(name), name)
            if other != name:
                raise SinkError(
                    f'the columns "{other}" and "{name}" differ only in case, '
                    "which DuckDB takes for the same: rename one of them"
                )
        for name in (*self.key, *self.source_columns, *self.status_columns):
            if name not in schema.names:
                raise SinkError(f'the result has no column "{name}", which {self.target} needs')
        if self.mode == "append" and "rowid" in seen:
            raise SinkError(
                'a column named "rowid" hides DuckDB\'s own, which mode "append" needs: rename it'
            )
        with self._connected(":memory:") as connection:
            columns = _column_types(connection, schema)
            try:
                connection.execute(sql.create("probe", columns))
            except duckdb.Error as error:
                raise self._refused_column(connection, columns) or error from None

    def _refused_column(self, connection: duckdb.DuckDBPyConnection, columns: _Columns) -> SinkError | None:
        """Which column it is that no table can have, and why; None when it is none of them alone."""
        for column in columns:
            try:
                connection.execute(sql.create("probe_one", [column])).execute("DROP TABLE probe_one")
            except duckdb.Error as error:
                said = shortened(str(error).partition("\n")[0])
                return SinkError(
                    f'column "{column[0]}" cannot be in {self.target}: {said}; cast it in the source'
                )
        return None

    def _check_table(self, connection: duckdb.DuckDBPyConnection, columns: _Columns) -> None:
        """Whether the table that is there, if one is, can take these columns."""
        place = [self.table.schema or "main", self.table.table]
        views = connection.execute(sql.VIEWS, place).fetchone()
        if views and views[0]:
            raise SinkError(f"{self.target} is a view: name a table")
        existing = connection.execute(sql.EXISTING, place).fetchall()
        if existing and self.mode != "replace":
            self._check_fit(existing, columns)

    def _check_fit(self, existing: _Columns, columns: _Columns) -> None:
        held = {_folded(name): type_ for name, type_ in existing}
        advice = 'change the table, name another one, or use mode = "replace"'
        for name, type_ in columns:
            there = held.pop(_folded(name), None)
            if there is None:
                raise SinkError(f'{self.target} has no column "{name}" {type_}: {advice}')
            if there != type_:
                raise SinkError(
                    f'column "{name}" is {there} in {self.target} but {type_} in the result: {advice}'
                )
        if held:
            extra = next(name for name, _ in existing if _folded(name) in held)
            raise SinkError(f'{self.target} has a column "{extra}" that the result lacks: {advice}')

    # -- publishing -------------------------------------------------------------------------------------

    def _publish(self, stream: Path, schema: pa.Schema) -> None:
        if self._file.exists():
            self._write(self._file, stream, schema)
            return
        with staged(self._file) as database:
            try:
                self._write(database, stream, schema)
                publish_new(database, self._file)
            except FileExistsError:
                raise MachineError(
                    f"{self.database} was made by another process meanwhile: export again"
                ) from None
            finally:
                Path(f"{database}.wal").unlink(missing_ok=True)

    def _write(self, database: Path, stream: Path, schema: pa.Schema) -> None:
        with self._connected(database) as connection, pa.OSFile(str(stream)) as file:
            columns = _column_types(connection, schema)
            self._check_table(connection, columns)
            rereadable = self.mode != "replace"
            connection.register(sql.STREAM, pa.ipc.open_stream(file))
            connection.begin()
            try:
                connection.execute(sql.stage(columns, rereadable=rereadable))
                for statement in self._statements(connection, columns):
                    connection.execute(statement)
                for statement in sql.unstage(rereadable=rereadable):
                    connection.execute(statement)
                connection.commit()
            except BaseException:
                _roll_back(connection)
                raise

    def _statements(self, connection: duckdb.DuckDBPyConnection, columns: _Columns) -> Iterator[str]:
        target = self._qualified(connection)
        names = [name for name, _ in columns]
        if self.table.schema is not None:
            yield f"CREATE SCHEMA IF NOT EXISTS {target.removesuffix('.' + quoted(self.table.table))}"
        if self.mode == "replace":
            yield from sql.replace(target, names)
            return
        yield sql.create(target, columns)
        if self.mode == "append":
            yield from sql.append(target, names, self.source_columns, self.status_columns)
        else:
            self._check_keys(connection, names)
            yield from sql.upsert(target, names, self.key)

    def _check_keys(self, connection: duckdb.DuckDBPyConnection, names: Sequence[str]) -> None:
        key = ", ".join(self.key)
        nulls = connection.execute(sql.null_keys(names, self.key)).fetchone()
        if nulls and nulls[0]:
            raise SinkError(
                f"{counted(nulls[0], 'row')} without {key} cannot be upserted by it: fill it in the source"
            )
        twice = connection.execute(sql.repeated_keys(names, self.key)).fetchone()
        if twice:
            value = shortened(", ".join(str(part) for part in twice), 80)
            raise SinkError(f"two rows have the {key} {value}: make the key unique in the source")

    def _qualified(self, connection: duckdb.DuckDBPyConnection) -> str:
        """The table with its database and schema, so that no temporary or system table can be meant."""
        database = connection.execute("SELECT current_database()").fetchall()[0][0]
        return ".".join(quoted(part) for part in (database, self.table.schema or "main", self.table.table))

    @contextmanager
    def _connected(self, database: Path | str) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection, closed at the end; DuckDB's errors become ours."""
        try:
            with duckdb.connect(str(database)) as connection:
                yield connection
        except duckdb.Error as error:
            raise self._translated(error) from error

    def _translated(self, error: duckdb.Error) -> MachineError | SinkError:
        text = shortened(str(error).partition("\n")[0])
        if "Could not set lock" in text:
            holder = re.search(r"\(PID \d+\)", text)
            who = f"another process {holder.group()}" if holder else "another process"
            return MachineError(f"{self.database} is locked by {who}: close it there and export again")
        if "not a valid DuckDB database" in text:
            return SinkError(f"{self.database} is not a DuckDB database: name another file")
        if isinstance(error, _MACHINE):
            return MachineError(f"{self.target} cannot be written: {text}")
        return SinkError(f"{self.target} cannot take the result: {text}")


_MACHINE = (
    duckdb.ConnectionException,
    duckdb.FatalException,
    duckdb.InternalException,
    duckdb.IOException,
    duckdb.OutOfMemoryException,
    duckdb.TransactionException,
)


def _roll_back(connection: duckdb.DuckDBPyConnection) -> None:
    try:
        connection.rollback()
    except duckdb.Error:
        return  # a failed commit has rolled back by itself


def _folded(name: str) -> str:
    """The name as DuckDB compares it: only ASCII letters lose their case."""
    return name.encode().lower().decode()


def _column_types(connection: duckdb.DuckDBPyConnection, schema: pa.Schema) -> _Columns:
    """Every column with its DuckDB type, declared or that of its Arrow type, as DuckDB spells it."""
    return [(column.name, _column_type(connection, column)) for column in schema]


def _column_type(connection: duckdb.DuckDBPyConnection, column: pa.Field) -> str:
    declared = (column.metadata or {}).get(b"opper_batch.type")
    if declared is None and column.type == pa.null():
        declared = b"VARCHAR"  # a table needs a type, and text can hold what comes later
    try:
        if declared is not None:
            return str(duckdb.sqltype(declared.decode()))
        empty = pa.RecordBatchReader.from_batches(pa.schema([column.with_name("x")]), [])
        return str(connection.from_arrow(empty).types[0])
    except (duckdb.Error, pa.ArrowException):
        type_ = declared.decode() if declared else column.type
        raise SinkError(
            f'column "{column.name}" has the type {type_}, which DuckDB cannot hold: cast it in the source'
        ) from None
