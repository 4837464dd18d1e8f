"""Names of places: the sandbox's twin of a target, a target's artifacts, tables in schemas."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePath

from opper_batch.errors import DefinitionError


def suffix_of(path: str) -> str:
    """The path's last ending in lower case, with its dot; empty when there is none."""
    return PurePath(path).suffix.lower()


def sandbox_path(path: str) -> str:
    """Where the sandbox writes instead: ``out/x.sandbox.parquet``, ``out/x.sandbox/``."""
    return _beside(path, "sandbox")


def sandbox_table(table: str) -> str:
    """The table that the sandbox writes instead: ``main.tickets_sandbox``."""
    return _table_beside(table, "sandbox")


def rejected_path(path: str) -> str:
    """Where a result goes that its checks hold back: ``out/x.rejected.parquet``, ``out/x.rejected/``."""
    return _beside(path, "rejected")


def rejected_table(table: str) -> str:
    """The table for a result that its checks hold back: ``main.tickets_rejected``."""
    return _table_beside(table, "rejected")


def _beside(path: str, word: str) -> str:
    if path.endswith("/"):
        return path.rstrip("/") + f".{word}/"
    pure = PurePath(path)
    return str(pure.with_name(f"{pure.stem}.{word}{pure.suffix}"))


def _table_beside(table: str, word: str) -> str:
    name = TableName.parse(table)
    return str(TableName(name.schema, f"{name.table}_{word}"))


def artifacts_dir(target: str, table: str | None = None) -> Path:
    """The folder for a result's files: ``<output>.artifacts`` or ``<database>.<table>.artifacts``."""
    place = target.rstrip("/")
    if table is not None:
        place += "." + _as_file_name(table)
    return Path(place + ".artifacts")


def report_place(artifacts: Path) -> Path:
    """``<output>.report`` for a sink whose files lie in ``artifacts``: beside the output, as that is."""
    return artifacts.with_suffix(".report")


def _as_file_name(text: str) -> str:
    """``text`` with what a file name cannot hold written as %XX; different texts stay different."""
    return re.sub(r"[%/\\\x00-\x1f]", lambda match: f"%{ord(match.group()):02X}", text)


_QUOTED = r'"(?:[^"]|"")+"'
_TABLE = re.compile(rf'(?:(?P<schema>{_QUOTED}|[^".]+)\.)?(?P<table>{_QUOTED}|[^".]+)')


@dataclass(frozen=True, slots=True)
class TableName:
    """A table's schema (None: the database's own, ``main``) and name, both bare."""

    schema: str | None
    table: str

    @classmethod
    def parse(cls, text: str) -> TableName:
        """``tickets`` or ``main.tickets``; a part that holds dots or quotes stands in double quotes."""
        match = _TABLE.fullmatch(text)
        if match is None or "\0" in text:
            raise DefinitionError(
                f"{text!r} is no name for a table: write name or schema.name, with odd names in double quotes"
            )
        schema = match["schema"]
        return cls(_bare(schema) if schema else None, _bare(match["table"]))

    def __str__(self) -> str:
        parts = [self.table] if self.schema is None else [self.schema, self.table]
        return ".".join(quoted(part) if re.search(r'[."]', part) else part for part in parts)


def _bare(part: str) -> str:
    return part[1:-1].replace('""', '"') if re.fullmatch(_QUOTED, part) else part


def quoted(identifier: str) -> str:
    """An SQL identifier, whatever it holds."""
    return '"' + identifier.replace('"', '""') + '"'
