"""A CRM on the web, a database and the address book on everybody's phone: whoever is edited where, all three agree in the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from tests.carddav_servers import PASSWORD, USER, RadicaleServer, radicale, vdirsyncer
from tests.system.cli.tool import Project
from trueup.connectors.carddav_card import parsed
from trueup.testing.rest_service import TOKEN, RestService

pytestmark = pytest.mark.slow

CONFIG = """\
systems:
  crm:    {{connector: rest, file: crm.json, secrets: {{token: "${{CRM_TOKEN}}"}}}}
  ledger: {{connector: postgres, url: "${{LEDGER_URL}}"}}
  phones: {{connector: carddav, url: "{cards}", user: {user}, password: "${{CARDS_PASSWORD}}"}}
entities:
  contact:
    match: [[email]]
    precedence: [crm, ledger, phones]
    fields:
      name:  {{type: text, conflict: last_write_wins}}
      email: {{type: text, clean: [trim, lower]}}
      phone: {{type: text, conflict: last_write_wins}}
      city:  {{type: text, source_of_truth: ledger}}
    mappings:
      crm:
        object: contacts
        key: id
        fields: {{name: name, email: email, phone: phone, city: city}}
      ledger:
        object: customer
        key: id
        fields: {{name: full_name, email: email, phone: phone, city: town}}
      phones:
        object: team
        key: href
        fields: {{name: full_name, email: email, phone: phone_work, city: work_city}}
    deletes: {{from: [crm], action: propagate}}
