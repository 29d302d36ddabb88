"""A website's lead form only pushes: what it sent is in the CRM after the next run, the latest message per lead counting."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.system.cli.tool import Project
from tests.system.web.test_receiver import post
from trueup.config.load import load_config
from trueup.store.inbox import Inbox
from trueup.web import receiver
from trueup.web.receiver import Handle

CONFIG = """\
{state}systems:
  crm:     {{connector: sqlite, path: crm.db}}
  website:
    connector: webhook
    webhook:
      verify: {{kind: token, header: X-Token, secret: "${{LEAD_TOKEN}}"}}
      event: {{id: /id, at: /sent}}
entities:
  lead:
    match: [[email]]
    fields:
      name:  {{type: text}}
      email: {{type: text, clean: [trim, lower]}}
      phone: {{type: text}}
      budget: {{type: decimal}}
    mappings:
      crm:
        object: leads
        key: id
        fields: {{name: name, email: email, phone: phone, budget: budget}}
      website:
        key: /lead/id
        fields:
          name:  {{read: 'concat_ws('' '', "/lead/first", "/lead/last")'}}
          email: /lead/email
          phone: /lead/phone
          budget: /lead/budget
"""
TABLE = "CREATE TABLE leads (id INTEGER PRIMARY KEY, name TEXT, email TEXT, phone TEXT, budget NUMERIC)"
HEADERS = {"X-Token": "t0ken"}


def told(number: int, sent: str | None = None, **lead: Any) -> str:
    """A message of the form; the lead is called `id`."""
    return json.dumps({"id": number, "sent": sent, "lead": lead})


class Office:
    """A folder with the CRM and the configuration, and a receiver."""

    def __init__(self, folder: Path, state: str | None) -> None:
        self.folder = folder
        with closing(sqlite3.connect(folder / "crm.db")) as crm:
            crm.execute(TABLE)
        (folder / "trueup.yaml").write_text(CONFIG.format(state=f"state: {state}\n" if state else ""))
        (folder / ".env").write_text("LEAD_TOKEN=t0ken\n")
        self.config = load_config(folder / "trueup.yaml", environ={})
        self.project = Project(folder)
        self.handle: Handle | None = None

    def push(self, *bodies: str) -> None:
        if self.handle is None:
            self.handle = receiver.start(self.config, self.config.state, port=0)
        for body in bodies:
            assert post(self.handle, "website", body.encode(), HEADERS)[0] == 202

    def run(self, *words: str) -> Any:
        return self.project.trueup(*words)

    def crm(self) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.folder / "crm.db")) as crm:
            return crm.execute("SELECT name, email, phone, budget FROM leads ORDER BY email").fetchall()


@pytest.fixture(params=["sqlite", "postgresql"])
def office(request, tmp_path):
    place = None if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    opened = Office(tmp_path, place)
    yield opened
    if opened.handle is not None:
        opened.handle.stop()


def test_leads_reach_the_crm_and_the_latest_message_counts(office):
    office.run("check").expect(0)
    office.run("sync").expect(0)  # nothing was pushed yet, which is no trouble
    assert office.crm() == []
    first = "2026-03-01T10:00:00Z"
    office.push(
        told(1, first, id=7, first="Ada", last="Byron", email="Ada@Example.com"),
        told(2, first, id=8, first="Cy", last="X", email="cy@example.com", budget=10.5),
    )
    office.run("sync").expect(0)
    assert office.crm() == [("Ada Byron", "ada@example.com", None, None), ("Cy X", "cy@example.com", None, 10.5)]
    office.push(
        told(3, "2026-03-01T12:00:00Z", id=7, first="Ada", last="Lovelace", email="ada@example.com", phone="1"),
        told(4, "2026-03-01T11:00:00Z", id=7, first="Late", last="News", email="ada@example.com"),
        told(3, "2026-03-01T13:00:00Z", id=7, first="A", last="Repeat", email="ada@example.com"),
    )
    office.run("sync").expect(0)
    assert office.crm() == [("Ada Lovelace", "ada@example.com", "1", None), ("Cy X", "cy@example.com", None, 10.5)]
    quiet = office.run("sync", "--json").expect(0).json
    assert quiet["entities"]["lead"]["systems"]["website"]["observed"]["unchanged"] == 2
    assert quiet["entities"]["lead"]["golden"] == {"total": 2, "created": 0, "updated": 0, "deleted": 0}
    office.run("verify").expect(0)
    office.run("plan").expect(0)


def test_nothing_is_written_to_the_website_and_nothing_of_it_is_missing_when_old_messages_go(office):
    office.push('{"id": 1, "lead": {"id": 7, "first": "Ada", "last": "Byron", "email": "ada@example.com"}}')
    office.push('{"id": 2, "lead": {"id": 7, "first": "Ada", "last": "Lovelace", "email": "ada@example.com"}}')
    office.run("sync").expect(0)
    with closing(sqlite3.connect(office.folder / "crm.db")) as crm:
        crm.execute("UPDATE leads SET phone = '555'")
        crm.execute("INSERT INTO leads (name, email) VALUES ('New', 'new@example.com')")
        crm.commit()

    with Inbox.open(office.config.state) as inbox:
        inbox.done([event.id for event in inbox.take(10)])
        assert inbox.compact(datetime.now(UTC) + timedelta(days=1)) == 1
    told = office.run("sync", "--json").expect(0).json["entities"]["lead"]["systems"]["website"]
    assert told["observed"]["deleted"] == 0
    assert told["delivered"] == {"created": 0, "updated": 0, "deleted": 0, "failed": 0, "pending": 0, "stale": 0}
    assert [row[2] for row in office.crm()] == ["555", None]


def test_a_message_that_cannot_be_used_harms_no_other(office):
    office.push(
        '{"id": 1, "lead": {"first": "nobody"}}',
        '{"id": 2, "lead": {"id": 8, "first": "Cy", "last": "X", "email": "cy@example.com", "budget": "much"}}',
        '{"id": 3, "lead": {"id": 7, "first": "Ada", "last": "Byron", "email": "ada@example.com"}}',
    )
    office.run("sync").expect(3)
    assert ("Ada Byron", "ada@example.com", None, None) in office.crm()
    failures = office.run("failures", "--json").expect(0).json
    assert {failure["system"] for failure in failures} == {"website"}


def test_pushing_while_a_run_reads(office):
    office.push('{"id": 0, "lead": {"id": 0, "first": "First", "last": "", "email": "first@example.com"}}')
    stop = threading.Event()
    sent: list[int] = []

    def keep_pushing() -> None:
        while not stop.is_set():
            number = len(sent) + 1
            office.push(
                f'{{"id": {number}, "lead": {{"id": {number}, "first": "N", "last": "{number}", "email": "n{number}@example.com"}}}}'
            )
            sent.append(number)

    thread = threading.Thread(target=keep_pushing)
    thread.start()
    try:
        office.run("sync").expect(0)
    finally:
        stop.set()
        thread.join()
    office.run("sync").expect(0)
    assert len(office.crm()) == len(sent) + 1
