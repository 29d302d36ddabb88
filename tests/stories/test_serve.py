"""The server keeps systems in agreement by itself: a change crosses, a slow system delays nobody, people can steer, nothing is lost."""

from __future__ import annotations

import io
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any, cast

import orjson
import pytest

from trueup.connectors.base import Connector, WriteBatch
from trueup.connectors.registry import connector_class
from trueup.errors import StateLockedError, SystemUnreachableError
from trueup.model import Config, ObjectSpec
from trueup.runtime.serving import server as server_module
from trueup.runtime.serving.events import Log
from trueup.runtime.serving.server import Server
from trueup.runtime.trail import decided
from trueup.runtime.workspace import open_workspace
from trueup.store import Store, paused
from trueup.store.inbox import Event as Told
from trueup.store.inbox import Inbox

PATIENCE_S = 120.0
CONFIGURATION = """
systems:
  crm:
    connector: sqlite
    path: crm.db
    watch: {watch}
    webhook: {{verify: {{kind: token, header: X-Token, secret: s3cret}}}}
  shop: {{connector: sqlite, path: shop.db, watch: {watch}}}
  till: {{connector: sqlite, path: till.db, watch: {watch}}}
entities:
  customer:
    match: [[email]]
    precedence: [crm, shop, till]
    when: {when}
    guard: off
    fields:
      email: {{type: text}}
      name: {{type: text, conflict: last_write_wins}}
    mappings:
      crm: {{object: people, key: id, fields: {{email: email, name: name}}}}
      shop: {{object: people, key: id, fields: {{email: email, name: name}}}}
      till: {{object: people, key: id, fields: {{email: email, name: name}}}}
"""


