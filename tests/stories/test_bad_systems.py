"""A whole system is missing, refuses, or goes away: the others are done, the message says which and what to do, the next run mends it."""

from __future__ import annotations

import contextlib
import re
import signal
import sqlite3
import time
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.servers import MariadbServer, PostgresServer, mariadb_client
from tests.stories.project import ANN, BEN, CLEO, PEOPLE, Project, people

WRONG_PASSWORD = "wrong-PASSWORD-55e1"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Two systems in good order: `crm` with three customers, `sheet` with one of them."""
    made = Project(tmp_path)
    made.add_sqlite("crm", PEOPLE)
    made.add_csv("sheet", [ANN])
    return made


def test_a_missing_file_leaves_its_system_out(project: Project) -> None:
    project.add_csv("till", [BEN]).unlink()
    project.configure()
    first = project.sync(expect=3)
    first.says("till", "does not exist", "create: true")
    assert first.body["status"] == "partial"
    assert project.rows("sheet") == sorted(PEOPLE), "the others are done"
    told = project.run("sync", expect=3)
    told.says("customer in till", "till.csv")
    project.write_csv("till", [BEN])
    project.mended(PEOPLE)


def test_a_file_that_goes_missing_later_deletes_nothing(project: Project) -> None:
    path = project.add_csv("till", [BEN])
    project.extra = "deletes: {from: [till], action: propagate}"
    project.configure()
    project.sync()
    kept = path.read_bytes()
    path.unlink()
    project.sync(expect=3).says("till", "does not exist")
    assert project.rows("crm") == sorted(PEOPLE)
    assert project.rows("sheet") == sorted(PEOPLE)
    path.write_bytes(kept)
    project.mended(PEOPLE)


def test_a_missing_table_and_a_missing_column_are_named(project: Project) -> None:
    project.add_sqlite("till", [BEN])
    project.add_sqlite("shop", [CLEO])
    project.configure()
    project.sql("till", "ALTER TABLE customers RENAME COLUMN born TO birth_date")
    project.sql("shop", "ALTER TABLE customers RENAME TO clients")
    first = project.sync(expect=3)
    assert "born" in first.system("till")["error"]
    assert "customers" in first.system("shop")["error"]
    assert "clients" in first.system("shop")["error"], "what is there instead is said"
    assert project.rows("sheet") == sorted(PEOPLE)
    project.sql("till", "ALTER TABLE customers RENAME COLUMN birth_date TO born")
    project.sql("shop", "ALTER TABLE clients RENAME TO customers")
    project.mended(PEOPLE)


def test_a_column_dropped_and_a_column_retyped_between_two_runs(project: Project, postgres_url: str) -> None:
    project.add_postgres("shop", postgres_url, [BEN])
    project.configure()
    project.sync()
    with psycopg.connect(postgres_url) as db:
        db.execute("ALTER TABLE customers DROP COLUMN name")
    project.sql("crm", "UPDATE customers SET name = 'Anna' WHERE id = 1")
    dropped = project.sync(expect=3)
    dropped.says("shop", "name")
    assert ("ann@example.org", "Anna", "1", "1980-01-31") in project.rows("sheet"), "the other systems go on"
    assert ("ben@example.org", "Ben", "2", "1981-02-28") in project.rows("crm"), "a column that vanished clears nothing"
    with psycopg.connect(postgres_url) as db:
        db.execute("ALTER TABLE customers ADD COLUMN name text")
        db.execute("UPDATE customers SET name = initcap(split_part(email, '@', 1))")
    anna = ("ann@example.org", "Anna", *ANN[2:])
    project.sync()
    project.mended([anna, BEN, CLEO])

    with psycopg.connect(postgres_url) as db:
        db.execute("ALTER TABLE customers ALTER COLUMN points TYPE bytea USING NULL")
    retyped = project.sync(expect=3)
    retyped.says("shop", "points")
    assert project.rows("crm") == sorted([anna, BEN, CLEO]), "a column of another type empties nothing"
    with psycopg.connect(postgres_url) as db:
        db.execute("ALTER TABLE customers DROP COLUMN points")
        db.execute("ALTER TABLE customers ADD COLUMN points int")
        db.execute("UPDATE customers SET points = CASE left(email, 1) WHEN 'a' THEN 1 WHEN 'b' THEN 2 ELSE 3 END")
    project.mended([anna, BEN, CLEO])


def test_wrong_password_refused_connection_and_unknown_host(project: Project, postgres_url: str, mariadb_url: str) -> None:
    project.add_postgres("shop", postgres_url, [BEN])
    project.secrets.append(WRONG_PASSWORD)
    right = urlsplit(postgres_url)
    project.environment["SHOP_URL"] = right._replace(netloc=f"{right.username}:{WRONG_PASSWORD}@{right.hostname}:{right.port}").geturl()
    bill = urlsplit(mariadb_url)
    project.add(
        "billing",
        f'{{connector: mysql, url: "mysql://{bill.username}:{WRONG_PASSWORD}@{bill.hostname}:{bill.port}{bill.path}"}}',
        "object: t",
    )
    project.add("far", f'{{connector: postgres, url: "postgresql://me:{WRONG_PASSWORD}@127.0.0.1:1/db"}}', "object: t")
    project.add("lost", f'{{connector: mysql, url: "mysql://me:{WRONG_PASSWORD}@127.0.0.1:1/db"}}', "object: t")
    project.configure()
    first = project.sync(expect=3)
    for name in ("shop", "billing"):
        assert "password" in first.system(name)["error"], first.system(name)["error"]
        assert first.system(name)["error"].count(name) >= 1
    for name in ("far", "lost"):
        assert re.search("does not answer|refused|not reach", first.system(name)["error"]), first.system(name)["error"]
        assert "127.0.0.1" in first.system(name)["error"]
    assert project.rows("sheet") == sorted(PEOPLE)
    for command in ("check", "drift", "plan", "status"):
        project.run(command, expect={0, 1, 3})
    for name in ("billing", "far", "lost"):
        del project.systems[name], project.mappings[name]
    project.environment["SHOP_URL"] = postgres_url
    project.configure()
    project.mended(PEOPLE)


def test_where_everything_fails_one_line_says_so(project: Project, tmp_path: Path) -> None:
    project.configure()
    (tmp_path / "crm.db").rename(tmp_path / "away.db")
    (tmp_path / "sheet.csv").rename(tmp_path / "away.csv")
    failed = project.run("sync", expect=1)
    assert failed.out == ""
    assert failed.err.count("\n") == 1
    failed.says("crm", "sheet", "customer")
    assert project.sync(expect=1).body["status"] == "failed"
    (tmp_path / "away.db").rename(tmp_path / "crm.db")
    one_left = project.run("sync", expect=1)
    one_left.says("fewer than two systems", "sheet.csv", "does not exist")
    (tmp_path / "away.csv").rename(tmp_path / "sheet.csv")
    project.mended(PEOPLE)


def test_no_configuration_and_a_broken_one(tmp_path: Path) -> None:
    project = Project(tmp_path)
    missing = project.run("sync", expect=1)
    missing.says("trueup.yaml")
    assert missing.err.count("\n") == 1
    (tmp_path / "trueup.yaml").write_text("systems: {crm: {connector: sqlite, path: '${NOT_SET_ANYWHERE}'}\nentities: [", encoding="utf-8")
    project.run("sync", expect=1).says("trueup.yaml:")
    (tmp_path / "trueup.yaml").write_bytes(b"systems: \xff\xfe\x00")
    project.run("sync", expect=1).says("trueup.yaml")


def test_a_state_that_is_none(project: Project, tmp_path: Path) -> None:
    project.state = "state.db"
    project.configure()
    (tmp_path / "state.db").write_text("this is no database, whoever put it here", encoding="utf-8")
    project.run("sync", expect=1).says("state.db", "not a trueup state")
    (tmp_path / "state.db").unlink()
    with sqlite3.connect(tmp_path / "state.db") as other:
        other.execute("CREATE TABLE theirs (a)")
    other.close()
    project.run("sync", expect=1).says("another program", "state:")
    project.secrets.append(WRONG_PASSWORD)
    project.state = f"postgresql://me:{WRONG_PASSWORD}@127.0.0.1:1/state"
    project.configure()
    project.run("sync", expect=1).says("does not answer", "state:")


@pytest.mark.slow
def test_two_processes_at_once(project: Project) -> None:
    project.write_csv("sheet", people(2000))
    project.configure()
    runs = [project.start("sync", "--json") for _number in range(3)]
    ends = [project.finished(run, {0, 1}) for run in runs]
    assert min(end.code for end in ends) == 0, "one of them worked"
    for end in ends:
        if end.code == 1:
            end.says("another trueup works on this state: process ", "--wait")
    waiting = [project.start("sync", "--json", "--wait", "60") for _number in range(2)]
    for run in waiting:
        project.finished(run, 0)
    project.mended([*people(2000), *PEOPLE])


def test_a_database_user_without_the_right_to_write(project: Project, spare_postgres: PostgresServer, spare_mariadb: MariadbServer) -> None:
    with spare_postgres.database() as url, spare_mariadb.database() as bill_url:
        project.add_postgres("shop", url, [BEN])
        with psycopg.connect(url, autocommit=True) as db:
            db.execute("CREATE ROLE looker LOGIN PASSWORD 'looker-SECRET-1'")
            db.execute("GRANT SELECT ON customers TO looker")
        project.secrets.append("looker-SECRET")
        parts = urlsplit(url)
        project.environment["SHOP_URL"] = parts._replace(netloc=f"looker:looker-SECRET-1@{parts.hostname}:{parts.port}").geturl()
        bill = urlsplit(bill_url)
        admin = mariadb_client(bill_url)
        with admin.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE customers (id INT AUTO_INCREMENT PRIMARY KEY, email VARCHAR(80), name VARCHAR(80), points INT, born DATE)"
            )
            cursor.execute("CREATE USER looker@'127.0.0.1' IDENTIFIED BY 'looker-SECRET-2'")
            cursor.execute(f"GRANT SELECT ON {bill.path[1:]}.* TO looker@'127.0.0.1'")
        looking = bill._replace(netloc=f"looker:looker-SECRET-2@{bill.hostname}:{bill.port}").geturl()
        project.environment["BILLING_URL"] = looking
        project.add("billing", '{connector: mysql, url: "${BILLING_URL}"}', "object: customers")
        project.configure()
        first = project.sync(expect=3)
        for name in ("shop", "billing"):
            assert "customers" in first.system(name)["error"], first.system(name)
            assert re.search("right|GRANT|grant", first.system(name)["error"]), first.system(name)
        assert project.rows("sheet") == sorted(PEOPLE), "what can be read is taken, and goes to the others"
        assert project.sync(expect=3).system("shop")["delivered"]["pending"] == 2
        project.environment["SHOP_URL"] = url
        project.environment["BILLING_URL"] = bill_url
        project.mended(PEOPLE)
        with admin.cursor() as cursor:
            cursor.execute("SELECT count(*), count(DISTINCT email) FROM customers")
            assert cursor.fetchall() == ((3, 3),)
        admin.close()


def test_the_server_goes_away_while_a_run_writes_to_it(project: Project, spare_postgres: PostgresServer) -> None:
    with spare_postgres.database() as url:
        everyone = people(4000)
        project.write_csv("sheet", everyone)
        project.add_postgres("shop", url, [BEN])
        project.configure()
        with psycopg.connect(url, autocommit=True) as db:
            # Every row takes a while, so that the server dies in the middle of the work.
            db.execute("CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.002); RETURN NEW; END'")
            db.execute("CREATE TRIGGER slow BEFORE INSERT ON customers FOR EACH ROW EXECUTE FUNCTION slowly()")
        run = project.start("sync", "--json")
        deadline = time.monotonic() + 60
        with psycopg.connect(url, autocommit=True) as db:
            busy = (
                "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database() AND state = 'active'"
            )
            while not db.execute(busy + " AND query ILIKE '%insert%'").fetchall()[0][0]:
                assert time.monotonic() < deadline, "the run writes nothing"
                time.sleep(0.02)
        time.sleep(0.3)
        spare_postgres.kill()
        cut = project.finished(run, 3)
        assert "shop" in cut.system("shop")["error"]
        assert len(project.rows("crm")) == 4003, "the others are done"
        project.sync(expect=3).says("shop")
        spare_postgres.start()
        with psycopg.connect(url, autocommit=True) as db:
            db.execute("DROP TRIGGER slow ON customers")
        project.mended([*everyone, *PEOPLE])


def has_begun(project: Project) -> None:
    """Wait until a run has its number in the state."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(f"file:{project.folder}/.trueup/state.db?mode=ro", uri=True)) as db,
        ):
            if db.execute("SELECT count(*) FROM run").fetchone()[0]:
                return
        time.sleep(0.01)
    raise AssertionError("the run did not begin")


