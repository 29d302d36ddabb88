"""An application whose list shows two records under one key: neither counts, and whoever had the key keeps what they have."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from trueup.connectors.rest.connector import RestConnector
from trueup.model import RunSummary
from trueup.runtime.workspace import open_workspace
from trueup.store import failure
from trueup.testing.rest_service import TOKEN, RestService

CONFIGURATION = f"""
systems:
  directory: {{connector: rest, file: directory.yaml, secrets: {{token: {TOKEN}}}}}
  office: {{connector: sqlite, path: office.db}}
entities:
  customer:
    match: [[email]]
    guard: off
    deletes: {{from: [directory], action: propagate}}
    fields: {{email: text, name: text}}
    mappings:
      directory: {{object: contacts, key: id, fields: {{email: email, name: name}}}}
      office: {{object: people, key: id, fields: {{email: email, name: name}}}}
"""
ADA, BOB, CLEO, DORA = ((f"{name.lower()}@example.org", name) for name in ("Ada", "Bob", "Cleo", "Dora"))


class Company:
    """A directory whose keys are texts or numbers, as they come, and a database."""

    def __init__(self, folder: Path, service: RestService, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.service = folder, service
        self.monkeypatch = monkeypatch
        service.traps.token = TOKEN
        service.make("contacts")
        self.write_file(page_rows=2)
        (folder / "trueup.yaml").write_text(CONFIGURATION, encoding="utf-8")
        with closing(sqlite3.connect(folder / "office.db")) as db:
            db.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, name TEXT)")

    def write_file(self, *, page_rows: int) -> None:
        """The connector file."""
        page = {"style": "cursor", "from": "/next", "to": "query.cursor", "size": {"to": "query.limit", "rows": page_rows}}
        contacts = {
            "key": "/id",
            "envelope": "/attributes",
            "columns": {"id": {"type": "text", "at": "/id"}, "name": "text", "email": "text"},
            "read": {"full": {"get": "/contacts", "items": "/data", "page": page}, "one": {"get": "/contacts/${id}"}},
            "write": {
                "create": {"post": "/contacts", "body": {"attributes": "${fields}"}, "item": ""},
                "update": {"patch": "/contacts/${id}", "body": {"attributes": "${changed}"}, "item": ""},
                "delete": {"delete": "/contacts/${id}"},
            },
        }
        file: dict[str, Any] = {"connector": "directory", "auth": {"kind": "bearer", "token": "${secrets.token}"}}
        file |= {"http": {"base_url": self.service.url, "most_wait_s": 5}, "objects": {"contacts": contacts}}
        (self.folder / "directory.yaml").write_bytes(orjson.dumps(file))

    def read_by(self, asked: int, shown: int) -> None:
        """The directory's pages have so many records, those of the connector as many rows at most."""
        self.write_file(page_rows=asked)
        usual = RestConnector.read.__kwdefaults__ or {}
        self.monkeypatch.setattr(RestConnector.read, "__kwdefaults__", {**usual, "page_rows": shown})

    def put(self, key: Any, person: tuple[str, str]) -> None:
        """A record of the directory."""
        self.service.put("contacts", {"id": key, "email": person[0], "name": person[1]})

    def enter(self, email: str, name: str) -> None:
        """Somebody new in the database."""
        with closing(sqlite3.connect(self.folder / "office.db")) as db:
            db.execute("INSERT INTO people (email, name) VALUES (?, ?)", (email, name))
            db.commit()

    def sync(self) -> RunSummary:
        """One run."""
        with open_workspace(self.folder / "trueup.yaml") as workspace:
            return workspace.sync()

    def look(self, *keys: str) -> None:
        """One run over records of the directory by key, as `serve` makes them."""
        with open_workspace(self.folder / "trueup.yaml") as workspace:
            workspace.look_again("customer", {"directory": keys}, ())

    def failures(self) -> list[tuple[str, str]]:
        """Key and reason of what could not be done."""
        with open_workspace(self.folder / "trueup.yaml") as workspace, workspace.store.read() as db:
            return [(row["key"], row["reason"]) for row in failure.of(db).to_dicts()]

    @property
    def office(self) -> list[tuple[str, str]]:
        """Everybody whom the database knows."""
        with closing(sqlite3.connect(self.folder / "office.db")) as db:
            return sorted(db.execute("SELECT email, name FROM people").fetchall())

    @property
    def directory(self) -> list[tuple[str, str]]:
        """Everybody whom the directory shows."""
        return sorted((row["email"], row["name"]) for row in self.service.rows("contacts"))


@pytest.fixture
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Company]:
    with RestService() as service:
        yield Company(tmp_path, service, monkeypatch)


