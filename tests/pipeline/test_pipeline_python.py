"""Pipelines in Python files: whatever the file does is told in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pipeline_texts import expect_refusal, fields

from opper_batch.pipeline import Pipeline, load

Write = Callable[..., Path]


def test_a_python_file_sets_the_variable_pipeline(write: Write) -> None:
    path = write(f"import opper_batch as ob\npipeline = ob.Pipeline(**{fields()!r})\n", "p.py")
    assert load(path) == load(str(path)) == Pipeline(**fields())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\n", ["has no variable 'pipeline'"]),
        ("pipeline = {'name': 'x'}\n", ["has no variable 'pipeline' that is an opper_batch.Pipeline"]),
        ("x = 1\n\ndef broken(:\n", [", line 3: SyntaxError: invalid syntax"]),
        ("if True:\nx = 1\n", [", line 2: IndentationError"]),
        (
            "x = 1\nimport no_such_module_at_all\n",
            [", line 2: ModuleNotFoundError: No module named 'no_such"],
        ),
        ("\n\n1 / 0\n", [", line 3: ZeroDivisionError: division by zero"]),
        ("def f():\n    raise ValueError('a\\nb')\n\nf()\n", [", line 2: ValueError: a b"]),
        ("raise RuntimeError('\\x1b[2J')\n", [", line 1: RuntimeError: \\x1b[2J"]),
        ("raise RuntimeError('x' * 5000)\n", ["…"]),
        ("import sys\nsys.exit(3)\n", [", line 2: SystemExit: 3"]),
        ("def f(): return f()\nf()\n", ["RecursionError"]),
        (f"import opper_batch as ob\npipeline = ob.Pipeline(**{fields(nam=1)!r})", ["line 2: nam: unknown"]),
        (
            "import opper_batch as ob\n\npipeline = ob.Pipeline(\n    name='x',\n    source={'pth': 1})",
            [", line 3: source.pth: unknown key; did you mean 'path'?"],
        ),
        (b"x = '\xe9'\n", ["SyntaxError", "utf-8"]),
        (b"x = 1\x00\n", ["null bytes"]),
    ],
)
def test_whatever_a_python_file_raises_is_one_sentence_with_its_line(
    write: Write, text: str | bytes, said: list[str]
) -> None:
    expect_refusal(write(text, "p.py"), *said)


def test_an_interrupt_is_not_taken_for_a_fault_of_the_file(write: Write) -> None:
    with pytest.raises(KeyboardInterrupt):
        load(write("raise KeyboardInterrupt\n", "p.py"))
