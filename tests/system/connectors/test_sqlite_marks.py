"""What is promised of rows that read as they did before, where a real file could break the promise."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest

from tests.sparing import every_third
from tests.system.connectors.sql_tools import batch, pages, statuses
from trueup.connectors import sqlite_marks
from trueup.connectors.sqlite import SqliteConnector
from trueup.connectors.sqlite_leaves import Leaf, leaves
from trueup.connectors.sqlite_pages import PageFile
from trueup.model import ObjectSpec

OBJECT = ObjectSpec(name="t", key=("id",))
COUNT = 2_000
ALL = {str(number) for number in range(1, COUNT + 1)}


SERVING = """
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
for line in sys.stdin:
    statement, values = json.loads(line)
    print(json.dumps(db.execute(statement, values).fetchall()), flush=True)
db.close()
"""


class Program:
    """Another program at work on the file: in a process of its own, as locks are a process's."""

    def __init__(self, path: Path) -> None:
        words = [sys.executable, "-c", SERVING, str(path)]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def execute(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([statement, values]) + "\n")
        self._process.stdin.flush()
        return [tuple(row) for row in json.loads(self._process.stdout.readline())]

    def close(self) -> None:
        """End the program; it is the last one to leave where nobody else has the file open."""
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


@pytest.fixture
def path(tmp_path) -> Path:
    return Path(tmp_path, "till.db")


@pytest.fixture(params=["delete", "wal"])
def journal(request) -> str:
    return str(request.param)


@pytest.fixture
def database(path, journal):
    """A table on some dozens of leaves."""
    with Program(path) as program:
        program.execute(f"PRAGMA journal_mode={journal}")
        program.execute("PRAGMA synchronous=OFF")
        program.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, note TEXT)")
        program.execute(
            f"WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {COUNT})"
            " INSERT INTO t SELECT i, 'name ' || i, hex(zeroblob(30)) FROM n"
        )
        yield program


@pytest.fixture
def till(path, database):
    connector = SqliteConnector.open("till", {"path": str(path), "lock_timeout_s": 0.2})
    yield connector
    connector.close()


@pytest.fixture(params=["adbc", "plain"])
def driver(request, till):
    till.fast_reads = request.param == "adbc"


def announced(till: SqliteConnector, obj: ObjectSpec = OBJECT) -> str:
    """The name of the reading that follows."""
    name = till.mark(obj)
    assert name is not None
    return name


def kept(till: SqliteConnector, obj: ObjectSpec = OBJECT, columns: tuple[str, ...] = ("name",)) -> str:
    """The mark of a reading of everything."""
    mark = announced(till, obj)
    list(till.read(obj, columns))
    return till.own(obj, mark)


def moved(till: SqliteConnector, mark: str, obj: ObjectSpec = OBJECT) -> tuple[dict[str, str], set[str]] | None:
    """(key -> name of the rows shown, keys told alone), None where the mark does not hold; every row is there once."""
    reading = till.moved(obj, ["name"], mark)
    if reading is None:
        return None
    found = list(reading)
    assert [page.complete for page in found] == [False] * (len(found) - 1) + [True]
    shown = [row for page in found for row in page.rows.iter_rows()]
    same = [key for page in found if page.same is not None for key in page.same.to_list()]
    told = [key for key, _name in shown] + same
    assert len(set(told)) == len(told)
    return dict(shown), set(same)


def shown(till: SqliteConnector, mark: str, obj: ObjectSpec = OBJECT) -> dict[str, str]:
    """The rows shown since a mark; all others are told by key."""
    found = moved(till, mark, obj)
    assert found is not None
    return found[0]


def test_rows_on_leaves_that_nobody_wrote_are_told_by_key_alone(till, database, driver):
    mark = kept(till)
    assert moved(till, mark) == ({}, ALL)
    database.execute("UPDATE t SET name = 'new' WHERE id = 1000")
    database.execute("DELETE FROM t WHERE id = 3")
    database.execute("INSERT INTO t VALUES (5000, 'more', NULL)")
    found = moved(till, mark)
    assert found is not None
    rows, same = found
    assert {rows[key] for key in ("1000", "5000")} == {"new", "more"}
    assert 3 < len(rows) < 300
    assert same == ALL - {"3"} - set(rows)
    assert moved(till, kept(till)) == ({}, (ALL | {"5000"}) - {"3"})


