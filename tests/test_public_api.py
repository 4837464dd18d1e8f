"""The short public list, and what using it costs before it is used."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import opper_batch as ob

HEAVY = ("polars", "pandas", "pyarrow", "duckdb", "httpx", "pydantic", "tenacity", "uvicorn", "starlette")


def loaded_after(code: str) -> set[str]:
    """Which of the heavy libraries a fresh interpreter has loaded after ``code``."""
    ask = f"{code}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}}, file=sys.stderr)"
    ended = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    return set(ended.stderr.split()) & set(HEAVY)


def test_the_list_is_sorted_and_holds_nothing_twice() -> None:
    assert ob.__all__ == sorted(set(ob.__all__))


@pytest.mark.parametrize("name", ob.__all__)
def test_every_name_can_be_had_and_says_what_it_is(name: str) -> None:
    value = getattr(ob, name)
    assert value.__module__.startswith("opper_batch")
    assert value.__name__ == name
    assert value.__doc__


def test_dir_shows_the_list_before_anything_of_it_was_used() -> None:
    code = "import opper_batch as ob; assert dir(ob) == sorted(ob.__all__), dir(ob)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_star_import_brings_the_list_and_nothing_else() -> None:
    namespace: dict[str, object] = {}
    exec("from opper_batch import *", namespace)
    assert namespace.keys() - {"__builtins__"} == set(ob.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Manager'"):
        ob.Manager  # noqa: B018


def test_a_name_stays_what_it_is_when_a_module_is_imported_after_it() -> None:
    for module in ("runs", "report", "pipeline", "frames"):
        import_module(f"opper_batch.{module}")
    assert callable(ob.run)
    assert callable(ob.plan)
    assert callable(ob.export)


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_after("import opper_batch") == set()
    assert "pyarrow" in loaded_after("import opper_batch; opper_batch.Column")


def test_the_help_of_the_command_line_loads_nothing_heavy() -> None:
    for arguments in (["--help"], ["run", "--help"], ["sandbox", "--help"], ["--version"]):
        code = f"from opper_batch.cli import commands\ncommands.main({arguments!r}, standalone_mode=False)"
        assert loaded_after(code) == set(), arguments


def test_the_module_for_users_tests_is_at_hand_without_being_loaded() -> None:
    assert callable(ob.testing.replaying)
    assert loaded_after("import opper_batch as ob; ob.testing") >= {"pyarrow"}


def test_the_package_is_typed() -> None:
    assert (Path(ob.__file__).parent / "py.typed").is_file()