"""
PICTURE = "PHOTO;ENCODING=b;TYPE=JPEG:" + "QUJD" * 30


class Office:
    """The three systems, and the project that keeps them together."""

    def __init__(self, folder: Path, ledger: str, cards: RadicaleServer) -> None:
        self.crm = RestService()
        self.crm.traps.token = TOKEN
        self.crm.make("contacts", key=("id",))
        self.cards = cards
        self.book = cards.book("team")
        self.ledger = psycopg.connect(ledger, autocommit=True)
        self.ledger.execute("CREATE TABLE customer (id serial PRIMARY KEY, full_name text, email text, phone text, town text)")
        (folder / "crm.json").write_bytes(orjson.dumps(described(self.crm.url)))
        (folder / "trueup.yaml").write_text(CONFIG.format(cards=cards.url, user=USER))
        (folder / ".env").write_text(f"CRM_TOKEN={TOKEN}\nLEDGER_URL={ledger}\nCARDS_PASSWORD={PASSWORD}\n")
        self.project = Project(folder)

    def close(self) -> None:
        self.ledger.close()
        self.crm.close()

    def sync(self, *words: str) -> dict[str, Any]:
        told: dict[str, Any] = self.project.trueup("sync", "--json", *words).expect(0).json["entities"]["contact"]
        return told

    def in_crm(self) -> set[tuple[Any, ...]]:
        return {tuple(row.get(name) for name in ("name", "email", "phone", "city")) for row in self.crm.rows("contacts")}

    def in_ledger(self) -> set[tuple[Any, ...]]:
        return set(self.ledger.execute("SELECT full_name, email, phone, town FROM customer").fetchall())

    def cards_by_email(self) -> dict[str, tuple[str, str]]:
        """E-mail -> path and text of the card."""
        found = {}
        answer = self.cards.client.request("PROPFIND", self.book, headers={"depth": "1"})
        for href in answer.text.split("<href>")[1:]:
            path = href.partition("<")[0]
            if path.startswith(self.book) and path != self.book:
                text = self.cards.get(path)
                email = next((line.text for line in parsed(text).named("EMAIL")), "")
                found[email] = (path, text)
        return found

    def on_phones(self) -> set[tuple[Any, ...]]:
        found = set()
        for _, text in self.cards_by_email().values():
            card = parsed(text)
            phone = next((line.text for line in card.named("TEL") if "work" in line.types), None)
            city = next((line.fields()[3] for line in card.named("ADR") if "work" in line.types), None)
            found.add((card.named("FN")[0].text, next((line.text for line in card.named("EMAIL")), None), phone, city))
        return found

    def agreed(self) -> set[tuple[Any, ...]]:
        assert self.in_crm() == self.in_ledger() == self.on_phones()
        return self.in_ledger()


def described(url: str) -> dict[str, Any]:
    one = "/contacts/${id}"
    guarded = {"header": "If-Match", "from": "etag"}
    names = ("name", "email", "phone", "city")
    return {
        "connector": "crm",
        "auth": {"kind": "bearer", "token": "${secrets.token}"},
        "http": {"base_url": url},
        "objects": {
            "contacts": {
                "key": "/id",
                "envelope": "/attributes",
                "match_on": ["email"],
                "columns": {
                    "id": {"type": "integer", "at": "/id"},
                    **{name: {"type": "text", "at": f"/attributes/{name}"} for name in names},
                },
                "read": {"full": {"get": "/contacts", "items": "/data"}, "one": {"get": one}},
                "write": {
                    "create": {"post": "/contacts", "body": "${record}", "item": "", "id": "/id"},
                    "update": {"patch": one, "body": {"attributes": "${changed}"}, "item": "", "precondition": guarded},
                    "delete": {"delete": one, "precondition": guarded},
                },
            }
        },
    }


@pytest.fixture
def office(tmp_path: Path, postgres_url: str) -> Iterator[Office]:
    with radicale() as cards:
        made = Office(tmp_path, postgres_url, cards)
        yield made
        made.close()


def test_three_kinds_of_system_agree_whoever_is_edited_where(office: Office, tmp_path: Path):
    office.crm.put("contacts", {"id": 501, "name": "Ann O'Neil", "email": "ann@example.org", "phone": "1", "city": None})
    office.ledger.execute("INSERT INTO customer (full_name, email, phone, town) VALUES ('Zoë 😀', 'zoe@example.org', '2', 'Paris')")
    lines = ["BEGIN:VCARD", "VERSION:3.0", "UID:u1", "N:Haddad;ليلى;;;", "FN:ليلى Haddad", "EMAIL:leila@example.org", PICTURE, "END:VCARD"]
    office.cards.put(f"{office.book}phone-7.vcf", "".join(f"{line}\r\n" for line in lines))

    office.sync()
    first = office.agreed()
    assert first == {
        ("Ann O'Neil", "ann@example.org", "1", None),
        ("Zoë 😀", "zoe@example.org", "2", "Paris"),
        ("ليلى Haddad", "leila@example.org", None, None),
    }
    told = office.sync()
    assert {name: system["delivered"]["created"] + system["delivered"]["updated"] for name, system in told["systems"].items()} == {
        "crm": 0,
        "ledger": 0,
        "phones": 0,
    }

    path, text = office.cards_by_email()["ann@example.org"]
    office.cards.put(path, text.replace("FN:Ann O'Neil", "FN:Ann O'Neil-Okafor"))
    office.ledger.execute("UPDATE customer SET town = 'Lagos' WHERE email = 'ann@example.org'")
    (leila,) = [row for row in office.crm.rows("contacts") if row["email"] == "leila@example.org"]
    office.crm.put("contacts", {**leila, "phone": "+961 1 000"})
    office.sync()
    assert office.agreed() == {
        ("Ann O'Neil-Okafor", "ann@example.org", "1", "Lagos"),
        ("Zoë 😀", "zoe@example.org", "2", "Paris"),
        ("ليلى Haddad", "leila@example.org", "+961 1 000", None),
    }
    kept = office.cards.get(f"{office.book}phone-7.vcf").replace("\r\n ", "")
    assert "QUJD" * 30 in kept, "the picture stays"
    assert "N:Haddad;ليلى;;;" in kept.split("\r\n")

    (zoe,) = [row["id"] for row in office.crm.rows("contacts") if row["email"] == "zoe@example.org"]
    office.crm.drop("contacts", (zoe,))
    office.sync("--full")
    assert {row[1] for row in office.agreed()} == {"ann@example.org", "leila@example.org"}

    (tmp_path / "judge").mkdir()
    judged = vdirsyncer(office.cards, "team", tmp_path / "judge")
    names = {parsed(file.read_text()).named("FN")[0].text for file in judged.glob("*.vcf")}
    assert names == {"Ann O'Neil-Okafor", "ليلى Haddad"}, "another program reads what was written"