PAGES = pytest.mark.parametrize("pages", [(10, 20_000), (1, 20_000), (1, 1)], ids=["one answer", "two answers", "row by row"])


@PAGES
@pytest.mark.parametrize("keys", [("1", 1), (1, "1")], ids=["the new one stands first", "the new one stands last"])
def test_a_second_record_with_the_text_of_a_key_is_told_and_counts_for_nobody(company: Company, pages: tuple[int, int], keys: Any) -> None:
    """Bob's record was made anew, and its key reads as Ada's: nobody is taken for anybody else until the keys can be told apart."""
    company.read_by(*pages)
    company.put(keys[0], ADA)
    company.put("2", BOB)
    company.put(5, CLEO)
    assert company.sync().status == "done"
    company.service.drop("contacts", ("2",))
    company.put(keys[1], BOB)
    company.put(7, DORA)
    for _run in range(2):
        rejected = company.sync().entities["customer"].systems["directory"].observed.rejected
        assert rejected == (1 if pages == (1, 1) else 2), "what was shown already is not told again"
        assert company.office == [ADA, BOB, CLEO, DORA], "nobody became anybody else, and the others are done"
        assert company.directory == [ADA, BOB, CLEO, DORA], "nothing is written to either"
        assert [key for key, reason in company.failures() if reason.endswith("the key (id) occurs more than once")] == ["1"]
    company.service.drop("contacts", (keys[1],))
    company.put("9", BOB)
    company.sync()
    assert (company.failures(), company.office, company.directory) == ([], [ADA, BOB, CLEO, DORA], [ADA, BOB, CLEO, DORA])


@PAGES
def test_two_new_records_with_one_key_are_no_record_until_one_has_another(company: Company, pages: tuple[int, int]) -> None:
    company.read_by(*pages)
    for key, person in ((1, ADA), ("1", BOB), (5, CLEO), (7, DORA)):
        company.put(key, person)
    company.sync()
    assert company.office == [CLEO, DORA]
    company.service.drop("contacts", (1,))
    company.put("6", ADA)
    company.sync()
    assert (company.office, company.failures()) == ([ADA, BOB, CLEO, DORA], [])


@PAGES
def test_a_second_record_that_looks_like_an_edit_of_the_first_is_none(company: Company, pages: tuple[int, int]) -> None:
    company.read_by(*pages)
    company.put("1", ADA)
    company.put(5, CLEO)
    company.sync()
    company.put(1, (ADA[0], "Adele"))
    company.sync()
    assert company.office == [ADA, CLEO]
    company.service.drop("contacts", ("1",))
    company.sync()
    assert company.office == [(ADA[0], "Adele"), CLEO], "it is the only one with this key now"


@pytest.mark.slow
@PAGES
@pytest.mark.parametrize("keys", [("1", 1), (1, "1")], ids=["the new one stands first", "the new one stands last"])
def test_asked_for_by_key_the_records_that_share_one_tell_nothing(company: Company, pages: tuple[int, int], keys: Any) -> None:
    """Asked for `1`, the directory shows one of the two. Nothing of that counts until a list tells."""
    company.read_by(*pages)
    company.put(keys[0], ADA)
    company.put("2", BOB)
    company.put(5, CLEO)
    company.sync()
    company.service.drop("contacts", ("2",))
    company.put(keys[1], (BOB[0], "Bobby"))
    company.sync()
    for asked in (["1"], ["2"], ["1", "2"]):
        company.look(*asked)
        assert company.office == [ADA, BOB, CLEO]
        assert [key for key, _reason in company.failures()] == ["1"], "it is still told"
    company.service.drop("contacts", (keys[1],))
    company.put("2", (BOB[0], "Bobby"))
    company.sync()
    assert (company.office, company.failures()) == ([ADA, (BOB[0], "Bobby"), CLEO], [])


def test_while_records_share_a_key_no_other_is_deleted_or_made_over_them(company: Company) -> None:
    """The directory shows those two to nobody who asks for anything but its list: Bob, who is gone, may be one of them, and so may Dora."""
    for key, person in (("1", ADA), ("2", BOB), (5, CLEO)):
        company.put(key, person)
    company.sync()
    company.service.drop("contacts", ("2",))
    company.put(1, DORA)
    company.enter(*DORA)
    company.sync()
    assert (company.office, company.directory) == ([ADA, BOB, CLEO, DORA], [ADA, CLEO, DORA])
    company.service.drop("contacts", (1,))
    company.put("9", DORA)
    company.sync()
    assert (company.office, company.directory) == ([ADA, CLEO, DORA], [ADA, CLEO, DORA]), "nothing is left that could be Bob"
    assert company.failures() == []
