"""The real command line on real files: one process per command, as a user starts it."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import forks

LIMIT_S = 120
CONFIG = """\
systems:
  crm:   {connector: sqlite, path: crm.db}
  sheet: {connector: csv, path: customers.csv}
entities:
  customer:
    match: [[email]]
    precedence: [crm, sheet]
    fields:
      name:   {type: text, required: true}
      email:  {type: text, clean: [trim, lower]}
      credit: {type: decimal, conflict: last_write_wins}
    mappings:
      crm:
        object: contacts
        key: id
        fields: {name: name, email: email, credit: credit}
      sheet:
        key: No
        fields: {name: Name, email: E-mail, credit: Credit}
"""
TABLE = "CREATE TABLE contacts (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT, credit NUMERIC)"
PEOPLE = [(1, "Ada", "ada@example.com", "10.5"), (2, "Béa", "bea@example.com", None), (3, "שלום", "shalom@example.com", "3")]
SHEET = "No,Name,E-mail,Credit\n001,Ada,ada@example.com,10.5\n002,Cy 👩‍💻,cy@example.com,7\n"


@dataclass
class Ended:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)

    def expect(self, status: int) -> Ended:
        """Itself, where the exit status is right; a trace is never right."""
        assert "Traceback" not in self.err, self.err
        assert self.status == status, f"status {self.status}, wanted {status}\n{self.out}\n{self.err}"
        return self


def command(*args: str) -> list[str]:
    """The command line of a trueup process."""
    return [sys.executable, "-m", "trueup.cli.main", *args]


def environment(**more: str) -> dict[str, str]:
    """The environment of a trueup process: this one's, without what would change how it prints."""
    kept = {name: value for name, value in os.environ.items() if name not in {"TRUEUP_DEBUG", "NO_COLOR", "COLUMNS"}}
    return kept | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PYTHONIOENCODING": "utf-8"} | more


@dataclass
class Project:
    """A folder with a configuration."""

    folder: Path

    def trueup(self, *args: str, told: str | None = None, **env: str) -> Ended:
        """Run one command to its end; `told` stands on its stdin."""
        surroundings = environment(**env)
        if forks.may_fork(surroundings):
            done = forks.run(list(args), cwd=self.folder, env=surroundings, told=told, timeout_s=LIMIT_S)
        else:
            done = subprocess.run(
                command(*args),
                cwd=self.folder,
                env=surroundings,
                input=told,
                capture_output=True,
                encoding="utf-8",
                timeout=LIMIT_S,
                check=False,
            )
        return Ended(done.returncode, done.stdout, done.stderr)

    def write(self, name: str, text: str) -> Path:
        """Make a file of the project."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def read(self, name: str) -> str:
        """The text of a file of the project."""
        return (self.folder / name).read_text(encoding="utf-8")

    def sql(self, statement: str, values: Any = (), database: str = "crm.db") -> list[tuple[Any, ...]]:
        """Work on a SQLite database of the project as its own application would."""
        with closing(sqlite3.connect(self.folder / database)) as connection, connection:
            return connection.execute(statement, values).fetchall()

    def files(self) -> set[str]:
        """Every file of the project."""
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()}


def typed_in(folder: Path, lines: list[str], *words: str, status: int = 0) -> str:
    """Run a command in a terminal of its own, in which these lines are typed; what it printed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(*words), cwd=folder, env=environment(), stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    os.close(theirs)
    os.write(ours, "".join(f"{line}\n" for line in lines).encode())
    out, _err = process.communicate(timeout=LIMIT_S)
    os.close(ours)
    assert process.returncode == status, out.decode()
    assert b"Traceback" not in out
    return out.decode()


def company(folder: Path, config: str = CONFIG, sheet: str = SHEET, people: Any = PEOPLE) -> Project:
    """A small company: contacts in a database, customers in a sheet."""
    project = Project(folder)
    project.write("trueup.yaml", config)
    project.write("customers.csv", sheet)
    project.sql(TABLE)
    for person in people:
        project.sql("INSERT INTO contacts VALUES (?, ?, ?, ?)", person)
    return project


ORDERS = """\
systems:
  left:  {connector: sqlite, path: left.db}
  right: {connector: sqlite, path: right.db}
entities:
  customer:
    match: [[email]]
    fields: {email: {type: text}, boss: {type: reference, entity: customer}}
    mappings:
      left:  {object: customers, key: id, fields: {email: email, boss: boss}}
      right: {object: customers, key: id, fields: {email: email, boss: boss}}
  order:
    match: [[number]]
    fields: {number: {type: text}, customer: {type: reference, entity: customer}}
    mappings:
      left:  {object: orders, key: id, fields: {number: number, customer: customer}}
      right: {object: orders, key: id, fields: {number: number, customer: customer}}
"""


def two_offices(folder: Path) -> Project:
    """Two databases, left and right, for customers (who may have a boss) and their orders; nothing is in them yet."""
    project = Project(folder)
    project.write("trueup.yaml", ORDERS)
    for database in ("left.db", "right.db"):
        project.sql("CREATE TABLE customers (id INTEGER PRIMARY KEY, email TEXT, boss INTEGER)", database=database)
        project.sql("CREATE TABLE orders (id INTEGER PRIMARY KEY, number TEXT, customer INTEGER)", database=database)
    return project
