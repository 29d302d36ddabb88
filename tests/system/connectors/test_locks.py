"""Locks on real servers: whoever changes what is changed elsewhere is refused and told where, and nothing of ours is."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pymysql
import pytest

from tests.system.connectors.sql_tools import batch, outcomes, rows, statuses
from trueup.connectors.locking import LockPlan
from trueup.connectors.mysql import MysqlConnector
from trueup.connectors.postgres import PostgresConnector
from trueup.connectors.sqlite import SqliteConnector
from trueup.errors import AccessRefusedError, ObjectMissingError, WriteRefusedError
from trueup.model import Lock, ObjectSpec

PEOPLE = ObjectSpec(name="people", key=("id",))
COLUMNS = Lock({"name": "hr", "grade": "hr", "extension": "phones"})
WHOLE = Lock({"id": "hr", "name": "hr"}, ("hr",))
REFUSED = (psycopg.Error, pymysql.Error, sqlite3.Error)


@dataclass
class Company:
    """A database with the table `people`; `run` works on it as another application does, in a session of its own."""

    kind: str
    connector: Any
    run: Callable[[str], list[tuple[Any, ...]]]

    def refused(self, statement: str) -> str:
        """What somebody is told who is refused; the rows are as they were."""
        before = self.run("SELECT * FROM people ORDER BY id")
        with pytest.raises(REFUSED) as error:
            self.run(statement)
        assert self.run("SELECT * FROM people ORDER BY id") == before
        return str(error.value)

    def taken(self, statement: str) -> None:
        """It is done."""
        self.run(statement)


TABLE = "CREATE TABLE people (id {key}, name {text}, grade {number}, extension {text}, note {text})"
ROWS = "INSERT INTO people (id, name, grade, extension, note) VALUES (1, 'Ada', 1.50, '101', 'x'), (2, 'Béa', 2, NULL, NULL)"
WORDS = {
    "postgres": {"key": "int PRIMARY KEY", "text": "text", "number": "numeric"},
    "mysql": {"key": "int PRIMARY KEY", "text": "varchar(80)", "number": "decimal(8,2)"},
    "sqlite": {"key": "INTEGER PRIMARY KEY", "text": "TEXT COLLATE NOCASE", "number": "REAL"},
}


@pytest.fixture(params=["postgres", "mysql", "sqlite"])
def company(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Company]:
    kind: str = request.param
    made = _made(kind, request, tmp_path)
    made.run(TABLE.format(**WORDS[kind]))
    made.run(ROWS)
    yield made
    made.connector.close()


def mariadb(url: str) -> Any:
    """A session of another application."""
    parts = urlsplit(url)
    where: Any = {"host": parts.hostname, "port": parts.port, "user": parts.username, "password": parts.password}
    return pymysql.connect(**where, database=parts.path[1:], autocommit=True)


def _made(kind: str, request: pytest.FixtureRequest, folder: Path) -> Company:
    if kind == "sqlite":
        path = folder / "people.db"
        path.touch()

        def run(statement: str) -> list[tuple[Any, ...]]:
            with closing(sqlite3.connect(path)) as connection, connection:
                return connection.execute(statement).fetchall()

        return Company(kind, SqliteConnector.open("phones", {"path": str(path)}), run)
    url = request.getfixturevalue("postgres_url" if kind == "postgres" else "mariadb_url")
    if kind == "postgres":

        def ask(statement: str) -> list[tuple[Any, ...]]:
            with psycopg.connect(url) as connection:
                cursor = connection.execute(statement.encode())
                return cursor.fetchall() if cursor.description else []

        return Company(kind, PostgresConnector.open("phones", {"url": url, "lock_timeout_s": 2}), ask)

    def tell(statement: str) -> list[tuple[Any, ...]]:
        with mariadb(url) as session, session.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    return Company(kind, MysqlConnector.open("phones", {"url": url}), tell)


def test_who_changes_what_is_changed_elsewhere_is_refused_and_told_where(company):
    company.connector.lock(PEOPLE, COLUMNS)
    assert "grade, name are changed in hr, not here" in company.refused("UPDATE people SET name = 'Adda' WHERE id = 1")
    assert "extension is changed in phones, not here" in company.refused("UPDATE people SET extension = '102' WHERE id = 1")
    company.refused("UPDATE people SET extension = '102' WHERE id = 2")  # from nothing to something
    company.refused("UPDATE people SET name = NULL")  # the other way round, and several rows
    company.refused("UPDATE people SET name = 'ADA' WHERE id = 1")  # in form alone, whatever the collation says
    company.refused("UPDATE people SET grade = 3, note = 'y'")


def test_what_is_changed_here_may_be_changed(company):
    company.connector.lock(PEOPLE, COLUMNS)
    company.taken("UPDATE people SET note = 'mine'")
    company.taken("UPDATE people SET name = name, grade = grade, extension = extension, note = 'all columns, as an ORM writes them'")
    company.taken("UPDATE people SET grade = 1.5 WHERE id = 1")
    company.taken("INSERT INTO people (id, name) VALUES (3, 'born here')")
    company.taken("DELETE FROM people WHERE id = 3")
    assert [row[4] for row in company.run("SELECT * FROM people ORDER BY id")] == ["all columns, as an ORM writes them"] * 2


def test_what_trueup_writes_gets_through(company):
    for lock in (COLUMNS, WHOLE):
        company.connector.lock(PEOPLE, lock)
        wrote = batch("update", ["1", "2"], {"name": ["A'da 🙂", "שלום"], "note": ["n", None]}, returning=["name"])
        assert [one["__status"] for one in outcomes(company.connector, PEOPLE, wrote)] == ["done", "done"]
        fresh = batch("create", ["7", "8"], {"name": ["Cy", "Dot"], "extension": ["1", None]}, returning=["name", "extension"])
        assert [one["name"] for one in outcomes(company.connector, PEOPLE, fresh)] == ["Cy", "Dot"]
        assert statuses(company.connector, PEOPLE, batch("delete", ["7", "8"])) == ["done", "done"]
        assert rows(company.connector, PEOPLE, ["name"]) == {"1": ("A'da 🙂",), "2": ("שלום",)}
    company.refused("UPDATE people SET name = 'after us'")


def test_where_every_field_is_changed_elsewhere_rows_are_too(company):
    company.connector.lock(PEOPLE, WHOLE)
    assert "rows are added and removed in hr, not here" in company.refused("INSERT INTO people (id, name) VALUES (3, 'born here')")
    company.refused("DELETE FROM people WHERE id = 1")
    company.refused("DELETE FROM people")
    company.refused("UPDATE people SET id = 9 WHERE id = 1")
    company.taken("UPDATE people SET note = 'mine', extension = '5'")


def test_an_upsert_is_judged_by_what_it_does(company):
    company.connector.lock(PEOPLE, WHOLE)
    upsert = {
        "mysql": "INSERT INTO people (id, name, note) VALUES ({}, 'x', 'n') ON DUPLICATE KEY UPDATE {}",
        "postgres": "INSERT INTO people AS p (id, name, note) VALUES ({}, 'x', 'n') ON CONFLICT (id) DO UPDATE SET {}",
        "sqlite": "INSERT INTO people (id, name, note) VALUES ({}, 'x', 'n') ON CONFLICT (id) DO UPDATE SET {}",
    }[company.kind]
    company.taken(upsert.format(1, "note = 'n'"))
    company.refused(upsert.format(1, "name = 'x'"))
    company.refused(upsert.format(3, "note = 'n'"))


def test_a_lock_that_is_there_or_gone_or_altered_is_told(company):
    connector = company.connector
    assert connector.locked(PEOPLE) is None
    digest = connector.lock(PEOPLE, COLUMNS)
    assert connector.locked(PEOPLE) == digest
    assert connector.lock(PEOPLE, COLUMNS) == digest, "made again it is the same"
    assert connector.lock(PEOPLE, WHOLE) != digest
    company.taken("UPDATE people SET extension = 'open again'")
    names = [statement.split()[-1] for statement in connector.lock_plan(PEOPLE, WHOLE).remove if "TRIGGER" in statement]
    assert names
    company.run(connector.lock_plan(PEOPLE, WHOLE).remove[0].replace("IF EXISTS ", ""))
    assert connector.locked(PEOPLE) not in {None, connector.lock(PEOPLE, WHOLE)}
    assert connector.unlock(PEOPLE) is True
    assert connector.locked(PEOPLE) is None
    assert connector.unlock(PEOPLE) is False
    company.taken("UPDATE people SET name = 'free'")
    company.taken("DELETE FROM people")


def test_what_is_shown_is_what_is_done(company):
    """The statements, carried out by an administrator, are the lock; and what removes it leaves nothing."""
    plan: LockPlan = company.connector.lock_plan(PEOPLE, WHOLE)
    assert company.connector.locked(PEOPLE) is None
    for statement in plan.make:
        company.run(statement)
    by_hand = company.connector.locked(PEOPLE)
    assert by_hand == company.connector.lock(PEOPLE, WHOLE)
    for statement in plan.remove:
        company.run(statement)
    assert company.connector.locked(PEOPLE) is None


def test_names_that_need_quoting(company):
    tick = "`" if company.kind == "mysql" else '"'
    odd, column = "Mit'arbeiter ☺; --", "N'ame של"  # MySQL's names hold no characters beyond the first plane
    company.run(f"CREATE TABLE {tick}{odd}{tick} (id int PRIMARY KEY, {tick}{column}{tick} {WORDS[company.kind]['text']})")
    company.run(f"INSERT INTO {tick}{odd}{tick} VALUES (1, 'Ada')")
    spec = ObjectSpec(name=f"{tick}{odd}{tick}" if company.kind != "mysql" else odd, key=("id",))
    digest = company.connector.lock(spec, Lock({column: "h'r"}))
    assert company.connector.locked(spec) == digest
    assert f"{column} is changed in h'r" in company.refused(f"UPDATE {tick}{odd}{tick} SET {tick}{column}{tick} = 'x'")
    company.connector.unlock(spec)
    company.taken(f"UPDATE {tick}{odd}{tick} SET {tick}{column}{tick} = 'x'")


def test_views_and_missing_columns_are_refused(company):
    company.run("CREATE VIEW seen AS SELECT id, name FROM people")
    with pytest.raises(WriteRefusedError, match="is a view"):
        company.connector.lock_plan(ObjectSpec(name="seen", key=("id",)), Lock({"name": "hr"}))
    with pytest.raises(ObjectMissingError, match="no column 'nmae'"):
        company.connector.lock(PEOPLE, Lock({"nmae": "hr"}))
    assert company.connector.locked(PEOPLE) is None


def test_many_new_rows_are_written_as_fast_as_without(company):
    """A lock changes no row: what is known of the stored rows without it is known with it."""
    before = company.connector._table(PEOPLE, fresh=True)
    company.connector.lock(PEOPLE, WHOLE)
    after = company.connector._table(PEOPLE, fresh=True)
    assert after == before


# ---------------------------------------------------------------- PostgreSQL


@pytest.fixture
def shop(postgres_url: str) -> Iterator[tuple[psycopg.Connection[Any], PostgresConnector]]:
    """A superuser's session, and the connector with the same login."""
    connector = PostgresConnector.open("shop", {"url": postgres_url, "lock_timeout_s": 2})
    with psycopg.connect(postgres_url, autocommit=True) as session:
        yield session, connector
    connector.close()


