from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.system.connectors.sql_tools import batch, outcomes, pages, rejects, rows, statuses
from trueup.connectors.sqlite import SqliteConnector
from trueup.errors import (
    ObjectMissingError,
    ObjectUnreadableError,
    SystemUnreachableError,
    UsageError,
    WriteRefusedError,
)
from trueup.model import ObjectSpec

AWKWARD = ["", "it's", '"quoted"', "back\\slash", "tab\tline\nend\r\n", "emoji 🙂", "שלום", "007", "NULL", "\\N", "a\x00b", " x ", "%s ?"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "till.db"


@pytest.fixture
def database(path):
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        yield connection


@pytest.fixture
def till(path, database):
    connector = SqliteConnector.open("till", {"path": "till.db", "lock_timeout_s": 0.2}, directory=str(path.parent))
    yield connector
    connector.close()


def obj(name: str = "t", key: tuple[str, ...] = ("id",), **more: Any) -> ObjectSpec:
    return ObjectSpec(name=name, key=key, **more)


@pytest.fixture(params=["adbc", "plain"])
def driver(request, till):
    till.fast_reads = request.param == "adbc"
    return request.param


_BREAKS_OFF = """
import os, signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA cache_size = 1")  # so that pages reach the file before the commit
db.execute("BEGIN IMMEDIATE")
db.execute("UPDATE t SET v = 'half done'")
db.execute("INSERT INTO t (v) SELECT 'half done' || a.id FROM t AS a, t AS b")
os.kill(os.getpid(), signal.SIGKILL)
"""


def break_off_a_write(path: Path) -> None:
    """A program is killed in the middle of a transaction, of which the file shows a part already."""
    subprocess.run([sys.executable, "-c", _BREAKS_OFF, str(path)], check=False)
    assert path.with_name(f"{path.name}-journal").stat().st_size
    assert b"half done" in path.read_bytes()


# ---------------------------------------------------------------- settings and errors


def test_a_missing_file_is_named_and_never_made(tmp_path):
    connector = SqliteConnector.open("till", {"path": "no/till.db"}, directory=str(tmp_path))
    with pytest.raises(SystemUnreachableError, match=str(tmp_path / "no" / "till.db")):
        connector.describe(obj())
    assert not (tmp_path / "no").exists()


def test_settings_are_checked():
    with pytest.raises(UsageError, match="did you mean 'path'"):
        SqliteConnector.open("till", {"pth": "x"})
    with pytest.raises(UsageError, match="'path' is missing"):
        SqliteConnector.open("till", {})
    with pytest.raises(UsageError, match="must be a number"):
        SqliteConnector.open("till", {"path": "x", "lock_timeout_s": "long"})


def test_a_file_that_is_no_database_is_said_so(tmp_path):
    (tmp_path / "x.db").write_bytes(b"PK\x03\x04 certainly not a database file" * 40)
    with pytest.raises(ObjectUnreadableError, match="not a readable SQLite database"):
        SqliteConnector.open("till", {"path": "x.db"}, directory=str(tmp_path)).discover()


def test_missing_tables_and_columns_are_named(till, database):
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")
    with pytest.raises(ObjectMissingError, match=r"no table or view 'orders'.*there are t"):
        till.describe(obj("orders"))
    with pytest.raises(ObjectMissingError, match="no column 'nam'"):
        till.read(obj(), ["nam"])
    with pytest.raises(ObjectMissingError, match="no column 'no'"):
        till.describe(obj(key=("no",)))


def test_a_column_dropped_after_it_was_described_is_missing(till, database):
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")
    database.execute("INSERT INTO t VALUES (1, 'a')")
    till.describe(obj())
    database.execute("ALTER TABLE t DROP COLUMN name")
    with pytest.raises(ObjectMissingError, match="name"):
        list(till.read(obj(), ["name"], keys=["1"]))


# ---------------------------------------------------------------- describing


def test_columns_keys_and_types_are_described(till, database):
    database.execute(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name VARCHAR(20) NOT NULL, price DECIMAL(10,2), exact DECIMAL TEXT, ok BOOLEAN DEFAULT 1,"
        " weight REAL, at DATETIME, data JSON, raw BLOB, any, total GENERATED ALWAYS AS (price * 2) VIRTUAL)"
    )
    info = till.describe(obj())
    assert info.key == ("id",)
    assert info.assigns_key
    assert {name: column.type for name, column in info.columns.items()} == {
        "id": "integer",
        "name": "text",
        "price": "decimal",
        "exact": "decimal",
        "ok": "boolean",
        "weight": "float",
        "at": "text",
        "data": "json",
        "raw": "binary",
        "any": "other",
        "total": "other",
    }
    assert not info.columns["total"].writable
    assert info.columns["ok"].has_default
    assert not info.columns["name"].nullable
    assert info.columns["price"].scale == 2


def test_odd_names_work(till, database):
    database.execute('CREATE TABLE "Odd.Name" ("select" INTEGER PRIMARY KEY, "a ""b"" c" TEXT, "Größe.1" TEXT)')
    database.execute("""INSERT INTO "Odd.Name" VALUES (1, 'x', 'y')""")
    for name in ("Odd.Name", '"Odd.Name"', 'main."Odd.Name"', "odd.name"):
        assert rows(till, obj(name, ("select",)), ['a "b" c', "Größe.1"]) == {"1": ("x", "y")}
    what = batch("update", ["1"], {'a "b" c': ["z"]}, expected={'a "b" c': ["x"]}, returning=["Größe.1"])
    assert statuses(till, obj('"Odd.Name"', ("select",)), what) == ["done"]
    assert [info.name for info in till.discover()] == ["Odd.Name"]


# ---------------------------------------------------------------- reading


def test_values_survive(till, database, driver):
    database.execute(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, exact DECIMAL TEXT, weight REAL, ok BOOLEAN, raw BLOB, at DATETIME)"
    )
    digits = "123456789012345678901234567890.000000001"
    for number, text in enumerate(AWKWARD):
        database.execute(
            "INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?)", (number, text, digits, 0.1 + number, number % 2, b"\x00\xff", "2026-01-02")
        )
    database.execute("INSERT INTO t (id) VALUES (99)")
    found = rows(till, obj(), ["name", "exact", "weight", "ok", "raw", "at"])
    assert [found[str(number)] for number in range(len(AWKWARD))] == [
        (text, digits, 0.1 + number, bool(number % 2), "00ff", "2026-01-02") for number, text in enumerate(AWKWARD)
    ]
    assert found["99"] == (None,) * 6
    page = pages(till, obj(), ["name", "weight", "ok"])[0]
    assert page.rows.schema == {"__key": pl.String, "name": pl.String, "weight": pl.Float64, "ok": pl.Boolean}


