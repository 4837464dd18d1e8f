"""Whatever a column accepts comes back equal from Parquet and DuckDB, and agrees with the JSON Schema."""

import base64
import datetime as dt
import json
import string

import duckdb
import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opper_batch.columns import Columns
from opper_batch.columns.kinds import KINDS
from opper_batch.columns.sqltypes import SqlType, plain_type, read_type, sql_type
from opper_batch.errors import BadOutput
from opper_batch.protocol import data_of

# Texts that are nearly right for one type or another: what is accepted of them has to come back as well.
TRICKY = [
    *(
        "",
        " ",
        "null",
        "NaN",
        "Infinity",
        "-0",
        "1e5",
        "00",
        "+1.50",
        "0.000",
        "9" * 38,
        "-" + "9" * 38,
        "9" * 39,
    ),
    *("0001-01-01", "9999-12-31", "2024-02-29", "2026-02-29", "00:00", "23:59:59.999999", "24:00:00"),
    *(
        "0001-01-01T00:00",
        "9999-12-31T23:59:59.999999Z",
        "0001-01-01T00:00:00+00:01",
        "2026-01-31T00:00-23:59",
    ),
    *("123E4567-E89B-12D3-A456-426614174000", "AP8=", "AA==", "data:;base64,AP8=", "a\0b", "\ud800", "'\"\\"),
    *('{"a":1,"a":2}', "[1e400]", "-0.0", '"\\u0000"', '"\\ud83d\\ude00"', "1" * 400, "[" * 150 + "]" * 150),
]
NUMBERS = [
    0,
    -1,
    1,
    127,
    128,
    2**31,
    2**53,
    2**63,
    2**64,
    10**38 - 1,
    10**38,
    0.1,
    -0.0,
    3.0,
    1e-45,
    3.4e38,
    1e308,
]

NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cf"]), min_size=1, max_size=6
).filter(lambda name: name.strip())
VALUES = st.lists(NAMES, min_size=1, max_size=4, unique=True)


def quote(name: str, mark: str) -> str:
    return mark + name.replace(mark, mark * 2) + mark


def decimal_type(precision: int, scale: int) -> str:
    return f"DECIMAL({precision},{min(precision, scale)})"


SCALARS = st.one_of(
    st.sampled_from(sorted(KINDS.keys() - {"enum", "decimal"})),
    st.builds(decimal_type, st.integers(1, 38), st.integers(0, 38)),
    VALUES.map(lambda values: f"ENUM({', '.join(quote(value, chr(39)) for value in values)})"),
)


def nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    members = st.lists(
        st.tuples(NAMES, inner), min_size=1, max_size=3, unique_by=lambda member: member[0].lower()
    )
    return st.one_of(
        inner.map(lambda text: f"{text}[]"),
        st.builds("{}[{}]".format, inner, st.integers(1, 3)),
        members.map(
            lambda pairs: f"STRUCT({', '.join(f'{quote(name, chr(34))} {text}' for name, text in pairs)})"
        ),
    )


TYPES = st.recursive(SCALARS, nested, max_leaves=4)


def answers(sql: SqlType) -> st.SearchStrategy[object]:
    """What a model could answer for a type: mostly right."""
    match sql.id:
        case "struct":
            return st.fixed_dictionaries({name: answers(member) for name, member in sql.members})
        case "list":
            return st.lists(answers(sql.members[0][1]), max_size=3)
        case "array":
            return st.lists(answers(sql.members[0][1]), min_size=sql.size, max_size=sql.size)
        case "enum":
            return st.sampled_from(sql.values)
        case "decimal":
            return st.decimals(allow_nan=False, allow_infinity=False, places=sql.scale).map(
                lambda n: f"{n:f}"
            )
        case _:
            return LEAVES[sql.id]


