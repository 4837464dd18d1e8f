"""Pipelines from files: TOML, or Python that sets ``pipeline``."""

from __future__ import annotations

import runpy
import tomllib
import traceback
from pathlib import Path

from opper_batch.errors import DefinitionError, OpperBatchError
from opper_batch.pipeline.definition import Pipeline
from opper_batch.text import printable, shortened


def load(path: str | Path) -> Pipeline:
    """The pipeline in a ``.toml`` file, or ``pipeline`` as a ``.py`` file sets it. Raises DefinitionError."""
    path = Path(path)
    if not path.is_file():
        raise DefinitionError(f"no pipeline file at {path}")
    if path.suffix not in (".toml", ".py"):
        raise DefinitionError(f"{path} is no pipeline file; one ends with .toml or .py")
    if path.suffix == ".py":
        return _from_python(path)
    try:
        return Pipeline(**tomllib.loads(_read(path)))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise DefinitionError(f"{path}: not valid TOML: {error}") from None
    except DefinitionError as error:
        raise DefinitionError(f"{path}: {error.message}") from None


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise DefinitionError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DefinitionError(f"line {line} is not UTF-8; save the file as UTF-8") from None


def _from_python(path: Path) -> Pipeline:
    try:
        found = runpy.run_path(str(path)).get("pipeline")
    except OpperBatchError as error:
        raise DefinitionError(f"{path}{_line(error, path)}: {error.message}") from None
    except (Exception, SystemExit) as error:  # whatever the user's own code may raise
        text = error.msg if isinstance(error, SyntaxError) else str(error)
        said = shortened(printable(f"{type(error).__name__}: {text}"))
        raise DefinitionError(f"{path}{_line(error, path)}: {said}") from None
    if not isinstance(found, Pipeline):
        raise DefinitionError(f"{path}: has no variable 'pipeline' that is an opper_batch.Pipeline")
    return found


def _line(error: BaseException, path: Path) -> str:
    """Where in the file it went wrong, as far as that is known."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f", line {error.lineno}" if error.lineno else ""
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)
    ]
    return f", line {lines[-1]}" if lines else ""