def test_values_that_do_not_fit_reject_their_row_alone(till, database, driver):
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, qty INTEGER, name TEXT, price DECIMAL, weight REAL, ok BOOLEAN)")
    good = (5, "fine", 1.5, 2, 1)
    spoilt = [
        (1, "many", *good[1:]),
        (2, 5, b"\x00", *good[2:]),
        (3, *good[:2], "dear", *good[3:]),
        (4, *good[:3], "heavy", 1),
        (5, *good[:4], 7),
    ]
    database.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", [*spoilt, (6, *good), (7, 2.5, *good[1:])])
    database.execute("INSERT INTO t VALUES (8, 1, CAST(x'fffe' AS TEXT), 1, 1, 1)")
    columns = ["qty", "name", "price", "weight", "ok"]
    assert rows(till, obj(), columns) == {"6": (5, "fine", "1.5", 2.0, True)}
    found = {reject.key: reject.column for reject in rejects(till, obj(), columns)}
    assert found == {"1": "qty", "2": "name", "3": "price", "4": "weight", "5": "ok", "7": "qty", "8": "name"}
    assert {reject.key for reject in rejects(till, obj(), columns, keys=list("12345678"))} == set(found)
    assert "does not fit its type INTEGER" in next(reject.reason for reject in rejects(till, obj(), columns) if reject.key == "1")