def test_a_mark_of_touched_rows_is_as_good_as_one_of_everything(till, database):
    old = kept(till)
    for number in range(5):
        database.execute("UPDATE t SET name = 'new' WHERE id = ?", (number * 300 + 7,))
        mark = announced(till)
        assert shown(till, old)[str(number * 300 + 7)] == "new"
        old = till.own(OBJECT, mark)
        assert moved(till, old) == ({}, ALL)


def rolled_back(database: Program, _path: Path) -> None:
    database.execute("BEGIN")
    database.execute("UPDATE t SET name = 'undone'")
    database.execute("ROLLBACK")


def another_table(database: Program, _path: Path) -> None:
    database.execute("CREATE TABLE u AS SELECT * FROM t")


def put_in_place_of_itself(database: Program, path: Path) -> None:
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(path, f"{path}.copy")
    Path(f"{path}.copy").replace(path)


@pytest.mark.parametrize("happens", [rolled_back, another_table, put_in_place_of_itself])
def test_what_changes_no_row_shows_none(till, database, path, happens):
    mark = kept(till)
    happens(database, path)
    assert moved(till, mark) == ({}, ALL)


@pytest.mark.parametrize("checkpoint", ["", "PASSIVE", "FULL", "RESTART", "TRUNCATE"])
@pytest.mark.parametrize("readers_before", [False, True])
def test_a_change_is_shown_wherever_the_log_stands(till, database, checkpoint, readers_before):
    database.execute("PRAGMA journal_mode=wal")
    database.execute("PRAGMA wal_autocheckpoint=0")
    with Program(till.path) as other:
        mark = kept(till)
        if readers_before:
            other.execute("BEGIN")
            other.execute("SELECT * FROM t LIMIT 1")
        for number, name in enumerate(("a", "b", "c"), 500):
            database.execute("UPDATE t SET name = ? WHERE id = ?", (name, number))
            if checkpoint:
                database.execute("PRAGMA busy_timeout=0")
                database.execute(f"PRAGMA wal_checkpoint({checkpoint})")
            assert shown(till, mark)[str(number)] == name
        newer = kept(till)
        assert moved(till, newer) == ({}, ALL)


@pytest.mark.parametrize("first", ["delete", "truncate", "persist", "memory", "wal"])
@pytest.mark.parametrize("second", ["delete", "truncate", "persist", "memory", "wal"])
def test_a_change_is_shown_after_the_journal_mode_changed(till, database, first, second):
    database.execute(f"PRAGMA journal_mode={first}")
    mark = kept(till)
    till.close()
    assert database.execute(f"PRAGMA journal_mode={second}") == [(second,)]
    assert moved(till, mark) == ({}, ALL)
    database.execute("UPDATE t SET name = 'new' WHERE id = 1000")
    assert shown(till, mark)["1000"] == "new"


def test_a_change_is_shown_when_the_last_program_has_left_and_taken_the_log_away(till, database, path):
    mark = kept(till)
    database.execute("UPDATE t SET name = 'new' WHERE id = 1000")
    database.close()
    till.close()
    assert not Path(f"{path}-wal").exists()
    assert shown(till, mark)["1000"] == "new"


def test_a_change_is_shown_that_left_the_file_as_old_and_as_long_as_it_was(till, database, path):
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    mark = kept(till)
    before = path.stat()
    database.execute("UPDATE t SET name = 'name 9999' WHERE id = 1000")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_mtime_ns, path.stat().st_size) == (before.st_mtime_ns, before.st_size)
    assert shown(till, mark)["1000"] == "name 9999"


def test_a_change_is_shown_that_left_the_counters_in_the_file_as_they_were(till, database, path):
    """Two copies of a file, each with as many transactions, in place of each other."""
    database.execute("PRAGMA journal_mode=delete")
    copy = Path(f"{path}.copy")
    shutil.copy(path, copy)
    database.execute("UPDATE t SET name = 'one' WHERE id = 1000")
    mark = kept(till)
    with Program(copy) as other:
        other.execute("UPDATE t SET name = 'two' WHERE id = 1000")
    assert path.read_bytes()[:100] == copy.read_bytes()[:100]
    path.write_bytes(copy.read_bytes())
    assert shown(till, mark)["1000"] == "two"


