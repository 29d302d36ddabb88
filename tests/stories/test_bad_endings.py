"""A run that is killed at any moment, and clocks that are wrong: the next runs converge, with nothing lost and nothing doubled."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from tests.stories.project import Project, people

CUSTOMERS = 300
OFTEN_SOLD = (100, 140)
"""Few customers buy most: so the row whose write was killed is often the row that is sold next."""
MOST_SOLD = 100_000
"""Amounts differ: a foreign edit that equals ours in flight cannot be told from it (docs/architecture.md, I8)."""


class Shop:
    """Three systems that are edited between runs, with a count of every sale made."""

    def __init__(self, folder: Path, url: str, seed: int) -> None:
        """Customers in the three systems: a third in each, and some in two of them."""
        self.random = random.Random(seed)
        self.project = project = Project(folder)
        everyone = people(CUSTOMERS)
        self.points = {str(row[0]): int(row[2] or 0) for row in everyone}
        project.add_sqlite("crm", everyone[:200])
        project.add_postgres("shop", url, everyone[100:250])
        project.add_csv("sheet", everyone[200:])
        # What two systems hold at first contact is one counter seen twice.
        project.extra = "guard: off"
        project.configure()
        self.url = url
        self.born = 0

    def sell(self) -> None:
        """A few sales, a few new customers and a few new names in every system; what trueup must carry everywhere."""
        for _number in range(5):
            add, who = self.random.randrange(1, MOST_SOLD), self.random.randrange(*OFTEN_SOLD)
            email = f"c{who}@example.org"
            sold = self.project.sql("crm", f"UPDATE customers SET points = points + {add} WHERE email = '{email}' RETURNING points")
            self.points[email] += add * len(sold)
        with psycopg.connect(self.url) as db:
            for _number in range(5):
                add, who = self.random.randrange(1, MOST_SOLD), self.random.randrange(*OFTEN_SOLD)
                email = f"c{who}@example.org"
                done = db.execute("UPDATE customers SET points = points + %s WHERE email = %s", (add, email))
                self.points[email] += add * done.rowcount
            self.born += 1
            db.execute("INSERT INTO customers (email, name, points) VALUES (%s, 'New', 3)", (f"n{self.born}@example.org",))
            self.points[f"n{self.born}@example.org"] = 3
        self.born += 1
        self.project.sql("crm", f"INSERT INTO customers (email, name, points) VALUES ('n{self.born}@example.org', 'Neu', 4)")
        self.points[f"n{self.born}@example.org"] = 4

    def kill(self, work_s: float) -> bool:
        """Start a run and kill it at a random moment of its work; whether it was still running."""
        before = self._state_moved()
        run = self.project.start("sync", "--json")
        while run.poll() is None and self._state_moved() == before:  # the run has not begun: the program is still being loaded
            time.sleep(0.002)
        time.sleep(self.random.uniform(0.0, work_s))
        alive = run.poll() is None
        run.kill()
        self.project.finished(run, None)
        return alive

    def _state_moved(self) -> tuple[int, ...]:
        times = []
        for path in sorted((self.project.folder / ".trueup").glob("state.db*")):
            with suppress(FileNotFoundError):  # the run has just removed it
                times.append(path.stat().st_mtime_ns)
        return tuple(times)

    def settle(self) -> None:
        """A run to its end; then all agree, and every sale is counted once."""
        for _number in range(3):
            self.project.sync(expect={0, 3})
        self._answer()
        self.project.mended()
        assert not list(self.project.folder.glob("*.trueup-tmp")), "nothing half written stays behind"
        counted = {str(email): int(points or 0) for email, _name, points, _born in self.project.rows("crm")}
        assert counted == self.points, "every customer is there once, and every sale is counted once"

    def _answer(self) -> None:
        """Where only a person can tell whether a killed write had landed before the next sale, this one knows the sum."""
        for asked in self.project.run("conflicts", "--json").body:
            record = self.project.run("record", "customer", str(asked["record"]), "--json").body
            right = self.points[record["golden"]["email"]]
            self.project.run("conflicts", "resolve", str(asked["id"]), "--value", str(right))


def _kill_often(folder: Path, url: str, *, kills: int, seed: int) -> None:
    shop = Shop(folder, url, seed)
    shop.project.sync()
    shop.sell()
    work_s = shop.project.sync().body["seconds"] * 1.2
    killed, tries = 0, 0
    while killed < kills and tries < kills * 3:
        tries += 1
        shop.sell()
        killed += shop.kill(work_s)
    assert killed >= kills, "the runs were killed while they worked"
    shop.settle()


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path: Path, postgres_url: str) -> None:
    _kill_often(tmp_path, postgres_url, kills=3, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_killed_at_many_moments(tmp_path: Path, postgres_url: str, seed: int) -> None:
    _kill_often(tmp_path, postgres_url, kills=15, seed=seed)


@pytest.mark.slow
def test_killed_while_an_sqlite_file_is_written(tmp_path: Path, postgres_url: str) -> None:
    """What had been begun there is no row that stands there: nothing that was never committed counts as written."""
    shop = Shop(tmp_path, postgres_url, 5)
    journal = tmp_path / "crm.db-journal"
    run = shop.project.start("sync", "--json")
    while run.poll() is None and not _size(journal):
        pass
    run.kill()
    shop.project.finished(run, None)
    shop.settle()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def test_killed_in_the_first_run(tmp_path: Path, postgres_url: str) -> None:
    """While everything is created, again and again: no row is made twice."""
    shop = Shop(tmp_path, postgres_url, 4)
    for moment_s in (0.9, 1.1, 1.3):
        run = shop.project.start("sync", "--json")
        time.sleep(moment_s)
        run.kill()
        shop.project.finished(run, None)
    shop.settle()
