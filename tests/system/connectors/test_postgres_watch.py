"""Watching PostgreSQL where things go wrong: rights, slots, restarts, tables that cannot be watched."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import polars as pl
import psycopg
import pytest

from tests.servers import PostgresServer
from tests.system.connectors.watch_tools import Opened, keys_read, nothing_told, spec, told, watching
from trueup.connectors import postgres_logical
from trueup.connectors.base import WriteBatch
from trueup.connectors.postgres import PostgresConnector
from trueup.connectors.watching import OwnWrites, made_name
from trueup.errors import AccessRefusedError, ObjectUnreadableError, PositionLostError, SystemUnreachableError, UsageError

PEOPLE = spec("people")
MADE = made_name("test")
opened = Opened(PostgresConnector, "crm")
closed = opened.closed()


@pytest.fixture
def db(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE people (id int PRIMARY KEY, name text); INSERT INTO people VALUES (1, 'Ada'), (2, 'Bob')")
        yield connection


@pytest.fixture
def crm(postgres_url: str, db: psycopg.Connection[Any]) -> Iterator[PostgresConnector]:
    connector = opened(postgres_url)
    yield connector
    connector.unwatch(name="test")
    connector.close()


def as_user(url: str, user: str) -> str:
    return url.replace("trueup:trueup-secret", f"{user}:pass")


# ---------------------------------------------------------------- keys are those of a reading


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int", "-7"),
        ("numeric(9,3)", "1.500"),
        ("numeric", "0.10"),
        ("float8", "1e20"),
        ("float4", "0.1"),
        ("boolean", "true"),
        ("date", "'2026-02-03'"),
        ("timestamptz", "'2026-02-03 04:05:06.700+02'"),
        ("timestamp", "'2026-02-03 04:05:00'"),
        ("uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'"),
        ("char(6)", "'ab'"),
        ("text", "'a|b\\c'"),
        ("bytea", "'\\x00ff'"),
        ("time", "'04:05:06'"),
    ],
)
@pytest.mark.parametrize("way", ["logical", "notify"])
def test_keys_are_told_as_they_are_read(postgres_url: str, db: psycopg.Connection[Any], kind: str, value: str, way: str):
    db.execute(f"CREATE TABLE t (k {kind}, n int, PRIMARY KEY (k, n))".encode())
    obj = spec("t", "k", "n")
    connector = opened(postgres_url, watch=way)
    with watching(connector, obj) as watch:
        db.execute("SET timezone = 'Asia/Tokyo'; SET datestyle = 'German'; SET extra_float_digits = -5")  # another session's taste
        db.execute(f"INSERT INTO t VALUES ({value}, 1)".encode())
        assert set(told(watch).keys[0] or ()) == keys_read(connector, obj)
    connector.unwatch(name="test")


@pytest.mark.parametrize("way", ["logical", "notify"])
def test_a_key_of_a_type_that_is_read_otherwise_means_anything(postgres_url: str, db: psycopg.Connection[Any], way: str):
    db.execute("CREATE TABLE t (k inet PRIMARY KEY)")
    connector = opened(postgres_url, watch=way)
    with watching(connector, spec("t", "k")) as watch:
        db.execute("INSERT INTO t VALUES ('10.0.0.1')")
        assert told(watch).keys == {0: None}
    connector.unwatch(name="test")


@pytest.mark.parametrize("way", ["logical", "notify"])
def test_truncate_means_anything_and_partitions_are_their_table(postgres_url: str, db: psycopg.Connection[Any], way: str):
    db.execute("CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    db.execute("CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10); CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20)")
    connector = opened(postgres_url, watch=way)
    with watching(connector, spec("t"), PEOPLE) as watch:
        db.execute("INSERT INTO t VALUES (3)")
        assert told(watch).keys == {0: ("3",)}
        db.execute("UPDATE t SET id = 13")
        assert set(told(watch).keys[0] or ()) == {"3", "13"}
        db.execute("TRUNCATE people")
        assert told(watch, 1).keys == {1: None}
    connector.unwatch(name="test")


# ---------------------------------------------------------------- what cannot be watched, and what to do


def test_a_table_without_identity_is_left_out_and_its_application_goes_on(crm: PostgresConnector, db: psycopg.Connection[Any]):
    db.execute("CREATE TABLE bare (id int, name text); INSERT INTO bare VALUES (1, 'x'); CREATE VIEW seen AS SELECT * FROM people")
    db.execute("CREATE UNLOGGED TABLE fast (id int PRIMARY KEY)")
    with watching(crm, spec("bare"), spec("seen"), spec("people", "name"), spec("fast"), PEOPLE) as watch:
        assert watch.fresh == {4}
        assert set(watch.way.unwatched) == {0, 1, 2, 3}
        assert 'add a primary key on ("id")' in watch.way.unwatched[0]
        assert "not a table" in watch.way.unwatched[1]
        assert "does not tell the key name" in watch.way.unwatched[2]
        assert "unlogged" in watch.way.unwatched[3]
        db.execute("UPDATE bare SET name = 'y'; DELETE FROM bare")  # PostgreSQL refuses this for a published table without identity
        db.execute("UPDATE people SET name = 'Z' WHERE id = 1")
        assert told(watch, 4).keys == {4: ("1",)}


def test_a_key_of_another_unique_index_can_be_the_identity(crm: PostgresConnector, db: psycopg.Connection[Any]):
    db.execute("CREATE TABLE t (id int PRIMARY KEY, code text NOT NULL); CREATE UNIQUE INDEX t_code ON t (code)")
    db.execute("ALTER TABLE t REPLICA IDENTITY USING INDEX t_code; INSERT INTO t VALUES (1, 'a')")
    with watching(crm, spec("t", "code")) as watch:
        db.execute("UPDATE t SET code = 'b'")
        assert set(told(watch).keys[0] or ()) == {"a", "b"}
        db.execute("DELETE FROM t")
        assert told(watch).keys == {0: ("b",)}


def test_a_user_who_may_not_replicate_is_told_what_to_do(postgres_url: str, db: psycopg.Connection[Any]):
    db.execute("CREATE ROLE low1 LOGIN PASSWORD 'pass'; GRANT SELECT ON people TO low1")
    try:
        way = opened(as_user(postgres_url, "low1")).way([PEOPLE])
        assert way.how == "poll"
        assert "ALTER ROLE" in way.why
        with pytest.raises(AccessRefusedError, match=r'has no right to replicate .*ALTER ROLE "low1" REPLICATION'):
            opened(as_user(postgres_url, "low1"), watch="logical").watch([PEOPLE], name="test")
        with pytest.raises(UsageError, match="not watched"):
            opened(as_user(postgres_url, "low1")).watch([PEOPLE], name="test")
    finally:
        db.execute("DROP OWNED BY low1; DROP ROLE low1")


def test_a_user_who_does_not_own_the_tables_is_told_the_statement(postgres_url: str, db: psycopg.Connection[Any]):
    db.execute("CREATE ROLE low2 LOGIN REPLICATION PASSWORD 'pass'; GRANT SELECT ON people TO low2")
    low = opened(as_user(postgres_url, "low2"))
    try:
        with pytest.raises(AccessRefusedError) as refused:
            low.watch([PEOPLE], name="test")
        statement = str(refused.value.hint).partition("run: ")[2]
        assert statement.startswith(f'CREATE PUBLICATION "{MADE}" FOR TABLE')
        db.execute(statement.encode())
        with watching(low, PEOPLE) as watch:
            db.execute("UPDATE people SET name = 'Z' WHERE id = 1")
            assert told(watch).keys == {0: ("1",)}
    finally:
        low.close()
        opened(postgres_url).unwatch(name="test")
        db.execute("DROP OWNED BY low2; DROP ROLE low2")


def test_no_free_slot_says_so(postgres_url: str, db: psycopg.Connection[Any]):
    left = db.execute("SELECT current_setting('max_replication_slots')::int - count(*) FROM pg_replication_slots").fetchone()
    assert left is not None
    for number in range(left[0]):
        db.execute("SELECT pg_create_physical_replication_slot(%s)", [f"filler_{number}"])
    try:
        assert "max_replication_slots" in opened(postgres_url).way([PEOPLE]).why
        with pytest.raises(SystemUnreachableError, match=r"no replication slot is free; nobody reads filler_0"):
            opened(postgres_url, watch="logical").watch([PEOPLE], name="test")
    finally:
        db.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE 'filler%%'")


class _Plain(PostgresServer):
    def command(self) -> list[str]:
        return [part.replace("wal_level=logical", "wal_level=replica") for part in super().command()]


def test_a_server_without_logical_wal_says_what_to_set(postgres_server: PostgresServer):
    server = _Plain(postgres_server.programs).created()
    try:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("CREATE TABLE people (id int PRIMARY KEY, name text)")
            assert "ALTER SYSTEM SET wal_level = logical" in opened(server.url()).way([PEOPLE]).why
            with pytest.raises(ObjectUnreadableError, match="wal_level is replica"):
                opened(server.url(), watch="logical").way([PEOPLE])
            with watching(opened(server.url(), watch="notify"), PEOPLE) as watch:
                connection.execute("INSERT INTO people VALUES (1, 'x')")
                assert told(watch).keys == {0: ("1",)}
    finally:
        server.stop()


def test_a_slot_that_has_to_wait_says_for_whom(
    postgres_url: str, db: psycopg.Connection[Any], crm: PostgresConnector, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("trueup.connectors.postgres_published._SLOT_LIMIT", "SET LOCAL statement_timeout = '1s'")
    with psycopg.connect(postgres_url) as other:
        other.execute("INSERT INTO people VALUES (7, 'open')")
        with pytest.raises(SystemUnreachableError, match=f"waits for transactions .* process {other.info.backend_pid}"):
            crm.watch([PEOPLE], name="test")
        other.rollback()
    with watching(crm, PEOPLE) as watch:
        assert watch.fresh == {0}


# ---------------------------------------------------------------- what is lost


def test_a_dropped_slot_is_noticed_while_watching_and_after(crm: PostgresConnector, db: psycopg.Connection[Any]):
    with watching(crm, PEOPLE) as watch:
        kept = watch.position
        db.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s", [MADE])
        with pytest.raises(SystemUnreachableError):
            told(watch)
    until = time.monotonic() + 60.0
    while db.execute("SELECT active FROM pg_replication_slots WHERE slot_name = %s", [MADE]).fetchone() != (False,):
        assert time.monotonic() < until
    db.execute("SELECT pg_drop_replication_slot(%s)", [MADE])
    with pytest.raises(PositionLostError, match="the slot is gone"):
        crm.watch([PEOPLE], name="test", since=kept)
    with watching(crm, PEOPLE) as watch:
        assert watch.fresh == {0}


def test_a_state_that_was_restored_has_missed_changes(crm: PostgresConnector, db: psycopg.Connection[Any]):
    with watching(crm, PEOPLE) as watch:
        before = watch.position
        db.execute("UPDATE people SET name = 'Z' WHERE id = 1")
        hints = told(watch)
        watch.confirm(str(hints.position))
    with pytest.raises(PositionLostError, match="older state"):
        crm.watch([PEOPLE], name="test", since=before)


def test_a_table_that_was_made_anew_is_noticed(crm: PostgresConnector, db: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(postgres_logical, "_LOOK_S", 0.2)
    with watching(crm, PEOPLE) as watch:
        nothing_told(watch, 0.5)
        db.execute("DROP TABLE people; CREATE TABLE people (id int PRIMARY KEY, name text)")
        with pytest.raises(PositionLostError, match="made anew"):
            told(watch)
        kept = watch.position
    with watching(crm, PEOPLE, since=kept) as watch:
        assert watch.fresh == {0}
        db.execute("INSERT INTO people VALUES (1, 'x')")
        assert told(watch).keys == {0: ("1",)}


def test_a_slot_whose_log_was_removed_is_lost_and_made_anew(spare_postgres: PostgresServer):
    with spare_postgres.database() as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE people (id int PRIMARY KEY, name text); CREATE TABLE other (x text)")
        connection.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
        connection.execute("SELECT pg_reload_conf()")
        crm = opened(url)
        with watching(crm, PEOPLE) as watch:
            kept = watch.position
        for _ in range(4):
            connection.execute("INSERT INTO other SELECT repeat('x', 100) FROM generate_series(1, 20000)")
            connection.execute("SELECT pg_switch_wal()")
            connection.execute("CHECKPOINT")
        with pytest.raises(PositionLostError, match="removed the log that it needs"):
            crm.watch([PEOPLE], name="test", since=kept)
        with watching(crm, PEOPLE) as watch:
            assert watch.fresh == {0}
            connection.execute("INSERT INTO people VALUES (1, 'x')")
            assert told(watch).keys == {0: ("1",)}
            assert watch.lag().left_bytes is not None
        crm.close()


# ---------------------------------------------------------------- restarts and kills


def test_a_server_that_crashes_and_comes_back_tells_everything(spare_postgres: PostgresServer):
    with spare_postgres.database() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE people (id int PRIMARY KEY, name text)")
            crm = opened(url)
            watch = crm.watch([PEOPLE], name="test")
            connection.execute("INSERT INTO people VALUES (1, 'x')")
            assert told(watch).keys == {0: ("1",)}
            spare_postgres.kill()
            with pytest.raises(SystemUnreachableError):
                told(watch)
            kept = watch.position
            watch.close()
            with pytest.raises(SystemUnreachableError):
                opened(url).watch([PEOPLE], name="test", since=kept)
        spare_postgres.start()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("INSERT INTO people VALUES (2, 'y')")
        with watching(opened(url), PEOPLE, since=kept) as watch:
            assert watch.fresh == frozenset()
            keys = set(told(watch).keys[0] or ())
            while "2" not in keys:
                keys |= set(told(watch).keys[0] or ())
            assert keys == {"1", "2"}
        crm.close()


_WATCHER = """
import sys
from trueup.connectors.postgres import PostgresConnector
from trueup.model import ObjectSpec
watch = PostgresConnector.open("crm", {"url": sys.argv[1]}).watch([ObjectSpec(name="people", key=("id",))], name="test", since=sys.argv[2])
while True:
    hints = watch.wait(5)
    if hints is not None and hints.keys:
        print(hints.keys, flush=True)