def test_a_restored_backup_shows_what_it_puts_back(till, database, path):
    database.execute("PRAGMA journal_mode=delete")
    backup = path.read_bytes()
    database.execute("UPDATE t SET name = 'new' WHERE id = 1000")
    database.execute("INSERT INTO t VALUES (5000, 'more', NULL)")
    mark = kept(till)
    path.write_bytes(backup)
    found = moved(till, mark)
    assert found is not None
    assert found[0]["1000"] == "name 1000"
    assert "5000" not in found[0].keys() | found[1]


def test_after_a_vacuum_nothing_is_missed(till, database):
    database.execute("DELETE FROM t WHERE id % 3 = 0")
    mark = kept(till)
    database.execute("UPDATE t SET name = 'new' WHERE id = 1000")
    database.execute("VACUUM")
    assert shown(till, mark)["1000"] == "new"
    assert moved(till, kept(till)) == ({}, {key for key in ALL if int(key) % 3})


@pytest.mark.parametrize(
    "alteration",
    [
        "ALTER TABLE t ADD COLUMN more TEXT DEFAULT 'x'",
        "ALTER TABLE t RENAME COLUMN note TO remark",
        "DROP TABLE t; CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO t VALUES (1, 'other')",
    ],
)
def test_a_mark_does_not_outlive_the_form_of_its_table(till, database, alteration):
    mark = kept(till)
    for statement in alteration.split(";"):
        database.execute(statement)
    till.describe(OBJECT)  # as at the beginning of every run
    found = moved(till, mark)
    assert found is not None
    assert found[1] == set()
    assert found[0] == dict(pages(till, OBJECT, ["name"])[0].rows.iter_rows())


def test_a_row_that_goes_on_behind_its_leaf_is_shown_when_it_changes_there(till, database):
    long = "x" * 100_000
    database.execute("UPDATE t SET name = ? WHERE id IN (700, 1400)", (long,))
    mark = kept(till)
    assert moved(till, mark) == ({}, ALL)
    database.execute("UPDATE t SET name = ? WHERE id = 700", (long[:-1] + "y",))
    rows = shown(till, mark)
    assert rows["700"][-1] == "y"
    assert "1400" not in rows


@pytest.mark.parametrize(
    ("what", "obj"),
    [
        ("CREATE VIEW v AS SELECT * FROM t", ObjectSpec(name="v", key=("id",))),
        ("CREATE TABLE w (id TEXT PRIMARY KEY, name TEXT) WITHOUT ROWID", ObjectSpec(name="w", key=("id",))),
        ("CREATE VIRTUAL TABLE f USING fts5(id, name)", ObjectSpec(name="f", key=("id",))),
        ("CREATE TABLE k (id TEXT, name TEXT)", ObjectSpec(name="k", key=("id",))),
        ("SELECT 1", ObjectSpec(name=None, sql="SELECT id, name FROM t", key=("id",))),
    ],
    ids=["view", "without rowid", "virtual", "no unique key", "query"],
)
def test_nothing_is_promised_of(till, database, what, obj):
    database.execute(what)
    assert till.mark(obj) is None


def test_composite_keys_and_values_that_do_not_fit(till, database):
    database.execute("CREATE TABLE d (a INTEGER, b TEXT, name TEXT, PRIMARY KEY (a, b))")
    database.execute("INSERT INTO d VALUES (1, 'x|y', 'first'), (2, 'z', x'ff'), (NULL, 'n', 'no key'), (4, 'far', 'away')")
    obj = ObjectSpec(name="d", key=("a", "b"))
    mark = kept(till, obj)
    same = [page for page in till.moved(obj, ["name"], mark) if page.same is not None]
    assert [sorted(page.same.to_list()) for page in same] == [["1|x\\|y", "2|z", "4|far"]]
    assert [reject.key for page in same for reject in page.rejected] == [None]
    database.execute("UPDATE d SET name = 'new' WHERE a = 1")
    found = list(till.moved(obj, ["name"], mark))
    assert [(reject.key, reject.column) for page in found for reject in page.rejected] == [("2|z", "name"), (None, "a, b")]
    assert {key: name for page in found for key, name in page.rows.iter_rows()} == {"1|x\\|y": "new", "4|far": "away"}


