"""What checks say of a result, and which are refused before anything is called."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from opper_batch.checks import judge, refuse_wrong
from opper_batch.errors import DefinitionError
from opper_batch.pipeline import CheckSpec, Verdict

RESULT = pa.table(
    {
        "id": pa.array([1, 2, 2, 4], pa.int64()),
        "kind": ["bug", "bug", "other", None],
        "score": pa.array([1.0, 5.0, float("nan"), None]),
        "due": pa.array([datetime.date(2024, 1, day) for day in (1, 2, 3)] + [None]),
        "price": pa.array([Decimal("1.50")] * 4, pa.decimal128(10, 2)),
        'odd"name': ["a", "b", "c", "d"],
        "triage_status": ["ok", "ok", "failed", "ok"],
    }
)


def said(tmp_path: Path, table: pa.Table = RESULT, **check: Any) -> Verdict:
    path = tmp_path / "result.arrow"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    spec = CheckSpec(name="x", **check)
    refuse_wrong([spec], table.schema, folder=tmp_path)
    (verdict,) = judge([spec], path, folder=tmp_path)
    return verdict


@pytest.mark.parametrize(
    ("check", "value", "ok"),
    [
        ({"null_share": "kind", "max": 0.25}, 0.25, True),
        ({"null_share": "kind", "max": 0.2}, 0.25, False),
        ({"null_share": "kind", "min": 0.3}, 0.25, False),
        ({"enum_share": {"kind": "bug"}, "min": 0.4, "max": 0.6}, 0.5, True),
        ({"enum_share": {"kind": "bug"}, "max": 0.4}, 0.5, False),
        ({"failed_share": "triage", "max": 0.25}, 0.25, True),
        ({"failed_share": "triage", "max": 0}, 0.25, False),
        ({"range": "id", "min": 1, "max": 4}, 0, True),
        ({"range": "id", "min": 2}, 1, False),
        ({"range": "id", "max": 1}, 3, False),
        ({"range": "score", "max": 5}, 1, False),
        ({"range": "due", "min": datetime.date(2024, 1, 2)}, 1, False),
        ({"range": "price", "min": 1.5, "max": 1.5}, 0, True),
        ({"unique": "id"}, 1, False),
        ({"unique": ["id", "kind"]}, 0, True),
        ({"unique": 'odd"name'}, 0, True),
        ({"sql": "SELECT count(*) FROM result", "min": 4, "max": 4}, 4, True),
        ({"sql": "SELECT sum(price) FROM result", "max": 5}, 6.0, False),
        ({"sql": "SELECT count(*) = 4 FROM result"}, True, True),
        ({"sql": "SELECT max(id) > 4 FROM result"}, False, False),
        ({"sql": "SELECT max(id) > 4 FROM result WHERE false"}, None, False),
        ({"sql": "WITH r AS (FROM result) SELECT count(*) FROM r a JOIN r b USING (id)", "max": 6}, 6, True),
    ],
)
def test_a_check_gives_a_number_or_a_truth_and_holds_within_its_bounds(
    tmp_path: Path, check: dict[str, Any], value: object, ok: bool
) -> None:
    verdict = said(tmp_path, **check)
    assert (verdict.value, verdict.ok) == (value, ok)


def test_of_no_rows_every_share_is_none(tmp_path: Path) -> None:
    empty = RESULT.slice(0, 0)
    assert said(tmp_path, empty, null_share="kind", max=0).ok
    assert said(tmp_path, empty, unique="id").ok


def test_what_cannot_be_evaluated_on_these_rows_does_not_hold_and_cannot_act_on_a_terminal(
    tmp_path: Path,
) -> None:
    table = RESULT.set_column(1, "kind", pa.array(["\x1b[31mred"] * 4))
    verdict = said(tmp_path, table, sql="SELECT sum(kind::INT) < 3 FROM result")
    assert not verdict.ok
    assert "cannot be evaluated: Conversion Error" in verdict.said
    assert "\x1b" not in verdict.said
    assert said(tmp_path, sql="SELECT id > 0 FROM result").said == "gave several rows instead of one value"


def test_what_json_cannot_hold_is_null_there(tmp_path: Path) -> None:
    verdict = said(tmp_path, sql="SELECT max(score) FROM result", max=5)
    assert (verdict.ok, verdict.as_json()["value"]) == (False, None)


@pytest.mark.parametrize(
    ("check", "sentence"),
    [
        ({"null_share": "kynd", "max": 1}, "has no column 'kynd'; did you mean 'kind'?"),
        ({"failed_share": "tirage", "max": 1}, "there is no step 'tirage'"),
        ({"sql": "SELECT avg(scor) > 1 FROM result"}, 'Referenced column "scor" not found'),
        ({"sql": "SELECT"}, "Parser Error"),
        ({"sql": "SELECT true; SELECT true"}, "a single SELECT"),
        ({"sql": "COPY result TO 'out.csv'"}, "a single SELECT"),
        ({"sql": "SET memory_limit = '1TB'"}, "a single SELECT"),
        ({"sql": "SELECT count(*) > 0 FROM read_csv('/etc/passwd')"}, "disabled by configuration"),
        ({"sql": "SELECT count(*) > 0 FROM result, glob('/*')"}, "disabled by configuration"),
        ({"sql": "SELECT id, kind FROM result"}, "it gives 2 columns"),
        ({"sql": "SELECT max(kind) FROM result"}, "it gives VARCHAR"),
        ({"sql": "SELECT list(price) FROM result", "max": 1}, "it gives DECIMAL(10,2)[]"),
        ({"sql": "SELECT count(*) FROM result"}, "say what it should be with min or max"),
        ({"sql": "SELECT count(*) > 0 FROM result", "min": 1}, "leave out min and max"),
        ({"range": "kind", "min": datetime.date(2024, 1, 1)}, "check 'x': "),
    ],
)
def test_a_check_that_cannot_be_asked_is_refused_in_one_sentence(
    tmp_path: Path, check: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(DefinitionError) as raised:
        refuse_wrong([CheckSpec(name="x", **check)], RESULT.schema, folder=tmp_path)
    assert sentence in raised.value.message
    assert "\n" not in raised.value.message


@pytest.mark.parametrize(
    "kind", [pa.float16(), pa.decimal256(50, 2), pa.dense_union([pa.field("a", pa.int64())])], ids=str
)
def test_a_column_that_duckdb_cannot_hold_is_refused_in_one_sentence(
    tmp_path: Path, kind: pa.DataType
) -> None:
    check = CheckSpec(name="x", sql="SELECT count(*) > 0 FROM result")
    with pytest.raises(DefinitionError, match=r"look at this result: .+; cast the column in the source"):
        refuse_wrong([check], pa.schema([("id", pa.int64()), ("odd", kind)]), folder=tmp_path)
