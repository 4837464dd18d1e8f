"""Everything that can be wrong in a pipeline file, each told in one sentence."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pipeline_texts import COLUMNS, GOOD, SOURCE, STEP, expect_refusal

from opper_batch.errors import DefinitionError
from opper_batch.pipeline import load

Write = Callable[..., Path]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nam = 1\n" + GOOD, ["nam: unknown key; did you mean 'name'?"]),
        ("zzz = 1\n" + GOOD, ["zzz: unknown key; known are name, source, steps, limits, sink"]),
        ("self = 1\n" + GOOD, ["self: unknown key"]),
        ('"a\\u001bb" = 1\n' + GOOD, ['"a\\x1bb": unknown key']),
        ("[limit]\n" + GOOD, ["unknown key; did you mean 'limits'?"]),
        (GOOD.replace("path", "pth"), ["source.pth: unknown key; did you mean 'path'?"]),
        (GOOD.replace("[source]", "[source]\nkeys = []"), ["source.keys", "did you mean 'key'?"]),
        (GOOD.replace("[steps.columns]", "[steps.colums]"), ["steps[0].colums", "did you mean 'columns'?"]),
        (GOOD.replace(STEP, STEP + "instruction = ''"), ["did you mean 'instructions'?"]),
        (GOOD.replace(STEP, STEP + "model = { nme = 'x' }"), ["steps[0].model.nme", "did you mean 'name'?"]),
        (
            GOOD.replace(STEP, STEP + "model = ['a', { name = 'b', option = {} }]"),
            ["steps[0].model[1].option: unknown key; did you mean 'options'?"],
        ),
        (GOOD + "[limits]\nconcurency = 1", ["limits.concurency", "did you mean 'concurrency'?"]),
        (GOOD + "[limits]\nrpm = 1", ["limits.rpm: unknown key; did you mean 'requests_per_minute'?"]),
        (GOOD + "[limits]\nzzz = 1", ["limits.zzz", "known are concurrency, requests_per_minute"]),
        (GOOD.replace("path", "PATH"), ["source.PATH: unknown key; did you mean 'path'?"]),
        ("max_cost = 1\n" + GOOD, ["max_cost: unknown key; it belongs in [limits]"]),
        (GOOD + "[sink]\nrepair = 1", ["sink.repair: unknown key; it belongs in [[steps]]"]),
        (GOOD + "[limits]\nname = 1", ["limits.name: unknown key; it belongs at the top of the file"]),
        (
            GOOD + "repair = 2",
            ["columns.repair: should be type text", "if repair is the step's own, write it above"],
        ),
        (
            GOOD + "instructions = 'Sort it.'",
            ["columns.instructions.type: 'Sort it.' is not", "write it above [steps.columns]"],
        ),
        (GOOD + "[sink]\npaht = 'x'", ["sink.paht", "did you mean 'path'?"]),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_right_one(write: Write, text: str, said: list[str]) -> None:
    expect_refusal(write(text), *said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = 5" + SOURCE + STEP + COLUMNS, ["name: should be text, not 5"]),
        ("name = 'a'\nsource = 'in.csv'" + STEP + COLUMNS, ["source: should be a table, not 'in.csv'"]),
        (GOOD.replace("[source]", "[[source]]"), ["source: should be a table, not [{"]),
        (GOOD.replace("[[steps]]", "[steps]"), ["steps: should be a list", "write [[steps]]"]),
        ("name = 'a'\nsteps = ['x']" + SOURCE, ["steps[0]: should be a table, not 'x'"]),
        (GOOD.replace('"in.csv"', "5"), ["source.path: should be text or a list, not 5"]),
        (GOOD.replace('"in.csv"', "['a', 5]"), ["source.path[1]: should be text, not 5"]),
        (GOOD.replace('"in.csv"', "[]"), ["source.path: needs at least 1 entry, not []"]),
        (GOOD.replace("[source]", "[source]\nkey = 'id'"), ["source.key: should be a list, not 'id'"]),
        (GOOD.replace("[source]", "[source]\nkey = ['a', 'a']"), ["source.key: names 'a' twice"]),
        (GOOD.replace("[source]", "[source]\ntypes = {a = 5}"), ["source.types.a: should be text"]),
        (
            GOOD.replace("[source]", "[source]\nnan = 'drop'"),
            ["source.nan", "'refuse' or 'null', not 'drop'"],
        ),
        (GOOD.replace(STEP, STEP + "input = 'a'"), ["steps[0].input: should be a list, not 'a'"]),
        (GOOD.replace(STEP, STEP + "input = []"), ["steps[0].input: needs at least 1 entry"]),
        (GOOD.replace(STEP, STEP + "input = ['a', 'b', 'a']"), ["steps[0].input: names 'a' twice"]),
        (GOOD.replace(STEP, STEP + "model = 5"), ["model: should be text or a table or a list, not 5"]),
        (GOOD.replace(STEP, STEP + "model = []"), ["steps[0].model: needs at least 1 entry"]),
        (GOOD.replace(STEP, STEP + "model = ['a', 5]"), ["model[1]: should be text or a table, not 5"]),
        (GOOD.replace(STEP, STEP + "model = { name = 5 }"), ["steps[0].model.name: should be text, not 5"]),
        (GOOD.replace(STEP, STEP + "model = {}"), ["steps[0].model.name: is missing"]),
        (GOOD.replace(STEP, STEP + "instructions = 5"), ["steps[0].instructions: should be text"]),
        (GOOD.replace(STEP, STEP + "guard = []"), ["steps[0].guard: should be a table, not []"]),
        (GOOD.replace(STEP, STEP + "request = 5"), ["steps[0].request: should be a table, not 5"]),
        (GOOD.replace(STEP, STEP + "repair = -1"), ["steps[0].repair: should be 0 or more, not -1"]),
        (GOOD.replace(STEP, STEP + "repair = 6"), ["steps[0].repair: should be 5 or less, not 6"]),
        (GOOD.replace(STEP, STEP + "repair = true"), ["steps[0].repair: should be a whole number, not true"]),
        (GOOD + "[limits]\nconcurrency = 0", ["limits.concurrency: should be 1 or more, not 0"]),
        (GOOD + "[limits]\nconcurrency = 99999", ["limits.concurrency: should be 10000 or less"]),
        (GOOD + "[limits]\nconcurrency = 1.5", ["should be a whole number, not 1.5"]),
        (GOOD + "[limits]\nconcurrency = '8'", ["should be a whole number, not '8'"]),
        (GOOD + "[limits]\nrequests_per_minute = 0", ["should be above 0, not 0"]),
        (GOOD + "[limits]\ntokens_per_minute = true", ["should be a number, not true"]),
        (GOOD + "[limits]\nmax_cost = -0.01", ["limits.max_cost: should be 0 or more, not -0.01"]),
        (GOOD + "[limits]\nmax_cost = nan", ["limits.max_cost: should be a finite number, not nan"]),
        (GOOD + "[limits]\nrequests_per_minute = inf", ["should be a finite number, not inf"]),
        (GOOD.replace('"in.csv"', '""'), ["source.path: should not be empty, not ''"]),
        (GOOD.replace("[source]", "[source]\ndelimiter = ';;'"), ["delimiter: should be one character"]),
        (GOOD.replace(STEP, STEP + "model = ''"), ["steps[0].model: should not be empty"]),
        (GOOD + "[sink]\npath = 5", ["sink.path: should be text, not 5"]),
        (GOOD + "[sink]\npath = 'x'\nmode = 'merge'", ["sink.mode", "'upsert', not 'merge'"]),
        ("name = 2024-01-01" + SOURCE + STEP + COLUMNS, ["name: should be text, not 2024-01-01"]),
    ],
)
def test_a_value_of_the_wrong_kind_is_named_with_what_it_should_be(
    write: Write, text: str, said: list[str]
) -> None:
    expect_refusal(write(text), *said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SOURCE + STEP + COLUMNS, ["name: is missing"]),
        ('name = "a"' + STEP + COLUMNS, ["source: is missing"]),
        ('name = "a"' + SOURCE, ["steps: is missing"]),
        ('name = "a"\nsteps = []' + SOURCE, ["steps: needs at least 1 entry"]),
        ('name = "a"' + SOURCE + STEP, ["steps[0].columns: is missing"]),
        (GOOD.replace('name = "triage"', ""), ["steps[0].name: is missing"]),
        (GOOD.replace('path = "in.csv"', ""), ["source: needs exactly one of path, sql, table; it has none"]),
        (GOOD.replace("[source]", "[source]\nsql = 'x'"), ["exactly one", "it has path and sql"]),
        (GOOD + "[sink]", ["sink: needs either path, or duckdb with table"]),
        (GOOD + "[sink]\npath = 'a'\nduckdb = 'b'\ntable = 't'", ["sink: needs either path, or duckdb"]),
        (GOOD + "[sink]\nduckdb = 'b'", ["sink: duckdb and table go together"]),
        (GOOD + "[sink]\npath = 'a'\ntable = 't'", ["sink: duckdb and table go together"]),
        (GOOD + "[sink]\ntable = 't'", ["sink: needs either path, or duckdb with table"]),
        (GOOD + "[sink]\npath = 'a'\nmode = 'append'", ["mode = 'append' needs a duckdb table"]),
        (
            GOOD + "[sink]\nduckdb = 'b'\ntable = 't'\nmode = 'upsert'",
            ['sink.mode = "upsert" needs source.key'],
        ),
        ('name = "a b"' + SOURCE + STEP + COLUMNS, ["name: should be 1 to 48 letters", "not 'a b'"]),
        ('name = "../a"' + SOURCE + STEP + COLUMNS, ["name: should be 1 to 48 letters", "not '../a'"]),
        ('name = "a\\n"' + SOURCE + STEP + COLUMNS, ["name: should be 1 to 48 letters"]),
        (f'name = "{"a" * 49}"' + SOURCE + STEP + COLUMNS, ["name: should be 1 to 48 letters"]),
        (GOOD.replace('"triage"', '"1st"'), ["steps[0].name: should be a letter, then", "not '1st'"]),
        (GOOD.replace('"triage"', '"a-b"'), ["steps[0].name: should be a letter, then"]),
        (
            GOOD.replace(STEP, STEP + "function = 'a/b'"),
            ["steps[0].function: should be 1 to 64 letters", "'a/b'"],
        ),
        (GOOD.replace("category", '"triage_cost"'), ["'triage_cost' is", "metadata", "rename"]),
        (GOOD.replace("category", '"Triage_KEY"'), ["'triage_key' is", "metadata", "rename"]),
        (GOOD + STEP + 'columns = { x = "VARCHAR" }', ["steps: two are named 'triage'; rename one"]),
        (GOOD + '[[steps]]\nname = "TRIAGE"\ncolumns = { x = "VARCHAR" }', ["two are named 'TRIAGE'"]),
        (
            GOOD + '[[steps]]\nname = "b"\ncolumns = { CATEGORY = "VARCHAR" }',
            ["'CATEGORY'", "column of step 'triage'", "column of step 'b'", "rename"],
        ),
        (
            GOOD + '[[steps]]\nname = "b"\ncolumns = { triage_status = "VARCHAR" }',
            ["'triage_status'", "metadata column of step 'triage'", "column of step 'b'"],
        ),
        (
            GOOD.replace("tickets", "t" * 48) + f'[[steps]]\nname = "{"b" * 20}"\ncolumns = {{ x = "DATE" }}',
            ["step 'bbb", "too long; set function"],
        ),
        (GOOD.replace('["billing", "bug"]', '"VARCHR"'), ["step 'triage': columns.category", "VARCHAR?"]),
        (GOOD.replace('["billing", "bug"]', '"INTERVAL"'), ["step 'triage': columns.category", "INTERVAL"]),
        (GOOD.replace('["billing", "bug"]', "[]"), ["columns.category: an enum needs at least one value"]),
        (GOOD.replace('["billing", "bug"]', "{ typ = 'DATE' }"), ["category.typ", "did you mean type?"]),
        (GOOD.replace('category = ["billing", "bug"]', ""), ["columns: needs at least one column"]),
        (GOOD.replace(STEP, STEP + "request = { name = 'x' }"), ["request.name", "follows from the step"]),
        (GOOD.replace(STEP, STEP + "request = { input = 1 }"), ["request.input", "follows from the step"]),
        (GOOD.replace(STEP, STEP + "request = { model = 'x' }"), ["request.model", "write model beside"]),
        (GOOD.replace(STEP, STEP + "request = { stream = true }"), ["request.stream", "never streamed"]),
    ],
)
def test_what_does_not_go_together_is_said_with_what_to_do(write: Write, text: str, said: list[str]) -> None:
    expect_refusal(write(text), *said)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("name = ", ["not valid TOML", "at end of document"]),
        ('name = "a"\nname = "b"\n', ["not valid TOML", "line 2"]),
        ("name: tickets\n", ["not valid TOML", "line 1"]),
        ("a = " + "[" * 20_000, ["not valid TOML"]),
        (b'name = "a"\n# caf\xe9\n', ["line 2 is not UTF-8"]),
        (b"\x00\x01", ["not valid TOML"]),
        ("", ["name: is missing"]),
    ],
)
def test_a_file_that_is_no_toml_is_said_to_be_none_with_its_line(
    write: Write, content: str | bytes, said: list[str]
) -> None:
    expect_refusal(write(content), *said)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path / "none.py", tmp_path):
        with pytest.raises(DefinitionError, match=f"no pipeline file at {path}$"):
            load(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(write: Write) -> None:
    path = write(GOOD)
    path.chmod(0)
    expect_refusal(path, "cannot be read: Permission denied")