# ---------------------------------------------------------------- what is read or written besides


def test_rows_that_were_asked_for_in_other_ways_are_read_again(till, database):
    mark = announced(till)
    list(till.read(OBJECT, ["name"]))
    list(till.read(OBJECT, ["name"], keys=["10", "absent"]))
    till.find(OBJECT, ["name"], pages(till, OBJECT, ["name"], keys=["20"])[0].rows.select("name"))
    assert statuses(till, OBJECT, batch("update", ["30"], {"name": ["written"]}, returning=["name"])) == ["done"]
    assert statuses(till, OBJECT, batch("create", [None], {"name": ["made"]}, returning=["name"])) == ["done"]
    known = till.own(OBJECT, mark)
    database.execute("UPDATE t SET name = 'name 30' WHERE id = 30")
    database.execute("DELETE FROM t WHERE id > ?", (COUNT,))
    with closing(SqliteConnector.open("till", {"path": str(till.path)})) as later:
        found = shown(later, known)
    assert {key: found[key] for key in ("10", "20", "30")} == {"10": "name 10", "20": "name 20", "30": "name 30"}
    assert moved(till, kept(till)) == ({}, ALL)


def test_what_was_asked_for_before_a_reading_counts_as_well(till, database, path):
    """A process that begins by looking at single rows, as after a crash, knows them better than the mark it was left."""
    mark = kept(till)
    database.execute("UPDATE t SET name = 'in between' WHERE id = 40")
    with closing(SqliteConnector.open("till", {"path": str(path)})) as later:
        assert next(later.read(OBJECT, ["name"], keys=["40"])).rows.rows() == [("40", "in between")]
        database.execute("UPDATE t SET name = 'name 40' WHERE id = 40")
        fresh = announced(later)
        assert shown(later, mark)["40"] == "name 40"
        assert moved(later, later.own(OBJECT, fresh)) == ({}, ALL)


def test_with_too_many_rows_asked_for_there_is_no_mark(till, database, monkeypatch):
    monkeypatch.setattr(sqlite_marks, "ASKED_KEYS", 10)
    mark = announced(till)
    list(till.read(OBJECT, ["name"]))
    list(till.read(OBJECT, ["name"], keys=[str(number) for number in range(11)]))
    assert moved(till, till.own(OBJECT, mark)) is None


def test_a_reading_that_was_not_finished_makes_no_mark(till, database, monkeypatch):
    monkeypatch.setattr(sqlite_marks, "_PART_BYTES", 20_000)
    mark = announced(till)
    reading = till.read(OBJECT, ["name"], page_rows=100)
    next(reading)
    assert moved(till, till.own(OBJECT, mark)) is None
    assert moved(till, "nonsense") is None
    reading.close()


def test_leaves_that_do_not_add_up_to_the_rows_tell_nothing(till, database, monkeypatch):
    mark = kept(till)

    def one_row_more(*where: Any) -> Iterator[Leaf]:
        return (replace(leaf, rows=leaf.rows + (leaf.low is None)) for leaf in leaves(*where))

    monkeypatch.setattr(sqlite_marks, "leaves", one_row_more)
    fresh = announced(till)
    found = moved(till, mark)
    assert found is not None
    assert (set(found[0]), found[1]) == (ALL, set())
    assert moved(till, till.own(OBJECT, fresh)) is None


def test_pages_that_cannot_be_read_tell_nothing(till, database, monkeypatch):
    mark = kept(till)

    def refuse(_file: PageFile, number: int) -> bytes:
        raise PermissionError(number)

    monkeypatch.setattr(PageFile, "page", refuse)
    fresh = announced(till)
    found = moved(till, mark)
    assert found is not None
    assert (set(found[0]), found[1]) == (ALL, set())
    assert moved(till, till.own(OBJECT, fresh)) is None


# ---------------------------------------------------------------- others at work meanwhile


