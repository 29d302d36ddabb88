"""Two SQLite files under edits of all kinds, each run a look at the pages that changed: nothing is missed by that."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from trueup.connectors.base import Page
from trueup.connectors.sqlite import SqliteConnector
from trueup.model import Config, Deletes, Entity, Field, FieldMapping, Mapping, ObjectSpec, System
from trueup.runtime.workspace import Workspace

COUNT = 600
NAMES = ("Ann", "Bea", "Cleo")


class Watched(SqliteConnector):
    """Counts the rows whose values were read in listings."""

    listed = 0

    def read(self, obj: ObjectSpec, columns: Sequence[str], **how: object) -> Iterator[Page]:
        pages = super().read(obj, columns, **how)  # type: ignore[arg-type]
        return pages if how.get("keys") is not None else self._counted(pages)

    def moved(self, obj: ObjectSpec, columns: Sequence[str], mark: str) -> Iterator[Page] | None:
        pages = super().moved(obj, columns, mark)
        return None if pages is None else self._counted(pages)

    def _counted(self, pages: Iterator[Page]) -> Iterator[Page]:
        for page in pages:
            self.listed += page.rows.height
            yield page


class Office:
    """Customers in two files, and what they should be."""

    def __init__(self, folder: Path, journals: Sequence[str]) -> None:
        self.folder = folder
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)
        self.right = {f"c{number}@example.org": "Ann" for number in range(COUNT)}
        for name, journal in zip(("crm", "shop"), journals, strict=True):
            with closing(self.open(name)) as db:
                db.execute(f"PRAGMA journal_mode={journal}")
                db.execute("CREATE TABLE customer (id INTEGER PRIMARY KEY, email TEXT UNIQUE, name TEXT, note TEXT)")
                if name == "crm":
                    db.executemany("INSERT INTO customer (email, name, note) VALUES (?, ?, hex(zeroblob(60)))", self.right.items())
        self.begin()

    def open(self, name: str) -> sqlite3.Connection:
        """An application's connection. Applications are not at work here while a run is."""
        connection = sqlite3.connect(self.folder / f"{name}.db", isolation_level=None)
        connection.execute("PRAGMA synchronous=OFF")
        return connection

    def begin(self) -> None:
        """A new process."""
        fields = [Field(name="email", required=True), Field(name="name", conflict="last_write_wins")]
        shown = {item.name: FieldMapping(field=item.name, column=item.name) for item in fields}
        spec = ObjectSpec(name="customer", key=("id",))
        mappings = {name: Mapping(entity="customer", system=name, object=spec, fields=shown) for name in ("crm", "shop")}
        entity = Entity(
            name="customer",
            fields={item.name: item for item in fields},
            mappings=mappings,
            match=(("email",),),
            precedence=("crm", "shop"),
            deletes=Deletes(("crm", "shop"), "propagate"),
            guard=None,
        )
        systems = {name: System(name=name, connector="sqlite", settings={"path": f"{name}.db"}) for name in mappings}
        state = str(self.folder / "state.db")
        config = Config(file="t.yaml", directory=str(self.folder), state=state, systems=systems, entities={"customer": entity})
        self.connectors = {name: Watched.open(name, {"path": f"{name}.db"}, directory=str(self.folder)) for name in mappings}
        self.workspace = Workspace(config, connectors=self.connectors, clock=lambda: self.now)

    def end(self) -> None:
        self.workspace.close()
        for connector in self.connectors.values():
            connector.close()

    def sync(self) -> int:
        """Run; returns how many rows were read in listings."""
        for connector in self.connectors.values():
            connector.listed = 0
        self.now += timedelta(minutes=1)
        assert self.workspace.sync().status == "done"
        return sum(connector.listed for connector in self.connectors.values())

    def names(self, name: str) -> dict[str, str]:
        with closing(self.open(name)) as db:
            return dict(db.execute("SELECT email, name FROM customer").fetchall())

    def edit(self, random: Random) -> None:
        """Some rows change, each in one of the files."""
        emails = random.sample(sorted(self.right), 40)
        for name, mine in (("crm", emails[::2]), ("shop", emails[1::2])):
            with closing(self.open(name)) as db:
                for email in mine[: random.choice((0, 1, 20))]:
                    what = random.randrange(12)
                    if what == 0:
                        del self.right[email]
                        db.execute("DELETE FROM customer WHERE email = ?", (email,))
                    elif what == 1:
                        self.right[f"{random.getrandbits(40)}@example.org"] = "Cleo"
                        db.execute("INSERT INTO customer (email, name) VALUES (?, ?)", list(self.right.items())[-1])
                    else:  # few names, so that rows often are again what they were some time ago
                        self.right[email] = random.choice(NAMES)
                        db.execute("UPDATE customer SET name = ? WHERE email = ?", (self.right[email], email))
                if random.random() < 0.2:
                    self.connectors[name].rest()  # the journal mode is changed by who is alone with the file
                    db.execute(
                        random.choice(
                            ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA journal_mode=delete", "PRAGMA journal_mode=wal")
                        )
                    )