def test_both_drivers_read_the_same(till, database):
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, b TEXT, c REAL, d DECIMAL, e BLOB, f)")
    values = [None, 1, -5, 2.5, 1e300, "text", "", "12", b"\xff", b"", 2**62]
    database.executemany("INSERT INTO t (a, b, c, d, e, f) VALUES (?, ?, ?, ?, ?, ?)", [(value,) * 6 for value in values] * 3)
    columns = list("abcdef")
    fast = pages(till, obj(), columns, page_rows=4)
    till.fast_reads = False
    plain = pages(till, obj(), columns, page_rows=4)
    assert [page.rejected for page in fast] == [page.rejected for page in plain]
    assert all(one.rows.equals(other.rows) for one, other in zip(fast, plain, strict=True))
    for column in columns:  # one column at a time, so that a misfit elsewhere hides nothing
        till.fast_reads = True
        fast_rows = rows(till, obj(), [column])
        till.fast_reads = False
        assert fast_rows == rows(till, obj(), [column])


@pytest.mark.parametrize("journal", ["wal", "delete"])
@pytest.mark.parametrize("definition", ["id INTEGER PRIMARY KEY, n INTEGER", "id TEXT PRIMARY KEY, n INTEGER) WITHOUT ROWID --"])
def test_pages_lose_nothing(till, database, driver, journal, definition):
    database.execute(f"PRAGMA journal_mode={journal}")
    database.execute(f"CREATE TABLE t ({definition}\n{')' if '--' not in definition else ''}")
    database.executemany("INSERT INTO t VALUES (?, ?)", [(number, number) for number in range(1, 101)])
    for page_rows in (1, 7, 50, 100, 1000):
        listed = pages(till, obj(), ["n"], page_rows=page_rows)
        assert sorted(row[1] for page in listed for row in page.rows.iter_rows()) == list(range(1, 101))
        assert all(page.rows.height <= page_rows for page in listed)


def test_the_application_commits_while_a_read_is_under_way(till, database, driver):
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)")
    database.execute("INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000) SELECT i, 0 FROM n")
    database.execute("PRAGMA busy_timeout=0")
    reading = till.read(obj(), ["n"], page_rows=1000)
    next(reading)
    database.execute("UPDATE t SET n = 1 WHERE id = 40000")  # would raise "database is locked"
    assert sum(page.rows.height for page in reading) == 39_000
    half_read = till.read(obj(), ["n"], page_rows=1000)
    next(half_read)
    half_read.close()
    database.execute("UPDATE t SET n = 2")


def test_what_is_written_after_a_listing_is_there_for_programs_that_come_and_go(till, database, path):
    """In WAL mode, the last program to leave removes the log: it must not take itself for the last one while we are there."""
    database.execute("PRAGMA journal_mode=wal")
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")
    database.execute("INSERT INTO t VALUES (1, 'a')")
    database.close()
    neighbour = SqliteConnector.open("neighbour", {"path": str(path)})
    with closing(neighbour):
        assert statuses(till, obj(), batch("update", ["1"], {"name": ["b"]})) == ["done"]
        assert rows(neighbour, obj(), ["name"], keys=["1"]) == {"1": ("b",)}
        assert rows(till, obj(), ["name"]) == {"1": ("b",)}
        assert elsewhere(path, "UPDATE t SET name = name || 'c' RETURNING name") == "bc"
        assert statuses(till, obj(), batch("update", ["1"], {"name": ["d"]}, expected={"name": ["bc"]})) == ["done"]
        assert elsewhere(path, "SELECT name FROM t") == "d"
        assert statuses(neighbour, obj(), batch("update", ["1"], {"name": ["e"]})) == ["done"]
        assert elsewhere(path, "SELECT name FROM t") == "e"


def elsewhere(path, statement: str) -> str:
    """The one value that a statement gives in a process of its own, which ends."""
    script = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None); print(db.execute(sys.argv[2]).fetchone()[0])"
    done = subprocess.run([sys.executable, "-c", f"{script}; db.close()", str(path), statement], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_wal_reads_see_one_moment(till, database, driver):
    database.execute("PRAGMA journal_mode=wal")
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)")
    database.execute("INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) SELECT i, 0 FROM n")
    reading = till.read(obj(), ["n"], page_rows=1000)
    first = next(reading)
    database.execute("UPDATE t SET n = 1")
    assert {value for page in [first, *reading] for value in page.rows.get_column("n")} == {0}


