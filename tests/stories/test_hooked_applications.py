"""An application that is subscribed to: what is edited there crosses at once, and all of it, however many of its messages are lost."""

from __future__ import annotations

import io
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import orjson
import pytest

from tests.servers import free_port
from trueup.model import Config
from trueup.runtime.serving import server as server_module
from trueup.runtime.serving import subscribing as subscribing_module
from trueup.runtime.serving.events import Log
from trueup.runtime.serving.server import Server
from trueup.runtime.workspace import open_workspace
from trueup.store import Store, paused, subscription
from trueup.testing.rest_hooks import HEADER
from trueup.testing.rest_service import TOKEN, RestService
from trueup.web import receiver

PATIENCE_S = 120.0
SECRET = "hook-secret-5c1e"
WEBHOOK = {
    "verify": {"kind": "hmac", "secret": "${secrets.hook}", "header": HEADER, "message": "${body}"},
    "event": {"id": "/id", "key": "/key", "object": "/object"},
    "subscribe": {"post": "/hooks", "body": {"url": "${callback}", "secret": "${secret}", "object": "${object}"}, "id": "/id"},
    "renew": {"post": "/hooks/${id}/renew"},
    "renew_every": "6d",
    "alive": {"get": "/hooks/${id}", "at": "/status", "is": "active"},
    "alive_every": "1h",
    "unsubscribe": {"delete": "/hooks/${id}"},
}
CONFIGURATION = """
systems:
  directory:
    connector: rest
    file: directory.yaml
    secrets: {{token: {token}, hook: {secret}}}
    webhook: {{callback: "http://127.0.0.1:{port}/hooks/directory"}}
  office: {{connector: sqlite, path: office.db}}
entities:
  customer:
    match: [[email]]
    when: [realtime]
    guard: off
    fields:
      email: text
      name: {{type: text, conflict: last_write_wins}}
    mappings:
      directory: {{object: contacts, key: id, modified: updated_at, fields: {{email: email, name: name}}}}
      office: {{object: people, key: id, fields: {{email: email, name: name}}}}
"""


