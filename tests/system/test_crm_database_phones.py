"""The example crm-database-phones under many edits: Kinto, PostgreSQL and Radicale are edited at once, and one run is killed."""

from __future__ import annotations

import random
import re
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urljoin

import psycopg
import pytest

from tests.carddav_servers import PASSWORD, USER, RadicaleServer, radicale
from tests.kinto_server import kinto_server
from tests.system.cli.tool import Project, command, environment
from tests.system.connectors.test_kinto import Office

pytestmark = pytest.mark.slow
EXAMPLE = Path(__file__).parents[2] / "examples" / "crm-database-phones"
FIELDS = ("name", "phone", "town")
PEOPLE, ROUNDS, EDITS, WAIT_S = 40, 4, 5, 60
NAMES = ("Zoë", "O'Neil", "שלום", "李; Li, jr.", "Ann 🪑", 'a "b"', "back\\slash", "Ἰάσων")
Contacts = dict[str, dict[str, Any]]
"""By e-mail address."""


class Crm:
    """Somebody at Kinto, who knows it by plain HTTP."""

    def __init__(self, url: str) -> None:
        self.office = Office(url)

    def all(self) -> Contacts:
        rows = self.office.ask("GET", "/collections/contacts/records")
        return {row["email"]: {"key": row["id"], **{name: row.get(name) for name in FIELDS}} for row in rows}

    def add(self, email: str, values: dict[str, str]) -> None:
        self.office.add(email=email, **values)

    def edit(self, email: str, field: str, value: str) -> None:
        self.office.ask("PATCH", f"/collections/contacts/records/{self.all()[email]['key']}", {field: value})

    def delete(self, email: str) -> None:
        self.office.ask("DELETE", f"/collections/contacts/records/{self.all()[email]['key']}")


class Database:
    """Somebody at PostgreSQL."""

    columns: ClassVar = dict(zip(("email", *FIELDS), ("mail", "full_name", "phone", "city"), strict=True))

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True)
        self.connection.execute("CREATE TABLE people (no serial PRIMARY KEY, full_name text NOT NULL, mail text, phone text, city text)")

    def all(self) -> Contacts:
        found = self.connection.execute("SELECT mail, full_name, phone, city FROM people").fetchall()
        return {str(row[0]): dict(zip(FIELDS, row[1:], strict=True)) for row in found}

    def add(self, email: str, values: dict[str, str]) -> None:
        self.connection.execute(
            "INSERT INTO people (mail, full_name, phone, city) VALUES (%s, %s, %s, %s)", [email, *(values[name] for name in FIELDS)]
        )

    def edit(self, email: str, field: str, value: str) -> None:
        done = self.connection.execute(f"UPDATE people SET {self.columns[field]} = %s WHERE mail = %s", [value, email])
        assert done.rowcount == 1


class Phones:
    """Somebody's phone, which keeps cards as texts."""

    lines: ClassVar = {"name": "FN", "phone": "TEL", "town": "ADR"}

    def __init__(self, server: RadicaleServer) -> None:
        self.server = server
        self.book = server.book("team")

    def cards(self) -> dict[str, str]:
        """The text of each card by its address."""
        body = (
            '<C:addressbook-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"><D:prop><C:address-data/></D:prop>'
            "<C:filter/></C:addressbook-query>"
        )
        answer = self.server.client.request("REPORT", self.book, content=body, headers={"depth": "1"})
        found = re.findall(r"<href>([^<]*)</href>.*?address-data>([^<]*)</", answer.text, re.DOTALL)
        marks = (("&#13;", "\r"), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&"))
        texts = {}
        for href, card in found:
            for mark, sign in marks:
                card = card.replace(mark, sign)  # noqa: PLW2901 - one after the other
            texts[urljoin(self.book, href)] = re.sub(r"\r?\n[ \t]", "", card)
        return texts

    def of(self, card: str, line: str) -> str | None:
        said = re.search(rf"^{line}[^:\n]*:([^\r\n]*)", card, re.MULTILINE)
        if said is None:
            return None
        value = re.split(r"(?<!\\);", said[1])[3] if line == "ADR" else said[1]
        return re.sub(r"\\(.)", r"\1", value) or None

    def all(self) -> Contacts:
        return {
            str(self.of(card, "EMAIL")): {name: self.of(card, line) for name, line in self.lines.items()} for card in self.cards().values()
        }

    def add(self, email: str, values: dict[str, str]) -> None:
        name, phone, town = (escaped(values[field]) for field in FIELDS)
        uid = uuid.uuid4()
        lines = ["BEGIN:VCARD", "VERSION:3.0", f"UID:{uid}", f"FN:{name}", "N:;;;;", f"EMAIL:{email}", f"TEL;TYPE=work:{phone}"]
        lines += [f"ADR;TYPE=work:;;;{town};;;", "X-OURS:kept", "END:VCARD", ""]
        self.server.put(f"{self.book}{uid}.vcf", "\r\n".join(lines))

    def edit(self, email: str, field: str, value: str) -> None:
        line, new = self.lines[field], escaped(value)
        new = f";;;{new};;;" if line == "ADR" else new
        for address, card in self.cards().items():
            if self.of(card, "EMAIL") == email:
                edited, count = re.subn(rf"^({line}[^:\n]*:)[^\r\n]*", lambda said: said[1] + new, card, flags=re.MULTILINE)
                assert count == 1, card
                self.server.put(address, edited)


def escaped(text: str) -> str:
    return re.sub(r"([\\;,])", r"\\\1", text)


@pytest.fixture
def sides(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Project, Crm, Database, Phones]]:
    """The example's configuration, and the three systems of it, empty."""
    folder = tmp_path / "company"
    shutil.copytree(EXAMPLE, folder)
    with kinto_server(tmp_path) as url, radicale() as server:
        told = {"CRM_URL": url, "CRM_PASSWORD": "a-secret", "COMPANY_DATABASE": postgres_url}
        for name, value in {**told, "CARDS_URL": server.url, "CARDS_USER": USER, "CARDS_PASSWORD": PASSWORD}.items():
            monkeypatch.setenv(name, value)
        database = Database(postgres_url)
        yield Project(folder), Crm(url), database, Phones(server)
        database.connection.close()


