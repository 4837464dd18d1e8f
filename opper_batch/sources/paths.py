"""From what a user names (a file, a list, a glob, a folder) to the files that are read, in order.

Folders and globs are looked through sorted by path. Names beginning with ``_`` or ``.`` are left out, as
every tool that writes folders of parts expects. Folders reached through symbolic links are read, but each
real folder and each real file only once, so that a link back up neither hangs nor doubles rows.
"""

from __future__ import annotations

import glob
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from opper_batch.errors import SourceError

_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"

Partition = tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class Found:
    """One file, and what the ``key=value`` folders between the named root and the file say of its rows."""

    path: str
    partition: Partition = ()


def find_files(path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> tuple[Found, ...]:
    """Every file of a source, in reading order; raises SourceError when there is none, or one comes twice."""
    named = [path] if isinstance(path, str | os.PathLike) else list(path)
    if not named:
        raise SourceError("the source names no file: the list of paths is empty")
    found = [file for one in named for file in _expand(os.fspath(one))]
    _refuse_repeats(found)
    return tuple(found)


def _expand(text: str) -> list[Found]:
    path = Path(text)
    if not text:
        raise SourceError("the source's path is empty: name a file, a folder or a glob")
    if path.is_dir():
        nothing = f"{text} holds no file to read: it is empty, or all its files are hidden"
        return _under(path, _walk(path), nothing)
    if path.is_file():
        return [Found(text)]
    if os.path.lexists(path):
        _refuse_irregular(text)
    if glob.has_magic(text):
        return _match(text)
    raise SourceError(f"there is no file {text}: check the path; relative paths start at {Path.cwd()}")


def _match(pattern: str) -> list[Found]:
    root, tail = _split_pattern(Path(pattern))
    matches = (
        str(match) for match in root.glob(tail) if not match.is_dir() and _is_visible(match, root, tail)
    )
    return _under(
        root, matches, f"no file matches {pattern}: check the pattern; it is looked for from {Path.cwd()}"
    )


def _split_pattern(pattern: Path) -> tuple[Path, str]:
    """The fixed folders a glob begins with, and the part that varies."""
    fixed = 0
    while fixed < len(pattern.parts) - 1 and not glob.has_magic(pattern.parts[fixed]):
        fixed += 1
    tail = pattern.parts[fixed:]
    if tail[-1] == "**":  # pathlib means folders by a last **, everybody else means files
        tail = (*tail, "*")
    return Path(*pattern.parts[:fixed]), "/".join(tail)


def _is_visible(match: Path, root: Path, tail: str) -> bool:
    """Hidden names stay out unless the pattern itself spells them so."""
    wanted = {part[0] for part in tail.split("/") if part[0] in "_."}
    return all(part[0] not in "_." or part[0] in wanted for part in match.relative_to(root).parts)


def _walk(root: Path) -> Iterator[str]:
    """Every visible file below ``root``; real folders first, so that a link never stands in for one."""
    seen: set[str] = set()
    waiting = deque([str(root)])
    while waiting:
        folder = waiting.popleft()
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        for entry in _entries(folder):
            if not os.path.isdir(entry):
                yield entry
            elif os.path.islink(entry):
                waiting.append(entry)
            else:
                waiting.appendleft(entry)


def _entries(folder: str) -> list[str]:
    try:
        return [os.path.join(folder, name) for name in os.listdir(folder) if name[0] not in "_."]
    except OSError as error:
        raise SourceError(f"the folder {folder} cannot be read: {error.strerror}") from error


def _under(root: Path, paths: Iterable[str], nothing: str) -> list[Found]:
    ordered = sorted(paths, key=lambda path: Path(path).parts)
    # A file and a link to it are the same rows: the file itself wins, whichever comes first.
    kept = {os.path.realpath(path): path for path in sorted(ordered, key=os.path.islink, reverse=True)}
    for path in ordered:
        _refuse_irregular(path)
    files = [
        Found(path, _partition(Path(path), root)) for path in ordered if kept[os.path.realpath(path)] == path
    ]
    if not files:
        raise SourceError(nothing)
    return files


def _refuse_irregular(path: str) -> None:
    """A pipe cannot be read twice; what a link to nothing stood for would be missing without a word."""
    if not os.path.isfile(path):
        what = "is a link that leads nowhere" if os.path.islink(path) else "is not a regular file"
        raise SourceError(f"{path} {what}, and a source is read more than once: put the file itself there")


def _partition(path: Path, root: Path) -> Partition:
    folders = path.relative_to(root).parts[:-1]
    pairs = (folder.partition("=") for folder in folders if "=" in folder and not folder.startswith("="))
    return tuple((unquote(key), None if text == _NULL_PARTITION else unquote(text)) for key, _, text in pairs)


def _refuse_repeats(found: Sequence[Found]) -> None:
    seen: dict[str, str] = {}
    for file in found:
        real = os.path.realpath(file.path)
        if real in seen:
            raise SourceError(f"{file.path} is named twice (also as {seen[real]}): its rows would be doubled")
        seen[real] = file.path
