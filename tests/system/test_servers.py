"""The private servers that the other tests stand on."""

from __future__ import annotations

import contextlib

import psycopg
import pymysql
import pytest

from tests.servers import MariadbServer, PostgresServer, mariadb_client


def test_postgres_gives_an_empty_database_per_test(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        tables = connection.execute("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'").fetchone()
        assert tables == (0,)
        assert connection.execute("SHOW wal_level").fetchone() == ("logical",)


def test_mariadb_gives_an_empty_database_per_test(mariadb_url: str) -> None:
    with contextlib.closing(mariadb_client(mariadb_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW TABLES")
        assert cursor.fetchall() == ()
        cursor.execute("SELECT version()")
        assert "MariaDB" in str(cursor.fetchone())


def test_a_database_is_gone_after_its_test_even_while_it_is_used(postgres_server: PostgresServer, mariadb_server: MariadbServer) -> None:
    with postgres_server.database() as url:
        postgres = psycopg.connect(url)
        postgres.execute("SELECT pg_create_logical_replication_slot('watch', 'pgoutput')")
    with pytest.raises(psycopg.OperationalError):
        postgres.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)
    with mariadb_server.database() as url:
        maria = mariadb_client(url)
    with pytest.raises(pymysql.err.OperationalError), maria.cursor() as cursor:
        cursor.execute("SELECT 1")
    with pytest.raises(pymysql.err.OperationalError, match="Unknown database"):
        mariadb_client(url)


def test_a_wrong_password_is_refused(postgres_url: str, mariadb_url: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(postgres_url, password="wrong")
    with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
        mariadb_client(mariadb_url, password="wrong")


def test_a_killed_postgres_comes_back_with_its_data(spare_postgres: PostgresServer) -> None:
    with spare_postgres.database() as url:
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS number")
        spare_postgres.kill()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url)
        spare_postgres.start()
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT number FROM kept").fetchone() == (1,)


def test_a_killed_mariadb_comes_back_with_its_data(spare_mariadb: MariadbServer) -> None:
    with spare_mariadb.database() as url:
        with contextlib.closing(mariadb_client(url)) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE kept AS SELECT 1 AS number")
            connection.commit()
        spare_mariadb.kill()
        with pytest.raises(pymysql.err.OperationalError):
            mariadb_client(url)
        spare_mariadb.start()
        with contextlib.closing(mariadb_client(url)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT number FROM kept")
            assert cursor.fetchone() == (1,)