@pytest.fixture
def office(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Office]:
    made = Office(tmp_path, request.param)
    yield made
    made.end()


@pytest.mark.parametrize("office", [("delete", "wal"), ("wal", "delete")], indirect=True, ids="-".join)
@pytest.mark.parametrize("seed", range(2))
def test_files_agree_after_each_run(office: Office, seed: int) -> None:
    random = Random(seed)
    office.sync()
    office.sync()
    assert office.sync() == 0
    for number in range(8):
        office.edit(random)
        office.sync()
        assert office.names("crm") == office.right, f"after run {number}"
        assert office.names("shop") == office.right, f"after run {number}"
        if random.random() < 0.5:
            office.end()
            office.begin()
    office.sync()
    assert office.sync() == 0


@pytest.mark.parametrize("office", [("delete", "wal"), ("wal", "delete")], indirect=True, ids="-".join)
def test_a_few_edits_cost_a_few_rows(office: Office) -> None:
    office.sync()
    office.sync()
    with closing(office.open("crm")) as db:
        db.execute("UPDATE customer SET name = 'Bea' WHERE email = 'c300@example.org'")
    assert 1 <= office.sync() < COUNT // 4
    assert office.names("shop")["c300@example.org"] == "Bea"


@pytest.mark.parametrize("office", [("delete", "wal"), ("wal", "delete")], indirect=True, ids="-".join)
def test_what_is_put_back_after_we_wrote_it_is_an_edit(office: Office) -> None:
    """The page is then, byte for byte, what it was when it was listed before the write."""
    office.sync()
    office.sync()
    for system, name in (("crm", "Bea"), ("shop", "Ann")):
        with closing(office.open(system)) as db:
            db.execute("UPDATE customer SET name = ? WHERE email = 'c300@example.org'", (name,))
        office.sync()
        assert office.names("crm")["c300@example.org"] == office.names("shop")["c300@example.org"] == name
        office.end()
        office.begin()


@pytest.mark.parametrize("office", [("delete", "wal"), ("wal", "delete")], indirect=True, ids="-".join)
@pytest.mark.parametrize("system", ["crm", "shop"])
def test_a_run_over_one_record_leaves_the_next_one_cheap_and_misses_nothing(office: Office, system: str) -> None:
    office.sync()
    office.sync()
    with closing(office.open(system)) as db:
        db.execute("UPDATE customer SET name = 'Bea' WHERE email = 'c300@example.org'")
        ((key,),) = db.execute("SELECT id FROM customer WHERE email = 'c300@example.org'").fetchall()
    assert office.workspace.sync(record=("customer", f"{system}:{key}")).status == "done"
    with closing(office.open("shop")) as db:
        assert db.execute("UPDATE customer SET name = 'Ann' WHERE name = 'Bea'").rowcount == 1
    office.end()
    office.begin()
    assert office.sync() < COUNT // 4
    assert office.names("crm")["c300@example.org"] == office.names("shop")["c300@example.org"] == "Ann"
    assert office.sync() < COUNT // 4
    assert office.sync() == 0
