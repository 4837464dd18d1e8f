"""The floors of the house: imports go down only, and a few libraries have one home each."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "opper_batch"

FLOORS = [
    {"errors", "grace", "text", "withheld"},
    {"shown", "records", "columns", "inputs", "pace", "budget", "seen", "forecast", "lint"},
    {"protocol", "sources", "sinks", "ledger", "pipeline", "quotas"},
    {"client", "calls", "checks", "report", "sandbox"},
    {"comparison", "projection", "engines"},
    {"runs"},
    {"recording", "watching"},
    {"frames", "cli"},
    {"enriching", "testing"},
    {"namespace"},
    {"__init__"},
]
FLOOR = {part: number for number, floor in enumerate(FLOORS) for part in floor}

# Libraries that only these parts may know.
HOMES = {
    "tenacity": {"client"},
    "httpx": {"client"},
    "httptools": {"client"},
    "sqlite3": {"ledger", "seen"},
    "click": {"cli"},
    "rich": {"cli"},
    "starlette": {"sandbox"},
    "uvicorn": {"sandbox"},
    "IPython": {"watching"},
    "matplotlib": {"report"},
    "pandas": {"enriching"},
    "pytest": {"testing"},
    "polars": {"frames", "sinks", "sources"},
}
FORBIDDEN_NAMES = {
    *("manager", "handler", "processor", "helper", "helpers", "utils", "util"),
    *("common", "base", "core", "item", "task", "job", "data"),
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def dotted(path: Path) -> str:
    """``opper_batch/ledger/view.py`` as ``opper_batch.ledger.view``."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {dotted(path) for path in MODULES}


def part(path: Path) -> str:
    """The top-level module or package that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that is imported when the code runs, at once or late."""
    for node in _running(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are written in full"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield node.lineno, full if full in NAMES else node.module or ""


def _running(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for other in child.orelse:
                yield from (other, *_running(other))
            continue
        yield child
        yield from _running(child)


def test_every_part_of_the_package_has_its_floor() -> None:
    assert {part(path) for path in MODULES} == FLOOR.keys()


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_imports_go_down_only_and_never_sideways(path: Path) -> None:
    mine = part(path)
    for line, name in imports(path):
        if not name.startswith("opper_batch"):
            continue
        theirs = name.split(".")[1] if "." in name else "__init__"
        assert theirs == mine or FLOOR[theirs] < FLOOR[mine], (
            f"{path.relative_to(PACKAGE)}:{line}: {mine} (floor {FLOOR[mine]}) "
            f"imports {theirs} (floor {FLOOR[theirs]})"
        )


def test_no_module_is_imported_in_a_circle() -> None:
    graph = {
        dotted(path): {name for _, name in imports(path) if name in NAMES and name != dotted(path)}
        for path in MODULES
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("library", HOMES)
def test_a_library_is_known_only_where_it_is_at_home(library: str) -> None:
    users = {part(path) for path in MODULES for _, name in imports(path) if name.split(".")[0] == library}
    assert users
    assert users <= HOMES[library]


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_a_module_says_what_it_promises_and_its_name_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no docstring"
    assert not FORBIDDEN_NAMES & set(path.stem.strip("_").split("_"))
    assert path.parent.name not in FORBIDDEN_NAMES


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 350
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1 if ast.get_docstring(node) and len(node.body) > 1 else 0]
            assert (node.end_lineno or 0) - first.lineno < 40, f"{path}: {node.name}"


def test_the_walk_finds_late_imports_and_leaves_out_those_for_type_checkers(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text(
        "import a.b\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import never\nelse:\n    import other\n"
        "def f():\n    from opper_batch.ledger import view, View\n"
    )
    assert list(imports(path)) == [
        (1, "a.b"),
        (2, "typing"),
        (6, "other"),
        (8, "opper_batch.ledger.view"),
        (8, "opper_batch.ledger"),
    ]