class Company:
    """Three databases of the same customers, and a server."""

    def __init__(self, folder: Path, when: str = "[realtime]", watch: str = "events") -> None:
        self.folder = folder
        self.file = folder / "trueup.yaml"
        self.file.write_text(CONFIGURATION.format(when=when, watch=watch), encoding="utf-8")
        for system in ("crm", "shop", "till"):
            self.ask(system, "CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, name TEXT)")
        for number in range(1, 6):
            self.ask("crm", "INSERT INTO people VALUES (?, ?, ?)", number, f"c{number}@example.org", f"Customer {number}")
        with open_workspace(self.file) as workspace:
            assert workspace.sync().status == "done"
        self.told = io.StringIO()

    def ask(self, system: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement in a database."""
        db = sqlite3.connect(self.folder / f"{system}.db", timeout=60)
        with db:
            rows = db.execute(statement, values).fetchall()
        db.close()
        return rows

    def name(self, system: str, email: str) -> str | None:
        """What a system calls a customer."""
        rows = self.ask(system, "SELECT name FROM people WHERE email = ?", email)
        return rows[0][0] if rows else None

    def rename(self, system: str, email: str, name: str) -> None:
        """Somebody edits a customer."""
        self.ask(system, "UPDATE people SET name = ? WHERE email = ?", name, email)

    def events(self, what: str) -> list[dict[str, Any]]:
        """What the server told so far."""
        return [event for line in self.told.getvalue().splitlines() if (event := orjson.loads(line))["event"] == what]

    @property
    def config(self) -> Config:
        """The configuration, read."""
        with open_workspace(self.file) as workspace:
            return workspace.config

    @contextmanager
    def serving(self, **options: Any) -> Iterator[Server]:
        """A server at work."""
        server = Server(self.config, log=Log(self.told), **options)
        trouble: list[BaseException] = []

        def work() -> None:
            try:
                server.run()
            except BaseException as error:  # noqa: BLE001  told to the test
                trouble.append(error)

        thread = Thread(target=work)
        thread.start()
        try:
            wait_until(lambda: server.ready.is_set() or not thread.is_alive(), "the server is ready")
            if not trouble:
                wait_until(lambda: bool(self.events("pass")), "the first sweep")
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


def opener(config: Config, changed: dict[str, Callable[[Connector], Connector]]) -> Callable[[str], Connector]:
    """Opens connectors, some of them changed."""

    def connect(system: str) -> Connector:
        settings = config.systems[system]
        found = connector_class(settings.connector).open(system, settings.settings, directory=config.directory)
        return changed[system](found) if system in changed else found

    return connect


class Stopping:
    """A connector of which writes wait for a person to let them through, or which does not answer at all."""

    def __init__(self, inner: Connector, through: Event, reached: Event, *, dead: Event | None = None) -> None:
        self._inner, self._through, self._reached, self._dead = inner, through, reached, dead

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def describe(self, obj: ObjectSpec) -> Any:
        """As it is, unless it is dead."""
        if self._dead is not None and self._dead.is_set():
            raise SystemUnreachableError("nobody answers", hint="")
        return self._inner.describe(obj)

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> Any:
        """Wait, then write."""
        self._reached.set()
        assert self._through.wait(PATIENCE_S)
        return self._inner.write(obj, batch)


class Listing:
    """A connector of which a listing, once `slow` is set, is read at once and handed over when the test lets it through."""

    def __init__(self, inner: Connector, slow: Event, reached: Event, through: Event) -> None:
        self._inner, self._slow, self._reached, self._through = inner, slow, reached, through

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def _late(self, pages: Any) -> Any:
        read = list(pages)
        if self._slow.is_set():
            self._reached.set()
            assert self._through.wait(PATIENCE_S)
        return iter(read)

    def read(self, obj: ObjectSpec, columns: Any, *, keys: Any = None, **more: Any) -> Any:
        """Rows by key come at once."""
        pages = self._inner.read(obj, columns, keys=keys, **more)
        return pages if keys is not None else self._late(pages)

    def moved(self, obj: ObjectSpec, columns: Any, mark: str) -> Any:
        """A listing as well."""
        pages = cast("Any", self._inner).moved(obj, columns, mark)
        return None if pages is None else self._late(pages)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Systems that tell nothing are looked at often, so that no test waits long."""
    monkeypatch.setattr(server_module, "POLL_S", 0.2)
    monkeypatch.setattr(server_module, "LOOK_S", 0.1)


def test_changes_cross_by_themselves(tmp_path: Path) -> None:
    company = Company(tmp_path)
    with company.serving():
        company.rename("crm", "c1@example.org", "O'Hara 🎈 שלום")
        wait_until(lambda: company.name("till", "c1@example.org") == "O'Hara 🎈 שלום", "the change in the till")
        company.rename("till", "c2@example.org", "From the till")
        company.ask("shop", "INSERT INTO people (email, name) VALUES ('new@example.org', 'New')")
        wait_until(lambda: company.name("crm", "c2@example.org") == "From the till", "the change in the crm")
        wait_until(lambda: company.name("crm", "new@example.org") == "New", "the new row in the crm")
    with open_workspace(company.file) as workspace:
        assert workspace.verify().agrees
        assert workspace.sync().status == "done"


def test_a_schedule_sweeps(tmp_path: Path) -> None:
    company = Company(tmp_path, "[{every: 1s}]")
    with company.serving() as server:
        company.rename("crm", "c1@example.org", "Swept")
        wait_until(lambda: company.name("till", "c1@example.org") == "Swept", "the change in the till")
        assert not server.watchers
    assert company.events("pass")[0]["why"] == "every 1s"


def test_a_system_that_answers_late_delays_nobody(tmp_path: Path) -> None:
    company = Company(tmp_path)
    through, reached = Event(), Event()
    connect = opener(company.config, {"shop": lambda inner: cast("Connector", Stopping(inner, through, reached))})
    with company.serving(connect=connect):
        company.rename("crm", "c1@example.org", "First")
        wait_until(reached.is_set, "the write to the shop has begun")
        wait_until(lambda: company.name("till", "c1@example.org") == "First", "the first change in the till")
        for number in range(2, 6):  # the shop's lane is still busy with the first
            company.rename("crm", f"c{number}@example.org", f"Later {number}")
            wait_until(lambda number=number: company.name("till", f"c{number}@example.org") == f"Later {number}", f"change {number}")  # type: ignore[misc]
        assert company.name("shop", "c1@example.org") == "Customer 1"
        through.set()
        wait_until(lambda: company.name("shop", "c5@example.org") == "Later 5", "the last change in the shop")
        wait_until(lambda: company.name("shop", "c1@example.org") == "First", "the first change in the shop")
    with open_workspace(company.file) as workspace:
        assert workspace.verify().agrees


def test_what_a_late_delivery_wrote_is_known_although_the_record_moved_on(tmp_path: Path) -> None:
    company = Company(tmp_path)
    through, reached = Event(), Event()
    connect = opener(company.config, {"shop": lambda inner: cast("Connector", Stopping(inner, through, reached))})
    with company.serving(connect=connect):
        company.rename("crm", "c1@example.org", "First")
        company.ask("crm", "INSERT INTO people VALUES (8, 'new@example.org', 'Newborn')")
        wait_until(reached.is_set, "the write to the shop has begun")
        wait_until(lambda: company.name("till", "c1@example.org") == "First", "the first change in the till")
        wait_until(lambda: company.name("till", "new@example.org") == "Newborn", "the new row in the till")
        company.rename("crm", "c1@example.org", "Second")
        company.rename("crm", "new@example.org", "Renamed")
        wait_until(lambda: company.name("till", "c1@example.org") == "Second", "the second change in the till")
        wait_until(lambda: company.name("till", "new@example.org") == "Renamed", "the new row's new name in the till")
        through.set()
        wait_until(lambda: company.name("shop", "c1@example.org") == "Second", "the second change in the shop")
        wait_until(lambda: company.name("shop", "new@example.org") == "Renamed", "the new row's new name in the shop")
    with open_workspace(company.file) as workspace:
        assert workspace.verify().agrees


def test_a_system_that_is_away_and_comes_back(tmp_path: Path) -> None:
    company = Company(tmp_path)
    dead, through = Event(), Event()
    through.set()
    connect = opener(company.config, {"shop": lambda inner: cast("Connector", Stopping(inner, through, Event(), dead=dead))})
    with company.serving(connect=connect):
        dead.set()
        company.rename("crm", "c1@example.org", "While away")
        wait_until(lambda: bool(company.events("system away")), "it is noticed")
        wait_until(lambda: company.name("till", "c1@example.org") == "While away", "the others go on")
        company.rename("shop", "c2@example.org", "Edited there meanwhile")
        dead.clear()
        wait_until(lambda: company.name("shop", "c1@example.org") == "While away", "what waited is delivered")
        wait_until(lambda: company.name("till", "c2@example.org") == "Edited there meanwhile", "what was edited there is found")
        wait_until(lambda: bool(company.events("system back")), "it is told")


def test_a_system_that_is_back_is_found_although_nothing_else_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "POLL_S", 1e12)
    company = Company(tmp_path, watch="off")
    dead, through = Event(), Event()
    through.set()
    connect = opener(company.config, {"shop": lambda inner: cast("Connector", Stopping(inner, through, Event(), dead=dead))})
    with company.serving(connect=connect) as server:
        wait_until(lambda: any("every 900s" in event["why"] for event in company.events("pass")), "the sweep of the schedule")
        dead.set()
        company.rename("crm", "c1@example.org", "While away")
        server.workers["customer"].wakes.look("crm", None)
        wait_until(lambda: bool(company.events("system away")), "it is noticed")
        wait_until(lambda: company.name("till", "c1@example.org") == "While away", "the others go on")
        dead.clear()
        wait_until(lambda: company.name("shop", "c1@example.org") == "While away", "what waited is delivered")


