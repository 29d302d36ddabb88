"""Watching MariaDB where things go wrong: rights, formats, purged logs, restarts, tables that change their form."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import polars as pl
import pymysql
import pytest

from tests.servers import MariadbServer, mariadb_client
from tests.system.connectors.watch_tools import SOON_S, Opened, keys_read, nothing_told, spec, told, watching
from trueup.connectors import mysql_watch
from trueup.connectors.base import WriteBatch
from trueup.connectors.mysql import MysqlConnector
from trueup.connectors.watching import OwnWrites
from trueup.errors import AccessRefusedError, ObjectUnreadableError, PositionLostError, SystemUnreachableError

PEOPLE = spec("people")
opened = Opened(MysqlConnector, "shop")
closed = opened.closed()


@pytest.fixture
def db(mariadb_url: str) -> Iterator[pymysql.cursors.Cursor]:
    with contextlib.closing(mariadb_client(mariadb_url)) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE people (id int PRIMARY KEY, name text)")
        cursor.execute("INSERT INTO people VALUES (1, 'Ada'), (2, 'Bob')")
        yield cursor


# ---------------------------------------------------------------- keys are those of a reading


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("tinyint(1)", "1"),
        ("smallint", "-7"),
        ("mediumint unsigned", "16000000"),
        ("int", "-2147483648"),
        ("bigint", "-9223372036854775808"),
        ("bigint unsigned", "18446744073709551615"),
        ("char(9)", "'ab'"),
        ("varchar(300)", "'a|b\\\\c é'"),
        ("varchar(20) CHARACTER SET latin1", "'é€'"),
        ("binary(8)", "0x00ff00"),
        ("varbinary(9)", "0x00ff00"),
        ("date", "'2026-02-03'"),
    ],
)
def test_keys_are_told_as_they_are_read(mariadb_url: str, db: pymysql.cursors.Cursor, kind: str, value: str):
    db.execute(f"CREATE TABLE t (k {kind}, n int, PRIMARY KEY (k, n))")
    shop, obj = opened(mariadb_url), spec("t", "k", "n")
    with watching(shop, obj) as watch:
        db.execute(f"INSERT INTO t VALUES ({value}, 1)")
        assert set(told(watch).keys[0] or ()) == keys_read(shop, obj)
        db.execute("DELETE FROM t")
        assert told(watch).keys[0] is not None


@pytest.mark.parametrize(
    ("kind", "value"), [("decimal(9,3)", "1.5"), ("datetime(3)", "now()"), ("uuid", "uuid()"), ("enum('x','y')", "'y'"), ("year", "2026")]
)
def test_a_key_of_a_type_that_is_not_read_here_means_anything(mariadb_url: str, db: pymysql.cursors.Cursor, kind: str, value: str):
    db.execute(f"CREATE TABLE t (k {kind} PRIMARY KEY)")
    with watching(opened(mariadb_url), spec("t", "k")) as watch:
        db.execute(f"INSERT INTO t VALUES ({value})")
        assert told(watch).keys == {0: None}


def test_whatever_stands_in_other_columns_does_no_harm(mariadb_url: str, db: pymysql.cursors.Cursor):
    kinds = (
        "a tinyint, b float, c double, d decimal(30,10), e bit(13), f year, g date, h time(2), i datetime(6), j timestamp(4) NULL,"
        " l enum('x','y'), m set('p','q'), n json, o geometry, p longblob, q varchar(20) CHARACTER SET utf16, r char(255), s inet6, t uuid,"
        " u blob COMPRESSED, v varchar(99) COMPRESSED, w mediumint, x char(200) CHARACTER SET utf8mb4"
    )
    db.execute(f"CREATE TABLE t ({kinds}, k int PRIMARY KEY)")
    values = (
        "1, 1.5, 2.5, -12345678901234567890.0123456789, b'1010101010101', 2026, '2026-01-01', '-12:13:14.15', now(6), now(4), 'y', 'p,q',"
        " '{}', ST_GeomFromText('POINT(1 2)'), repeat('z', 70000), 'é', 'c', '::1', uuid(), repeat('b', 500), repeat('v', 90), -5, 'é'"
    )
    with watching(opened(mariadb_url), spec("t", "k")) as watch:
        db.execute(f"INSERT INTO t VALUES ({values}, 41), ({', '.join(['NULL'] * 23)}, 42)")
        assert set(told(watch).keys[0] or ()) == {"41", "42"}
        db.execute("UPDATE t SET k = 43, p = NULL WHERE k = 41")
        assert set(told(watch).keys[0] or ()) == {"41", "43"}


@pytest.mark.parametrize("image", ["MINIMAL", "NOBLOB"])
def test_a_log_that_leaves_out_columns_still_tells_primary_keys(mariadb_url: str, db: pymysql.cursors.Cursor, image: str):
    db.execute("CREATE TABLE t (id int PRIMARY KEY, code varchar(9), note text, UNIQUE (code))")
    db.execute("INSERT INTO t VALUES (1, 'a', 'x'), (2, 'b', 'x')")
    db.execute(f"SET SESSION binlog_row_image = {image}")
    with watching(opened(mariadb_url), spec("t"), spec("t", "code")) as watch:
        db.execute("UPDATE t SET note = 'y' WHERE id = 1")
        hints = told(watch)
        assert hints.keys[0] == ("1",)
        assert hints.keys[1] in {None, ("a",)}  # this key is not in the log, which means that anything may have changed
        db.execute("UPDATE t SET id = 9 WHERE id = 2")
        assert set(told(watch).keys[0] or ()) == {"2", "9"}


# ---------------------------------------------------------------- what cannot be watched, and what to do


def test_a_user_who_may_not_read_the_log_is_told_the_grant(mariadb_url: str, db: pymysql.cursors.Cursor):
    db.execute("CREATE USER low@'127.0.0.1' IDENTIFIED BY 'pass-word'")
    db.execute("GRANT SELECT ON *.* TO low@'127.0.0.1'")
    url = mariadb_url.replace("trueup:trueup-secret", "low:pass-word")
    try:
        way = opened(url).way([PEOPLE])
        assert way.how == "poll"
        with pytest.raises(AccessRefusedError, match="may not read the binary log") as refused:
            opened(url, watch="binlog").watch([PEOPLE], name="test")
        db.execute(str(refused.value.hint).partition("run ")[2])
        with watching(opened(url), PEOPLE) as watch:
            db.execute("UPDATE people SET name = 'Z' WHERE id = 1")
            assert told(watch).keys == {0: ("1",)}
    finally:
        db.execute("DROP USER low@'127.0.0.1'")


def test_views_and_queries_are_left_out(mariadb_url: str, db: pymysql.cursors.Cursor):
    db.execute("CREATE VIEW seen AS SELECT * FROM people")
    with watching(opened(mariadb_url), spec("seen"), spec("absent"), PEOPLE) as watch:
        assert set(watch.way.unwatched) == {0, 1}
        assert watch.fresh == {2}
        db.execute("UPDATE people SET name = 'Z' WHERE id = 1")
        assert told(watch, 2).keys == {2: ("1",)}


def test_a_log_of_statements_is_refused_and_a_session_that_writes_them_means_anything(spare_mariadb: MariadbServer):
    with spare_mariadb.database() as url, contextlib.closing(mariadb_client(url)) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE people (id int PRIMARY KEY, name text)")
        shop = opened(url)
        with watching(shop, PEOPLE) as watch:
            cursor.execute("SET SESSION binlog_format = STATEMENT")
            cursor.execute("INSERT INTO people VALUES (1, 'x')")
            assert told(watch).keys == {0: None}
            cursor.execute("SET SESSION binlog_format = ROW")
        cursor.execute("SET GLOBAL binlog_format = MIXED")
        assert "binlog_format is MIXED" in shop.way([PEOPLE]).why
        with pytest.raises(ObjectUnreadableError, match="SET GLOBAL binlog_format = ROW"):
            opened(url, watch="binlog").way([PEOPLE])


# ---------------------------------------------------------------- what is lost


def test_a_purged_log_is_lost(spare_mariadb: MariadbServer):
    with spare_mariadb.database() as url, contextlib.closing(mariadb_client(url)) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE people (id int PRIMARY KEY, name text)")
        shop = opened(url)
        with watching(shop, PEOPLE) as watch:
            kept = watch.position
        cursor.execute("FLUSH BINARY LOGS")
        cursor.execute("INSERT INTO people VALUES (1, 'x')")
        with watching(shop, PEOPLE, since=kept) as watch:  # from one file into the next
            hints = told(watch)
            assert hints.keys == {0: ("1",)}
            cursor.execute("FLUSH BINARY LOGS")
            cursor.execute("INSERT INTO people VALUES (2, 'x')")
            assert told(watch).keys == {0: ("2",)}
        with watching(shop, PEOPLE, since=hints.position) as watch:
            assert watch.fresh == frozenset()
            assert told(watch).keys == {0: ("2",)}
        purge_all_but_the_last(cursor)
        with pytest.raises(PositionLostError, match="removed its log"):
            shop.watch([PEOPLE], name="test", since=kept)


def purge_all_but_the_last(cursor: pymysql.cursors.Cursor) -> None:
    """The server keeps a file for as long as it sends it to somebody, and notices only by and by that a reader has gone."""
    until_s = time.monotonic() + SOON_S
    while cursor.execute("SHOW BINARY LOGS") > 1:
        cursor.execute(f"PURGE BINARY LOGS TO '{cursor.fetchall()[-1][0]}'")
        assert time.monotonic() < until_s, "the old logs are still there"
        time.sleep(0.05)


def test_another_history_under_the_same_file_names_is_noticed(spare_mariadb: MariadbServer):
    with spare_mariadb.database() as url, contextlib.closing(mariadb_client(url)) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE people (id int PRIMARY KEY, name text)")
        shop = opened(url)
        with watching(shop, PEOPLE) as watch:
            cursor.execute("INSERT INTO people VALUES (1, 'x')")
            kept = told(watch).position
        cursor.execute("RESET MASTER")
        cursor.execute("SET SESSION gtid_domain_id = 7")
        for number in range(2, 40):
            cursor.execute("INSERT INTO people VALUES (%s, 'y')", (number,))
        with pytest.raises(PositionLostError, match="another one"):
            shop.watch([PEOPLE], name="test", since=kept)


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE people ADD COLUMN first int FIRST",
        "/* by a tool */ alter table `people` MODIFY name text FIRST",
        "CREATE OR REPLACE TABLE people (name text, id int PRIMARY KEY) AS SELECT 'x' AS name, 1 AS id",
    ],
)
def test_a_table_that_was_altered_is_looked_at_anew(mariadb_url: str, db: pymysql.cursors.Cursor, statement: str):
    shop = opened(mariadb_url)
    with watching(shop, PEOPLE) as watch:
        db.execute(statement)
        with pytest.raises(PositionLostError, match="altered"):
            told(watch)
    with watching(shop, PEOPLE) as watch:
        db.execute("UPDATE people SET name = 'Z' WHERE id = 1")
        assert told(watch).keys == {0: ("1",)}
        db.execute("TRUNCATE TABLE people")
        assert told(watch).keys == {0: None}


# ---------------------------------------------------------------- restarts, and when a hint may be followed


def test_a_server_that_crashes_and_comes_back_tells_everything(spare_mariadb: MariadbServer):
    with spare_mariadb.database() as url:
        with contextlib.closing(mariadb_client(url)) as connection:
            cursor = connection.cursor()
            cursor.execute("CREATE TABLE people (id int PRIMARY KEY, name text)")
            shop = opened(url)
            watch = shop.watch([PEOPLE], name="test")
            cursor.execute("INSERT INTO people VALUES (1, 'x')")
            kept = told(watch).position
            spare_mariadb.kill()
            with pytest.raises(SystemUnreachableError):
                told(watch)
            watch.close()
        spare_mariadb.start()
        with contextlib.closing(mariadb_client(url)) as connection:
            connection.cursor().execute("INSERT INTO people VALUES (2, 'y')")
        with watching(opened(url), PEOPLE, since=kept) as watch:
            assert told(watch).keys == {0: ("2",)}


def test_what_a_hint_speaks_of_can_be_read(mariadb_url: str, db: pymysql.cursors.Cursor):
    shop = opened(mariadb_url)
    with watching(shop, PEOPLE) as watch:
        for number in range(200):
            db.execute("UPDATE people SET name = %s WHERE id = 1", (f"n{number}",))
            told(watch)
            (page,) = shop.read(PEOPLE, ["name"], keys=["1"])
            assert page.rows.get_column("name").to_list() == [f"n{number}"]


def test_what_others_write_moves_the_position(mariadb_url: str, db: pymysql.cursors.Cursor, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mysql_watch, "_MOVED_S", 0.2)
    db.execute("CREATE TABLE other (x longtext)")
    with watching(opened(mariadb_url), PEOPLE) as watch:
        db.execute("INSERT INTO other VALUES (repeat('x', 100000))")
        assert (watch.lag().bytes or 0) > 100_000
        until_s = time.monotonic() + SOON_S
        while (watch.lag().bytes or 0) > 100_000:
            assert time.monotonic() < until_s, "the position stays where it was although nothing after it is ours"
            hints = watch.wait(0.3)
            if hints is not None:
                assert hints.keys == {}
                watch.confirm(str(hints.position))
        nothing_told(watch, 0.3)


# ---------------------------------------------------------------- what was written here


def renamed(*keys: str, name: str = "written") -> WriteBatch:
    written = [["name"]] * len(keys)
    rows = pl.DataFrame({"__op": range(len(keys)), "__key": keys, "name": [name] * len(keys), "__write": written})
    return WriteBatch(kind="update", rows=rows.cast({"__op": pl.Int64}), returning=("id", "name"))


def test_own_writes_are_told_to_others_alone(mariadb_url: str, db: pymysql.cursors.Cursor):
    mine, shop, watcher = OwnWrites(), opened(mariadb_url), opened(mariadb_url)
    shop.own_writes, watcher.own_of = mine, {0: mine}
    other = spec("people")
    with watching(watcher, PEOPLE, other) as watch:
        assert mine.heeded
        assert shop.write(PEOPLE, renamed("1", "2"))["__status"].to_list() == ["done", "done"]
        assert told(watch, 1).keys == {1: ("1", "2")}  # who does not write there hears of it
        assert mine.untold(["1", "2"]) == {"1", "2"}
        db.execute("UPDATE people SET name = 'edited' WHERE id = 1")
        assert told(watch).keys == {0: ("1",), 1: ("1",)}
        created = WriteBatch(kind="create", rows=pl.DataFrame({"__op": [0], "__key": ["7"], "name": ["new"]}), returning=("id", "name"))
        assert shop.write(PEOPLE, created)["__key"].to_list() == ["7"]
        assert told(watch, 1).keys == {1: ("7",)}
        assert not mine._keys
    assert not mine.heeded


def test_an_edit_between_own_writes_is_told(mariadb_url: str, db: pymysql.cursors.Cursor, monkeypatch: pytest.MonkeyPatch):
    mine, shop, watcher = OwnWrites(), opened(mariadb_url), opened(mariadb_url)
    shop.own_writes, watcher.own_of = mine, {0: mine}
    with watching(watcher, PEOPLE) as watch:
        shop.write(PEOPLE, renamed("1", "2"))
        db.execute("UPDATE people SET name = 'edited' WHERE id = 1")
        shop.write(PEOPLE, renamed("1", name="again"))
        assert told(watch).keys == {0: ("1",)}
        monkeypatch.setattr(mysql_watch, "_NUMBER_S", 0.0)
        with mine.committing({"2"}):  # somebody whose commit stands still keeps nothing from being told for long
            db.execute("UPDATE people SET name = 'edited' WHERE id = 2")
            assert told(watch).keys == {0: ("2",)}


def test_an_own_write_that_is_not_told_is_known_as_triggers_left_it(mariadb_url: str, db: pymysql.cursors.Cursor):
    db.execute("CREATE TRIGGER louder BEFORE INSERT ON people FOR EACH ROW SET NEW.name = upper(NEW.name)")
    db.execute("CREATE TRIGGER softer BEFORE UPDATE ON people FOR EACH ROW SET NEW.name = lower(NEW.name)")
    mine, shop, watcher = OwnWrites(), opened(mariadb_url), opened(mariadb_url)
    shop.own_writes, watcher.own_of = mine, {0: mine}
    with watching(watcher, PEOPLE, spec("people")) as watch:
        created = WriteBatch(kind="create", rows=pl.DataFrame({"__op": [0], "__key": ["7"], "name": ["New"]}), returning=("id", "name"))
        assert shop.write(PEOPLE, created)["name"].to_list() == ["NEW"]
        assert shop.write(PEOPLE, renamed("1", name="Written"))["name"].to_list() == ["written"]
        assert 0 not in told(watch, 1).keys


def test_what_was_rolled_back_is_not_taken_for_a_write(mariadb_url: str, db: pymysql.cursors.Cursor):
    mine, shop = OwnWrites(), opened(mariadb_url)
    shop.own_writes, mine.heeded = mine, True
    db.execute("ALTER TABLE people ADD CONSTRAINT short CHECK (length(name) < 20)")
    outcomes = shop.write(PEOPLE, renamed("1", name="much longer than it may be"))
    assert outcomes["__status"].to_list() == ["rejected"]
    assert not mine._keys
    assert mine.untold(["1"]) == frozenset()