def test_a_locked_database_is_a_retry(till, database):
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)")
    database.execute("BEGIN EXCLUSIVE")
    with pytest.raises(SystemUnreachableError, match="locked by another program") as caught:
        list(till.read(obj(), ["n"]))
    assert caught.value.remedy == "retry"


def test_a_database_that_may_only_be_read_can_be_read(till, database, path):
    database.execute("PRAGMA journal_mode=wal")
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)")
    database.execute("INSERT INTO t VALUES (1, 5)")
    database.close()
    path.chmod(0o444)
    path.parent.chmod(0o555)
    script = (
        "import os, sys\n"
        "from trueup.connectors.sqlite import SqliteConnector\nfrom trueup.model import ObjectSpec\nimport polars as pl\n"
        "from trueup.connectors.base import WriteBatch\n"
        "import adbc_driver_sqlite.dbapi as adbc\nadbc.connect(':memory:').close()\n"
        "os.geteuid() or os.setuid(65534)\n"  # root may write anything; by now everything is loaded
        "till, t = SqliteConnector.open('till', {'path': sys.argv[1]}), ObjectSpec(name='t', key=('id',))\n"
        "print([page.rows.rows() for page in till.read(t, ['n'])])\n"
        "try:\n    till.write(t, WriteBatch(kind='delete', rows=pl.DataFrame({'__op': [1], '__key': ['1']})))\n"
        "except Exception as error:\n    print(type(error).__name__)\n"
    )
    for folder in [path.parent, *path.parent.parents][:-2]:
        if os.geteuid() == 0:
            folder.chmod(folder.stat().st_mode | 0o055)
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
    path.parent.chmod(0o755)
    assert done.stdout.splitlines() == ["[[('1', 5)]]", "WriteRefusedError"], done.stderr


# ---------------------------------------------------------------- keys


def test_keys_are_looked_up_exactly(till, database):
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)")
    database.executemany("INSERT INTO t VALUES (?, ?)", [(number, number) for number in range(10)])
    assert rows(till, obj(), ["n"], keys=["3", "abc", "03", "77", "", "3", "9" * 30]) == {"3": (3,)}
    assert rows(till, obj(), ["n"], keys=[]) == {}
    assert len(pages(till, obj(), ["n"], keys=[str(number) for number in range(10)], page_rows=4)) == 3


def test_text_keys_are_compared_to_the_byte(till, database):
    database.execute("CREATE TABLE t (id TEXT COLLATE NOCASE PRIMARY KEY, n INTEGER)")
    database.executemany("INSERT INTO t VALUES (?, ?)", [("Abc", 1), ("x|y\\z", 2), (" ", 3)])
    assert rows(till, obj(), ["n"], keys=["abc", "x|y\\z", " "]) == {"x|y\\z": (2,), " ": (3,)}
    assert statuses(till, obj(), batch("update", ["abc", "Abc"], {"n": [8, 9]})) == ["gone", "done"]


def test_composite_keys_of_several_types(till, database):
    database.execute("CREATE TABLE t (day DATE, code TEXT, no INTEGER, price DECIMAL(9,3), n INTEGER, PRIMARY KEY (day, code, no, price))")
    database.execute("INSERT INTO t VALUES ('2026-01-02', 'a|b\\c', 7, 1.5, 1), ('2026-01-02', '', 8, 20, 2)")
    whole = obj(key=("day", "code", "no", "price"))
    keys = {"2026-01-02|a\\|b\\\\c|7|1.5": (1,), "2026-01-02||8|20": (2,)}
    assert rows(till, whole, ["n"]) == keys
    assert rows(till, whole, ["n"], keys=[*keys, "2026-01-02|x", "1|2|3|4"]) == keys
    assert statuses(till, whole, batch("delete", list(keys), expected={"n": [1, 3]})) == ["done", "stale"]


