from __future__ import annotations

import threading
import time
from typing import Any

import polars as pl
import psycopg
import pytest

from tests.system.connectors.sql_tools import batch, outcomes, pages, rejects, rows, statuses
from trueup.connectors import postgres_rows
from trueup.connectors.postgres import PostgresConnector
from trueup.errors import (
    AccessRefusedError,
    ObjectMissingError,
    ObjectUnreadableError,
    SystemUnreachableError,
    UsageError,
    WriteRefusedError,
)
from trueup.model import ObjectSpec

AWKWARD = [
    "",
    "it's",
    '"quoted"',
    "back\\slash",
    "tab\tline\nend\r\n",
    "emoji 🙂",
    "שלום",
    "007",
    "NULL",
    "\\N",
    "\\.",
    "x\n\\.\ny",
    " x ",
    "%s ?",
]


@pytest.fixture
def database(postgres_url):
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def crm(postgres_url, database):
    connector = PostgresConnector.open("crm", {"url": postgres_url, "lock_timeout_s": 0.3})
    yield connector
    connector.close()


@pytest.fixture(params=["few", "many"])
def rows_at_once(request, monkeypatch):
    """Few rows and many are read in different ways, which must not show."""
    if request.param == "many":
        monkeypatch.setattr(postgres_rows, "FEW_ROWS", -1)


def obj(name: str = "t", key: tuple[str, ...] = ("id",), **more: Any) -> ObjectSpec:
    return ObjectSpec(name=name, key=key, **more)


# ---------------------------------------------------------------- settings and errors


def test_urls_are_checked_and_passwords_never_shown(postgres_url):
    for url, words in (("me:s3cret@host", "not a PostgreSQL URL"), ("postgresql://me:s3cret@host/db?nonsense=1", "option 'nonsense'")):
        with pytest.raises(UsageError, match=words) as bad:
            PostgresConnector.open("crm", {"url": url})
        assert "s3cret" not in str(bad.value)
    host = psycopg.conninfo.conninfo_to_dict(postgres_url)
    wrong = psycopg.conninfo.make_conninfo(postgres_url, password="s3cret")
    with pytest.raises(AccessRefusedError) as refused:
        PostgresConnector.open("crm", {"url": wrong}).discover()
    assert "s3cret" not in str(refused.value)
    nowhere = psycopg.conninfo.make_conninfo(postgres_url, port=1)
    with pytest.raises(SystemUnreachableError, match=f"{host['host']}:1 does not answer"):
        PostgresConnector.open("crm", {"url": nowhere}).discover()
    no_database = psycopg.conninfo.make_conninfo(postgres_url, dbname="nowhere")
    with pytest.raises(SystemUnreachableError, match='database "nowhere" does not exist') as missing:
        PostgresConnector.open("crm", {"url": no_database}).discover()
    assert "does not answer" not in str(missing.value)


def test_missing_tables_columns_and_rights_are_named(crm, database, postgres_url):
    database.execute("CREATE TABLE t (id int PRIMARY KEY, name text)")
    with pytest.raises(ObjectMissingError, match=r"no table or view 'orders'.*there are t"):
        crm.describe(obj("orders"))
    with pytest.raises(ObjectMissingError, match="no column 'nam'"):
        crm.read(obj(), ["nam"])
    database.execute("ALTER TABLE t DROP COLUMN name")
    with pytest.raises(ObjectMissingError, match="name"):
        crm.read(obj(), ["name"])
    database.execute("DROP ROLE IF EXISTS reader")
    database.execute("CREATE ROLE reader LOGIN PASSWORD 'x'")
    reader = PostgresConnector.open("crm", {"url": psycopg.conninfo.make_conninfo(postgres_url, user="reader", password="x")})
    for keys in (None, ["1"]):
        with pytest.raises(AccessRefusedError, match="permission denied"):
            list(reader.read(obj(), [], keys=keys))
    database.execute("GRANT SELECT ON t TO reader")
    assert rows(reader, obj(), []) == {}
    with pytest.raises(AccessRefusedError, match="permission denied"):
        reader.write(obj(), batch("delete", ["1"]))
    reader.close()
    database.execute("DROP OWNED BY reader")
    database.execute("DROP ROLE reader")