def test_a_system_that_is_left_alone_at_these_hours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "POLL_S", 1e12)
    company = Company(tmp_path, watch="off")
    text = company.file.read_text().replace("path: shop.db,", 'path: shop.db, limits: {not_between: ["09:00", "17:00"]},')
    company.file.write_text(text)
    moment = [datetime(2026, 3, 2, 12, 0, tzinfo=UTC)]
    with company.serving(clock=lambda: moment[0]) as server:
        wakes = server.workers["customer"].wakes
        company.rename("crm", "c1@example.org", "At noon")
        company.rename("shop", "c2@example.org", "In the shop")
        wakes.look("crm", ["1"])
        wakes.look("shop", ["2"])
        wait_until(lambda: company.name("till", "c1@example.org") == "At noon", "the others go on")
        assert company.name("shop", "c1@example.org") == "Customer 1"
        assert company.name("till", "c2@example.org") == "Customer 2"
        wait_until(lambda: wakes.length == 1, "all is done but what was told of the shop")
        moment[0] = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)
        wait_until(lambda: company.name("shop", "c1@example.org") == "At noon", "what waited is delivered")
        wait_until(lambda: company.name("till", "c2@example.org") == "In the shop", "what was edited there is found")


def test_what_may_wake_an_immediate_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "POLL_S", 1e12)
    company = Company(tmp_path, "[realtime]\n    triggers: {events: [updated], fields: [name]}", watch="off")
    with company.serving() as server:
        wait_until(lambda: any("every 900s" in event["why"] for event in company.events("pass")), "the sweep of the schedule")
        wakes = server.workers["customer"].wakes
        company.ask("crm", "UPDATE people SET email = 'two@example.org' WHERE id = 2")
        company.ask("crm", "INSERT INTO people VALUES (8, 'new@example.org', 'Newborn')")
        company.rename("crm", "c1@example.org", "At once")
        wakes.look("crm", ["1", "2", "8"])
        wait_until(lambda: company.name("till", "c1@example.org") == "At once", "what was asked for crosses")
        assert company.name("till", "c2@example.org") == "Customer 2"
        assert company.name("till", "new@example.org") is None
        company.rename("crm", "c3@example.org", "At once as well")
        wakes.look("crm", None)
        wait_until(lambda: company.name("till", "c3@example.org") == "At once as well", "so it does where all is looked at")
        assert company.name("till", "c2@example.org") == "Customer 2"
        wakes.sweep("test")
        wait_until(lambda: company.name("till", "two@example.org") == "Customer 2", "the sweep sees the rest")
        wait_until(lambda: company.name("till", "new@example.org") == "Newborn", "and new rows")
    with open_workspace(company.file) as workspace:
        assert workspace.verify().agrees