def test_null_and_doubled_keys_are_rejects(till, database, driver):
    database.execute("CREATE TABLE t (code TEXT, n INTEGER)")
    database.executemany("INSERT INTO t VALUES (?, ?)", [("a", 1), (None, 2), ("b", 3), ("a", 4), ("A", 5)])
    loose = obj(key=("code",))
    assert rows(till, loose, ["n"], page_rows=1) == {"b": (3,), "A": (5,)}
    assert sorted((reject.key or "", reject.reason[:20]) for reject in rejects(till, loose, ["n"])) == [
        ("", "the key (code) is NU"),
        ("a", "the key a stands for"),
        ("a", "the key a stands for"),
    ]
    assert rows(till, loose, ["n"], keys=["a", "b"]) == {"b": (3,)}
    assert len(rejects(till, loose, ["n"], keys=["a"])) == 2
    assert statuses(till, loose, batch("update", ["a", "b"], {"n": [9, 9]})) == ["rejected", "done"]
    assert statuses(till, loose, batch("delete", ["a"])) == ["rejected"]
    assert database.execute("SELECT n FROM t WHERE code = 'a' ORDER BY n").fetchall() == [(1,), (4,)]


# ---------------------------------------------------------------- cursors, queries, views


def test_cursors_resume_inclusively(till, database, driver):
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, at INTEGER)")
    database.executemany("INSERT INTO t VALUES (?, ?)", [(1, 10), (2, 30), (3, 20), (4, None), (5, 20)])
    dated = obj(modified="at")
    assert pages(till, dated, [])[-1].cursor == "30"
    listed = pages(till, dated, [], since="20", page_rows=1)
    assert [(page.rows.item(0, 0), page.cursor) for page in listed] == [("3", "20"), ("5", "20"), ("2", "30")]
    with pytest.raises(ObjectMissingError, match="no number"):
        list(till.read(dated, [], since="2026-01-01"))


def test_text_moments_of_mixed_precision_are_not_missed(till, database, driver):
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME)")
    moments = ["2026-01-01T10:00:00Z", "2026-01-01T10:00:00.500Z", "2026-01-01T09:59:59.999Z", "2026-01-02T00:00:00Z"]
    database.executemany("INSERT INTO t (at) VALUES (?)", [(moment,) for moment in moments])
    dated = obj(modified="at")
    assert set(rows(till, dated, [], since="2026-01-01T10:00:00.500000Z")) == {"1", "2", "4"}
    database.execute("INSERT INTO t VALUES (9, '2026-01-01 10:00:00')")
    assert {"1", "2", "4", "9"} <= set(rows(till, dated, [], since="2026-01-01T10:00:00Z"))


def test_queries_and_views_are_read_and_not_written(till, database, driver):
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, at INTEGER)")
    database.executemany("INSERT INTO t VALUES (?, ?, ?)", [(1, "a", 5), (2, "b", 6)])
    database.execute("CREATE VIEW v AS SELECT id, upper(name) AS shout, at FROM t")
    query = ObjectSpec(name=None, sql="SELECT id, name || '!' AS shout, at FROM t;", key=("id",), modified="at")
    view = obj("v", modified="at")
    assert rows(till, query, ["shout"]) == {"1": ("a!",), "2": ("b!",)}
    assert rows(till, view, ["shout"]) == {"1": ("A",), "2": ("B",)}
    for other in (query, view):
        assert set(rows(till, other, [], since="6")) == {"2"}
        assert set(rows(till, other, [], keys=["1", "x"])) == {"1"}
        with pytest.raises(WriteRefusedError, match="cannot be written"):
            till.write(other, batch("delete", ["1"]))
    assert till.describe(query).kind == "query"
    with pytest.raises((ObjectUnreadableError, ObjectMissingError)):
        till.describe(ObjectSpec(name=None, sql="DELETE FROM t", key=("id",)))
    assert till.find(view, ["id"], pl.DataFrame({"shout": ["B"]})).rows() == [("2", 2)]


def test_views_with_triggers_can_be_written(till, database):
    database.executescript(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO t VALUES (1, 'a');"
        "CREATE VIEW v AS SELECT id, name FROM t;"
        "CREATE TRIGGER u INSTEAD OF UPDATE ON v BEGIN UPDATE t SET name = lower(NEW.name) WHERE id = OLD.id; END;"
    )
    outcome = outcomes(till, obj("v"), batch("update", ["1"], {"name": ["B"]}, expected={"name": ["a"]}, returning=["name"]))[0]
    assert (outcome["__status"], outcome["name"]) == ("done", "b")