def test_a_server_that_goes_away_is_unreachable_and_comes_back(crm, database):
    database.execute("CREATE TABLE t (id int PRIMARY KEY, n int)")
    database.execute("INSERT INTO t VALUES (1, 1)")
    assert rows(crm, obj(), ["n"], keys=["1"]) == {"1": (1,)}
    database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'trueup'")
    with pytest.raises(SystemUnreachableError, match="does not answer") as gone:
        crm.write(obj(), batch("update", ["1"], {"n": [2]}))
    assert gone.value.remedy == "retry"
    assert statuses(crm, obj(), batch("update", ["1"], {"n": [3]})) == ["done"]


# ---------------------------------------------------------------- describing


def test_odd_names_and_schemas(crm, database, postgres_url):
    database.execute('CREATE SCHEMA sales; CREATE TABLE sales."Odd.Name" ("select" int PRIMARY KEY, "a ""b"" c%" text, "Größe" text)')
    database.execute('CREATE TABLE sales.orders (id int PRIMARY KEY); CREATE TABLE "Mixed" (id int PRIMARY KEY)')
    database.execute("""INSERT INTO sales."Odd.Name" VALUES (1, 'x', 'y')""")
    odd = obj('sales."Odd.Name"', ("select",))
    assert rows(crm, odd, ['a "b" c%', "Größe"]) == {"1": ("x", "y")}
    assert rows(crm, odd, ['a "b" c%'], keys=["1"]) == {"1": ("x",)}
    assert statuses(crm, odd, batch("update", ["1"], {'a "b" c%': ["z"]}, expected={'a "b" c%': ["x"]}, returning=["Größe"])) == ["done"]
    assert crm.describe(obj("Mixed")).name == "Mixed"
    assert crm.describe(obj("sales.orders")).name == "sales.orders"
    assert crm.describe(obj("SALES.ORDERS")).name == "sales.orders"
    assert [info.name for info in crm.discover()] == ["Mixed", "sales.Odd.Name", "sales.orders"]
    in_sales = PostgresConnector.open("crm", {"url": postgres_url, "schema": "sales"})
    assert rows(in_sales, obj('"Odd.Name"', ("select",)), []) == {"1": ()}
    assert len(in_sales.discover()) == 2
    in_sales.close()


def test_columns_keys_and_types_are_described(crm, database):
    database.execute("CREATE TYPE mood AS ENUM ('glad', 'sad'); CREATE DOMAIN short AS varchar(5) CHECK (VALUE <> 'x')")
    database.execute(
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name varchar(20) NOT NULL, price numeric(10,2), mood mood,"
        " s short, tags text[], at timestamptz DEFAULT now(), twice numeric GENERATED ALWAYS AS (price * 2) STORED)"
    )
    database.execute("CREATE VIEW v AS SELECT id, name, upper(name) AS shout FROM t; CREATE MATERIALIZED VIEW m AS SELECT id FROM t")
    info = crm.describe(obj())
    assert (info.key, info.assigns_key) == (("id",), True)
    columns = info.columns
    types = {
        "id": "integer",
        "name": "text",
        "price": "decimal",
        "mood": "text",
        "s": "text",
        "tags": "list",
        "at": "datetime",
        "twice": "decimal",
    }
    assert {name: column.type for name, column in columns.items()} == types
    assert (columns["name"].max_length, columns["s"].max_length, columns["price"].scale, columns["name"].nullable) == (20, 5, 2, False)
    assert (columns["id"].writable, columns["twice"].writable, columns["at"].has_default) == (False, False, True)
    view = crm.describe(obj("v"))
    assert (view.kind, view.columns["name"].writable, view.columns["shout"].writable) == ("view", True, False)
    with pytest.raises(WriteRefusedError):
        crm.write(obj("m"), batch("delete", ["1"]))


# ---------------------------------------------------------------- reading

ALL_TYPES = (
    "CREATE TYPE mood AS ENUM ('glad', 'sad');"
    "CREATE TABLE t (id serial PRIMARY KEY, name text, code char(4), qty smallint, price numeric(40,10), weight float8, light real,"
    " ok bool, day date, at timestamptz, local timestamp, clock time, tags text[], nums int[], data jsonb, raw bytea, uid uuid, mood mood,"
    " ip inet, cash numeric)"
)
COLUMNS = (
    *("name", "code", "qty", "price", "weight", "light", "ok", "day", "at", "local"),
    *("clock", "tags", "nums", "data", "raw", "uid", "mood", "ip", "cash"),
)