def test_interrupting_a_run_is_quiet(project: Project) -> None:
    project.write_csv("sheet", people(3000))
    project.configure()
    run = project.start("sync")
    has_begun(project)
    run.send_signal(signal.SIGINT)
    project.finished(run, {0, 130})
    project.mended([*people(3000), *PEOPLE])


@pytest.mark.slow
def test_the_server_goes_away_while_a_run_reads_from_it(project: Project, spare_mariadb: MariadbServer) -> None:
    """Half of a listing is no listing: nobody is taken for deleted, and what was read of it so far is forgotten."""
    with spare_mariadb.database() as url:
        everyone = people(400)
        with mariadb_client(url) as db, db.cursor() as cursor:
            cursor.execute("CREATE TABLE entries (id INT PRIMARY KEY, email VARCHAR(80), name VARCHAR(80), points INT, born DATE)")
            cursor.executemany(
                "INSERT INTO entries VALUES (%s, %s, %s, %s, %s)", [(number, *row) for number, row in enumerate(everyone, 1)]
            )
            cursor.execute("CREATE VIEW customers AS SELECT * FROM entries")
        project.environment["BILLING_URL"] = url
        project.add("billing", '{connector: mysql, url: "${BILLING_URL}"}', "object: customers, direction: read")
        project.extra = "deletes: {from: [billing], action: propagate}\nguard: off"
        project.configure()
        project.sync()
        with mariadb_client(url) as db, db.cursor() as cursor:  # every row takes a while from now on
            cursor.execute("CREATE OR REPLACE VIEW customers AS SELECT * FROM entries WHERE SLEEP(0.01) = 0")
            run = project.start("sync", "--json")
            deadline = time.monotonic() + 60
            while True:
                assert time.monotonic() < deadline, "the run reads nothing"
                cursor.execute(
                    "SELECT count(*) FROM information_schema.processlist WHERE info LIKE '%customers%' AND id <> connection_id()"
                )
                if cursor.fetchall() != ((0,),):
                    break
                time.sleep(0.02)
            time.sleep(0.2)
            spare_mariadb.kill()
        cut = project.finished(run, 3)
        assert "billing" in cut.system("billing")["error"]
        assert len(project.rows("crm")) == len(project.rows("sheet")) == 403, "nobody is deleted"
        spare_mariadb.start()
        with mariadb_client(url) as db, db.cursor() as cursor:
            cursor.execute("CREATE OR REPLACE VIEW customers AS SELECT * FROM entries")
        project.mended([*everyone, *PEOPLE])
