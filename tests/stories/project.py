"""A small company on disk for stories: systems with customers, a configuration, and `trueup` run on it as a person runs it.

Every run is a process of its own, and every run is searched: no traceback, no unexpected error, and none of the planted secrets
(passwords, values of columns that are not mapped) in what it printed or in anything that it left behind in the state's folder.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests import forks
from trueup.cli.main import main

PRIVATE = "PRIVATE-7f3a"
"""Planted in columns that no mapping names: it may turn up nowhere but where it was."""

FIELDS = {
    "email": "{type: text, required: true}",
    "name": "{type: text, conflict: last_write_wins}",
    "points": "{type: integer, conflict: {merge: add}}",
    "born": "{type: date, conflict: last_write_wins}",
}
COLUMNS = tuple(FIELDS)
Row = tuple[str | None, ...]
ANN: Row = ("ann@example.org", "Ann", "1", "1980-01-31")
BEN: Row = ("ben@example.org", "Ben", "2", "1981-02-28")
CLEO: Row = ("cleo@example.org", "Cleo", "3", None)
PEOPLE = (ANN, BEN, CLEO)


def people(count: int) -> list[Row]:
    """Rows of that many customers."""
    return [(f"c{number}@example.org", f"Customer {number}", str(number), "1990-05-17") for number in range(1, count + 1)]


@dataclass(frozen=True)
class Result:
    """What one run of the program gave."""

    code: int
    out: str
    err: str

    @property
    def body(self) -> Any:
        """What was printed, as JSON."""
        return json.loads(self.out)

    def system(self, name: str, entity: str = "customer") -> dict[str, Any]:
        """One system's part of a run's summary."""
        part: dict[str, Any] = self.body["entities"][entity]["systems"][name]
        return part

    def says(self, *words: str) -> None:
        """Everything that a person needs is in what was printed."""
        said = self.out + self.err
        for word in words:
            assert word in said, f"{word!r} is not said in:\n{said}"


@dataclass
class Project:
    """A folder with a configuration and its systems."""

    folder: Path
    systems: dict[str, str] = field(default_factory=dict)
    mappings: dict[str, str] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=lambda: dict(FIELDS))
    extra: str = ""
    state: str | None = None
    secrets: list[str] = field(default_factory=lambda: [PRIVATE])
    environment: dict[str, str] = field(default_factory=dict)
    readers: dict[str, Callable[[], list[Row]]] = field(default_factory=dict)

    # -------------------------------------------------------------- systems

    def add(self, name: str, system: str, mapping: str = "", *, key: str = "id", columns: Mapping[str, str] | None = None) -> None:
        """A system with a mapping of every field; `columns` replaces the native side of single fields, `mapping` says more."""
        native = {column: column for column in self.fields} | dict(columns or {})
        self.systems[name] = system
        fields = ", ".join(f"{one}: {where}" for one, where in native.items() if where)
        self.mappings[name] = f"key: {key}, {mapping + ', ' if mapping else ''}fields: {{{fields}}}"

    def add_sqlite(self, name: str, rows: Iterable[Row] = (), *, columns: str = "email TEXT, name TEXT, points INT, born TEXT") -> Path:
        """A table `customers` in an SQLite file of the system's name, with a column that is not mapped."""
        path = self.folder / f"{name}.db"
        with sqlite3.connect(path) as db:
            db.execute(f"CREATE TABLE customers (id INTEGER PRIMARY KEY, {columns}, private TEXT DEFAULT '{PRIVATE}')")
            db.executemany("INSERT INTO customers (email, name, points, born) VALUES (?, ?, ?, ?)", list(rows))
        db.close()
        self.add(name, f"{{connector: sqlite, path: {name}.db}}", "object: customers")
        self.readers[name] = lambda: _texts(self.sql(name, "SELECT email, name, points, born FROM customers"))
        return path

    def sql(self, name: str, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements in an SQLite system; the last one's rows."""
        rows: list[tuple[Any, ...]] = []
        with sqlite3.connect(self.folder / f"{name}.db") as db:
            for statement in statements:
                rows = db.execute(statement).fetchall()
        db.close()
        return rows

    def add_csv(self, name: str, rows: Iterable[Row] = ()) -> Path:
        """A CSV file of the system's name, with a column that is not mapped."""
        path = self.folder / f"{name}.csv"
        self.write_csv(name, rows)
        self.add(name, f"{{connector: csv, path: {name}.csv}}")
        self.readers[name] = lambda: _read_csv(path)
        return path

    def write_csv(self, name: str, rows: Iterable[Row]) -> None:
        """The file anew, keys counted from 1."""
        with (self.folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("id", *COLUMNS, "private"))
            writer.writerows((number, *row, PRIVATE) for number, row in enumerate(rows, 1))

    def add_jsonl(self, name: str, rows: Iterable[Row] = ()) -> Path:
        """A JSON Lines file of the system's name, with a member that is not mapped."""
        path = self.folder / f"{name}.jsonl"
        self.write_jsonl(name, rows)
        self.add(name, f"{{connector: jsonl, path: {name}.jsonl}}")
        self.readers[name] = lambda: [
            _row(json.loads(line).get(column) for column in COLUMNS) for line in path.read_text(encoding="utf-8").splitlines()
        ]
        return path

    def write_jsonl(self, name: str, rows: Iterable[Row]) -> None:
        """The file anew, keys counted from 1."""
        lines = []
        for number, (email, person, points, born) in enumerate(rows, 1):
            record = {"id": number, "email": email, "name": person, "points": int(points or 0), "born": born, "private": PRIVATE}
            lines.append(json.dumps(record, ensure_ascii=False) + "\n")
        (self.folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")

    def add_postgres(
        self, name: str, url: str, rows: Iterable[Row] = (), *, columns: str = "email text, name text, points int, born date"
    ) -> None:
        """A table `customers` in a PostgreSQL database, with a column that is not mapped."""
        with psycopg.connect(url) as db:
            db.execute(f"CREATE TABLE customers (id serial PRIMARY KEY, {columns}, private text DEFAULT '{PRIVATE}')")
            for row in rows:
                db.execute("INSERT INTO customers (email, name, points, born) VALUES (%s, %s, %s, %s)", row)
        variable = f"{name.upper()}_URL"
        self.environment[variable] = url
        self.add(name, f'{{connector: postgres, url: "${{{variable}}}"}}', "object: customers")

        def read() -> list[Row]:
            with psycopg.connect(self.environment[variable]) as db:
                return _texts(db.execute("SELECT email, name, points, born FROM customers").fetchall())

        self.readers[name] = read

    # -------------------------------------------------------------- running

    def configure(self) -> None:
        """Write the configuration."""
        lines = [f"state: {self.state}"] if self.state else []
        lines += ["systems:", *(f"  {name}: {text}" for name, text in self.systems.items())]
        lines += ["entities:", "  customer:", "    match: [[email]]", f"    precedence: [{', '.join(self.systems)}]"]
        lines += [f"    {line}" for line in self.extra.splitlines()]
        lines += ["    fields:", *(f"      {name}: {text}" for name, text in self.fields.items())]
        lines += ["    mappings:", *(f"      {name}: {{{text}}}" for name, text in self.mappings.items())]
        (self.folder / "trueup.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def command(self, *words: str) -> list[str]:
        """The command line of a run."""
        return [sys.executable, "-m", "trueup", *words]

    def surroundings(self) -> dict[str, str]:
        """The environment of a run."""
        return {**os.environ, **self.environment}

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """A run in the background."""
        return subprocess.Popen(
            self.command(*words),
            cwd=self.folder,
            env=self.surroundings(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def finished(self, process: subprocess.Popen[str], expect: int | set[int] | None) -> Result:
        """Wait for a run, and search what it said and left behind."""
        out, err = process.communicate(timeout=120)
        return self._checked(Result(process.returncode, out, err), expect)

    def _checked(self, result: Result, expect: int | set[int] | None) -> Result:
        """A result of which what it said and left behind was searched, and that has the exit status wanted."""
        self._search(result)
        wanted = {expect} if isinstance(expect, int) else expect
        assert wanted is None or result.code in wanted, f"exit status {result.code}\n{result.out}\n{result.err}"
        return result

    def run(self, *words: str, expect: int | set[int] | None = 0, **options: Any) -> Result:
        """Run a command to its end; `expect` is its exit status."""
        if options or not forks.may_fork(self.surroundings()):
            return self.finished(self.start(*words, **options), expect)
        done = forks.run(list(words), cwd=self.folder, env=self.surroundings(), told=None, timeout_s=120)
        return self._checked(Result(done.returncode, done.stdout, done.stderr), expect)

    def sync(self, *words: str, expect: int | set[int] | None = 0, **options: Any) -> Result:
        """`trueup sync --json`."""
        return self.run("sync", *words, "--json", expect=expect, **options)

    def failures(self) -> list[dict[str, Any]]:
        """`trueup failures --json`."""
        found: list[dict[str, Any]] = self.run("failures", "--json").body
        return found

    def _search(self, result: Result) -> None:
        said = result.out + result.err
        assert "Traceback" not in said, said
        assert "trueup: unexpected" not in said, said
        assert 'File "' not in said, said
        for secret in self.secrets:
            assert secret not in said, f"{secret} is said in\n{said}"
            for path in filter(Path.is_file, (self.folder / ".trueup").rglob("*")):
                assert secret.encode() not in path.read_bytes(), f"{secret} is in {path.name}"

    # -------------------------------------------------------------- the outcome

    def rows(self, name: str) -> list[Row]:
        """What a system holds, sorted."""
        return sorted(self.readers[name](), key=str)

    def agree(self, expected: Sequence[Row] | None = None) -> None:
        """Every system holds the same records, each once (and exactly these, where they are given)."""
        wanted = sorted(self.rows(next(iter(self.readers))) if expected is None else expected, key=str)
        for name in self.readers:
            rows = self.rows(name)
            assert rows == wanted, f"{name} differs: {_difference(rows, wanted)}{self._asked()}"
        emails = [row[0] for row in wanted]
        assert len(emails) == len(set(emails)), "a record is doubled"

    def _asked(self) -> str:
        """What trueup itself says of it."""
        commands = (
            ["status"],
            ["matches", "--json"],
            ["conflicts", "--json"],
            ["failures", "--json"],
            ["holds", "--json"],
            ["runs", "--json"],
        )
        return "".join(f"\n--- {' '.join(words)}\n{self.run(*words, expect=None).out[:4000]}" for words in commands)

    def mended(self, expected: Sequence[Row] | None = None) -> None:
        """The cause is gone: the next run brings everything into agreement, and the one after it has nothing to do."""
        self.sync()
        self.agree(expected)
        quiet = self.sync()
        for name in self.systems:
            done = quiet.system(name)["delivered"]
            assert not any(done.values()), f"{name}: a quiet run delivered {done}"
        self.agree(expected)


class NearProject(Project):
    """A project of which the commands run in this process: for stories of many short runs."""

    def run(self, *words: str, expect: int | set[int] | None = 0, **options: Any) -> Result:
        """Run a command to its end; `expect` is its exit status."""
        assert not options
        out, err, argv, before = io.StringIO(), io.StringIO(), sys.argv, dict(os.environ)
        sys.argv = ["trueup", "-c", str(self.folder / "trueup.yaml"), *words]
        os.environ.update(self.environment)
        try:
            with redirect_stdout(out), redirect_stderr(err):
                code = main()
        finally:
            sys.argv = argv
            os.environ.clear()
            os.environ.update(before)
        result = Result(code, out.getvalue(), err.getvalue())
        self._search(result)
        wanted = {expect} if isinstance(expect, int) else expect
        assert wanted is None or result.code in wanted, f"exit status {result.code}\n{result.out}\n{result.err}"
        return result


def _row(values: Iterable[Any]) -> Row:
    return tuple(None if value in {None, ""} else str(value) for value in values)


def _difference(rows: Sequence[Row], wanted: Sequence[Row]) -> str:
    """Rows that are too many, and those that lack, a few of each; a doubled row is one too many."""
    more, fewer = Counter(rows) - Counter(wanted), Counter(wanted) - Counter(rows)
    return f"{more.total()} too many {list(more.elements())[:5]}, {fewer.total()} lack {list(fewer.elements())[:5]}"


def _texts(rows: Iterable[Sequence[Any]]) -> list[Row]:
    return [_row(row) for row in rows]


def _read_csv(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8") as file:
        return [_row(row[column] for column in COLUMNS) for row in csv.DictReader(file)]