WHOLE = st.integers() | st.integers(-128, 255) | st.sampled_from(NUMBERS)
FLOATS = st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.sampled_from(NUMBERS)
OFFSETS = st.timedeltas(dt.timedelta(hours=-23), dt.timedelta(hours=23)).map(
    lambda offset: dt.timezone(dt.timedelta(minutes=offset // dt.timedelta(minutes=1)))
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
LEAVES: dict[str, st.SearchStrategy[object]] = {
    **{kind: WHOLE for kind in KINDS if KINDS[kind].wire == "integer"},
    "float": FLOATS,
    "double": FLOATS,
    "boolean": st.booleans(),
    "varchar": st.text(),
    "date": st.dates().map(dt.date.isoformat),
    "time": st.times().map(dt.time.isoformat),
    "timestamp": st.datetimes().map(dt.datetime.isoformat),
    "timestamp with time zone": st.datetimes(timezones=OFFSETS).map(dt.datetime.isoformat),
    "uuid": st.uuids().map(str),
    "json": JSON.map(json.dumps) | JSON.map(lambda value: json.dumps(value, ensure_ascii=False, indent=1)),
    "blob": st.binary().map(lambda raw: base64.b64encode(raw).decode()),
}


def anything() -> st.SearchStrategy[object]:
    return st.sampled_from(TRICKY) | st.sampled_from(NUMBERS) | JSON


@st.composite
def tables(draw: st.DrawFn) -> tuple[Columns, list[object]]:
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique_by=str.lower))
    spec = {name: {"type": draw(TYPES), "nullable": draw(st.booleans())} for name in names}
    columns = Columns.parse(spec)
    row = st.fixed_dictionaries({column.name: answers(column.sql) | anything() for column in columns})
    right = st.fixed_dictionaries({column.name: answers(column.sql) for column in columns})
    return columns, draw(st.lists(right | row, min_size=1, max_size=5))


def accepted(columns: Columns, answer: object) -> dict[str, object] | None:
    try:
        return columns.read(answer)
    except BadOutput:
        return None


@pytest.fixture(scope="module")
def parquet(tmp_path_factory):
    return tmp_path_factory.mktemp("columns") / "answers.parquet"


@pytest.fixture(scope="module")
def database():
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def through_duckdb(database: duckdb.DuckDBPyConnection, table: pa.Table) -> pa.Table:
    """The table inserted into one of exactly the declared types, and read back in order."""
    declared = [
        f"{quote(field.name, chr(34))} {field.metadata[b'opper_batch.type'].decode()}"
        for field in table.schema
    ]
    database.execute(f"CREATE OR REPLACE TABLE answers ({', '.join(declared)})")
    database.register("incoming", table)
    database.execute("INSERT INTO answers SELECT * FROM incoming")
    database.unregister("incoming")
    return database.sql("SELECT * FROM answers ORDER BY rowid").to_arrow_table()


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(tables())
def test_what_is_accepted_comes_back_equal(parquet, database, drawn):
    columns, given_answers = drawn
    rows = [None, *(accepted(columns, answer) for answer in given_answers)]
    table = pa.Table.from_arrays(columns.arrays(rows), schema=columns.arrow)
    expected = [row or dict.fromkeys(columns.names) for row in rows]

    pq.write_table(table, parquet)
    back = pq.read_table(parquet)
    assert back.schema.equals(columns.arrow, check_metadata=True)
    assert back.to_pylist() == expected
    assert through_duckdb(database, table).to_pylist() == expected


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(tables())
def test_answers_read_together_are_what_each_is_alone(drawn):
    columns, given_answers = drawn
    fitting = []
    for answer in given_answers:
        if (alone := accepted(columns, answer)) is None:
            with pytest.raises(BadOutput):
                columns.read_all([*fitting, answer])
        else:
            fitting.append(answer)
            # As text, so that 1, 1.0 and True are three.
            assert repr(columns.read_all([answer])) == repr([alone])
    assert repr(columns.read_all(fitting)) == repr([columns.read(answer) for answer in fitting])


EVERY_TYPE = [
    *sorted(KINDS.keys() - {"enum", "decimal"}),
    *("DECIMAL(4,1)", "DECIMAL(18,3)", "DECIMAL(38,0)", "ENUM('a','b''c')"),
    *("DATE[]", "DECIMAL(9,2)[2]", "STRUCT(a TIMESTAMPTZ, b BLOB[])[]", "STRUCT(a ENUM('x','y'), b HUGEINT)"),
]


@pytest.mark.parametrize("kind", EVERY_TYPE)
def test_every_type_goes_the_whole_way_from_a_reply_to_a_table(tmp_path, database, kind):
    """The body of a reply -> typed -> Arrow -> a Parquet file -> DuckDB, which reads that very file."""
    columns = Columns.parse({"a": {"type": kind, "nullable": True}})
    [column] = columns
    file = tmp_path / "answers.parquet"

    @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(answers(column.sql) | st.none(), min_size=1, max_size=8))
    def goes(given_answers):
        replies = [json.dumps({"data": {"a": answer}, "meta": {}}).encode() for answer in given_answers]
        rows = [values for reply in replies if (values := accepted(columns, data_of(reply))) is not None]
        table = pa.Table.from_arrays(columns.arrays(rows), schema=columns.arrow)
        pq.write_table(table, file)
        assert pq.read_table(file).to_pylist() == rows
        declared = f"{quote('a', chr(34))} {table.schema.field(0).metadata[b'opper_batch.type'].decode()}"
        database.execute(f"CREATE OR REPLACE TABLE answers ({declared})")
        database.execute("INSERT INTO answers SELECT * FROM read_parquet(?)", [str(file)])
        assert database.sql("SELECT * FROM answers ORDER BY rowid").to_arrow_table().to_pylist() == rows

    goes()


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(tables())
def test_what_is_accepted_is_valid_by_the_schema_sent(drawn):
    columns, given_answers = drawn
    jsonschema.Draft202012Validator.check_schema(columns.json_schema)
    validator = jsonschema.Draft202012Validator(columns.json_schema)
    for answer in given_answers:
        values = accepted(columns, answer)
        if values is not None:
            validator.validate(wired(columns, answer))
            assert columns.read(json.dumps(answer)) == values


