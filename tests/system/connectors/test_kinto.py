"""The connector file in examples/crm-database-phones against a running Kinto: changes with tombstones, and writes under If-Match."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kinto_server import kinto_server
from tests.system.connectors.preset_tools import batch, outcomes, read, rows
from trueup.connectors.rest.connector import RestConnector
from trueup.model import ObjectSpec

pytestmark = pytest.mark.slow
FILE = Path(__file__).parents[3] / "examples" / "crm-database-phones" / "kinto.yaml"
CONTACTS = ObjectSpec(name="contacts", key=("id",), modified="last_modified")
COLUMNS = ("name", "email", "town")


class Office:
    """Somebody who works at Kinto by hand."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.ask("PUT", "")
        self.ask("PUT", "/collections/contacts")

    def ask(self, method: str, path: str, data: dict[str, Any] | None = None) -> Any:
        """What it answers."""
        request = urllib.request.Request(f"{self.url}/v1/buckets/company{path}", method=method)  # noqa: S310 - a server of our own
        request.add_header("authorization", "Basic " + base64.b64encode(b"office:a-secret").decode())
        request.add_header("content-type", "application/json")
        with urllib.request.urlopen(request, json.dumps({"data": data or {}}).encode(), timeout=30) as answer:  # noqa: S310
            return json.loads(answer.read())["data"]

    def add(self, **data: str) -> str:
        """The key of a new record."""
        return str(self.ask("POST", "/collections/contacts/records", data)["id"])


@pytest.fixture(scope="module")
def kinto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with kinto_server(tmp_path_factory.mktemp("kinto")) as url:
        yield Office(url)


@pytest.fixture
def connector(kinto: Office) -> Iterator[RestConnector]:
    settings = {"file": str(FILE), "secrets": {"password": "a-secret"}, "values": {"host": kinto.url, "bucket": "company"}}
    made = RestConnector.open("directory", settings)
    yield made
    made.close()


def test_pages_changes_and_tombstones(kinto, connector):
    keys = [kinto.add(name=f"n{number}", email=f"pages{number}@example.com") for number in range(230)]
    pages = read(connector, CONTACTS, COLUMNS)
    assert set(keys) <= {row["__key"] for row in rows(pages)}
    assert pages[-1].complete
    kinto.ask("DELETE", f"/collections/contacts/records/{keys[3]}")
    kinto.ask("PATCH", f"/collections/contacts/records/{keys[5]}", {"name": "Zoë O'Neil 🪑"})
    changed = read(connector, CONTACTS, COLUMNS, since=pages[-1].cursor)
    assert {row["__key"]: row["name"] for row in rows(changed)}[keys[5]] == "Zoë O'Neil 🪑"
    assert keys[3] in changed[-1].gone


def test_what_somebody_else_changed_meanwhile_is_not_written_over(kinto, connector):
    assert connector.caps.precondition == "native"
    first = outcomes(connector, CONTACTS, batch("create", (None, {"name": "Ada", "email": "ada@example.com", "town": None})))[0]
    (seen,) = rows(read(connector, CONTACTS, COLUMNS, keys=[first["key"]]))
    change = batch("update", (first["key"], {"town": "Ulm"}), expected=[{"__version": first["version"], "town": None}])
    assert outcomes(connector, CONTACTS, change)[0]["status"] == "done"
    assert outcomes(connector, CONTACTS, change)[0]["status"] == "stale"
    shown = kinto.ask("GET", f"/collections/contacts/records/{first['key']}")
    assert (shown["name"], shown["town"], seen["town"]) == ("Ada", "Ulm", None)


def test_a_row_is_found_by_value_deleted_and_gone(kinto, connector):
    key = kinto.add(name="Grace", email="grace@example.com")
    wanted = batch("create", (None, {"email": "grace@example.com"})).rows.select("email")
    assert connector.find(CONTACTS, COLUMNS, wanted)["__key"].to_list() == [key]
    gone = batch("delete", (key, {}), expected=[{"__version": None, "name": "Grace"}])
    assert [outcomes(connector, CONTACTS, gone)[0]["status"] for _ in range(2)] == ["done", "gone"]
    assert rows(read(connector, CONTACTS, COLUMNS, keys=[key])) == []