def fill_all_types(database: psycopg.Connection[Any]) -> None:
    database.execute(ALL_TYPES)
    insert = f"INSERT INTO t ({', '.join(COLUMNS)}) VALUES ({', '.join(['%s'] * len(COLUMNS))})"
    digits = "123456789012345678901234567890.0000000001"
    for text in AWKWARD:
        database.execute(
            insert,
            [
                *(
                    text,
                    "ab",
                    -5,
                    digits,
                    0.1,
                    0.1,
                    True,
                    "0001-01-01",
                    "9999-12-31 23:59:59.999999+00",
                    "2026-03-29 02:30:00.000001",
                    "23:59",
                ),
                *([text, None, "x,y"], [1, 2], '{"a": 1}', b"\x00\xff", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "sad", "10.0.0.1", "1.50"),
            ],
        )
    database.execute("INSERT INTO t DEFAULT VALUES")


def test_values_survive_and_every_way_of_reading_agrees(crm, database, rows_at_once):
    fill_all_types(database)
    database.execute("SET TIME ZONE 'America/New_York'")
    found = rows(crm, obj(), COLUMNS)
    first = found["1"]
    assert [str(cell) for cell in first[2:11]] == [
        "-5", "123456789012345678901234567890.0000000001", "0.1", "0.1", "True", "0001-01-01",
        "9999-12-31 23:59:59.999999+00:00", "2026-03-29 02:30:00.000001", "23:59:00",
    ]  # fmt: skip
    assert first[12:] == (["1", "2"], '{"a": 1}', "00ff", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "sad", "10.0.0.1/32", "1.50")
    assert [found[str(number + 1)][0] for number in range(len(AWKWARD))] == AWKWARD
    assert [found[str(number + 1)][11] for number in range(len(AWKWARD))] == [[text, None, "x,y"] for text in AWKWARD]
    assert found[str(len(AWKWARD) + 1)] == (None,) * len(COLUMNS)
    by_key = pages(crm, obj(), COLUMNS, keys=list(found))[0].rows.sort("__key")
    many = pages(crm, obj(), COLUMNS, keys=[*found, *map(str, range(1000, 4000))])[0].rows.sort("__key")
    assert pages(crm, obj(), COLUMNS)[0].rows.sort("__key").equals(by_key)
    assert by_key.equals(many)
    assert by_key.schema["at"] == pl.Datetime("us", "UTC")


def test_every_type_can_be_expected_and_written_back(crm, database):
    fill_all_types(database)
    before = pages(crm, obj(), COLUMNS)[0].rows
    ops = pl.Series("__op", range(before.height), dtype=pl.Int64())
    what = batch("update", before.get_column("__key").to_list(), {name: before.get_column(name) for name in COLUMNS})
    expected = before.select(ops, pl.lit(None, dtype=pl.String()).alias("__version"), *COLUMNS)
    what = type(what)(kind="update", rows=what.rows.with_columns(ops), expected=expected, returning=tuple(COLUMNS))
    done = crm.write(obj(), what).sort("__op")
    assert done.get_column("__status").to_list() == ["done"] * before.height
    assert done.select(COLUMNS).equals(before.select(COLUMNS))
    changed = expected.with_columns(pl.lit("other").alias("name"))
    assert set(crm.write(obj(), type(what)(kind="update", rows=what.rows, expected=changed)).get_column("__status")) == {"stale"}


def test_rows_outside_the_calendar_are_rejects(crm, database, rows_at_once):
    database.execute("CREATE TABLE t (id int PRIMARY KEY, day date, at timestamptz, amount numeric, grid text[])")
    database.execute(
        "INSERT INTO t VALUES (1, 'infinity', now(), 1, NULL), (2, NULL, '-infinity', 1, NULL), (3, '0044-03-15 BC', NULL, 1, NULL),"
        " (4, NULL, NULL, 'NaN', NULL), (5, NULL, NULL, NULL, '{{a,b},{c,d}}'), (6, '2026-01-01', now(), 1.5, '{a}'),"
        " (7, '10000-01-01', NULL, 1, '{}')"
    )
    columns = ["day", "at", "amount", "grid"]
    for how in ({}, {"keys": list("1234567")}):
        assert set(rows(crm, obj(), columns, **how)) == {"6"}
        found = {reject.key: reject.column for reject in rejects(crm, obj(), columns, **how)}
        assert found == {"1": "day", "2": "at", "3": "day", "4": "amount", "5": "grid", "7": "day"}
    assert len(rows(crm, obj(), [])) == 7
    assert statuses(
        crm, obj(), batch("update", ["2"], {"at": pl.Series([None], dtype=pl.Datetime("us", "UTC"))}, expected={"at": [None]})
    ) == ["stale"]


