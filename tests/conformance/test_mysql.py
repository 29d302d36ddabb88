"""The MySQL connector takes the exam on MariaDB; the judge of what a table holds is PyMySQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any, ClassVar

import pytest
from pymysql.converters import conversions

from tests.servers import MariadbServer, mariadb_client
from trueup.connectors.mysql import MysqlConnector
from trueup.testing.conformance import ConnectorSuite, Traits, Trial, World
from trueup.testing.conformance_sql import SqlWorld


class MysqlWorld(SqlWorld):
    """One database; each object is a table of it. Its usual collation takes upper and lower case, and spaces at the end, for the same."""

    connector = MysqlConnector
    traits = Traits(
        types=frozenset({"text", "integer", "decimal", "float", "boolean", "date", "datetime", "timestamp", "json", "binary"}),
        rounds=True,
        transactions=True,
        watch_keys=True,
        watch_durable=True,
        refuses=frozenset({"length", "null", "unique"}),
        first_date=date(1000, 1, 1),
        first_moment=date(1970, 1, 2),
        last_moment=date(2037, 12, 31),
    )
    type_names: ClassVar = {
        "text": "LONGTEXT",
        "integer": "BIGINT",
        "decimal": "DECIMAL(60, 12)",
        "float": "DOUBLE",
        "boolean": "TINYINT(1)",
        "date": "DATE",
        "datetime": "TIMESTAMP(6) NULL",
        "timestamp": "DATETIME(6)",
        "json": "JSON",
        "binary": "LONGBLOB",
    }
    mark = "%s"
    assigned_key = "BIGINT AUTO_INCREMENT PRIMARY KEY"

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self._connection = mariadb_client(url, conv=dict(conversions), init_command="SET time_zone = '+00:00'")

    def make(self, name: str, trial: Trial) -> None:
        """A text can be a key only where it has a length."""
        limited = {key: replace(trial.columns[key], max_length=trial.columns[key].max_length or self.key_length) for key in trial.key}
        super().make(name, replace(trial, columns={**trial.columns, **limited}))

    def settings(self) -> dict[str, Any]:
        return {"url": self.url}

    def connection(self) -> Any:
        return self._connection

    def quote(self, name: str) -> str:
        return "`" + name.replace("`", "``") + "`"

    def bound(self, value: Any) -> Any:
        if isinstance(value, datetime) and value.tzinfo:
            return value.astimezone(UTC).replace(tzinfo=None)
        return value


@pytest.fixture(scope="module")
def shared(mariadb_server: MariadbServer) -> Iterator[World]:
    with mariadb_server.database() as url:
        world = MysqlWorld(url)
        yield world
        world.close()


class TestMysql(ConnectorSuite):
    @pytest.fixture
    def world(self, shared: World) -> World:
        return shared
