"""What CSV and JSONL share: bytes to an open file, and a size to check."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


class TextFile:
    """A file written from its start to its end."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb", buffering=2**20)

    def __repr__(self) -> str:
        return f"<TextFile {self._file.name}>"

    def append(self, content: bytes) -> None:
        self._file.write(content)

    def close(self) -> None:
        self._file.close()

    def abandon(self) -> None:
        with suppress(OSError):
            self._file.close()