def test_a_read_is_one_snapshot_and_blocks_nobody(crm, database):
    database.execute("CREATE TABLE t (id int PRIMARY KEY, n int)")
    database.execute("INSERT INTO t SELECT i, 0 FROM generate_series(1, 5000) i")
    reading = crm.read(obj(), ["n"], page_rows=1000)
    first = next(reading)
    database.execute("SET lock_timeout = '30s'; UPDATE t SET n = 1")
    assert {value for page in [first, *reading] for value in page.rows.get_column("n")} == {0}
    half = crm.read(obj(), ["n"], page_rows=1000)
    next(half)
    half.close()
    deadline = time.monotonic() + 60
    while database.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'trueup' AND state <> 'idle'").fetchone() != (
        0,
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    database.execute("TRUNCATE t")


def test_a_table_locked_for_long_is_a_retry(crm, database, rows_at_once):
    database.execute("CREATE TABLE t (id int PRIMARY KEY, n int)")
    crm.describe(obj())
    with database.transaction():
        database.execute("LOCK TABLE t")
        with pytest.raises(SystemUnreachableError, match="lock timeout"):
            list(crm.read(obj(), ["n"]))


def test_a_query_cannot_change_anything(crm, database):
    database.execute("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1)")
    database.execute("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'UPDATE t SET n = 2 RETURNING n'")
    query = ObjectSpec(name=None, sql="SELECT id, f() AS n FROM t", key=("id",))
    for keys in (None, ["1"]):
        with pytest.raises((ObjectUnreadableError, WriteRefusedError)):
            list(crm.read(query, ["n"], keys=keys))
    with pytest.raises((ObjectUnreadableError, ObjectMissingError)):
        crm.describe(ObjectSpec(name=None, sql="DELETE FROM t RETURNING id", key=("id",)))
    assert database.execute("SELECT n FROM t").fetchall() == [(1,)]


def test_queries_and_views_are_read(crm, database):
    database.execute("CREATE TABLE t (id int PRIMARY KEY, name text, at int); INSERT INTO t VALUES (1, 'a', 5), (2, 'b', 6)")
    database.execute("CREATE VIEW v AS SELECT id, name, at FROM t; CREATE MATERIALIZED VIEW m AS SELECT * FROM t")
    query = ObjectSpec(name=None, sql="SELECT id, name || '%' AS name, at FROM t; ", key=("id",), modified="at")
    assert rows(crm, query, ["name"]) == {"1": ("a%",), "2": ("b%",)}
    for other in (query, obj("v", modified="at"), obj("m", modified="at")):
        assert set(rows(crm, other, [], since="6")) == {"2"}
        assert set(rows(crm, other, [], keys=["1", "x"])) == {"1"}
    done = outcomes(crm, obj("v"), batch("update", ["1", "3"], {"name": ["A", "C"]}, expected={"name": ["a", "c"]}, returning=["name"]))
    assert [(row["__status"], row["name"]) for row in done] == [("done", "A"), ("gone", None)]


# ---------------------------------------------------------------- keys and cursors


