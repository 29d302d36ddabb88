"""The SQLite connector takes the exam; the judge of what a table holds is Python's own driver."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from trueup.connectors.sqlite import SqliteConnector
from trueup.testing.conformance import ConnectorSuite, Traits, WatchSuite, World
from trueup.testing.conformance_sql import SqlWorld, as_text


class SqliteWorld(SqlWorld):
    """A database file. SQLite has no types for times: they are text there."""

    connector = SqliteConnector
    traits = Traits(
        types=frozenset({"text", "integer", "decimal", "float", "boolean"}),
        misfits=True,
        transactions=True,
        refuses=frozenset({"null", "unique"}),
    )
    type_names: ClassVar = {"text": "TEXT", "integer": "INTEGER", "decimal": "DECIMAL TEXT", "float": "REAL", "boolean": "BOOLEAN"}

    def __init__(self, directory: Path) -> None:
        super().__init__(str(directory))
        self._connection = sqlite3.connect(directory / "trial.db", isolation_level=None, check_same_thread=False)

    def settings(self) -> dict[str, Any]:
        return {"path": "trial.db"}

    def connection(self) -> sqlite3.Connection:
        return self._connection

    def bound(self, value: Any) -> Any:
        return as_text(value)

    def made(self) -> list[str]:
        return sorted(row[0] for row in self.execute("SELECT name FROM sqlite_schema WHERE name LIKE 'trueup%'"))


class TriggerWorld(SqliteWorld):
    """The same, watched by triggers."""

    traits = replace(SqliteWorld.traits, watch_keys=True, watch_durable=True, watch_remembered=True)

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "watch": "triggers"}


class TestSqlite(ConnectorSuite):
    @pytest.fixture
    def world(self, tmp_path: Path) -> Iterator[World]:
        world = SqliteWorld(tmp_path)
        yield world
        world.close()


class TestSqliteByTriggers(WatchSuite):
    @pytest.fixture
    def world(self, tmp_path: Path) -> Iterator[World]:
        world = TriggerWorld(tmp_path)
        yield world
        world.close()


class TestSqliteByTriggersWithLog(WatchSuite):
    @pytest.fixture
    def world(self, tmp_path: Path) -> Iterator[World]:
        world = TriggerWorld(tmp_path)
        world.execute("PRAGMA journal_mode=wal")
        yield world
        world.close()
