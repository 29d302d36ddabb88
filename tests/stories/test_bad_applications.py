"""A web application that misbehaves: as a whole it is set aside, or a single record is, with what, which and what now; the rest goes on.

Everything is then mended there, and the next run brings what was missed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.stories.project import ANN, BEN, CLEO, PEOPLE, Project, Row
from trueup.testing.rest_jobs import RefusedError
from trueup.testing.rest_service import RestService, Rule

pytestmark = pytest.mark.slow
TOKEN = "MARK-directory-token-3c"
DAN: Row = ("dan@example.org", "Dan", "4", None)
ANNA: Row = ("ann@example.org", "Anna", "1", "1980-01-31")


class Company(Project):
    """A database, a sheet, and a directory on the web, which all agree."""

    def __init__(self, folder: Path, service: RestService) -> None:
        super().__init__(folder)
        self.service, self.secrets = service, [*self.secrets, TOKEN]
        service.traps.token = TOKEN
        service.make("contacts", rules={"name": Rule(max_length=50)})
        self.environment["DIRECTORY_TOKEN"] = TOKEN
        self.add_sqlite("crm", PEOPLE)
        self.add_csv("till", [ANN])
        self.add("directory", '{connector: rest, file: directory.yaml, secrets: {token: "${DIRECTORY_TOKEN}"}}', "object: contacts")
        self.readers["directory"] = lambda: [
            tuple(None if row.get(name) is None else str(row[name]) for name in ("email", "name", "points", "born"))
            for row in service.rows("contacts")
        ]
        self.describe()
        self.configure()
        self.sync()
        self.agree(PEOPLE)

    def describe(self, *, page: dict[str, Any] | None = None, **http: Any) -> None:
        """The connector file."""
        page = page or {"style": "cursor", "from": "/next", "to": "query.cursor", "size": {"to": "query.limit", "rows": 2}}
        contacts = {
            "key": "/id",
            "envelope": "/attributes",
            "match_on": ["email"],
            "columns": {"id": {"type": "integer", "at": "/id"}, "email": "text", "name": "text", "points": "integer", "born": "date"},
            "read": {"full": {"get": "/contacts", "items": "/data", "page": page}, "one": {"get": "/contacts/${id}"}},
            "write": {
                "create": {"post": "/contacts", "body": {"attributes": "${fields}"}, "item": ""},
                "update": {"patch": "/contacts/${id}", "body": {"attributes": "${changed}"}, "item": ""},
            },
        }
        file = {
            "connector": "directory",
            "auth": {"kind": "bearer", "token": "${secrets.token}"},
            "http": {"base_url": self.service.url, "attempts": 1, **http},
            "objects": {"contacts": contacts},
        }
        (self.folder / "directory.yaml").write_bytes(orjson.dumps(file))

    def edited_elsewhere(self) -> None:
        """Somebody edits a record in the database, and makes another one."""
        self.sql(
            "crm",
            "UPDATE customers SET name = 'Anna' WHERE email = 'ann@example.org'",
            "INSERT INTO customers (email, name, points) VALUES ('dan@example.org', 'Dan', '4')",
        )

    def person(self, email: str) -> dict[str, Any]:
        """A record of the directory."""
        return next(row for row in self.service.rows("contacts") if row["email"] == email)


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Company]:
    with RestService() as service:
        yield Company(tmp_path, service)


def refuses_token(company: Company) -> None:
    company.service.traps.token = "another"


def leads_elsewhere(company: Company) -> None:
    company.service.traps.elsewhere = "http://127.0.0.1:9/contacts"


def next_page_elsewhere(company: Company) -> None:
    company.describe(page={"style": "next_url", "from": "/data/0/attributes/name", "size": {"to": "query.limit", "rows": 2}})
    first = min(company.service.rows("contacts"), key=lambda row: int(row["id"]))
    company.service.put("contacts", {**first, "name": "https://elsewhere.example.com/contacts"})


def talks_nonsense(company: Company) -> None:
    company.service.traps.garbled = 1_000


def shows_pages_for_people(company: Company) -> None:
    company.service.traps.html, company.service.traps.fail = True, 1_000


def repeats_itself(company: Company) -> None:
    company.service.traps.repeats = True


def says_too_much(company: Company) -> None:
    company.describe(max_body_mb=0.0001)


def lost_its_scope(company: Company) -> None:
    company.service.traps.lacks = "people.write"


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (refuses_token, ["directory", "the token is not valid (HTTP 401)", "trueup connect"]),
        (leads_elsewhere, ["directory", "does not allow to ask http://127.0.0.1:9", "http: {hosts: […]}"]),
        (next_page_elsewhere, ["directory", "does not allow to ask https://elsewhere.example.com", "http: {hosts: […]}"]),
        (talks_nonsense, ["directory", "contacts (GET /contacts)", "where JSON was expected"]),
        (shows_pages_for_people, ["directory", "HTTP 503 with a page for people (Error 503)", "it is tried again later"]),
        (repeats_itself, ["directory", "it leads to the same page again and again"]),
        (says_too_much, ["directory", "an answer has more than 0.0001 MB", "max_body_mb"]),
        (lost_its_scope, ["directory", "the scope people.write is not given", "trueup grants directory"]),
    ],
)
def test_an_application_that_cannot_be_worked_with_is_left_out_and_the_others_agree(
    company: Company, breaks: Callable[[Company], None], said: list[str]
) -> None:
    before = company.service.rows("contacts")
    breaks(company)
    company.edited_elsewhere()
    company.run("sync", expect=3).says(*said)
    assert company.rows("crm") == company.rows("till") == sorted([ANNA, BEN, CLEO, DAN]), "the others are done"
    assert {row[0] for row in company.rows("directory")} == {row[0] for row in PEOPLE}, "nothing is made or deleted there"
    company.service.traps = type(company.service.traps)(token=TOKEN)
    for row in before:
        company.service.put("contacts", row)
    company.describe()
    company.sync()
    company.agree([ANNA, BEN, CLEO, DAN])


def has_no_key(company: Company) -> None:
    company.service.traps.unkeyed = 1_000


def says_number_as_text(company: Company) -> None:
    company.service.put("contacts", {**company.person("ann@example.org"), "points": "1"})


def says_no_number(company: Company) -> None:
    company.service.put("contacts", {**company.person("ann@example.org"), "points": "a lot"})


def says_unknown_word(company: Company) -> None:
    company.fields["name"] = "{type: text, one_of: [Ann, Anna, Ben, Cleo, Dan], conflict: last_write_wins}"
    company.configure()
    company.service.put("contacts", {**company.person("ann@example.org"), "name": "Zed"})


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (has_no_key, ["a record has no key (id)"]),
        (says_number_as_text, ["the value of points does not fit", "`1`"]),
        (says_no_number, ["the value of points does not fit", "the text `a lot` stands where a number is expected"]),
        (says_unknown_word, ["name", "Zed", "Ann, Anna, Ben, Cleo, Dan"]),
    ],
)
def test_a_record_that_cannot_be_read_is_set_aside_and_the_others_go_on(
    company: Company, breaks: Callable[[Company], None], said: list[str]
) -> None:
    ann = company.person("ann@example.org")
    breaks(company)
    company.sql("crm", "UPDATE customers SET name = 'Dan' WHERE email = 'ben@example.org'")
    company.sync(expect=3)
    (failure,) = company.failures()
    assert (failure["entity"], failure["system"]) == ("customer", "directory")
    for words in said:
        assert words in failure["reason"]
    edited = company.rows("crm")
    assert company.rows("till") == edited, "the others are done"
    assert company.person("ben@example.org")["name"] == {row[0]: row[1] for row in edited}["ben@example.org"], (
        "and so is another record there"
    )
    company.service.traps = type(company.service.traps)(token=TOKEN)
    company.service.put("contacts", ann)
    company.sync()
    company.agree(edited)
    assert company.failures() == []


@pytest.mark.parametrize(("status", "words"), [(422, "name is not liked"), (413, "this is too large")])
def test_a_value_that_the_application_refuses_waits_alone(
    company: Company, monkeypatch: pytest.MonkeyPatch, status: int, words: str
) -> None:
    def check(_made: Any, _key: Any, name: str, _rule: Any, row: Any) -> None:
        if row.get("name") == "Anna":
            raise RefusedError(status, words, name)

    monkeypatch.setattr(company.service, "_check", check)
    company.edited_elsewhere()
    company.sync(expect=3)
    (failure,) = company.failures()
    assert (failure["system"], failure["stage"], failure["record"] is not None) == ("directory", "write", True)
    assert words in failure["reason"]
    assert company.rows("till") == sorted([ANNA, BEN, CLEO, DAN])
    assert company.rows("directory") == sorted([ANN, BEN, CLEO, DAN])
    monkeypatch.undo()
    company.run("failures", "retry")
    company.sync()
    company.agree([ANNA, BEN, CLEO, DAN])