def test_partitions_are_locked_now_and_later(shop):
    session, connector = shop
    session.execute("CREATE TABLE sale (id int, day date, total numeric, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)")
    session.execute("CREATE TABLE sale_1 PARTITION OF sale FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')")
    session.execute("INSERT INTO sale VALUES (1, '2026-01-05', 10)")
    sale = ObjectSpec(name="sale", key=("id", "day"))
    digest = connector.lock(sale, Lock({"total": "till"}))
    for table in ("sale", "sale_1"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="changed in till"):
            session.execute(f"UPDATE {table} SET total = 11".encode())
    session.execute("CREATE TABLE sale_2 PARTITION OF sale FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')")
    session.execute("INSERT INTO sale_2 VALUES (2, '2026-02-05', 10)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute("UPDATE sale_2 SET total = 11")
    assert connector.locked(sale) == digest, "a new partition is locked by the server itself"
    assert statuses(connector, sale, batch("update", ["1|2026-01-05"], {"total": ["12"]})) == ["done"]
    whole = connector.lock(sale, Lock({"total": "till"}, ("till",)))
    for table in ("sale", "sale_1", "sale_2"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute(f"TRUNCATE {table}".encode())
    session.execute("CREATE TABLE sale_3 PARTITION OF sale FOR VALUES FROM ('2026-03-01') TO ('2026-04-01')")
    assert connector.locked(sale) != whole, "it could be emptied"
    connector.lock(sale, Lock({"total": "till"}, ("till",)))
    session.execute("ALTER TABLE sale_2 DISABLE TRIGGER trueup_lock_rows")
    assert connector.locked(sale) != connector.lock(sale, Lock({"total": "till"}, ("till",)))
    connector.unlock(sale)
    session.execute("TRUNCATE sale_1; TRUNCATE sale")
    assert session.execute("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'trueup%'").fetchone() == (0,)
    assert session.execute("SELECT count(*) FROM pg_proc WHERE proname = 'trueup_lock'").fetchone() == (0,)


def test_tables_that_inherit_are_locked_too(shop):
    session, connector = shop
    session.execute("CREATE TABLE city (id int PRIMARY KEY, name text); CREATE TABLE capital (LIKE city) INHERITS (city)")
    session.execute("INSERT INTO capital VALUES (1, 'Bonn')")
    city = ObjectSpec(name="city", key=("id",))
    connector.lock(city, Lock({"name": "atlas"}))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute("UPDATE capital SET name = 'Berlin'")
    digest = connector.locked(city)
    session.execute("CREATE TABLE village () INHERITS (city)")
    assert connector.locked(city) != digest, "what inherits later is not locked by itself"


def test_neither_owner_nor_superuser_nor_copy_gets_by(shop):
    session, connector = shop
    session.execute("CREATE TABLE item (id int PRIMARY KEY, price money, about json, tags text[])")
    session.execute("""INSERT INTO item VALUES (1, 2, '{"a": 1}', '{x}')""")
    item = ObjectSpec(name="item", key=("id",))
    connector.lock(item, Lock({"price": "shop", "about": "shop", "tags": "shop"}, ("shop",)))
    for statement in ("price = 3", """about = '{"a":1}'""", "tags = '{x,y}'", "about = NULL"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute(f"UPDATE item SET {statement}".encode())
    session.execute("UPDATE item SET price = price, about = about, tags = tags")
    with pytest.raises(psycopg.errors.InsufficientPrivilege), session.cursor().copy("COPY item (id) FROM STDIN") as copy:
        copy.write("2\n")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute("TRUNCATE item")
    assert session.execute("SELECT count(*) FROM item").fetchone() == (1,)


def test_the_word_alone_opens_nothing_to_another_login(shop, postgres_server):
    """Who knows what our transactions say, and has another login, is refused all the same; with our login it is the door for repairs."""
    session, connector = shop
    session.execute("CREATE TABLE person (id int PRIMARY KEY, name text); INSERT INTO person VALUES (1, 'Ada')")
    session.execute("DROP ROLE IF EXISTS clerk")
    session.execute("CREATE ROLE clerk LOGIN PASSWORD 'clerk-secret'")
    session.execute("GRANT SELECT, UPDATE ON person TO clerk")
    person = ObjectSpec(name="person", key=("id",))
    connector.lock(person, Lock({"name": "hr"}))
    database = session.info.dbname
    with psycopg.connect(postgres_server.url(database, user="clerk", password="clerk-secret"), autocommit=True) as clerk:
        clerk.execute("SET trueup.writes = 'on'")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="hr"):
            clerk.execute("UPDATE person SET name = 'x'")
        other = PostgresConnector.open("p", {"url": postgres_server.url(database, user="clerk", password="clerk-secret")})
        with pytest.raises(AccessRefusedError, match="changed in hr"):
            statuses(other, person, batch("update", ["1"], {"name": ["x"]}))
        with pytest.raises(AccessRefusedError, match="cannot be made"):
            other.lock(person, Lock({"name": "crm"}))
        other.close()
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute("UPDATE person SET name = 'x'")
    session.execute("BEGIN; SET LOCAL trueup.writes = 'on'; UPDATE person SET name = 'mended'; COMMIT")
    session.execute("DROP OWNED BY clerk; DROP ROLE clerk")


def test_a_lock_waits_for_nobody_for_long(shop):
    session, connector = shop
    session.execute("CREATE TABLE busy (id int PRIMARY KEY, name text)")
    busy = ObjectSpec(name="busy", key=("id",))
    with psycopg.connect(session.info.dsn, password=session.info.password) as writer:
        writer.execute("INSERT INTO busy VALUES (1, 'x')")
        with suppress(WriteRefusedError), pytest.raises(Exception, match="lock timeout"):
            connector.lock(busy, Lock({"name": "hr"}))
    assert connector.locked(busy) is None
    assert connector.lock(busy, Lock({"name": "hr"}))


# ---------------------------------------------------------------- MySQL


def test_a_table_without_transactions_keeps_nothing_that_is_refused(mariadb_url):
    connector = MysqlConnector.open("phones", {"url": mariadb_url})
    with mariadb(mariadb_url) as session, session.cursor() as cursor:
        cursor.execute("CREATE TABLE old (id int PRIMARY KEY, name varchar(20)) ENGINE=MyISAM")
        cursor.execute("INSERT INTO old VALUES (1, 'Ada')")
        old = ObjectSpec(name="old", key=("id",))
        connector.lock(old, Lock({"id": "hr", "name": "hr"}, ("hr",)))
        for statement in ("UPDATE old SET name = 'x'", "INSERT INTO old VALUES (2, 'y')", "DELETE FROM old"):
            with pytest.raises(pymysql.Error, match="in hr, not here"):
                cursor.execute(statement)
        cursor.execute("SELECT * FROM old")
        assert cursor.fetchall() == ((1, "Ada"),)
        assert statuses(connector, old, batch("update", ["1"], {"name": ["Béa"]})) == ["done"]
    connector.close()


def test_a_long_list_of_columns_fits_into_what_a_server_says(mariadb_url):
    connector = MysqlConnector.open("wide", {"url": mariadb_url})
    names = [f"column_number_{number}" for number in range(40)]
    with connector._session() as session:
        session.run(f"CREATE TABLE wide (id int PRIMARY KEY, {', '.join(f'{name} int' for name in names)})")
        session.run("INSERT INTO wide (id) VALUES (1)")
        connector.lock(ObjectSpec(name="wide", key=("id",)), Lock(dict.fromkeys(names, "hr")))
    parts = urlsplit(mariadb_url)
    other = pymysql.connect(
        host=parts.hostname, port=parts.port or 0, user=parts.username, password=parts.password or "", database=parts.path[1:]
    )
    with other, other.cursor() as cursor, pytest.raises(pymysql.Error, match="column_number_0"):
        cursor.execute("UPDATE wide SET column_number_7 = 1")
    connector.close()


# ---------------------------------------------------------------- SQLite


def test_two_locked_tables_share_one_gate_which_goes_with_the_last(tmp_path):
    path = tmp_path / "two.db"
    with closing(sqlite3.connect(path)) as made, made:
        made.executescript("CREATE TABLE one (id INTEGER PRIMARY KEY, a); CREATE TABLE two (id TEXT PRIMARY KEY, a) WITHOUT ROWID;")
        made.executescript("INSERT INTO one VALUES (1, 1); INSERT INTO two VALUES ('x', 1);")
    connector = SqliteConnector.open("two", {"path": str(path)})
    specs = [ObjectSpec(name=name, key=("id",)) for name in ("one", "two")]
    for spec in specs:
        connector.lock(spec, Lock({"a": "hr"}))
    assert [info.name for info in connector.discover()] == ["one", "two"], "the gate is no table of the company"
    for name in ("one", "two"):
        with closing(sqlite3.connect(path)) as other, pytest.raises(sqlite3.IntegrityError, match="a is changed in hr"):
            other.execute(f"UPDATE {name} SET a = 2")
    connector.unlock(specs[0])
    with closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE one SET a = 2")
        with pytest.raises(sqlite3.IntegrityError):
            other.execute("UPDATE two SET a = '1'")
        other.rollback()
    connector.unlock(specs[1])
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT name FROM sqlite_schema WHERE name LIKE 'trueup%'").fetchall() == []
    connector.close()


def test_a_write_of_ours_that_fails_leaves_the_gate_shut(tmp_path):
    path = tmp_path / "gate.db"
    with closing(sqlite3.connect(path)) as made, made:
        made.executescript("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT CHECK (a <> 'bad')); INSERT INTO t VALUES (1, 'good');")
    connector = SqliteConnector.open("gate", {"path": str(path)})
    spec = ObjectSpec(name="t", key=("id",))
    digest = connector.lock(spec, Lock({"a": "hr"}))
    assert statuses(connector, spec, batch("update", ["1"], {"a": ["bad"]})) == ["rejected"]
    with closing(sqlite3.connect(path)) as other, pytest.raises(sqlite3.IntegrityError):
        other.execute("UPDATE t SET a = 'x'")
    assert connector.locked(spec) == digest
    connector.close()