def quoted_value(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def wired(columns: Columns, answer: dict[str, object]) -> dict[str, object]:
    """The answer, a whole number for a DECIMAL as text: the one thing that is taken beyond the schema."""
    return {column.name: _wired(column.sql, answer[column.name]) for column in columns}


def _wired(sql: SqlType, value: object) -> object:
    if sql.id == "decimal" and type(value) is int:
        return str(value)
    if isinstance(value, list):
        return [_wired(sql.members[0][1], one) for one in value]
    if isinstance(value, dict):
        return {name: _wired(member, value[name]) for name, member in sql.members}
    return value


@settings(max_examples=150, deadline=None)
@given(TYPES)
def test_a_types_normal_text_means_the_same_type(text):
    sql = sql_type(text)
    assert sql_type(sql.text) == sql
    [column] = Columns.parse({"a": text})
    assert Columns.parse([column]).columns == (column,)


PLAIN = [kind.upper() for kind in KINDS if kind not in ("decimal", "enum")]
PLAIN += [
    "DECIMAL(1,0)",
    "DECIMAL(10,2)",
    "DECIMAL(38,38)",
    "ENUM('a')",
    "ENUM('it''s', 'x, y', '''', '(ü)')",
]


@pytest.mark.parametrize("text", [*PLAIN, *(f"{text}[]" for text in PLAIN), "DATE[][]"])
def test_the_usual_types_mean_what_duckdb_says(text):
    assert plain_type(text) == read_type(text)


@pytest.mark.parametrize("text", ["varchar", "DECIMAL(39,2)", "DECIMAL(2,3)", "INT", "VARCHAR[3]", "ENUM()"])
def test_any_other_spelling_is_left_to_duckdb(text):
    assert plain_type(text) is None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("a'\\,( é\"", min_size=1).filter(str.strip), min_size=1, unique=True))
def test_an_enum_means_what_duckdb_says(values):
    text = read_type(f"ENUM({', '.join(map(quoted_value, values))})").text
    assert plain_type(text) == read_type(text)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(tables(), st.data())
def test_problems_never_repeat_what_the_model_wrote(drawn, data):
    columns, given_answers = drawn
    mark = "x" + "".join(data.draw(st.lists(st.sampled_from(string.hexdigits), min_size=12, max_size=12)))
    name = data.draw(st.sampled_from(columns.names))
    answer = {**given_answers[0], name: [mark, {mark: mark}], mark: mark}
    with pytest.raises(BadOutput) as caught:
        columns.read(answer)
    assert mark not in str(caught.value)
    assert 1 <= len(caught.value.problems) <= 5