class Company:
    """A directory on the web and a database, and a server between them."""

    def __init__(self, folder: Path, service: RestService, rows: int) -> None:
        self.folder, self.service, self.port = folder, service, free_port()
        service.traps.token = TOKEN
        service.make("contacts")
        for number in range(1, rows + 1):
            service.put("contacts", {"id": number, "name": f"n{number}", "email": f"e{number}@example.org"})
        service.collections["contacts"].number = rows
        self.write_file(WEBHOOK)
        self.file = folder / "trueup.yaml"
        self.file.write_text(CONFIGURATION.format(token=TOKEN, secret=SECRET, port=self.port), encoding="utf-8")
        self.ask("CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, name TEXT)")
        with open_workspace(self.file) as workspace:
            assert workspace.sync().status == "done"
        self.told = io.StringIO()

    def write_file(self, webhook: dict[str, Any]) -> None:
        """The connector file."""
        page = {"style": "cursor", "from": "/next", "to": "query.cursor", "size": {"to": "query.limit", "rows": 200}}
        contacts = {
            "key": "/id",
            "modified": "/updated_at",
            "envelope": "/attributes",
            "columns": {"id": {"type": "integer", "at": "/id"}, "name": "text", "email": "text"},
            "read": {
                "full": {"get": "/contacts", "items": "/data", "page": page},
                "changed": {"get": "/contacts", "query": {"since": "${since|iso}"}, "items": "/data", "page": page},
                "one": {"get": "/contacts/${id}"},
                "many": {"get": "/contacts", "query": {"ids": "${ids|comma}", "limit": "500"}, "items": "/data", "max": 100},
            },
            "write": {
                "create": {"post": "/contacts", "body": {"attributes": "${fields}"}, "item": ""},
                "update": {"patch": "/contacts/${id}", "body": {"attributes": "${changed}"}, "item": ""},
            },
        }
        file = {
            "connector": "directory",
            "auth": {"kind": "bearer", "token": "${secrets.token}"},
            "http": {"base_url": self.service.url, "most_wait_s": 5},
            "objects": {"contacts": contacts},
            "webhook": webhook,
        }
        (self.folder / "directory.yaml").write_bytes(orjson.dumps(file))

    def ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement in the office's database."""
        db = sqlite3.connect(self.folder / "office.db", timeout=60)
        with db:
            rows = db.execute(statement, values).fetchall()
        db.close()
        return rows

    def names(self) -> dict[str, str]:
        """What the office calls everybody."""
        return dict(self.ask("SELECT email, name FROM people"))

    def events(self, what: str) -> list[dict[str, Any]]:
        """What the server told so far."""
        return [event for line in self.told.getvalue().splitlines() if (event := orjson.loads(line))["event"] == what]

    def subscriptions(self) -> dict[tuple[str, str], subscription.Subscription]:
        """What the state knows."""
        with Store.open(str(self.folder / ".trueup" / "state.db"), read_only=True) as store, store.read() as db:
            return subscription.list_(db)

    @property
    def config(self) -> Config:
        """The configuration, read."""
        with open_workspace(self.file) as workspace:
            return workspace.config

    @contextmanager
    def serving(self) -> Iterator[Server]:
        """A server at work, with its receiver."""
        trouble: list[BaseException] = []

        @contextmanager
        def receiving() -> Iterator[None]:
            handle = receiver.start(server.config, server.config.state, "127.0.0.1", self.port)
            try:
                yield
            finally:
                handle.stop()

        server = Server(self.config, log=Log(self.told), beside=receiving)

        def work() -> None:
            try:
                server.run()
            except BaseException as error:  # noqa: BLE001  told to the test
                trouble.append(error)

        thread = Thread(target=work)
        thread.start()
        try:
            wait_until(lambda: bool(self.events("pass")) or not thread.is_alive(), "the first sweep")
            yield server
        finally:
            server.stop()
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
            assert not self.events("defect"), self.events("defect")
        if trouble:
            raise trouble[0]


def wait_until(met: Callable[[], bool], what: str) -> None:
    """Wait for something to be so."""
    until = time.monotonic() + PATIENCE_S
    while not met():
        assert time.monotonic() < until, f"waited in vain for: {what}"
        time.sleep(0.02)


@pytest.fixture
def service() -> Iterator[RestService]:
    with RestService() as made:
        yield made


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """An application is asked every other second, and subscriptions are looked after without a pause."""
    monkeypatch.setattr(server_module, "POLL_S", 1.0)
    monkeypatch.setattr(server_module, "ASK_S", 2.0)
    monkeypatch.setattr(subscribing_module, "LOOK_S", 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0.0, 0.35, 1.0])
def test_a_burst_of_a_thousand_edits_is_in_the_others_complete_however_many_messages_got_lost(tmp_path, service, lost, monkeypatch):
    if not lost:
        monkeypatch.setattr(server_module, "ASK_S", 3600.0)  # then the messages do it alone
    company = Company(tmp_path, service, 1_000)
    with company.serving():
        wait_until(lambda: bool(service.hooks.known), "the subscription")
        service.hooks.lost = lost
        for number in range(1, 1_001):
            service.put("contacts", {"id": number, "name": f"edited {number}", "email": f"e{number}@example.org"})
        wanted = {f"e{number}@example.org": f"edited {number}" for number in range(1, 1_001)}
        wait_until(lambda: company.names() == wanted, "every edit")
        wait_until(lambda: service.hooks.sent + service.hooks.dropped >= 1_000, "every message")
    assert (service.hooks.dropped > 0) == (lost > 0)
    assert set(service.hooks.statuses) <= {202}
    assert SECRET not in company.told.getvalue()