class Company:
    """People who edit three systems at random, never one value in two of them at once; `expected` is what all should come to hold."""

    def __init__(self, systems: list[Any]) -> None:
        self.systems = systems
        self.chance = random.Random(6)
        self.expected: Contacts = {}

    def value(self, field: str) -> str:
        return (
            f"01632 {self.chance.randrange(10**6):06}"
            if field == "phone"
            else f"{self.chance.choice(NAMES)} {self.chance.randrange(10**6)}"
        )

    def add(self, system: Any) -> None:
        email = f"p{len(self.expected) + 1}.{self.chance.randrange(10**6)}@example.org"
        self.expected[email] = {field: self.value(field) for field in FIELDS}
        system.add(email, self.expected[email])

    def work(self) -> None:
        """Some edits and a new contact in each system; the CRM deletes one that nobody edits."""
        places = [(email, field) for email in sorted(self.expected) for field in FIELDS]
        edited = self.chance.sample(places, EDITS * len(self.systems))
        for number, (email, field) in enumerate(edited):
            self.expected[email][field] = self.value(field)
            self.systems[number % len(self.systems)].edit(email, field, self.expected[email][field])
        untouched = min(set(self.expected) - {email for email, _ in edited})
        self.systems[0].delete(untouched)
        del self.expected[untouched]
        for system in self.systems:
            self.add(system)

    def agree(self) -> None:
        for system in self.systems:
            assert {email: {name: row[name] for name in FIELDS} for email, row in system.all().items()} == self.expected


def test_edits_on_three_sides_arrive_everywhere_also_when_a_run_is_killed(sides):
    project, *systems = sides
    company = Company(systems)
    for number in range(PEOPLE):
        company.add(systems[number % 3])
    project.trueup("sync").expect(0)
    for number in range(ROUNDS):
        company.work()
        if number == 1:
            killed_in_the_middle(project, systems, [dict(system.all()) for system in systems])
        project.trueup("sync").expect(0)
        company.agree()
    quiet = project.trueup("sync", "--full", "--json").expect(0).json
    delivered = [part["delivered"] for part in quiet["entities"]["contact"]["systems"].values()]
    assert delivered == [dict.fromkeys(("created", "updated", "deleted", "failed", "pending", "stale"), 0)] * 3
    project.trueup("verify").expect(0)
    assert sum("X-OURS:kept" in card for card in systems[2].cards().values()) >= PEOPLE // 3 - ROUNDS


def killed_in_the_middle(project: Project, systems: list[Any], before: list[Contacts]) -> None:
    """Kill a run as soon as one of the systems shows that it has begun to write."""
    process = subprocess.Popen(command("sync"), cwd=project.folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + WAIT_S
    while process.poll() is None and all(system.all() == was for system, was in zip(systems, before, strict=True)):
        assert time.monotonic() < end
    process.send_signal(signal.SIGKILL)
    process.wait(WAIT_S)
