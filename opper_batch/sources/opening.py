"""From what a pipeline says of its source to the source that reads it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from opper_batch.errors import DefinitionError, SourceError
from opper_batch.sources.arrow_formats import IpcFormat, ParquetFormat
from opper_batch.sources.cells import CellType, cell_types
from opper_batch.sources.contract import Source
from opper_batch.sources.csv_format import CsvFormat
from opper_batch.sources.files import FileSource, Format
from opper_batch.sources.first_rows import FirstRows
from opper_batch.sources.hive import partition_columns, partition_keys
from opper_batch.sources.json_format import JsonLinesFormat
from opper_batch.sources.paths import Found, find_files
from opper_batch.sources.places import quoted

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

_SUFFIXES = {
    ".csv": "CSV",
    ".tsv": "TSV",
    ".parquet": "Parquet",
    ".jsonl": "JSONL",
    ".ndjson": "JSONL",
    ".arrow": "Arrow IPC",
    ".feather": "Arrow IPC",
    ".ipc": "Arrow IPC",
}
_COMPRESSED = (".gz", ".zst", ".bz2", ".xz", ".zip", ".lz4")


@dataclass(frozen=True, slots=True)
class _Options:
    """How text files are to be read; None is the format's own way."""

    types: Mapping[str, str]
    delimiter: str | None
    null_text: str | None


def open_source(
    *,
    path: Paths | None = None,
    sql: str | None = None,
    table: object | None = None,
    types: Mapping[str, str] | None = None,
    delimiter: str | None = None,
    null_text: str | None = None,
    limit: int | None = None,
    spool: Path | None = None,
) -> Source:
    """Exactly one of ``path`` (file, list, glob, folder), ``sql`` (DuckDB) and ``table`` as a source, unread.

    ``types`` declares columns of text files, as DuckDB types; ``delimiter`` and ``null_text`` are for CSV;
    ``limit`` keeps the first rows only; ``spool`` is the folder for temporary files. Raises DefinitionError
    for options that do not go together, SourceError when there is nothing to open. Faults inside wait for
    ``check()``.
    """
    if sum(given is not None for given in (path, sql, table)) != 1:
        raise DefinitionError("a source is exactly one of path, sql and table: give one of them")
    options = _Options(dict(types or {}), delimiter, null_text)
    if path is not None:
        source = _file_source(path, options)
    else:
        _refuse_text_options(options, "SQL and tables bring their own types")
        source = _sql_source(sql, spool) if sql is not None else _table_source(table, spool)
    if limit is None:
        return source
    if limit < 0:
        raise DefinitionError(f"limit is {limit}: it is a number of rows, 0 or more")
    return FirstRows(source, limit)


def _sql_source(sql: str, spool: Path | None) -> Source:
    from opper_batch.sources.sql import sql_source

    return sql_source(sql, spool)


def _table_source(table: object, spool: Path | None) -> Source:
    from opper_batch.sources.tables import table_source

    return table_source(table, spool)


def _file_source(path: Paths, options: _Options) -> Source:
    files = find_files(path)
    kind = _kind(files)
    keys = partition_keys(files)
    declared = cell_types(options.types)
    partitions = partition_columns(files, {name: cell for name, cell in declared.items() if name in keys})
    own = {name: cell for name, cell in declared.items() if name not in keys}
    return FileSource(_name(path), files, _format(kind, own, options), partitions)


def _format(kind: str, declared: Mapping[str, CellType], options: _Options) -> Format:
    if kind in ("CSV", "TSV"):
        _check_delimiter(options.delimiter)
        return CsvFormat(declared, options.delimiter, options.null_text or "")
    if options.delimiter is not None or options.null_text is not None:
        raise DefinitionError(f"delimiter and null_text are for CSV, and the source is {kind}: remove them")
    if kind == "JSONL":
        return JsonLinesFormat(declared)
    if declared:
        raise DefinitionError(
            f"types declares {quoted(next(iter(declared)))}, but {kind} files hold their types: remove it"
        )
    return ParquetFormat() if kind == "Parquet" else IpcFormat()


def _kind(files: Sequence[Found]) -> str:
    kind = _kind_of(files[0].path)
    for file in files[1:]:
        if _kind_of(file.path) != kind:
            raise SourceError(
                f"{file.path} and {files[0].path} are of different formats: one source reads one; use a glob"
            )
    return kind


def _kind_of(path: str) -> str:
    suffix = Path(path).suffix.lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    if suffix in _COMPRESSED:
        raise SourceError(f"{path} is compressed: decompress it first, or read it through sql")
    raise SourceError(
        f"{path} has no suffix that says its format: known are {', '.join(_SUFFIXES)}; "
        "of a folder with other files in it, name yours by a glob such as folder/*.csv"
    )


def _check_delimiter(delimiter: str | None) -> None:
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n\0'):
        raise DefinitionError(
            f"delimiter is {quoted(delimiter)}: it is one character, no quote and no line break"
        )


def _refuse_text_options(options: _Options, why: str) -> None:
    if options.types or options.delimiter is not None or options.null_text is not None:
        raise DefinitionError(f"types, delimiter and null_text are for files of text; {why}: remove them")


def _name(path: Paths) -> str:
    if isinstance(path, str | os.PathLike):
        return os.fspath(path)
    paths = [os.fspath(one) for one in path]
    return paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