def test_deletes_may_wait_for_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "POLL_S", 1e12)
    more = "triggers: {events: [created, updated]}\n    deletes: {from: [crm], action: propagate}"
    company = Company(tmp_path, f"[realtime]\n    {more}", watch="off")
    with company.serving() as server:
        wait_until(lambda: any("every 900s" in event["why"] for event in company.events("pass")), "the sweep of the schedule")
        wakes = server.workers["customer"].wakes
        company.ask("crm", "DELETE FROM people WHERE id = 2")
        company.rename("crm", "c1@example.org", "At once")
        wakes.look("crm", ["1", "2"])
        wait_until(lambda: company.name("till", "c1@example.org") == "At once", "what was asked for crosses")
        assert company.name("till", "c2@example.org") == "Customer 2"
        wakes.sweep("test")
        wait_until(lambda: company.name("till", "c2@example.org") is None, "the sweep sees the rest")


def test_changes_cross_while_a_sweep_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "POLL_S", 1e12)
    company = Company(tmp_path, watch="off")
    slow, reached, through = Event(), Event(), Event()
    connect = opener(company.config, {"crm": lambda inner: cast("Connector", Listing(inner, slow, reached, through))})
    with company.serving(connect=connect) as server:
        wait_until(lambda: any("every 900s" in event["why"] for event in company.events("pass")), "the sweep of the schedule")
        wakes = server.workers["customer"].wakes
        company.rename("crm", "c1@example.org", "Older")
        company.rename("crm", "c2@example.org", "Found by the sweep")
        company.ask("crm", "INSERT INTO people VALUES (8, 'new@example.org', 'Newborn')")
        slow.set()
        wakes.sweep("test")
        wait_until(reached.is_set, "the sweep has begun")
        slow.clear()
        company.rename("crm", "c1@example.org", "Newer")
        wakes.look("crm", ["1", "8"])
        wait_until(lambda: company.name("till", "c1@example.org") == "Newer", "the change crosses meanwhile")
        wait_until(lambda: company.name("till", "new@example.org") == "Newborn", "so does a new row")
        company.rename("till", "c1@example.org", "Newest")
        wakes.look("till", ["1"])
        wait_until(lambda: company.name("crm", "c1@example.org") == "Newest", "and one the other way")
        assert company.name("till", "c2@example.org") == "Customer 2"
        through.set()
        wait_until(lambda: company.name("till", "c2@example.org") == "Found by the sweep", "what the sweep found")
        wait_until(lambda: any(event["why"] == "test" for event in company.events("pass")), "the end of the sweep")
    for system in ("crm", "shop", "till"):
        assert company.name(system, "c1@example.org") == "Newest"
        assert company.ask(system, "SELECT count(*) FROM people") == [(6,)]
    with open_workspace(company.file) as workspace:
        assert workspace.verify().agrees


def test_a_system_that_tells_no_keys_is_looked_at_while_a_sweep_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "POLL_S", 1e12)
    company = Company(tmp_path, watch="off")
    slow, reached, through = Event(), Event(), Event()
    connect = opener(company.config, {"crm": lambda inner: cast("Connector", Listing(inner, slow, reached, through))})
    with company.serving(connect=connect) as server:
        wait_until(lambda: any("every 900s" in event["why"] for event in company.events("pass")), "the sweep of the schedule")
        wakes = server.workers["customer"].wakes
        company.rename("crm", "c1@example.org", "Older")
        company.rename("shop", "c2@example.org", "Found by the sweep")
        slow.set()
        wakes.sweep("test")
        wait_until(reached.is_set, "the sweep has begun")
        slow.clear()
        company.rename("crm", "c1@example.org", "Newer")
        company.ask("crm", "DELETE FROM people WHERE email = 'c3@example.org'")
        company.ask("crm", "INSERT INTO people VALUES (8, 'new@example.org', 'Newborn')")
        wakes.look("crm", None)
        wait_until(lambda: company.name("till", "c1@example.org") == "Newer", "the change crosses meanwhile")
        company.ask("shop", "INSERT INTO people (email, name) VALUES ('late@example.org', 'Late')")
        through.set()
        wait_until(lambda: company.name("till", "c2@example.org") == "Found by the sweep", "what the sweep found elsewhere")
        wakes.look("shop", None)
        wait_until(lambda: company.name("crm", "late@example.org") == "Late", "what may be made once that system was read whole")
    assert company.name("till", "c1@example.org") == "Newer"
    assert company.name("till", "new@example.org") == "Newborn"
    with open_workspace(company.file) as workspace:
        assert workspace.verify().agrees