@pytest.mark.parametrize(
    ("kind", "stored", "text"),
    [
        ("bigint", 7, "7"),
        ("text", "x|y", "x|y"),
        ("varchar(9)", "", ""),
        ("uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("numeric(9,3)", "1.500", "1.5"),
        ("date", "2026-02-03", "2026-02-03"),
        ("timestamptz", "2026-02-03 04:05:06.7+01", "2026-02-03T03:05:06.7Z"),
        ("boolean", True, "true"),
        ("inet", "10.0.0.1", "10.0.0.1/32"),
    ],
)
def test_keys_of_any_type(crm, database, kind, stored, text, rows_at_once):
    database.execute(f"CREATE TABLE t (id {kind} PRIMARY KEY, n int)")
    database.execute("INSERT INTO t VALUES (%s, 1)", [stored])
    assert rows(crm, obj(), ["n"]) == {text: (1,)}
    assert rows(crm, obj(), ["n"], keys=[text, "abc", "007", "9" * 25, "a\x00b"]) == {text: (1,)}
    assert statuses(crm, obj(), batch("update", [text, "nope"], {"n": [2, 2]}, expected={"n": [1, 1]})) == ["done", "gone"]
    assert statuses(crm, obj(), batch("delete", [text, "nope"], expected={"n": [2, 2]})) == ["done", "gone"]


def test_composite_null_and_doubled_keys(crm, database, rows_at_once):
    database.execute("CREATE TABLE t (a text, b int, n int)")
    database.execute(r"INSERT INTO t VALUES ('x|\', 1, 1), ('y', 2, 2), ('y', 2, 3), (NULL, 4, 4), ('z', 5, 5)")
    loose = obj(key=("a", "b"))
    assert rows(crm, loose, ["n"], page_rows=1) == {"x\\|\\\\|1": (1,), "z|5": (5,)}
    assert sorted(str(reject.key) for reject in rejects(crm, loose, ["n"])) == ["None", "y|2", "y|2"]
    assert rows(crm, loose, ["n"], keys=["y|2", "z|5", "z", "z|x"]) == {"z|5": (5,)}
    assert statuses(crm, loose, batch("update", ["y|2", "z|5"], {"n": [9, 9]})) == ["rejected", "done"]
    assert statuses(crm, loose, batch("delete", ["y|2"])) == ["rejected"]


def test_cursors_keep_microseconds_and_resume_inclusively(crm, database, rows_at_once):
    database.execute("CREATE TABLE t (id int PRIMARY KEY, at timestamptz)")
    moments = ["2026-01-01 10:00:00.123456+00", "2026-01-01 10:00:00.123457+00", "2026-01-01 10:00:00.123456+00", None]
    for number, moment in enumerate(moments):
        database.execute("INSERT INTO t VALUES (%s, %s)", [number, moment])
    dated = obj(modified="at")
    assert pages(crm, dated, [])[-1].cursor == "2026-01-01T10:00:00.123457Z"
    listed = pages(crm, dated, [], since="2026-01-01T10:00:00.123456Z", page_rows=1)
    assert [(page.rows.item(0, 0), (page.cursor or "")[-4:]) for page in listed] == [("0", "456Z"), ("2", "456Z"), ("1", "457Z")]
    assert set(rows(crm, dated, [], since="2026-01-01T11:00:00.123457+01:00")) == {"1"}
    with pytest.raises(ObjectMissingError, match="does not fit"):
        list(crm.read(dated, [], since="77"))


# ---------------------------------------------------------------- writing


@pytest.mark.parametrize("count", [1, 14, 2800])
@pytest.mark.parametrize("trigger", [False, True])
def test_created_rows_get_their_keys_and_are_told_as_stored(crm, database, count, trigger):
    database.execute("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name varchar(20), price numeric(9,2), tags text[])")
    if trigger:
        database.execute("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.name := upper(NEW.name); RETURN NEW; END'")
        database.execute("CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()")
    names = [AWKWARD[number % len(AWKWARD)] for number in range(count)]
    prices = ["1.5" if number % 2 else "1.005" for number in range(count)] if trigger else ["1.5"] * count
    tags = pl.Series([[name, "b"] for name in names], dtype=pl.List(pl.String()))
    what = batch("create", [None] * count, {"name": names, "price": prices, "tags": tags}, returning=["name", "price", "tags"])
    found = outcomes(crm, obj(), what)
    stored = {str(row[0]): row[1:] for row in database.execute("SELECT id, name, price::text, tags FROM t")}
    assert len(stored) == count
    for row, name in zip(found, names, strict=True):
        assert stored[row["__key"]] == (row["name"], row["price"], row["tags"])
        assert row["name"] == (name.upper() if trigger else name)


def test_stored_rows_know_of_after_triggers_and_defaults(crm, database):
    database.execute("CREATE TABLE t (id serial PRIMARY KEY, n int, at timestamptz DEFAULT now())")
    database.execute(
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE t SET n = 100 WHERE id = NEW.id; RETURN NULL; END'"
    )
    database.execute("CREATE TRIGGER g AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()")
    row = outcomes(crm, obj(), batch("create", [None], {"n": [1]}, returning=["n", "at"]))[0]
    assert (row["n"], row["at"] is None) == (100, False)


def test_bad_rows_are_rejected_in_the_servers_words_and_the_others_done(crm, database):
    database.execute(
        "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE t (id serial PRIMARY KEY, email varchar(8) UNIQUE, n int NOT NULL"
        " CHECK (n < 100), p int REFERENCES p DEFERRABLE INITIALLY DEFERRED)"
    )
    database.execute(
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.email = ''bad'' THEN"
        " RAISE ''we do not serve %'', NEW.email; END IF; RETURN NEW; END'"
    )
    for with_trigger in (False, True):
        if with_trigger:
            database.execute("TRUNCATE t; CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()")
        emails = [f"e{number}" for number in range(300)]
        numbers: list[int | None] = [1] * 300
        parents: list[int | None] = [None] * 300
        emails[47], numbers[100], numbers[150], emails[200], parents[250] = "e46", None, 100, "far too long", 5
        emails[270] = "bad" if with_trigger else "good"
        found = outcomes(crm, obj(), batch("create", [None] * 300, {"email": emails, "n": numbers, "p": parents}))
        refused = {row["__op"]: (row["__reason"], row["__field"]) for row in found if row["__status"] == "rejected"}
        assert {op: column for op, (_, column) in refused.items()} == {48: "email", 101: "n", 151: "n", 201: "email", 251: "p"} | (
            {271: None} if with_trigger else {}
        )
        assert 'violates unique constraint "t_email_key": Key (email)=(e46) already exists.' in refused[48][0]
        assert "too long for type character varying(8)" in refused[201][0]
        assert not with_trigger or refused[271][0] == "we do not serve bad"
        assert {row["__status"] for row in found if row["__op"] not in refused} == {"done"}
        assert database.execute("SELECT count(*) FROM t").fetchone() == (300 - len(refused),)
    taken = outcomes(crm, obj(), batch("create", ["1"], {"n": [1]})) + outcomes(crm, obj(), batch("create", ["1"], {"n": [1]}))
    assert {row["__status"] for row in taken[1:]} == {"rejected"}


def test_large_updates_and_deletes_go_through_with_their_precondition(crm, database):
    database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, a text, n int); INSERT INTO t SELECT i, 'x' || i, i FROM generate_series(1, 6000) i"
    )
    database.execute("UPDATE t SET a = NULL WHERE id % 2 = 0; UPDATE t SET a = 'changed' WHERE id = 77; DELETE FROM t WHERE id = 99")
    keys = [str(number) for number in range(1, 6001)]
    old = [None if number % 2 == 0 else f"x{number}" for number in range(1, 6001)]
    found = statuses(crm, obj(), batch("update", keys, {"a": [f"é\t{key}" for key in keys]}, expected={"a": old}, returning=["a", "n"]))
    assert {number + 1: status for number, status in enumerate(found) if status != "done"} == {77: "stale", 99: "gone"}
    assert database.execute("SELECT a, n FROM t WHERE id = 6000").fetchone() == ("é\t6000", 6000)
    found = statuses(crm, obj(), batch("delete", keys, expected={"a": [f"é\t{key}" for key in keys], "n": list(range(1, 6001))}))
    assert {number + 1: status for number, status in enumerate(found) if status != "done"} == {77: "stale", 99: "gone"}
    assert database.execute("SELECT id FROM t").fetchall() == [(77,)]