def test_rows_that_change_between_two_parts_of_a_reading_are_shown_by_the_next(till, database, journal):
    """In the rollback modes a reading is many transactions; in WAL mode it sees one moment."""
    mark = announced(till)
    reading = till.read(OBJECT, ["name"], page_rows=200)
    first = next(reading).rows
    database.execute("UPDATE t SET name = 'after its part' WHERE id = 5")
    database.execute("UPDATE t SET name = 'before its part' WHERE id = 1900")
    database.execute("DELETE FROM t WHERE id BETWEEN 150 AND 260")
    rows = dict(first.iter_rows()) | {key: name for page in reading for key, name in page.rows.iter_rows()}
    assert rows["5"] == "name 5"
    assert rows["1900"] == ("name 1900" if journal == "wal" else "before its part")
    found = moved(till, till.own(OBJECT, mark))
    assert found is not None
    assert found[0]["5"] == "after its part"
    rows |= found[0]
    now = dict(database.execute("SELECT CAST(id AS TEXT), name FROM t"))
    assert {key: rows[key] for key in found[0].keys() | found[1]} == now


def test_a_leaf_that_holds_rows_of_two_parts_is_read_again(till, database, journal):
    """Where a part of the reading ended, leaves are joined: what the earlier part showed of their rows may be old."""
    mark = announced(till)
    reading = till.read(OBJECT, ["name"], page_rows=200)
    rows = dict(next(reading).rows.iter_rows())
    border = max(map(int, rows))
    database.execute("DELETE FROM t WHERE abs(id - ?) BETWEEN 3 AND 60", (border,))
    database.execute("UPDATE t SET name = 'after its part' WHERE id = ?", (border - 1,))
    rows |= {key: name for page in reading for key, name in page.rows.iter_rows()}
    assert rows[str(border - 1)] == f"name {border - 1}"
    assert shown(till, till.own(OBJECT, mark))[str(border - 1)] == "after its part"


WRITER = """
import random, sqlite3, sys, time
path, seed = sys.argv[1], int(sys.argv[2])
random.seed(seed)
db = sqlite3.connect(path, isolation_level=None, timeout=60)
db.execute("PRAGMA synchronous=OFF")
db.execute("PRAGMA wal_autocheckpoint=20")
print("begun", flush=True)
for number in range(int(sys.argv[3])):
    time.sleep(random.choice((0, 0, 0, 0.005)))
    row = random.randrange(1, 2200)
    what = random.randrange(8)
    if what < 4:
        db.execute("UPDATE t SET name = ? WHERE id = ?", (random.choice("ab"), row))
    elif what == 4:
        db.execute("DELETE FROM t WHERE id BETWEEN ? AND ? + 3", (row, row))
    elif what == 5:
        db.execute("INSERT OR REPLACE INTO t VALUES (?, ?, ?)", (row, random.choice("ab"), "n" * random.choice((1, 60, 9000))))
    elif what == 6:
        db.execute("UPDATE t SET name = CASE name WHEN 'a' THEN 'b' ELSE 'a' END WHERE id BETWEEN ? AND ? + 40", (row, row))
    elif random.random() < 0.1:
        db.execute("VACUUM")
db.close()
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", every_third(range(2)))
def test_nothing_is_missed_while_another_program_writes_and_puts_back(till, database, path, seed, monkeypatch):
    """What was last read of each row, kept up by readings since marks, is what is there when the writer stops."""
    monkeypatch.setattr(sqlite_marks, "PAGE_ROWS", 150)
    till.lock_timeout_s = 60.0
    words = [sys.executable, "-c", WRITER, str(path), str(seed), "1500"]
    mark, told_by_key = kept(till), 0
    known = dict(database.execute("SELECT CAST(id AS TEXT), name FROM t"))
    with subprocess.Popen(words, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        while True:
            over = writer.poll() is not None
            fresh = announced(till)
            found = moved(till, mark)
            if found is None:
                found = dict(row for page in till.read(OBJECT, ["name"]) for row in page.rows.iter_rows()), set()
            rows, same = found
            known = {key: rows[key] if key in rows else known.get(key, "not known") for key in rows.keys() | same}
            told_by_key += len(same)
            mark = till.own(OBJECT, fresh)
            if over:
                break
    assert writer.returncode == 0
    assert known == dict(database.execute("SELECT CAST(id AS TEXT), name FROM t"))
    assert told_by_key > 0
