"""A sweep reads beside passes over single rows or systems: what these have looked at or written, its older reading never undoes."""

from __future__ import annotations

import random
import sqlite3
from collections import defaultdict
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from trueup.runtime.pass_options import PassOptions
from trueup.runtime.workspace import Workspace, open_workspace

CONFIGURATION = """
systems:
  crm: {connector: sqlite, path: crm.db}
  till: {connector: sqlite, path: till.db}
  sheet: {connector: csv, path: sheet.csv}
entities:
  customer:
    match: [[email]]
    guard: off
    deletes: {from: [crm, till], action: propagate}
    fields:
      email: {type: text}
      name: {type: text, conflict: last_write_wins}
    mappings:
      crm: {object: people, key: id, fields: {email: email, name: name}}
      till: {object: people, key: id, fields: {email: email, name: name}}
      sheet: {key: {column: no, assign: sequence}, fields: {email: email, name: name}}
"""
RECORDS = 12
EDITORS = ("crm", "till")


class Company:
    """Three systems; each record is edited in one of them alone, so that what it must be is its last edit."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder, self.chance = folder, chance
        (folder / "trueup.yaml").write_text(CONFIGURATION, encoding="utf-8")
        (folder / "sheet.csv").write_text("no,email,name\n", encoding="utf-8")
        for system in EDITORS:
            self.ask(system, "CREATE TABLE people (id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT UNIQUE, name TEXT)")
        self.names: dict[str, str] = {}
        self.edits = 0
        for _number in range(RECORDS):
            self.create()
        self.config = open_workspace(folder / "trueup.yaml").config
        self.keyed = Workspace(self.config)
        self.sweeper = Workspace(self.config, store=self.keyed.store)
        assert self.keyed.sync().status == "done"

    def close(self) -> None:
        """Close everything."""
        self.sweeper.systems.close()
        self.keyed.close()

    def ask(self, system: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement in a database."""
        db = sqlite3.connect(self.folder / f"{system}.db", timeout=60)
        with db:
            rows = db.execute(statement, values).fetchall()
        db.close()
        return rows

    def editor(self, email: str) -> str:
        """Who edits a record."""
        return email.partition("@")[2].partition(".")[0]

    def create(self) -> tuple[str, str]:
        """A new record somewhere; its system and key."""
        system, self.edits = self.chance.choice(EDITORS), self.edits + 1
        email = f"p{self.edits}@{system}.example"
        self.names[email] = f"Born {self.edits}"
        self.ask(system, "INSERT INTO people (email, name) VALUES (?, ?)", email, self.names[email])
        return system, self.key(email)

    def key(self, email: str) -> str:
        """The key of a record where it is edited."""
        return str(self.ask(self.editor(email), "SELECT id FROM people WHERE email = ?", email)[0][0])

    def edit(self, among: Collection[str] = ()) -> tuple[str, str]:
        """Something happens to some record (`among` these, if any is left); its system and key."""
        self.edits += 1
        email = self.chance.choice(sorted(self.names.keys() & set(among) or self.names))
        system, key = self.editor(email), self.key(email)
        what = self.chance.random()
        if what < 0.15:
            return self.create()
        if what < 0.25 and len(self.names) > 4:
            del self.names[email]
            self.ask(system, "DELETE FROM people WHERE email = ?", email)
            return system, key
        if what < 0.5 and self.names[email].startswith("Edit"):  # a value that was there before
            self.names[email] = "Again"
        else:
            self.names[email] = f"Edit {self.edits}"
        self.ask(system, "UPDATE people SET name = ? WHERE email = ?", self.names[email], email)
        return system, key

    def told(self, touched: dict[str, set[str]], **what: Any) -> None:
        """A pass over single rows (`keys`), or over all of one system (`only`); `touched` learns what it read by key and wrote."""

        def heard(system: str, some: Collection[str]) -> None:
            touched[system].update(some)

        before = {system: dict(self.rows(system)) for system in (*EDITORS, "sheet")}
        number = self.keyed.begin_run("test", ["customer"])
        summary, problem = self.keyed.one_pass("customer", PassOptions(heard=heard, **what), run=number)
        self.keyed.end_run(number, "done", self.keyed.clock(), None, None)
        assert problem is None
        assert all(part.error is None for part in summary.systems.values())
        for system, rows in before.items():  # as the lanes of a server tell it
            after = dict(self.rows(system))
            touched[system].update(str(key) for key in rows.keys() | after.keys() if rows.get(key) != after.get(key))

    def rows(self, system: str) -> list[tuple[str, Any]]:
        """Key and values of every row."""
        if system == "sheet":
            lines = (self.folder / "sheet.csv").read_text(encoding="utf-8").splitlines()[1:]
            return [(line.split(",")[0], line) for line in lines]
        return [(str(key), rest) for key, *rest in self.ask(system, "SELECT id, email, name FROM people")]

    def sweep(self) -> None:
        """A sweep, and what happens while it reads."""
        touched: dict[str, set[str]] = defaultdict(set)
        with self.keyed.lock("test"):
            assert self.sweeper.may_read_apart("customer")
            run: list[int] = []
            anew: set[str] = set()
            before = set(self.names.items())
            untold = [self.edit() for _number in range(self.chance.randrange(5))]  # the sweep alone finds these
            news = [email for email, _name in set(self.names.items()) - before]
            parts = self.sweeper.pass_in_parts("customer", PassOptions(apart=True), run=lambda: run[0])
            next(parts)
            for _number in range(self.chance.randrange(6)):
                system, key = self.edit(news) if self.chance.random() < 0.7 else self.chance.choice(untold or [self.create()])
                if self.chance.random() < 0.6:
                    self.told(touched, keys={system: [key]})
                elif self.chance.random() < 0.6:
                    anew.add(system := self.chance.choice((*EDITORS, "sheet")))
                    self.told(touched, only=frozenset({system}))
            run.append(self.keyed.begin_run("sweep", ["customer"]))
            with suppress(StopIteration):
                parts.send({name: frozenset(keys) for name, keys in touched.items()} | dict.fromkeys(anew))
            self.keyed.end_run(run[0], "done", self.keyed.clock(), None, None)

    def agrees(self) -> None:
        """Everybody has the last edit of each record, and the next run has nothing to do."""
        assert self.keyed.sync().status in {"done", "partial"}
        again = self.keyed.sync()
        for system in (*EDITORS, "sheet"):
            found = {line.split(",")[1]: line.split(",")[2] for _key, line in self.rows(system)} if system == "sheet" else None
            assert (found if found is not None else {email: name for _key, (email, name) in self.rows(system)}) == self.names, system
            delivered = again.entities["customer"].systems[system].delivered
            assert (delivered.created, delivered.updated, delivered.deleted) == (0, 0, 0), system


@pytest.mark.parametrize("seed", [1, 2, pytest.param(range(3, 40), marks=pytest.mark.slow)])
def test_an_older_reading_never_beats_a_newer_one(tmp_path: Path, seed: int | range) -> None:
    for number in seed if isinstance(seed, range) else [seed]:
        folder = tmp_path / str(number)
        folder.mkdir()
        company = Company(folder, random.Random(number))
        try:
            for _round in range(4):
                company.sweep()
            company.agrees()
        finally:
            company.close()
