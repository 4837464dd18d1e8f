"""A DuckDB table: replace, upsert and append, in one transaction or not at all."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from opper_batch.errors import DefinitionError, MachineError, SinkError
from opper_batch.sinks import Sink, open_sink


def write(sink: Sink, table: pa.Table, then: Callable[[], object] = lambda: None) -> None:
    sink.check(table.schema)
    with sink.open(table.schema) as writer:
        for batch in table.to_batches(max_chunksize=5_000):
            writer.write(batch)
        then()


def rows(database: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(database)) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.duckdb"


def answers(*triples: tuple[int, str, str]) -> pa.Table:
    """Rows of a source column ``id``, an answer, and its status."""
    ids, texts, statuses = zip(*triples, strict=True)
    return pa.table({"id": ids, "answer": texts, "t_status": statuses})


def append_sink(database: Path) -> Sink:
    return open_sink(
        duckdb=str(database), table="t", mode="append", source_columns=["id"], status_columns=["t_status"]
    )


# -- replace ----------------------------------------------------------------------------------------------


def test_replace_makes_the_table_equal_to_the_result(database: Path, tickets: pa.Table) -> None:
    sink = open_sink(duckdb=str(database), table="tickets")
    write(sink, tickets)
    with duckdb.connect(str(database)) as connection:
        found = connection.sql("FROM tickets").to_arrow_table()
    assert found.to_pylist() == tickets.to_pylist()
    write(sink, tickets.select(["due", "ticket_id"]).slice(1, 2))
    assert rows(database, "FROM tickets")[0][1] == 2
    assert len(rows(database, "FROM tickets")) == 2
    assert os.listdir(database.parent) == [database.name]


def test_declared_types_win_over_arrows(database: Path) -> None:
    declared = {
        "u": (pa.string(), "UUID", "00000000-0000-0000-0000-000000000005"),
        "j": (pa.string(), "JSON", '{"a": 1}'),
        "h": (pa.decimal128(38, 0), "HUGEINT", 5),
        "d": (pa.decimal128(10, 2), "DECIMAL(10,2)", None),
        "e": (pa.string(), "ENUM('a', 'b')", "b"),
        "s": (pa.struct([("x", pa.int8())]), "STRUCT(x TINYINT)", {"x": 1}),
    }
    schema = pa.schema(
        [
            pa.field(name, type_, metadata={"opper_batch.type": text})
            for name, (type_, text, _) in declared.items()
        ]
    )
    table = pa.Table.from_pylist([{name: value for name, (_, _, value) in declared.items()}], schema=schema)
    write(open_sink(duckdb=str(database), table="t"), table)
    found = rows(
        database, "SELECT data_type FROM duckdb_columns() WHERE table_name = 't' ORDER BY column_index"
    )
    assert [type_ for (type_,) in found] == [text for _, text, _ in declared.values()]


def test_arrow_types_have_their_duckdb_types(database: Path) -> None:
    types = {
        "TINYINT": pa.int8(),
        "UBIGINT": pa.uint64(),
        "FLOAT": pa.float32(),
        "TIMESTAMP_NS": pa.timestamp("ns"),
        "TIMESTAMP WITH TIME ZONE": pa.timestamp("us", "Europe/Oslo"),
        "UUID": pa.uuid(),
        "INTERVAL": pa.duration("us"),
        "VARCHAR": pa.null(),
        "MAP(VARCHAR, INTEGER)": pa.map_(pa.string(), pa.int32()),
    }
    table = pa.table({name: pa.nulls(2, type_) for name, type_ in types.items()})
    write(open_sink(duckdb=str(database), table="t"), table)
    found = rows(database, "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 't'")
    assert all(name == type_ for name, type_ in found)
    assert len(found) == len(types)


def test_order_is_kept_over_many_batches(database: Path) -> None:
    table = pa.table({"n": range(200_000), "kind": pa.array(["a", "b"] * 100_000).dictionary_encode()})
    sink = open_sink(duckdb=str(database), table="t")
    with sink.open(table.schema) as writer:
        for batch in table.to_batches(max_chunksize=9_999):
            writer.write(batch)
    assert rows(database, "SELECT count(*) FROM t WHERE n <> rowid OR kind <> ['a', 'b'][n % 2 + 1]") == [
        (0,)
    ]


# -- upsert -----------------------------------------------------------------------------------------------


def test_upsert_replaces_equal_keys_and_keeps_the_others(database: Path) -> None:
    sink = open_sink(duckdb=str(database), table="t", mode="upsert", key=["id"])
    write(sink, answers((1, "a", "ok"), (2, "b", "ok")))
    write(sink, answers((2, "B", "ok"), (3, "C", "ok")))
    expected = [(1, "a"), (2, "B"), (3, "C")]
    assert rows(database, "SELECT id, answer FROM t ORDER BY id") == expected
    write(sink, answers((2, "B", "ok"), (3, "C", "ok")))
    assert rows(database, "SELECT id, answer FROM t ORDER BY id") == expected


def test_upsert_into_a_table_with_a_primary_key_and_nested_columns(database: Path) -> None:
    rows(database, "CREATE TABLE t (a INTEGER, b VARCHAR, tags VARCHAR[], PRIMARY KEY (a, b)); SELECT 1")
    rows(database, "INSERT INTO t VALUES (1, 'x', ['old']), (1, 'y', ['kept'])")
    table = pa.table({"b": ["x"], "tags": [["new"]], "a": pa.array([1], pa.int32())})
    sink = open_sink(duckdb=str(database), table="t", mode="upsert", key=["a", "b"])
    for _ in range(2):
        write(sink, table)
        assert rows(database, "FROM t ORDER BY b") == [(1, "x", ["new"]), (1, "y", ["kept"])]


@pytest.mark.parametrize(
    ("ids", "sentence"), [([1, 2, 2], "two rows have the id 2"), ([1, None, 3], "1 row without id")]
)
def test_upsert_refuses_repeated_and_missing_keys_and_changes_nothing(
    database: Path, ids: list[int | None], sentence: str
) -> None:
    sink = open_sink(duckdb=str(database), table="t", mode="upsert", key=["id"])
    write(sink, answers((1, "a", "ok")))
    table = answers((1, "A", "ok"), (2, "B", "ok"), (2, "C", "ok"))
    with pytest.raises(SinkError, match=sentence):
        write(sink, table.set_column(0, "id", pa.array(ids, pa.int64())))
    assert rows(database, "FROM t") == [(1, "a", "ok")]
    assert os.listdir(database.parent) == [database.name]


def test_a_first_upsert_that_is_refused_leaves_no_database(database: Path) -> None:
    sink = open_sink(duckdb=str(database), table="t", mode="upsert", key=["id"])
    with pytest.raises(SinkError):
        write(sink, answers((1, "a", "ok"), (1, "b", "ok")))
    assert os.listdir(database.parent) == []


# -- append -----------------------------------------------------------------------------------------------


def test_append_adds_only_rows_that_the_table_does_not_hold(database: Path) -> None:
    sink = append_sink(database)
    write(sink, answers((1, "a", "ok"), (2, "b", "ok")))
    for _ in range(2):
        write(sink, answers((2, "another answer", "ok"), (3, "c", "ok")))
        assert rows(database, "FROM t") == [(1, "a", "ok"), (2, "b", "ok"), (3, "c", "ok")]


def test_append_replaces_held_rows_that_are_not_ok(database: Path) -> None:
    sink = append_sink(database)
    write(sink, answers((1, "a", "ok"), (2, "", "failed")))
    write(sink, answers((1, "new", "ok"), (2, "b", "ok")))
    assert rows(database, "FROM t ORDER BY id") == [(1, "a", "ok"), (2, "b", "ok")]


def test_append_counts_equal_rows(database: Path) -> None:
    sink = append_sink(database)
    write(sink, answers((1, "a", "ok"), (1, "a", "ok")))
    assert rows(database, "SELECT count(*) FROM t") == [(2,)]
    for _ in range(2):
        write(sink, answers((1, "a", "ok"), (1, "a", "ok"), (1, "a", "ok"), (2, "b", "ok")))
        assert rows(database, "SELECT id, count(*) FROM t GROUP BY id ORDER BY id") == [(1, 3), (2, 1)]
    write(sink, answers((1, "a", "ok")))
    assert rows(database, "SELECT count(*) FROM t") == [(4,)]


def test_append_knows_rows_by_nulls_and_nested_values_too(database: Path) -> None:
    table = pa.table(
        {
            "text": [None, "", None],
            "tags": [["a"], None, None],
            "price": [float("nan"), 0.5, None],
            "s_status": ["ok"] * 3,
        }
    )
    sink = open_sink(
        duckdb=str(database),
        table="t",
        mode="append",
        source_columns=["text", "tags", "price"],
        status_columns=["s_status"],
    )
    for _ in range(2):
        write(sink, table)
        assert rows(database, "SELECT count(*) FROM t") == [(3,)]


# -- what does not fit --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["append", "upsert"])
@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ("id BIGINT, answer VARCHAR", 'has no column "t_status" VARCHAR'),
        ("id BIGINT, answer VARCHAR, t_status VARCHAR, more INTEGER", 'has a column "more"'),
        ("id INTEGER, answer VARCHAR, t_status VARCHAR", 'column "id" is INTEGER in .* but BIGINT'),
    ],
)
def test_a_table_that_does_not_fit_is_refused_before_anything_is_written(
    database: Path, mode: Any, columns: str, sentence: str
) -> None:
    rows(database, f"CREATE TABLE t ({columns}); SELECT 1")
    sink = open_sink(duckdb=str(database), table="t", mode=mode, key=["id"], source_columns=["id"])
    with pytest.raises(SinkError, match=sentence):
        sink.check(answers((1, "a", "ok")).schema)


def test_a_table_with_its_columns_in_another_order_or_case_fits(database: Path) -> None:
    rows(database, "CREATE TABLE T (T_STATUS VARCHAR, Answer VARCHAR, id BIGINT); SELECT 1")
    write(append_sink(database), answers((1, "a", "ok")))
    assert rows(database, "FROM t") == [("ok", "a", 1)]


def test_columns_that_differ_only_in_case_are_refused(database: Path) -> None:
    schema = pa.schema([("Name", pa.string()), ("name", pa.string())])
    with pytest.raises(SinkError, match='"Name" and "name" differ only in case'):
        open_sink(duckdb=str(database), table="t").check(schema)


def test_missing_keys_and_unknown_modes_are_refused(database: Path) -> None:
    with pytest.raises(DefinitionError, match="needs a key"):
        open_sink(duckdb=str(database), table="t", mode="upsert")
    with pytest.raises(DefinitionError, match='"merge" is none of'):
        open_sink(duckdb=str(database), table="t", mode="merge")
    with pytest.raises(DefinitionError, match="source's columns"):
        open_sink(duckdb=str(database), table="t", mode="append")
    with pytest.raises(SinkError, match='no column "nope"'):
        open_sink(duckdb=str(database), table="t", mode="upsert", key=["nope"]).check(
            answers((1, "", "")).schema
        )


def test_types_and_names_duckdb_cannot_hold_are_refused(database: Path) -> None:
    sink = open_sink(duckdb=str(database), table="t")
    wrong = pa.field("w", pa.string(), metadata={"opper_batch.type": "INTEGER); DROP TABLE t; --"})
    for field in (pa.field("w", pa.decimal256(60, 2)), wrong):
        with pytest.raises(SinkError, match='column "w" has the type'):
            sink.check(pa.schema([field]))
    for name in ("", "a\0b"):
        with pytest.raises(SinkError, match="cannot be a column's name"):
            sink.check(pa.schema([(name, pa.int8())]))


def test_a_view_and_a_file_that_is_no_database_are_refused(database: Path, tmp_path: Path) -> None:
    schema = answers((1, "a", "ok")).schema
    rows(database, "CREATE VIEW v AS SELECT 1 AS id; SELECT 1")
    with pytest.raises(SinkError, match="is a view"):
        open_sink(duckdb=str(database), table="v").check(schema)
    (tmp_path / "notes.duckdb").write_text("not a database " * 1000)
    with pytest.raises(SinkError, match="is not a DuckDB database"):
        open_sink(duckdb=str(tmp_path / "notes.duckdb"), table="t").check(schema)
    with pytest.raises(SinkError, match="is a folder"):
        open_sink(duckdb=str(tmp_path), table="t").check(schema)


def test_a_database_locked_by_another_process_is_the_machines_fault(database: Path) -> None:
    sink = open_sink(duckdb=str(database), table="t")
    write(sink, answers((1, "a", "ok")))
    script = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('locked', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(MachineError, match=rf"locked by another process \(PID {other.pid}\)") as raised:
            sink.check(answers((1, "a", "ok")).schema)
        other.communicate("\n")
    assert raised.value.exit_code == 5
    sink.check(answers((1, "a", "ok")).schema)


# -- all or nothing -----------------------------------------------------------------------------------------


def test_a_value_that_does_not_fit_its_declared_type_changes_nothing(database: Path) -> None:
    sink = open_sink(duckdb=str(database), table="t")
    write(sink, answers((1, "a", "ok")))
    schema = pa.schema([pa.field("u", pa.string(), metadata={"opper_batch.type": "UUID"})])
    with pytest.raises(SinkError, match="UUID"):
        write(sink, pa.Table.from_pylist([{"u": "no uuid"}], schema=schema))
    assert rows(database, "FROM t") == [(1, "a", "ok")]
    assert os.listdir(database.parent) == [database.name]


def test_an_exception_while_writing_leaves_the_database_byte_for_byte(database: Path) -> None:
    sink = append_sink(database)
    table = answers((1, "a", "ok"))
    write(sink, table)
    before = database.read_bytes()
    with pytest.raises(ZeroDivisionError):
        write(sink, table, then=lambda: 1 / 0)
    assert database.read_bytes() == before
    assert os.listdir(database.parent) == [database.name]


@pytest.mark.parametrize("mode", ["replace", "append", "upsert"])
def test_a_disk_that_fills_while_publishing_changes_nothing(database: Path, mode: Any) -> None:
    rows(database, "CREATE TABLE other AS SELECT md5(random()::VARCHAR) AS x FROM range(300_000); SELECT 1")
    table = pa.table({"id": range(130_000), "t_status": ["ok"] * 130_000})
    options = {"mode": mode, "key": ["id"], "source_columns": ["id"], "status_columns": ["t_status"]}
    sink = open_sink(duckdb=str(database), table="t", **options)
    write(sink, table.slice(0, 2))
    before = database.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (len(before) // 2, hard)
    )  # the staged rows fit, the table does not
    try:
        with pytest.raises(MachineError, match=r"Could not write file .*File too large"):
            write(sink, table)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert database.read_bytes() == before
    assert os.listdir(database.parent) == [database.name]


def test_other_tables_stay_and_schemas_are_made(database: Path) -> None:
    write(open_sink(duckdb=str(database), table="one"), answers((1, "a", "ok")))
    write(open_sink(duckdb=str(database), table="raw.two"), answers((2, "b", "ok")))
    write(open_sink(duckdb=str(database), table="temp.three"), answers((3, "c", "ok")))
    assert rows(database, "SELECT (SELECT id FROM one), (SELECT id FROM raw.two)") == [(1, 2)]
    assert rows(database, "SELECT id FROM warehouse.temp.three") == [(3,)]


def test_a_connection_open_in_this_process_is_no_obstacle(database: Path) -> None:
    with duckdb.connect(str(database)) as mine:
        mine.execute("CREATE TABLE other AS SELECT 1 AS x")
        write(append_sink(database), answers((1, "a", "ok")))
        assert mine.execute("SELECT id FROM t").fetchall() == [(1,)]


@pytest.mark.parametrize("mode", ["replace", "append", "upsert"])
def test_hostile_names_are_only_names(tmp_path: Path, mode: Any) -> None:
    names = ['a"b', "new\nline", "😀", "select", "x'; DROP TABLE t; --", "c0", "s", "%s"]
    table = pa.table({name: [1, 2] for name in names} | {"st": ["ok", "ok"]})
    database, place = tmp_path / 'my "own" 😀.duckdb', '"table ""t""; DROP\n😀"'
    sink = open_sink(
        duckdb=str(database), table=place, mode=mode, key=names, source_columns=names, status_columns=["st"]
    )
    for _ in range(2):
        write(sink, table)
        with duckdb.connect(str(database)) as connection:
            assert connection.sql(f"FROM {place}").to_arrow_table().to_pylist() == table.to_pylist()


def test_a_sink_says_where_it_goes(database: Path) -> None:
    sink = open_sink(duckdb="w.duckdb", table="main.t")
    assert sink.target == "w.duckdb:main.t"
    assert sink.artifacts == Path("w.duckdb.main.t.artifacts")
