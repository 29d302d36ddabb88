"""MySQL's and MariaDB's own ways, on a real MariaDB: types, collations, constraints, locks, refusals, broken connections."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import urlsplit

import polars as pl
import pymysql
import pytest

from tests.servers import MariadbServer, mariadb_client
from tests.system.connectors.sql_tools import batch, rejects, rows
from trueup.connectors.mysql import MysqlConnector
from trueup.connectors.mysql_session import Session
from trueup.errors import AccessRefusedError, ObjectMissingError, SystemUnreachableError, UsageError, WriteRefusedError
from trueup.model import ObjectSpec


def driver(url: str) -> pymysql.Connection[Any]:
    """The database as another program sees it, which lets pass what a strict one refuses."""
    return mariadb_client(url, init_command="SET time_zone = '+00:00', sql_mode = ''")


@pytest.fixture
def shop(mariadb_url: str) -> Iterator[MysqlConnector]:
    connector = MysqlConnector.open("shop", {"url": mariadb_url})
    yield connector
    connector.close()


@pytest.fixture
def run(mariadb_url: str) -> Iterator[Any]:
    with driver(mariadb_url) as connection:

        def execute(sql: str) -> Any:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall()

        yield execute


def table(name: str = "item", *key: str, **facts: Any) -> ObjectSpec:
    return ObjectSpec(name=name, key=key or ("id",), **facts)


def statuses(outcomes: pl.DataFrame) -> list[str]:
    return outcomes.sort("__op")["__status"].to_list()


def test_every_type_is_read_exactly_and_written_back_as_expected(shop, run):
    run(
        "CREATE TABLE item (id int PRIMARY KEY, yes tinyint(1), small tinyint, big bigint unsigned, price decimal(20,4), single float,"
        " twice double, day date, at datetime(3), stamp timestamp(6) NULL, clock time(2), doc json, kind enum('a','B'), marks set('x','y'),"
        " one bit(1), many bit(12), raw varbinary(20), code char(5), words text CHARACTER SET latin1, u uuid, y year)"
    )
    run(
        "INSERT INTO item VALUES (1, 1, -5, 18446744073709551615, 1.10, 1.1, 0.1, '2026-02-28', '2026-11-20 02:00:00.123',"
        " '2026-03-29 01:30:00.5', '-01:02:03.5', '{\"a\": 1.10}', 'B', 'x,y', b'1', b'101', X'00ff', 'ab ', 'caf\u00e9',"
        " '123E4567-e89b-12d3-a456-426655440000', 2026), (2, 0" + ", NULL" * 19 + ")"
    )
    info = shop.describe(table())
    found = rows(shop, table(), list(info.columns))
    assert dict(zip(info.columns, found["1"], strict=True)) == {
        "id": 1,
        "yes": True,
        "small": -5,
        "big": "18446744073709551615",
        "price": "1.1000",
        "single": 1.1,
        "twice": 0.1,
        "day": date(2026, 2, 28),
        "at": datetime(2026, 11, 20, 2, 0, 0, 123000),  # noqa: DTZ001 - DATETIME is a wall clock
        "stamp": datetime(2026, 3, 29, 1, 30, 0, 500000, tzinfo=UTC),
        "clock": "-01:02:03.50",
        "doc": '{"a": 1.10}',
        "kind": "B",
        "marks": "x,y",
        "one": True,
        "many": 5,
        "raw": "00ff",
        "code": "ab",
        "words": "café",
        "u": "123e4567-e89b-12d3-a456-426655440000",
        "y": 2026,
    }
    assert found["2"] == (2, False, *(None,) * 19)
    assert {name: column.type for name, column in info.columns.items() if column.type not in {"text", "integer"}} == {
        "yes": "boolean",
        "big": "decimal",
        "price": "decimal",
        "single": "float",
        "twice": "float",
        "day": "date",
        "at": "timestamp",
        "stamp": "datetime",
        "clock": "time",
        "doc": "json",
        "one": "boolean",
        "raw": "binary",
    }
    page = next(iter(shop.read(table(), list(info.columns)))).rows
    names = [name for name in info.columns if name != "id"]
    for name in names:
        values = {name: page[name]}
        outcomes = shop.write(table(), batch("update", ["1", "2"], values, expected=values, returning=[name]))
        assert statuses(outcomes) == ["done", "done"], name
        assert outcomes.sort("__op")[name].to_list() == page[name].to_list()
    swapped = {name: page[name].reverse() for name in names}
    expected = {name: page[name] for name in names}
    outcomes = shop.write(table(), batch("update", ["1", "2"], swapped, expected=expected, returning=names))
    assert statuses(outcomes) == ["done", "done"]
    assert [tuple(row) for row in outcomes.sort("__op").select(names).rows()] == page.select(names).reverse().rows()


@pytest.mark.parametrize(("before", "now"), [("anna", "ANNA"), ("anna", "anna "), ("anna", "änna"), ("", " ")])
def test_no_collation_hides_a_change(shop, run, before, now):
    run("CREATE TABLE item (id int PRIMARY KEY, name varchar(20)) COLLATE utf8mb4_general_ci")
    run(f"INSERT INTO item VALUES (1, '{now}')")
    outcomes = shop.write(table(), batch("update", ["1"], {"name": ["ours"]}, expected={"name": [before]}, returning=["name"]))
    assert statuses(outcomes) == ["stale"]
    assert statuses(shop.write(table(), batch("delete", ["1"], expected={"name": [before]}))) == ["stale"]
    assert rows(shop, table(), ["name"]) == {"1": (now,)}


def test_text_keys_are_exact_where_the_collation_is_not(shop, run):
    run("CREATE TABLE item (code varchar(20) PRIMARY KEY, v int) COLLATE utf8mb4_general_ci")
    run("INSERT INTO item VALUES ('Ab', 1)")
    obj = table("item", "code")
    assert rows(shop, obj, ["v"], keys=["ab", "Ab ", "AB"]) == {}
    assert statuses(shop.write(obj, batch("update", ["ab", "Ab"], {"v": [5, 6]}))) == ["gone", "done"]
    taken = shop.write(obj, batch("create", ["AB", "Cd"], {"v": [7, 8]}, returning=["v"]))
    assert statuses(taken) == ["rejected", "done"]
    assert "exists" in taken.sort("__op")["__reason"][0]
    assert taken.sort("__op")["__field"][0] == "code"


def test_zero_dates_reject_their_row_alone(shop, run):
    run("CREATE TABLE item (id int PRIMARY KEY, day date, at datetime, stamp timestamp NULL)")
    run(
        "INSERT INTO item VALUES (1, '0000-00-00', NULL, NULL), (2, '2026-05-00', NULL, NULL), (3, NULL, '0000-00-00 00:00:00', NULL),"
        " (4, NULL, NULL, '0000-00-00 00:00:00'), (5, '2026-05-01', NULL, NULL)"
    )
    assert list(rows(shop, table(), ["day", "at", "stamp"])) == ["5"]
    assert [(item.key, item.column) for item in rejects(shop, table(), ["day", "at", "stamp"])] == [
        ("1", "day"),
        ("2", "day"),
        ("3", "at"),
        ("4", "stamp"),
    ]
    assert statuses(shop.write(table(), batch("update", ["1"], {"day": [date(2026, 1, 1)]}))) == ["done"]


def test_the_servers_own_words_for_what_it_refuses(shop, run):
    run("CREATE TABLE owner (id int PRIMARY KEY)")
    run(
        "CREATE TABLE item (id int AUTO_INCREMENT PRIMARY KEY, email varchar(20) UNIQUE, n tinyint NOT NULL, owner int,"
        " CONSTRAINT positive CHECK (n >= 0), CONSTRAINT owned FOREIGN KEY (owner) REFERENCES owner (id))"
    )
    run("INSERT INTO item (email, n) VALUES ('a', 1)")
    values: dict[str, Any] = {
        "email": ["b", "A", "c" * 21, "d", "e", "f", "g", "h"],
        "n": pl.Series([1, 1, 1, None, 300, -1, 1, 7], dtype=pl.Int64),
        "owner": pl.Series([None, None, None, None, None, None, 9, None], dtype=pl.Int64),
    }
    outcomes = shop.write(table(), batch("create", [None] * 8, values, returning=["n"])).sort("__op")
    assert statuses(outcomes) == ["done", *["rejected"] * 6, "done"]
    assert outcomes["__field"].to_list() == [None, "email", "email", "n", "n", None, "owner", None]
    reasons = outcomes["__reason"].to_list()
    assert [
        word in reason for word, reason in zip(["exists", "too long", "null", "range", "positive", "foreign"], reasons[1:7], strict=True)
    ]
    assert all(
        word in reason for word, reason in zip(["exists", "too long", "null", "range", "positive", "foreign"], reasons[1:7], strict=True)
    )
    assert sorted(row[0] for row in rows(shop, table(), ["email"]).values()) == ["a", "b", "h"]


@pytest.mark.parametrize("returns_rows", [True, False])
def test_numbers_given_by_the_server_belong_to_their_rows(shop, run, monkeypatch, returns_rows):
    monkeypatch.setattr(Session, "returns_rows", property(lambda _: returns_rows))
    run("CREATE TABLE item (id int AUTO_INCREMENT PRIMARY KEY, name varchar(20) NOT NULL, at timestamp DEFAULT '2026-01-01 00:00:00')")
    names = [f"n{number}" for number in range(40)]
    outcomes = shop.write(table(), batch("create", [None] * 40, {"name": names}, returning=["name", "at"]))
    assert set(outcomes["__status"]) == {"done"}
    assert outcomes["at"].to_list() == [datetime(2026, 1, 1, tzinfo=UTC)] * 40
    stored = rows(shop, table(), ["name"])
    assert {key: (name,) for key, name in outcomes.select("__key", "name").rows()} == stored
    assert outcomes.sort("__op")["name"].to_list() == names


@pytest.mark.parametrize("returns_rows", [True, False])
def test_keys_that_are_given_composite_or_trimmed(shop, run, monkeypatch, returns_rows):
    monkeypatch.setattr(Session, "returns_rows", property(lambda _: returns_rows))
    run("CREATE TABLE `Order` (`Select` char(5), `from where` int, `group` text, PRIMARY KEY (`Select`, `from where`))")
    obj = table("Order", "Select", "from where")
    outcomes = shop.write(obj, batch("create", ["a|1", "b\\||2", "c |3"], {"group": ["x", "y%s", "z"]}, returning=["group"]))
    assert statuses(outcomes) == ["done"] * 3
    assert outcomes.sort("__op")["__key"].to_list() == ["a|1", "b\\||2", "c|3"]
    moved = shop.write(obj, batch("update", ["a|1"], {"from where": [5]}, expected={"from where": [1]}, returning=["group"]))
    assert moved.select("__status", "__key", "group").rows() == [("done", "a|5", "x")]
    assert rows(shop, obj, ["group"]) == {"a|5": ("x",), "b\\||2": ("y%s",), "c|3": ("z",)}
    found = shop.find(obj, ["Select"], pl.DataFrame({"group": ["y%s"]}))
    assert found.rows() == [("b\\||2", "b|")]


def test_views_queries_and_other_databases(shop, run, mariadb_url):
    run("CREATE TABLE item (id int PRIMARY KEY, n int, name varchar(10))")
    run("INSERT INTO item VALUES (1, 10, 'a'), (2, 20, 'b'), (3, 20, 'c')")
    run("CREATE VIEW some AS SELECT id, name FROM item WHERE n = 20")
    run("CREATE VIEW total AS SELECT n, count(*) AS c FROM item GROUP BY n")
    assert statuses(shop.write(table("some"), batch("update", ["2", "1"], {"name": ["B", "A"]}, expected={"name": ["b", "a"]}))) == [
        "done",
        "gone",
    ]
    assert rows(shop, table("total", "n"), ["c"]) == {"10": (1,), "20": (2,)}
    with pytest.raises(WriteRefusedError, match="takes no writes"):
        shop.write(table("total", "n"), batch("update", ["10"], {"c": [5]}))
    query = ObjectSpec(name=None, key=("n",), sql="SELECT n, max(name) AS top, 1.50 AS d FROM item GROUP BY n;")
    assert rows(shop, query, ["top", "d"]) == {"10": ("a", "1.50"), "20": ("c", "1.50")}
    doubled = ObjectSpec(name=None, key=("n",), sql="SELECT n FROM item")
    assert {item.key for item in rejects(shop, doubled, [])} == {"20"}
    database = urlsplit(mariadb_url).path.lstrip("/")
    elsewhere = MysqlConnector.open("shop", {"url": mariadb_url.removesuffix(database) + "information_schema"})
    assert rows(elsewhere, table(f"{database}.item"), ["name"])["3"] == ("c",)
    elsewhere.close()


def test_a_key_that_the_table_does_not_keep_unique_is_never_written(shop, run):
    run("CREATE TABLE item (id int, v varchar(5))")
    run("INSERT INTO item VALUES (1, 'a'), (1, 'b'), (2, 'c'), (NULL, 'd')")
    assert rows(shop, table(), ["v"]) == {"2": ("c",)}
    for kind in ("update", "delete"):
        values = {"v": ["x"]} if kind == "update" else None
        assert statuses(shop.write(table(), batch(kind, ["1"], values, expected={"v": ["a"]}))) == ["rejected"]
        assert statuses(shop.write(table(), batch(kind, ["1"], values))) == ["rejected"]
    assert run("SELECT id, v FROM item ORDER BY v") == ((1, "a"), (1, "b"), (2, "c"), (None, "d"))


def test_triggers_show_in_the_stored_row(shop, run):
    run("CREATE TABLE item (id int AUTO_INCREMENT PRIMARY KEY, v varchar(9), n int)")
    run("CREATE TRIGGER b BEFORE INSERT ON item FOR EACH ROW SET NEW.v = UPPER(NEW.v), NEW.n = 5")
    run("CREATE TRIGGER c BEFORE UPDATE ON item FOR EACH ROW SET NEW.n = NEW.n + 1")
    made = shop.write(table(), batch("create", [None, None], {"v": ["a", "b"]}, returning=["v", "n"]))
    assert made.sort("__op").select("__key", "v", "n").rows() == [("1", "A", 5), ("2", "B", 5)]
    changed = shop.write(table(), batch("update", ["1"], {"v": ["x"]}, expected={"v": ["A"]}, returning=["v", "n"]))
    assert changed.select("v", "n").rows() == [("x", 6)]


def test_a_locked_row_is_tried_again_and_then_told(shop, run, mariadb_url, monkeypatch):
    run("CREATE TABLE item (id int PRIMARY KEY, v int)")
    run("INSERT INTO item VALUES (1, 1), (2, 2)")
    patient = MysqlConnector.open("shop", {"url": mariadb_url, "lock_timeout_s": 1})
    with driver(mariadb_url) as other, other.cursor() as cursor:
        cursor.execute("START TRANSACTION")
        cursor.execute("SELECT * FROM item WHERE id = 1 FOR UPDATE")
        with monkeypatch.context() as waiting:
            waiting.setattr(time, "sleep", lambda _wait_s: other.commit())  # before it is tried again
            assert statuses(patient.write(table(), batch("update", ["1"], {"v": [5]}, expected={"v": [1]}))) == ["done"]
        cursor.execute("START TRANSACTION")
        cursor.execute("SELECT * FROM item WHERE id = 1 FOR UPDATE")
        outcomes = patient.write(table(), batch("update", ["1"], {"v": [6]}))
        assert statuses(outcomes) == ["retry"]
        assert outcomes["__retry_s"].item() > 0
        assert statuses(patient.write(table(), batch("update", ["2"], {"v": [6]}))) == ["done"]
        other.rollback()
    patient.close()


def test_a_read_is_one_snapshot_and_may_be_left_half_way(shop, run):
    run("CREATE TABLE item (id int PRIMARY KEY, v varchar(200))")
    run("INSERT INTO item SELECT seq, repeat('x', 200) FROM seq_1_to_20000")
    pages = shop.read(table(), ["v"], page_rows=1000)
    first = next(pages)
    run("UPDATE item SET v = 'changed'")
    run("DELETE FROM item WHERE id > 10000")
    rest = list(pages)
    assert first.rows.height + sum(page.rows.height for page in rest) == 20_000
    assert {value for page in rest for value in page.rows["v"].unique()} == {"x" * 200}
    half = shop.read(table(), ["v"], page_rows=100)
    next(half)
    half.close()
    assert len(rows(shop, table(), ["v"])) == 10_000


def test_cursors_are_inclusive(shop, run):
    run("CREATE TABLE item (id int PRIMARY KEY, at timestamp(6) NULL)")
    run("INSERT INTO item VALUES (1, '2026-01-01'), (2, '2026-01-02 03:04:05.000006'), (3, '2026-01-02 03:04:05.000006'), (4, NULL)")
    obj = table(modified="at")
    cursor = list(shop.read(obj, []))[-1].cursor
    assert cursor == "2026-01-02T03:04:05.000006Z"
    run("INSERT INTO item VALUES (5, '2026-06-01')")
    pages = list(shop.read(obj, [], since=cursor))
    assert [key for page in pages for key in page.rows["__key"]] == ["2", "3", "5"]
    assert pages[-1].cursor == "2026-06-01T00:00:00Z"


def test_large_batches_keep_their_rows_apart(shop, run):
    run("CREATE TABLE item (id int PRIMARY KEY, v varchar(100))")
    keys = [str(number) for number in range(12_000)]
    made = shop.write(table(), batch("create", keys, {"v": [f"é{key}" for key in keys]}, returning=["v"]))
    assert set(made["__status"]) == {"done"}
    assert made["v"].to_list() == [f"é{key}" for key in made["__key"]]
    changed = shop.write(table(), batch("update", keys, {"v": [f"n{key}" for key in keys]}, expected={"v": [f"é{key}" for key in keys]}))
    assert set(changed["__status"]) == {"done"}
    assert rows(shop, table(), ["v"]) == {key: (f"n{key}",) for key in keys}
    assert set(shop.write(table(), batch("delete", keys, expected={"v": [f"n{key}" for key in keys]}))["__status"]) == {"done"}


def test_a_row_beyond_the_servers_packet_harms_only_itself(shop, run):
    run("CREATE TABLE item (id int PRIMARY KEY, v longtext)")
    packet = int(run("SELECT @@max_allowed_packet")[0][0])
    outcomes = shop.write(table(), batch("create", ["1", "2", "3"], {"v": ["a", "x" * (packet + 1), "c"]}))
    assert statuses(outcomes) == ["done", "rejected", "done"]
    assert "max_allowed_packet" in outcomes.sort("__op")["__reason"][1]


def test_a_missing_database_is_told_as_such(mariadb_url: str) -> None:
    with pytest.raises(SystemUnreachableError, match="Unknown database 'nowhere'") as missing:
        MysqlConnector.open("shop", {"url": f"{mariadb_url.rpartition('/')[0]}/nowhere"}).discover()
    assert "does not answer" not in str(missing.value)


def test_wrong_passwords_and_missing_rights_are_told_without_the_password(run, mariadb_url, mariadb_server: MariadbServer):
    parts = urlsplit(mariadb_url)
    wrong = f"mysql://{parts.username}:s3cret-word@{parts.hostname}:{parts.port}{parts.path}"
    with pytest.raises(AccessRefusedError, match="Access denied") as refused:
        MysqlConnector.open("shop", {"url": wrong}).discover()
    assert "s3cret-word" not in str(refused.value)
    run("CREATE TABLE item (id int PRIMARY KEY, v int)")
    run("INSERT INTO item VALUES (1, 1)")
    run("CREATE USER IF NOT EXISTS reader@'%' IDENTIFIED BY 'pw'")
    run("GRANT SELECT ON item TO reader@'%'")
    reader = MysqlConnector.open("shop", {"url": f"mysql://reader:pw@{parts.hostname}:{parts.port}{parts.path}"})
    assert rows(reader, table(), ["v"]) == {"1": (1,)}
    with pytest.raises(AccessRefusedError, match="denied"):
        reader.write(table(), batch("update", ["1"], {"v": [2]}))
    reader.close()
    run("DROP USER reader@'%'")


def test_a_server_that_goes_away_is_told_and_found_again(spare_mariadb: MariadbServer):
    with spare_mariadb.database() as url:
        with driver(url) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE item (id int PRIMARY KEY, v int)")
            cursor.execute("INSERT INTO item SELECT seq, seq FROM seq_1_to_1000")
        shop = MysqlConnector.open("shop", {"url": url})
        assert len(rows(shop, table(), ["v"])) == 1000
        spare_mariadb.kill()
        with pytest.raises(SystemUnreachableError, match="does not answer"):
            rows(shop, table(), ["v"])
        with pytest.raises(SystemUnreachableError, match="does not answer"):
            shop.write(table(), batch("update", ["1"], {"v": [2]}))
        spare_mariadb.start()
        assert statuses(shop.write(table(), batch("update", ["1"], {"v": [2]}, expected={"v": [1]}))) == ["done"]
        shop.close()


def test_names_that_are_not_there(shop, run):
    run("CREATE TABLE item (id int PRIMARY KEY)")
    with pytest.raises(ObjectMissingError, match=r"no table or view 'itme'.*there are item"):
        shop.describe(table("itme"))
    with pytest.raises(ObjectMissingError, match="no column 'number'"):
        shop.describe(table("item", "number"))
    assert [info.name for info in shop.discover()] == ["item"]


@pytest.mark.parametrize("url", ["postgresql://a@b/c", "mysql://", "mysql://a@b:x/c", "mysql://a:s3cret@b/c?colour=red"])
def test_urls_that_cannot_be_used(url):
    with pytest.raises(UsageError) as refused:
        MysqlConnector.open("shop", {"url": url})
    assert "s3cret" not in str(refused.value)


def test_a_table_is_made_where_the_mapping_allows_it(shop, run):
    obj = table("made", create=True)
    columns = {"name": "text", "price": "decimal", "at": "datetime", "ok": "boolean", "tags": "list"}
    shop.prepare(replace(obj, create=False), columns)
    assert run("SHOW TABLES") == ()
    shop.prepare(obj, columns)
    shop.prepare(obj, columns)
    made = shop.write(obj, batch("create", [None], {"name": ["Zoë 😀"], "price": ["1.5"], "ok": [True]}, returning=["name", "price", "ok"]))
    assert made.select("__key", "name", "price", "ok").rows() == [("1", "Zoë 😀", "1.500000000000", True)]
    keyed = ObjectSpec(name="keyed", key=("code",), create=True, assign="field:code")
    shop.prepare(keyed, {"code": "text", "v": "integer"})
    assert statuses(shop.write(keyed, batch("create", ["A", "a"], {"v": [1, 2]}))) == ["done", "done"]
