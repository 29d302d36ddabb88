"""Systems that only push take the exam as far as their abilities go; the judge of what came is Python's own JSON parser."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from tests.conformance.test_jsonl import dumped
from trueup.connectors.base import Connector
from trueup.connectors.webhook import WebhookConnector
from trueup.model import ObjectSpec
from trueup.store.inbox import Inbox
from trueup.store.inbox_sqlite import inbox_path
from trueup.testing.conformance import ConnectorSuite, Traits, Trial, World
from trueup.testing.conformance_world import Row
from trueup.web.messages import Reading


class WebhookWorld(World):
    """One system; each object has messages of its own. What is there is what was sent; an edit is another message."""

    connector = WebhookConnector
    traits = Traits(
        types=frozenset({"text", "integer", "decimal", "boolean", "list"}),
        absent=True,
        unguarded_keys=False,
        misfits=True,
        several_writers=False,
        makes_objects=False,
    )

    def __init__(self, directory: str) -> None:
        super().__init__(directory)
        self.state = Path(directory) / "state.db"
        self.inbox = Inbox.open(str(self.state))
        self.trials: dict[str, Trial] = {}
        self.opens = cast("Any", type(self).open_plainly)

    def close(self) -> None:
        self.inbox.close()

    def settings(self) -> dict[str, Any]:
        return {}

    def open_plainly(self, settings: Mapping[str, Any]) -> Connector:
        opened = WebhookConnector.open("trial", settings, directory=self.directory)
        opened.receive_from(self.inbox)
        return opened

    def spec(self, name: str, trial: Trial) -> ObjectSpec:
        """Columns lead into the message; types are declared, for nothing has come yet."""
        return replace(super().spec(name, trial), options={"columns": {column: facts.type for column, facts in trial.columns.items()}})

    def unmade(self, trial: Trial, *, create: bool = False) -> ObjectSpec:
        return replace(super().unmade(trial, create=create), options={})

    def make(self, name: str, trial: Trial) -> None:
        self.trials[name] = trial

    def insert(self, obj: ObjectSpec, rows: Sequence[Row]) -> None:
        trial = self.trials[obj.name or ""]
        reading = Reading("trial", object=obj.name, agreed=False, records=(trial.key,))
        decimals = {column for column, facts in trial.columns.items() if facts.type == "decimal"}
        for row in rows:
            sent = {name: Decimal(value) if name in decimals and value is not None else value for name, value in row.items()}
            self.inbox.put(reading.events(dumped(sent).encode(), datetime.now(UTC)))

    def _messages(self, obj: ObjectSpec) -> list[tuple[int, Row]]:
        connection = sqlite3.connect(inbox_path(self.state))
        try:
            found = connection.execute("SELECT id, body FROM event WHERE object = ? ORDER BY id", (obj.name,)).fetchall()
        finally:
            connection.close()
        return [(number, json.loads(body, parse_float=Decimal)) for number, body in found]

    def rows(self, obj: ObjectSpec) -> list[Row]:
        latest = {tuple(str(row.get(name)) for name in obj.key): row for _, row in self._messages(obj)}
        return list(latest.values())

    def edit(self, obj: ObjectSpec, where: Row, values: Row) -> None:
        for row in self.rows(obj):
            if all(row.get(name) == value for name, value in where.items()):
                if any(name in values and values[name] != row.get(name) for name in obj.key):
                    self.remove(obj, where)
                self.insert(obj, [row | values])

    def spoil(self, obj: ObjectSpec, where: Row, column: str) -> None:
        for row in self.rows(obj):
            if all(row.get(name) == value for name, value in where.items()):
                body = dumped(row | {column: "not a number"}).encode()
                reading = Reading("trial", object=obj.name, agreed=False, records=(obj.key,))
                self.inbox.put(reading.events(body, datetime.now(UTC)))

    def remove(self, obj: ObjectSpec, where: Row) -> None:
        """A record that is erased, with all of its messages: the one way in which a row of such a system goes."""
        gone = [(number,) for number, row in self._messages(obj) if all(row.get(name) == value for name, value in where.items())]
        connection = sqlite3.connect(inbox_path(self.state))
        try:
            connection.executemany("DELETE FROM event WHERE id = ?", gone)
            connection.commit()
        finally:
            connection.close()


class TestWebhook(ConnectorSuite):
    @pytest.fixture
    def world(self, tmp_path: Path) -> Any:
        world = WebhookWorld(str(tmp_path))
        yield world
        world.close()