def test_find_is_null_safe_and_exact(till, database):
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, email TEXT COLLATE NOCASE, price DECIMAL(9,2), n INTEGER)")
    database.executemany(
        "INSERT INTO t VALUES (?, ?, ?, ?)", [(1, "a@x", 1.5, None), (2, "A@X", 1.5, None), (3, None, 2, 7), (4, "", None, 7)]
    )
    wanted = pl.DataFrame({"email": ["a@x", None, ""], "n": [None, 7, 7]}, schema={"email": pl.String, "n": pl.Int64})
    assert till.find(obj(), ["price"], wanted).sort("__key").rows() == [("1", "1.5"), ("3", "2"), ("4", None)]
    assert till.find(obj(), [], pl.DataFrame({"price": ["1.50"]})).get_column("__key").sort().to_list() == ["1", "2"]
    assert till.find(obj(), ["n"], wanted.clear()).rows() == []


# ---------------------------------------------------------------- writing


def test_created_rows_get_their_keys_and_are_told_as_stored(till, database):
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, price DECIMAL(9,2), note TEXT DEFAULT 'new')")
    database.execute("INSERT INTO t (id, name) VALUES (41, 'old')")
    database.execute("DELETE FROM t")
    what = batch("create", [None] * len(AWKWARD), {"name": AWKWARD, "price": ["1.50"] * len(AWKWARD)}, returning=["name", "price", "note"])
    found = outcomes(till, obj(), what)
    assert [(row["__key"], row["name"], row["price"], row["note"]) for row in found] == [
        (str(42 + number), text, "1.5", "new") for number, text in enumerate(AWKWARD)
    ]
    assert database.execute("SELECT name FROM t ORDER BY id").fetchall() == [(text,) for text in AWKWARD]


def test_keys_may_be_given_or_come_from_defaults(till, database):
    database.execute("CREATE TABLE t (id TEXT PRIMARY KEY DEFAULT (lower(hex(randomblob(8)))), n INTEGER)")
    found = outcomes(till, obj(), batch("create", ["mine", None, None], {"n": [1, 2, 3]}))
    assert found[0]["__key"] == "mine"
    assert {row["__key"]: row["__status"] for row in found} == {row[0]: "done" for row in database.execute("SELECT id FROM t")}
    database.execute("CREATE TABLE u (id TEXT PRIMARY KEY, n INTEGER)")
    keyless = outcomes(till, obj("u"), batch("create", [None], {"n": [1]}))[0]
    assert (keyless["__status"], database.execute("SELECT count(*) FROM u").fetchone()) == ("rejected", (0,))
    made = outcomes(till, obj("u", assign="uuid"), batch("create", [None], {"n": [1]}))[0]["__key"]
    assert database.execute("SELECT id FROM u").fetchall() == [(made,)]


def test_only_given_columns_change_and_only_as_last_read(till, database):
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b INTEGER, c REAL, d DECIMAL, e BOOLEAN, f BLOB)")
    first = [(number, "x", 1, 0.1, 1.5, 1, b"\x01") for number in range(1, 9)]
    database.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?)", first)
    database.execute("UPDATE t SET a = NULL, c = NULL WHERE id = 2")
    what = batch(
        "update",
        ["1", "2", "3", "4", "5", "99", "6"],
        {"a": ["n"] * 7, "b": [5] * 7, "c": [2.5] * 7, "d": ["9.25"] * 7, "e": [False] * 7, "f": ["00ff"] * 7},
        writes=[["a", "b", "c", "d", "e", "f"], ["a", "c"], ["a"], ["b"], ["f"], ["a"], ["a"]],
        expected={
            "a": ["x", None, "X", "x", "other", "x", ""],
            "b": [1, 7, 1, 2, 7, 1, 1],
            "c": [0.1, None, 0.1, 0.1, 7.0, 0.1, 0.1],
            "d": ["1.5"] * 7,
            "e": [True] * 7,
            "f": ["01"] * 7,
        },
        returning=["a", "b", "f"],
    )
    assert statuses(till, obj(), what) == ["done", "done", "stale", "stale", "done", "gone", "stale"]
    stored = {row[0]: row[1:] for row in database.execute("SELECT * FROM t")}
    assert stored[1] == ("n", 5, 2.5, 9.25, 0, b"\x00\xff")
    assert stored[2] == ("n", 1, 2.5, 1.5, 1, b"\x01")
    assert stored[5] == ("x", 1, 0.1, 1.5, 1, b"\x00\xff")
    assert [stored[number] for number in (3, 4, 6, 7, 8)] == [("x", 1, 0.1, 1.5, 1, b"\x01")] * 5


