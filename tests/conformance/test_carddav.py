"""The CardDAV connector takes the exam against Radicale; what the server holds is asked by plain HTTP and read by a parser of its own."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import quote, unquote

import pytest

from tests.carddav_servers import USER, RadicaleServer, radicale
from trueup.connectors.carddav import CarddavConnector
from trueup.model import ObjectSpec
from trueup.testing.conformance import ConnectorSuite, Traits, Trial, World
from trueup.testing.conformance_watch import a_changed_key_tells_both, changes_are_told_by_key
from trueup.testing.conformance_world import Row, holds

pytestmark = pytest.mark.slow


class CarddavWorld(World):
    """One account. Each column of an object but the key is a property of its own, `X-C1`, `X-C2` …"""

    connector = CarddavConnector
    traits: ClassVar[Traits] = Traits(
        types=frozenset({"text", "integer", "decimal", "float", "boolean", "date", "datetime", "timestamp"}),  # a card has no empty list
        versions=True,
        unguarded_keys=False,
        declares_columns=True,
        misfits=True,
        composite_keys=False,
        strange_keys=False,  # Radicale refuses addresses with quotes, commas and braces in them
        watch_durable=True,
        assigned_type="text",
        controls=False,  # a card knows one kind of line end
    )

    def __init__(self, directory: str, server: RadicaleServer) -> None:
        """The server belongs to somebody else."""
        super().__init__(directory)
        self.server = server
        self.trials: dict[str, Trial] = {}
        self._names = server.numbers

    def settings(self) -> dict[str, Any]:
        return self.server.settings(look_every_s=0.1)

    def spec(self, name: str, trial: Trial) -> ObjectSpec:
        options: dict[str, Any] = {
            "standard": False,
            "columns": {column: said if said == "href" else {"at": said, "type": kind} for column, said, kind in self.places(trial)},
        }
        if trial.columns[trial.key[0]].type != "text":
            options["columns"][trial.key[0]] = {"at": "href", "type": trial.columns[trial.key[0]].type}
        self.trials[name] = trial
        return replace(super().spec(name, trial), options=options)

    def places(self, trial: Trial) -> list[tuple[str, str, str]]:
        return [
            (column, "href" if column in trial.key else f"X-C{number}", said.type)
            for number, (column, said) in enumerate(trial.columns.items())
        ]

    def make(self, name: str, trial: Trial) -> None:
        self.trials[name] = trial
        self.server.book(name)

    def path(self, obj: ObjectSpec, key: Any) -> str:
        return f"/{USER}/{obj.name}/{quote(str(key).replace('%', '%25').replace('/', '%2F'), safe='')}"

    def card(self, obj: ObjectSpec, row: Row, uid: str = "") -> str:
        trial = self.trials[str(obj.name)]
        lines = ["BEGIN:VCARD", "VERSION:3.0", uid or f"UID:{uuid.uuid4()}", "FN:somebody", "N:;;;;", "X-OTHER;A=b:kept"]
        for column, at, _ in self.places(trial):
            if at != "href" and row.get(column) is not None:
                lines.append(f"{at}:{escaped(spelled(row[column]))}")
        return "".join(line + "\r\n" for line in [*lines, "END:VCARD"])

    def insert(self, obj: ObjectSpec, rows: Sequence[Row]) -> None:
        for row in rows:
            self.server.put(self.path(obj, row[obj.key[0]]), self.card(obj, row))

    def rows(self, obj: ObjectSpec) -> list[Row]:
        trial = self.trials[str(obj.name)]
        body = (
            '<C:addressbook-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"><D:prop><C:address-data/></D:prop>'
            "<C:filter/></C:addressbook-query>"
        )
        answer = self.server.client.request("REPORT", f"/{USER}/{obj.name}/", content=body, headers={"depth": "1"})
        assert answer.status_code == 207, answer.text
        found = []
        for href, card in re.findall(r"<href>([^<]*)</href>.*?address-data>([^<]*)</", answer.text, re.DOTALL):
            key = unquote(unquote(href).rpartition("/")[2])
            text = card.replace("&lt;", "<").replace("&gt;", ">").replace("&#13;", "\r").replace("&amp;", "&")
            lines = dict(line.split(":", 1) for line in re.sub(r"\r?\n ", "", text).splitlines() if line.startswith("X-C"))
            row: Row = {trial.key[0]: typed(key, trial.columns[trial.key[0]].type)}
            for column, at, kind in self.places(trial):
                if at != "href":
                    row[column] = (
                        typed(re.sub(r"\\(.)", lambda m: "\n" if m[1] in "nN" else m[1], lines[at]), kind) if at in lines else None
                    )
            found.append(row)
        return found

    def edit(self, obj: ObjectSpec, where: Row, values: Row) -> None:
        for row in self.rows(obj):
            if holds(row, where):
                key = self.trials[str(obj.name)].key[0]
                uid = next(line for line in self.server.get(self.path(obj, row[key])).splitlines() if line.startswith("UID:"))
                if key in values:
                    self.server.delete(self.path(obj, row[key]))
                self.server.put(self.path(obj, values.get(key, row[key])), self.card(obj, {**row, **values}, uid))

    def remove(self, obj: ObjectSpec, where: Row) -> None:
        for row in self.rows(obj):
            if holds(row, where):
                self.server.delete(self.path(obj, row[obj.key[0]]))


def escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,").replace("\n", "\\n")


def spelled(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, date | datetime) else format(value, "f") if isinstance(value, Decimal) else str(value)


def typed(text: str, kind: str) -> Any:
    """A value as `canonical` reads it; what is none stays text."""
    try:
        match kind:
            case "integer":
                return int(text)
            case "float":
                return float(text)
            case "boolean":
                return text == "true"
            case "date":
                return date.fromisoformat(text)
            case "datetime" | "timestamp":
                return datetime.fromisoformat(text)
            case _:
                return text
    except ValueError:
        return text


@pytest.fixture(scope="module")
def server() -> Iterator[RadicaleServer]:
    with radicale() as running:
        yield running


class TestCarddav(ConnectorSuite):
    @pytest.fixture
    def world(self, server: RadicaleServer, tmp_path) -> World:
        return CarddavWorld(str(tmp_path), server)


@pytest.mark.parametrize("rule", [changes_are_told_by_key, a_changed_key_tells_both], ids=lambda rule: rule.__name__)
def test_changes_are_told_by_key(server: RadicaleServer, tmp_path, rule):
    """`watch_keys` is not declared only because a rule of it puts 50,000 rows there at once."""
    rule(CarddavWorld(str(tmp_path), server))