@pytest.mark.slow
def test_a_subscription_is_made_kept_and_ended(tmp_path, service):
    company = Company(tmp_path, service, 3)
    with company.serving():
        wait_until(lambda: bool(company.events("subscribed to")), "the subscription")
        (hook,) = service.hooks.known.values()
        assert (hook.object, hook.secret) == ("contacts", SECRET)
        wait_until(lambda: company.subscriptions()["directory", "contacts"].number == hook.number, "it is kept")
        service.put("contacts", {"id": 2, "name": "told", "email": "e2@example.org"})
        wait_until(lambda: company.names()["e2@example.org"] == "told", "the edit")
    assert list(service.hooks.known.values()) == [hook]
    with company.serving() as server:  # the next server goes on with it
        wait_until(lambda: ("GET", f"/hooks/{hook.number}") in service.requests, "it is asked whether it lives")
        assert list(service.hooks.known.values()) == [hook]
        with server.store.write() as tx:
            paused.set_(tx, "system", "directory")
        wait_until(lambda: not service.hooks.known, "a system that is paused tells nothing")
        with server.store.write() as tx:
            paused.unset(tx, "system", "directory")
        wait_until(lambda: bool(service.hooks.known), "it tells again")
    company.file.write_text(company.file.read_text(encoding="utf-8").replace("webhook: {callback", "# {callback"), encoding="utf-8")
    with company.serving():
        wait_until(lambda: not service.hooks.known, "nobody wants it any more")
        wait_until(lambda: not company.subscriptions(), "it is forgotten")


@pytest.mark.slow
def test_a_subscription_that_lapsed_is_made_anew_and_told(tmp_path, service):
    company = Company(tmp_path, service, 3)
    with company.serving():
        wait_until(lambda: bool(company.events("subscribed to")), "the subscription")
    (first,) = service.hooks.known.values()
    first.active = False  # as after five failures
    service.put("contacts", {"id": 3, "name": "not told", "email": "e3@example.org"})
    with company.serving() as server:
        wait_until(lambda: len(service.hooks.known) == 2, "another one")
        wait_until(lambda: company.names()["e3@example.org"] == "not told", "what was not told meanwhile")
        wait_until(lambda: company.subscriptions()["directory", "contacts"].lapsed_at is not None, "it is known")
        server.alerting.look()
        (alert,) = [one for one in company.events("alert") if one["rule"] == "hook_lapsed"]
        assert "ended the subscription" in alert["why"]


@pytest.mark.slow
def test_an_application_that_takes_no_subscription_is_read_all_the_same(tmp_path, service):
    company = Company(tmp_path, service, 3)
    company.write_file({**WEBHOOK, "subscribe": {"post": "/nowhere/at/all", "body": {"url": "${callback}"}, "id": "/id"}})
    with company.serving() as server:
        wait_until(lambda: bool(company.events("trouble")), "it is told")
        service.put("contacts", {"id": 1, "name": "found", "email": "e1@example.org"})
        wait_until(lambda: company.names()["e1@example.org"] == "found", "the edit")
        server.alerting.look()
        (alert,) = [one for one in company.events("alert") if one["rule"] == "hook_lapsed"]
        assert "cannot be subscribed to" in alert["why"]
    assert len(company.events("trouble")) == 1


@pytest.mark.slow
def test_messages_of_others_are_refused_and_a_hook_for_a_record_that_is_not_there_does_no_harm(tmp_path, service):
    company = Company(tmp_path, service, 3)
    with company.serving():
        wait_until(lambda: bool(service.hooks.known), "the subscription")
        service.hooks.tell("contacts", (4711,), "updated")  # never heard of
        service.hooks.tell("contacts", ("no number",), "updated")
        service.hooks.tell("nothing", (1,), "updated")
        service.hooks.subscribe({"url": f"http://127.0.0.1:{company.port}/hooks/directory", "secret": "another", "object": None})
        service.put("contacts", {"id": 1, "name": "edited", "email": "e1@example.org"})
        wait_until(lambda: company.names()["e1@example.org"] == "edited", "the edit")
        wait_until(lambda: service.hooks.statuses.get(401) == 1, "the message of another one")
    assert len(company.names()) == 3