def test_the_text_one_is_not_the_number_one(till, database):
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, any, n INTEGER)")
    database.execute("INSERT INTO t VALUES (1, 1, 'x'), (2, NULL, 1)")
    assert statuses(till, obj(), batch("update", ["1", "2"], {"n": [5, 5]}, expected={"n": [None, None]})) == ["stale", "stale"]


def test_bad_rows_are_rejected_in_sqlites_words_and_the_others_done(till, database):
    database.executescript(
        "CREATE TABLE p (id INTEGER PRIMARY KEY);"
        "CREATE TABLE t (id INTEGER PRIMARY KEY, email TEXT UNIQUE, n INTEGER NOT NULL CHECK (n < 100), p INTEGER REFERENCES p);"
        "CREATE TRIGGER g BEFORE INSERT ON t WHEN NEW.email = 'bad' BEGIN SELECT RAISE(ABORT, 'we do not serve bad'); END;"
    )
    count = 300
    emails = [f"e{number}" for number in range(count)]
    numbers: list[int | None] = [1] * count
    parents: list[int | None] = [None] * count
    emails[47], numbers[100], numbers[150], emails[200], parents[250] = "e46", None, 100, "bad", 5
    found = outcomes(till, obj(), batch("create", [None] * count, {"email": emails, "n": numbers, "p": parents}))
    refused = {row["__op"]: (row["__reason"], row["__field"]) for row in found if row["__status"] == "rejected"}
    assert refused == {
        48: ("UNIQUE constraint failed: t.email", "email"),
        101: ("NOT NULL constraint failed: t.n", "n"),
        151: ("CHECK constraint failed: n < 100", None),
        201: ("we do not serve bad", None),
        251: ("FOREIGN KEY constraint failed", None),
    }
    assert {row["__status"] for row in found if row["__op"] not in refused} == {"done"}
    assert database.execute("SELECT count(*) FROM t").fetchone() == (count - 5,)
    taken = outcomes(till, obj(), batch("create", ["1"], {"email": ["z"], "n": [1], "p": [None]}))[0]
    assert (taken["__status"], taken["__field"]) == ("rejected", "id")


def test_a_trigger_that_ends_the_transaction_harms_only_its_row(till, database):
    database.executescript(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER);"
        "CREATE TRIGGER g BEFORE INSERT ON t WHEN NEW.n = 7 BEGIN SELECT RAISE(ROLLBACK, 'no sevens'); END;"
        "CREATE TRIGGER i BEFORE INSERT ON t WHEN NEW.n = 8 BEGIN SELECT RAISE(IGNORE); END;"
        "CREATE TRIGGER a AFTER INSERT ON t BEGIN UPDATE t SET n = n * 10 WHERE id = NEW.id; END;"
    )
    found = outcomes(till, obj(), batch("create", [None] * 10, {"n": list(range(10))}, returning=["n"]))
    assert [(row["__op"] - 1, row["__reason"]) for row in found if row["__status"] != "done"] == [
        (7, "no sevens"),
        (8, "the database did not keep the row (a trigger or rule dropped it)"),
    ]
    assert [row["n"] for row in found if row["__status"] == "done"] == [0, 10, 20, 30, 40, 50, 60, 90]


def test_operations_on_one_key_happen_in_their_order(till, database):
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)")
    database.execute("INSERT INTO t VALUES (1, 0)")
    assert statuses(till, obj(), batch("update", ["1", "1", "1"], {"n": [1, 2, 3]}, expected={"n": [0, 1, 0]})) == ["done", "done", "stale"]
    assert database.execute("SELECT n FROM t").fetchall() == [(2,)]