"""


def test_a_watcher_killed_before_it_confirmed_is_told_again(postgres_url: str, crm: PostgresConnector, db: psycopg.Connection[Any]):
    with watching(crm, PEOPLE) as watch:
        kept = watch.position
    command = [sys.executable, "-c", _WATCHER, postgres_url, str(kept)]
    source = str(Path(postgres_logical.__file__).parents[2])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": source, "PATH": ""}) as process:
        db.execute("UPDATE people SET name = 'Z' WHERE id = 2")
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "{0: ('2',)}"
        process.send_signal(signal.SIGKILL)
    with watching(crm, PEOPLE, since=kept) as watch:
        assert told(watch).keys == {0: ("2",)}


def test_what_others_write_moves_the_position_so_that_the_log_can_go(
    crm: PostgresConnector, db: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(postgres_logical, "_MOVED_S", 0.2)
    monkeypatch.setattr(postgres_logical, "_STATUS_S", 0.2)
    db.execute("CREATE TABLE other (x text)")
    with watching(crm, PEOPLE) as watch:
        began = watch.lag().bytes
        db.execute("INSERT INTO other SELECT repeat('x', 1000) FROM generate_series(1, 5000)")
        assert (watch.lag().bytes or 0) > 1_000_000 + (began or 0)
        until = time.monotonic() + 60.0
        while time.monotonic() < until:
            hints = watch.wait(0.2)
            if hints is not None:
                assert hints.keys == {}
                watch.confirm(str(hints.position))
            if (watch.lag().bytes or 0) < 100_000:
                return
    raise AssertionError("the slot holds on to the log although nothing in it is ours")


def test_unwatch_ends_whoever_still_watches(crm: PostgresConnector, db: psycopg.Connection[Any], postgres_url: str):
    with watching(crm, PEOPLE) as watch:
        other = opened(postgres_url)
        other.unwatch(name="test")
        other.close()
        with pytest.raises((SystemUnreachableError, PositionLostError)):
            told(watch)
    assert db.execute("SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s", [MADE]).fetchone() == (0,)


# ---------------------------------------------------------------- triggers


def test_triggers_never_make_an_application_fail(postgres_url: str, db: psycopg.Connection[Any]):
    db.execute("CREATE TABLE t (k text PRIMARY KEY, n int); CREATE ROLE app1 LOGIN PASSWORD 'pass'; GRANT ALL ON t TO app1")
    connector = opened(postgres_url, watch="notify")
    try:
        with watching(connector, spec("t", "k")) as watch, psycopg.connect(as_user(postgres_url, "app1"), autocommit=True) as app:
            app.execute("INSERT INTO t SELECT string_agg(md5(i::text), '') FROM generate_series(1, 80) i")
            assert told(watch).keys[0] is not None
            db.execute("ALTER TABLE t DROP CONSTRAINT t_pkey")
            app.execute("INSERT INTO t VALUES (repeat('x', 9000), 1)")  # a notice holds 8,000 bytes
            assert told(watch).keys == {0: None}
    finally:
        connector.unwatch(name="test")
        connector.close()
        db.execute("DROP OWNED BY app1; DROP ROLE app1")


def test_another_way_removes_what_the_first_one_made(postgres_url: str, db: psycopg.Connection[Any]):
    slots = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s"
    triggers = "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal"
    with watching(opened(postgres_url), PEOPLE):
        assert db.execute(slots, [MADE]).fetchone() == (1,)
    with watching(opened(postgres_url, watch="notify"), PEOPLE):
        assert db.execute(slots, [MADE]).fetchone() == (0,)
        assert db.execute(triggers).fetchone() == (2,)
    connector = opened(postgres_url)
    with watching(connector, PEOPLE):
        assert db.execute(triggers).fetchone() == (0,)
    connector.unwatch(name="test")


# ---------------------------------------------------------------- what is told can be seen


def test_a_transaction_is_told_once_others_can_see_it(spare_postgres: PostgresServer):
    """A commit is in the log before it is visible; with a standby that does not answer, for as long as one likes."""
    with spare_postgres.database() as url, psycopg.connect(url, autocommit=True) as db:
        db.execute("CREATE TABLE people (id int PRIMARY KEY, name text); INSERT INTO people VALUES (1, 'Ada'), (2, 'Bob')")
        connector = opened(url)
        with watching(connector, PEOPLE) as watch:
            db.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            db.execute("SELECT pg_reload_conf()")
            with psycopg.connect(url, autocommit=True) as waiting:
                until = time.monotonic() + 60.0
                while waiting.execute("SHOW synchronous_standby_names").fetchone() != ("nobody",):
                    assert time.monotonic() < until
                commit = Thread(target=lambda: waiting.execute("UPDATE people SET name = 'Eve' WHERE id = 1"))
                commit.start()
                while not db.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'").fetchone():
                    assert time.monotonic() < until
                nothing_told(watch)
                assert db.execute("SELECT name FROM people WHERE id = 1").fetchone() == ("Ada",)
                db.execute("ALTER SYSTEM RESET synchronous_standby_names")
                db.execute("SELECT pg_reload_conf()")
                assert told(watch).keys == {0: ("1",)}
                assert db.execute("SELECT name FROM people WHERE id = 1").fetchone() == ("Eve",)
                commit.join(30.0)
        connector.unwatch(name="test")


# ---------------------------------------------------------------- what was written here


def renamed(key: str, name: str) -> WriteBatch:
    rows = pl.DataFrame({"__op": [0], "__key": [key], "name": [name], "__write": [["name"]]})
    return WriteBatch(kind="update", rows=rows, returning=("id", "name"))


def test_own_writes_are_told_to_others_alone(postgres_url: str, db: psycopg.Connection[Any], crm: PostgresConnector):
    mine, watcher = OwnWrites(), opened(postgres_url)
    crm.own_writes, watcher.own_of = mine, {0: mine}
    other = spec("people")
    with watching(watcher, PEOPLE, other) as watch:
        assert crm.write(PEOPLE, renamed("1", "written"))["__status"].to_list() == ["done"]
        assert told(watch, 1).keys == {1: ("1",)}  # who does not write there hears of it
        db.execute("UPDATE people SET name = 'edited' WHERE id = 1")
        assert told(watch).keys == {0: ("1",), 1: ("1",)}
        created = WriteBatch(kind="create", rows=pl.DataFrame({"__op": [0], "__key": ["7"], "name": ["new"]}), returning=("id", "name"))
        assert crm.write(PEOPLE, created)["__key"].to_list() == ["7"]
        assert told(watch, 1).keys == {1: ("7",)}
        crm.write(PEOPLE, renamed("9", "nobody"))
        assert mine.of(max(mine._keys, default=0)) == frozenset()


def test_the_number_of_an_own_write_comes_with_the_write(crm: PostgresConnector, monkeypatch: pytest.MonkeyPatch):
    crm.own_writes = OwnWrites()
    crm.describe(PEOPLE)
    asked: list[str] = []
    execute = psycopg.Connection.execute

    def counted(db: psycopg.Connection[Any], query: str | bytes, *words: Any, **named: Any) -> Any:
        asked.append(query.decode() if isinstance(query, bytes) else query)
        return execute(db, query, *words, **named)

    monkeypatch.setattr(psycopg.Connection, "execute", counted)
    assert crm.write(PEOPLE, renamed("1", "written"))["__status"].to_list() == ["done"]
    assert [words.split()[0].rstrip(";") for words in asked] == ["BEGIN", "UPDATE", "COMMIT"]
    assert [crm.own_writes.of(number) for number in crm.own_writes._keys] == [{"1"}]


def test_what_a_trigger_adds_to_an_own_write_is_told(postgres_url: str, db: psycopg.Connection[Any], crm: PostgresConnector):
    db.execute(
        "CREATE FUNCTION spread() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN UPDATE people SET name = 'by trigger' WHERE id = 2 AND NEW.id = 1; RETURN NEW; END $$;"
        " CREATE TRIGGER spread AFTER UPDATE ON people FOR EACH ROW EXECUTE FUNCTION spread()"
    )
    mine, watcher = OwnWrites(), opened(postgres_url)
    crm.own_writes, watcher.own_of = mine, {0: mine}
    with watching(watcher, PEOPLE) as watch:
        crm.write(PEOPLE, renamed("1", "written"))
        assert set(told(watch).keys[0] or ()) == {"1", "2"}
