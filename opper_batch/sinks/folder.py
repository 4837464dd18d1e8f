"""A folder of Parquet parts, and ``_manifest.json`` that says which parts are the table.

    write parts under hidden names -> verify, sync, name them -> the manifest, durably -> remove the old parts

Parts are never overwritten: every publication has names of its own. So whoever reads the manifest and then
its parts reads one whole publication, or finds a part missing and reads the newer manifest.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from opper_batch.errors import SinkError
from opper_batch.inputs import Nan
from opper_batch.sinks.files import Groups, check_names
from opper_batch.sinks.parquet import ParquetFormat, ParquetOut
from opper_batch.sinks.places import artifacts_dir
from opper_batch.sinks.staging import check_folder, locked, machine_errors, publish, staged, sync

MANIFEST = "_manifest.json"
_OURS = re.compile(r"part-[0-9a-f]{16}-\d{5,}\.parquet|\.part-[0-9a-f]{16}-\d{5,}\.parquet\.staged")


@dataclass(frozen=True)
class FolderSink:
    """Parts of about ``part_rows`` rows or ``part_bytes`` bytes, whichever comes first."""

    target: str
    format: ParquetFormat
    metadata: Mapping[str, str] = field(default_factory=dict)
    part_rows: int = 1_000_000
    part_bytes: int = 256 * 2**20

    @property
    def artifacts(self) -> Path:
        return artifacts_dir(self.target)

    @property
    def _folder(self) -> Path:
        return Path(self.target).resolve()

    def check(self, schema: pa.Schema) -> None:
        check_names(schema)
        self.format.check(schema)
        check_folder(self._folder, self.target)
        for path in self._folder.glob("[!.]*.parquet"):
            if not _OURS.fullmatch(path.name):
                raise SinkError(
                    f"{self.target} holds {path.name}, which no sink has written: choose an empty folder"
                )

    def doubts(self, kind: pa.DataType) -> bool:
        return self.format.doubts(kind)

    def check_values(self, batch: pa.RecordBatch, *, nan: Nan, first_row: int) -> None:
        self.format.check_values(batch, nan=nan, first_row=first_row)

    @contextmanager
    def open(self, schema: pa.Schema) -> Iterator[FolderWriter]:
        self.check(schema)
        with locked(self._folder, self.target):
            writer = FolderWriter(self, self._folder, schema)
            try:
                yield writer
                with machine_errors(self.target):
                    writer.publish()
            except BaseException:
                writer.abandon()
                raise
            # The new table is in place; what cannot be removed now is removed the next time.
            with suppress(OSError):
                _remove_all_but(self._folder, {part.name for part in writer.parts})

    def remove(self) -> None:
        if not self._folder.is_dir():
            return
        with locked(self._folder, self.target):
            (self._folder / MANIFEST).unlink(missing_ok=True)
            _remove_all_but(self._folder, set())
            self._folder.rmdir()


@dataclass
class _Part:
    """One part: its final name, and what it holds."""

    name: str
    rows: int = 0
    bytes: int = 0

    @property
    def staged_name(self) -> str:
        return f".{self.name}.staged"


class FolderWriter:
    """Writes part after part under hidden names."""

    def __init__(self, sink: FolderSink, folder: Path, schema: pa.Schema) -> None:
        self._sink = sink
        self._folder = folder
        self._schema = schema
        self._groups = Groups(schema)
        self._publication = secrets.token_hex(8)
        self._out: ParquetOut | None = None
        self.parts: list[_Part] = []

    def __repr__(self) -> str:
        return f"<FolderWriter {self._sink.target}: {len(self.parts)} parts>"

    def write(self, batch: pa.RecordBatch) -> None:
        with machine_errors(self._sink.target):
            for group in self._groups.add(batch):
                self._write(group)

    def publish(self) -> None:
        for group in self._groups.rest():
            self._write(group)
        if not self.parts:
            self._begin()  # a table without rows has columns too
        self._end()
        for part in self.parts:
            path = self._folder / part.staged_name
            sync(path)
            path.rename(self._folder / part.name)
        sync(self._folder)
        with staged(self._folder / MANIFEST) as temporary:
            temporary.write_bytes(self._manifest())
            publish(temporary, self._folder / MANIFEST)

    def abandon(self) -> None:
        """Removes what was staged, unless a manifest names it already."""
        if self._out is not None:
            self._out.abandon()
        published = _named_parts(self._folder)
        for part in self.parts:
            if part.name not in published:
                for name in (part.staged_name, part.name):
                    with suppress(OSError):
                        (self._folder / name).unlink(missing_ok=True)

    def _write(self, group: pa.Table) -> None:
        out = self._out or self._begin()
        out.write(group)
        part = self.parts[-1]
        part.rows += group.num_rows
        part.bytes = (self._folder / part.staged_name).stat().st_size
        if part.rows >= self._sink.part_rows or part.bytes >= self._sink.part_bytes:
            self._end()

    def _begin(self) -> ParquetOut:
        part = _Part(f"part-{self._publication}-{len(self.parts):05d}.parquet")
        self.parts.append(part)
        self._out = self._sink.format.open(self._folder / part.staged_name, self._schema)
        return self._out

    def _end(self) -> None:
        """Closes and verifies the part that is open, if one is."""
        if self._out is None:
            return
        self._out.close()
        self._out = None
        part = self.parts[-1]
        path = self._folder / part.staged_name
        self._sink.format.verify(path, self._schema, part.rows)
        part.bytes = path.stat().st_size

    def _manifest(self) -> bytes:
        content: dict[str, Any] = {
            "version": 1,
            "rows": sum(part.rows for part in self.parts),
            "schema": [
                {"name": column.name, "type": str(column.type), "nullable": column.nullable}
                for column in self._schema
            ],
            "parts": [{"name": part.name, "rows": part.rows, "bytes": part.bytes} for part in self.parts],
            "metadata": dict(self._sink.metadata),
        }
        return (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode()


def _named_parts(folder: Path) -> set[str]:
    try:
        return {part["name"] for part in json.loads((folder / MANIFEST).read_bytes())["parts"]}
    except (OSError, ValueError, LookupError, TypeError):
        return set()


def _remove_all_but(folder: Path, names: set[str]) -> None:
    for path in folder.iterdir():
        if _OURS.fullmatch(path.name) and path.name not in names:
            path.unlink()