def test_computed_columns_are_not_written(till, database):
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, twice INTEGER AS (n * 2))")
    with pytest.raises(WriteRefusedError, match=r"t\.twice is computed"):
        till.write(obj(), batch("create", [None], {"twice": [1]}))
    assert outcomes(till, obj(), batch("create", [None], {"n": [4]}, returning=["twice"]))[0]["twice"] == 8


@pytest.mark.parametrize("met", ["opened before", "opened afterwards"])
def test_what_a_killed_program_had_begun_is_taken_back_and_never_read(till, database, path, driver, met):
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
    database.executemany("INSERT INTO t (v) VALUES (?)", [(f"v{number}",) for number in range(60)])
    if met == "opened before":
        assert len(rows(till, obj(), ["v"])) == 60
    break_off_a_write(path)
    assert rows(till, obj(), ["v"]) == {str(number + 1): (f"v{number}",) for number in range(60)}
    break_off_a_write(path)
    assert rows(till, obj(), ["v"], keys=["7"]) == {"7": ("v6",)}
    assert database.execute("SELECT count(*) FROM t").fetchone() == (60,)


def test_where_it_may_not_be_taken_back_nothing_is_read(till, database, path, driver, monkeypatch):
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
    database.executemany("INSERT INTO t (v) VALUES (?)", [(f"v{number}",) for number in range(60)])
    break_off_a_write(path)
    as_it_is = till._uri
    monkeypatch.setattr(till, "_uri", lambda mode: as_it_is(mode.replace("mode=rw", "mode=ro")))  # as SQLite does without rights
    with pytest.raises(SystemUnreachableError, match="stopped in the middle of a write") as error:
        rows(till, obj(), ["v"])
    assert "open it once with its application" in str(error.value.hint)
    monkeypatch.undo()
    assert len(rows(till, obj(), ["v"])) == 60


def test_a_writer_waits_for_a_lock_and_else_says_retry(till, database, monkeypatch):
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)")
    database.execute("BEGIN IMMEDIATE")
    outcome = outcomes(till, obj(), batch("create", [None], {"n": [1]}))[0]
    assert (outcome["__status"], outcome["__retry_s"] > 0) == ("retry", True)
    assert "locked by another program" in outcome["__reason"]

    monkeypatch.setattr(time, "sleep", lambda _wait_s: database.execute("COMMIT"))  # before it is tried again
    assert statuses(till, obj(), batch("create", [None], {"n": [1]})) == ["done"]


def test_a_full_disk_refuses_the_whole_write(till, database):
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")
    till.write(obj(), batch("create", [None], {"name": ["x"]}))
    till._writer().execute("PRAGMA max_page_count=3")  # a disk of three pages
    with pytest.raises(WriteRefusedError, match="no room is left"):
        till.write(obj(), batch("create", [None] * 100, {"name": ["x" * 1000] * 100}))
    assert database.execute("SELECT count(*) FROM t").fetchone() == (1,)


def test_tables_are_made_only_where_allowed(tmp_path):
    connector = SqliteConnector.open("till", {"path": "new.db"}, directory=str(tmp_path))
    columns = {"name": "text", "price": "decimal", "ok": "boolean", "at": "datetime", "raw": "binary"}
    connector.prepare(obj(), columns)
    assert not (tmp_path / "new.db").exists()
    made = obj(create=True)
    connector.prepare(made, columns)
    connector.prepare(made, columns)
    exact = "123456789012345678901234567890.5"
    found = outcomes(connector, made, batch("create", [None], {"name": ["007"], "price": [exact]}, returning=["price", "name"]))[0]
    assert (found["__key"], found["price"], found["name"]) == ("1", exact, "007")
    connector.prepare(obj("m", ("a", "b"), create=True), {"b": "integer", "c": "float"})
    assert connector.describe(obj("m", ("a", "b"))).key == ("a", "b")
    connector.close()
    connector.close()


def test_an_empty_batch_has_no_outcomes(till, database):
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)")
    assert outcomes(till, obj(), batch("update", [], {"n": pl.Series([], dtype=pl.Int64())})) == []