def test_a_command_gets_the_state_while_a_sweep_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "POLL_S", 1e12)
    company = Company(tmp_path, watch="off")
    slow, reached, through = Event(), Event(), Event()
    connect = opener(company.config, {"crm": lambda inner: cast("Connector", Listing(inner, slow, reached, through))})
    with company.serving(connect=connect) as server, open_workspace(company.file) as workspace:
        wait_until(lambda: any("every 900s" in event["why"] for event in company.events("pass")), "the sweep of the schedule")
        company.rename("crm", "c1@example.org", "Older")
        slow.set()
        server.workers["customer"].wakes.sweep("test")
        wait_until(reached.is_set, "the sweep has begun")
        slow.clear()
        company.rename("crm", "c1@example.org", "Typed")
        assert workspace.sync(wait_s=PATIENCE_S).status == "done"
        assert company.name("till", "c1@example.org") == "Typed"
        company.rename("till", "c1@example.org", "After that")
        through.set()
        wait_until(lambda: company.name("crm", "c1@example.org") == "After that", "the sweep is made anew")
        assert company.name("till", "c1@example.org") == "After that"


def test_pausing_and_resuming_while_it_serves(tmp_path: Path) -> None:
    company = Company(tmp_path)
    with company.serving() as server, Store.open(str(tmp_path / ".trueup/state.db")) as store:
        with store.write() as tx:
            paused.set_(tx, "entity", "customer")
            decided(tx, "pause", {"what": ["customer"]}, server._main.clock())
        wait_until(lambda: server.is_paused("customer"), "the pause is known")
        wait_until(lambda: server.workers["customer"].wakes.age_s > 1, "what is told waits")
        company.rename("crm", "c1@example.org", "Paused")
        time.sleep(1.0)
        assert company.name("till", "c1@example.org") == "Customer 1"
        with store.write() as tx:
            paused.unset(tx, "entity", "customer")
        wait_until(lambda: company.name("till", "c1@example.org") == "Paused", "it goes on")


def test_a_typed_sync_while_it_serves(tmp_path: Path) -> None:
    company = Company(tmp_path)
    with company.serving(), open_workspace(company.file) as workspace:
        for number in range(3):
            company.rename("crm", "c1@example.org", f"Typed {number}")
            assert workspace.sync(wait_s=PATIENCE_S).status == "done"
            assert company.name("till", "c1@example.org") == f"Typed {number}"


def test_a_second_server_is_refused(tmp_path: Path) -> None:
    company = Company(tmp_path)
    with company.serving():
        second = Server(company.config, log=Log(io.StringIO()))
        with pytest.raises(StateLockedError):
            second.run()


def test_a_message_wakes_a_look_at_that_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "POLL_S", 1e12)
    company = Company(tmp_path)
    with company.serving() as server, Inbox.open(str(tmp_path / ".trueup/state.db")) as inbox:
        wait_until(lambda: not server.workers["customer"].wakes.length, "nothing is in work")
        company.rename("crm", "c1@example.org", "Told")
        company.rename("crm", "c2@example.org", "Told, too")
        moment = server._main.clock()
        inbox.put([Told(system="crm", object="people", key=key, received_at=moment, body=b"{}") for key in ("1", "2")])
        wait_until(lambda: company.name("till", "c1@example.org") == "Told", "the first")
        wait_until(lambda: company.name("till", "c2@example.org") == "Told, too", "the second")
        wait_until(lambda: inbox.lag().waiting == 0, "both are put away")


def test_it_waits_for_the_first_sync(tmp_path: Path) -> None:
    company = Company(tmp_path)
    for file in (tmp_path / ".trueup").iterdir():
        file.unlink()
    server = Server(company.config, log=Log(company.told))
    thread = Thread(target=server.run)
    thread.start()
    wait_until(lambda: bool(company.events("waiting")), "it says what it waits for")
    assert "sync" in company.events("waiting")[0]["why"]
    assert not company.events("pass")
    with open_workspace(company.file) as workspace:
        assert workspace.sync().status == "done"
    wait_until(lambda: bool(company.events("pass")), "it begins")
    server.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
