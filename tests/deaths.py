"""A process that kills itself at a named point: the product's functions are wrapped, and know nothing of it.

``KILLED_AT="opper_batch.ledger.journal:Journal.intent before 3"`` kills it as the third call of that function
begins, ``after`` as it returns; a wrapped coroutine returns when it was awaited, a generator's values are
calls. ``sqlite3:COMMIT`` and ``duckdb:COMMIT`` are the ends of the ledger's and the sink's transactions.

``NOTED_IN=path`` writes there, in order, what is synced to the disk and what is renamed, as lines of JSON.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import itertools
import json
import os
import signal
import sqlite3
from collections.abc import Callable
from typing import Any, NoReturn


def install() -> None:
    """What the environment asks for, in this process."""
    if point := os.environ.get("KILLED_AT"):
        place, when, number = point.rsplit(" ", 2)
        _wrap(place, _Death(when, int(number)))
    if path := os.environ.get("NOTED_IN"):
        _note(path)


class _Death:
    """Kills at the ``number``-th passing."""

    def __init__(self, when: str, number: int) -> None:
        self._when = when
        self._passes = itertools.count(1)
        self._number = number

    def before(self) -> int:
        number = next(self._passes)
        if self._when == "before" and number == self._number:
            _die()
        return number

    def after(self, number: int) -> None:
        if self._when == "after" and number == self._number:
            _die()


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()
    raise AssertionError("still alive")


def _wrap(place: str, death: _Death) -> None:
    module_name, _, path = place.partition(":")
    if path == "COMMIT":
        {"sqlite3": _wrap_sqlite, "duckdb": _wrap_duckdb}[module_name](death)
        return
    *parents, name = path.split(".")
    home = functools.reduce(getattr, parents, importlib.import_module(module_name))
    real = getattr(home, name)
    wrapped = _wrapped(real, death)

    def but_for_the_state(*args: Any) -> Any:
        """What is renamed in the state's folder is not the result."""
        return (real if ".opper_batch" in str(args[-1]) else wrapped)(*args)

    setattr(home, name, but_for_the_state if module_name == "os" else wrapped)


def _wrapped(function: Callable[..., Any], death: _Death) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        async def awaited(*args: Any, **named: Any) -> Any:
            number = death.before()
            result = await function(*args, **named)
            death.after(number)
            return result

        return awaited
    if inspect.isgeneratorfunction(function):

        def generated(*args: Any, **named: Any) -> Any:
            for value in function(*args, **named):
                number = death.before()
                yield value
                death.after(number)

        return generated

    def called(*args: Any, **named: Any) -> Any:
        number = death.before()
        result = function(*args, **named)
        death.after(number)
        return result

    return called


def _wrap_sqlite(death: _Death) -> None:
    connect = sqlite3.connect

    class Connection(sqlite3.Connection):
        def __init__(self, database: Any, *args: Any, **named: Any) -> None:
            super().__init__(database, *args, **named)
            self._is_ledger = str(database).endswith(".ledger")

        def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
            if statement != "COMMIT" or not self._is_ledger:
                return super().execute(statement, *values)
            number = death.before()
            cursor = super().execute(statement)
            death.after(number)
            return cursor

    sqlite3.connect = functools.partial(connect, factory=Connection)  # type: ignore[assignment]


def _wrap_duckdb(death: _Death) -> None:
    import duckdb

    connect = duckdb.connect

    class Connection:
        def __init__(self, *args: Any) -> None:
            self._real = connect(*args)

        def __enter__(self) -> Connection:
            return self

        def __exit__(self, *exc: Any) -> None:
            self._real.close()

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

        def commit(self) -> None:
            number = death.before()
            self._real.commit()
            death.after(number)

    duckdb.connect = Connection  # type: ignore[assignment,misc]


def _note(path: str) -> None:
    out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def noting(name: str, paths: Callable[..., list[str]]) -> None:
        real = getattr(os, name)

        def noted(*args: Any, **named: Any) -> Any:
            said = [name, *paths(*args)]
            result = real(*args, **named)
            os.write(out, json.dumps(said).encode() + b"\n")
            return result

        setattr(os, name, noted)

    noting("fsync", lambda file: [os.readlink(f"/proc/self/fd/{file}")])
    for name in ("replace", "rename", "link"):
        noting(name, lambda old, new: [os.path.abspath(old), os.path.abspath(new)])