def test_text_is_compared_to_the_byte_whatever_the_collation(crm, database):
    database.execute("CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    database.execute("CREATE TABLE t (id text COLLATE loose PRIMARY KEY, a text COLLATE loose); INSERT INTO t VALUES ('Key', 'Ada')")
    assert rows(crm, obj(), ["a"], keys=["key"]) == {}
    found = statuses(crm, obj(), batch("update", ["key", "Key", "Key"], {"a": ["1", "2", "3"]}, expected={"a": ["Ada", "ADA", "Ada"]}))
    assert found == ["gone", "stale", "done"]


def test_locks_and_deadlocks_end_as_retry(crm, database):
    database.execute("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0), (2, 0)")
    with database.transaction():
        database.execute("UPDATE t SET n = 1 WHERE id = 1")
        outcome = outcomes(crm, obj(), batch("update", ["1", "2"], {"n": [5, 5]}))
        assert [row["__status"] for row in outcome] == ["retry", "retry"]
        assert "lock timeout" in outcome[0]["__reason"]
    assert statuses(crm, obj(), batch("update", ["1", "2"], {"n": [5, 5]}, expected={"n": [1, 0]})) == ["done", "done"]


def test_a_row_changed_while_we_wait_for_its_lock_is_stale(crm, database, postgres_url):
    database.execute("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0)")
    patient = PostgresConnector.open("crm", {"url": postgres_url, "lock_timeout_s": 60})
    found: list[str] = []
    with database.transaction():
        database.execute("UPDATE t SET n = 1 WHERE id = 1")
        thread = threading.Thread(
            target=lambda: found.extend(statuses(patient, obj(), batch("update", ["1"], {"n": [5]}, expected={"n": [0]})))
        )
        thread.start()
        deadline = time.monotonic() + 60
        while not database.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone():
            assert time.monotonic() < deadline
            time.sleep(0.02)
    thread.join()
    patient.close()
    assert found == ["stale"]
    assert database.execute("SELECT n FROM t").fetchone() == (1,)


def test_a_read_only_server_refuses_the_whole_write(database, postgres_url):
    database.execute("CREATE TABLE t (id int PRIMARY KEY, n int)")
    only_reads = psycopg.conninfo.make_conninfo(postgres_url, options="-c default_transaction_read_only=on")
    connector = PostgresConnector.open("crm", {"url": only_reads})
    with pytest.raises(WriteRefusedError, match="may only read"):
        connector.write(obj(), batch("create", ["1"], {"n": [1]}))
    connector.close()


def test_an_identity_column_without_right_to_its_sequence(database, postgres_url):
    database.execute("CREATE TABLE t (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, n int); DROP ROLE IF EXISTS clerk")
    database.execute("CREATE ROLE clerk LOGIN PASSWORD 'x'; GRANT SELECT, INSERT ON t TO clerk")
    clerk = PostgresConnector.open("crm", {"url": psycopg.conninfo.make_conninfo(postgres_url, user="clerk", password="x")})
    found = outcomes(clerk, obj(), batch("create", [None] * 3, {"n": [1, 2, 3]}, returning=["n"]))
    assert {row["__key"]: row["n"] for row in found} == {str(key): n for key, n in database.execute("SELECT id, n FROM t")}
    clerk.close()
    database.execute("DROP OWNED BY clerk; DROP ROLE clerk")


def test_tables_are_made_only_where_allowed(crm, database):
    columns = {"name": "text", "price": "decimal", "tags": "list", "at": "datetime"}
    crm.prepare(obj(), columns)
    assert crm.discover() == []
    made = obj(create=True)
    crm.prepare(made, columns)
    crm.prepare(made, columns)
    exact = "123456789012345678901234567890.5"
    found = outcomes(crm, made, batch("create", [None, None], {"name": ["007", ""], "price": [exact, None]}, returning=["price", "name"]))
    assert [(row["__key"], row["price"], row["name"]) for row in found] == [("1", exact, "007"), ("2", None, "")]


def test_find_is_null_safe_and_exact(crm, database):
    database.execute("CREATE TABLE t (id int PRIMARY KEY, email text, price numeric(9,2), n int)")
    database.execute("INSERT INTO t VALUES (1, 'a@x', 1.5, NULL), (2, 'A@X', 1.5, NULL), (3, NULL, 2, 7), (4, '', NULL, 7)")
    wanted = pl.DataFrame({"email": ["a@x", None, ""], "n": [None, 7, 7]}, schema={"email": pl.String, "n": pl.Int64})
    assert crm.find(obj(), ["price"], wanted).sort("__key").rows() == [("1", "1.50"), ("3", "2.00"), ("4", None)]
    assert crm.find(obj(), [], pl.DataFrame({"price": ["1.5"]})).get_column("__key").sort().to_list() == ["1", "2"]
