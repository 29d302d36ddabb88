"""The pages and leaves of real files, judged by what SQLite itself shows of them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from trueup.connectors.sqlite_leaves import BrokenTreeError, Leaf, leaves
from trueup.connectors.sqlite_pages import PageFile

SEED = 7


@pytest.fixture
def path(tmp_path) -> Path:
    return Path(tmp_path, "till.db")


def connect(path: Path, *, page_size: int = 4096, journal: str = "delete") -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA page_size={page_size}")
    connection.execute(f"PRAGMA journal_mode={journal}")
    connection.execute("PRAGMA synchronous=OFF")
    return connection


def root_of(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 't'").fetchone()[0])


def seen(connection: sqlite3.Connection, path: Path, after: int | None = None) -> list[Leaf]:
    """The leaves, within a transaction of the connection."""
    with PageFile(path) as file:
        before = file.log_index()
        connection.execute("BEGIN")
        root = root_of(connection)
        try:
            assert file.look(before)
            return list(leaves(file, root, after, SEED))
        finally:
            connection.execute("COMMIT")


def rows_within(connection: sqlite3.Connection, leaf: Leaf) -> list[tuple[object, ...]]:
    bounds = [f"rowid > {leaf.low}" if leaf.low is not None else "1", f"rowid <= {leaf.high}" if leaf.high is not None else "1"]
    return connection.execute(f"SELECT rowid, * FROM t WHERE {' AND '.join(bounds)} ORDER BY rowid").fetchall()


def agree(connection: sqlite3.Connection, path: Path) -> dict[bytes, list[tuple[object, ...]]]:
    """Every row is on one leaf, as counted there, and leaves follow each other; their rows by digest."""
    found = seen(connection, path)
    assert [found[0].low, found[-1].high] == [None, None]
    assert [leaf.high for leaf in found[:-1]] == [leaf.low for leaf in found[1:]]
    shown = {leaf.digest: rows_within(connection, leaf) for leaf in found}
    assert [leaf.rows for leaf in found] == [len(rows_within(connection, leaf)) for leaf in found]
    assert sum(leaf.rows for leaf in found) == connection.execute("SELECT count(*) FROM t").fetchone()[0]
    return shown


def change(connection: sqlite3.Connection, random: Random) -> None:
    """Something that an application does."""
    number = random.choice((random.randrange(-50, 400), random.randrange(-(1 << 62), 1 << 62)))
    length = random.choice((3, 30, 300, 3_000, 30_000))
    text = "".join(random.choices("abc", k=8)) * (length // 8 + 1)
    match random.randrange(6):
        case 0 | 1 | 2:
            connection.execute("INSERT OR REPLACE INTO t VALUES (?, ?, ?)", (number, text, random.choice((None, b"\x00" * length, 1.5))))
        case 3:
            connection.execute("UPDATE t SET name = ? WHERE id >= ? AND id < ? + 9", (text, number, number))
        case 4:
            connection.execute("DELETE FROM t WHERE id >= ? AND id < ? + 20", (number, number))
        case _:
            connection.execute("UPDATE t SET name = name || 'x' WHERE id = (SELECT id FROM t ORDER BY abs(id - ?) LIMIT 1)", (number,))


@pytest.mark.parametrize("journal", ["delete", "wal"])
@pytest.mark.parametrize("page_size", [512, 4096, 65536])
@pytest.mark.parametrize("seed", range(3))
def test_equal_digests_are_equal_rows(path, journal, page_size, seed):
    """Whatever became of the file: a leaf of which the digest was seen before holds the rows that it held then."""
    random, known = Random(seed), dict[bytes, list[tuple[object, ...]]]()
    with closing(connect(path, page_size=page_size, journal=journal)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, more)")
        for round_ in range(25):
            for _ in range(random.choice((1, 10, 60))):
                change(connection, random)
            if random.random() < 0.2:
                connection.execute(random.choice(("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA wal_checkpoint(PASSIVE)")))
            shown = agree(connection, path)
            for digest, rows in shown.items():
                assert known.setdefault(digest, rows) == rows, f"in round {round_}"
    assert len(known) > 25


def test_reading_on_from_a_row_gives_the_rest_of_the_leaves(path):
    with closing(connect(path, page_size=512)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")
        connection.execute(
            "WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO t SELECT i * 3, 'n' || i FROM n"
        )
        whole = seen(connection, path)
        assert len(whole) > 100
        for at in (0, 1, 57, len(whole) - 2):
            assert seen(connection, path, whole[at].high) == whole[at + 1 :]
        high = whole[57].high
        assert high is not None
        assert seen(connection, path, high - 1) == whole[57:]


def test_a_row_that_changes_far_behind_its_leaf_changes_the_digest(path):
    with closing(connect(path)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")
        connection.execute("INSERT INTO t VALUES (1, ?), (2, 'short')", ("a" * 100_000,))
        (before,) = seen(connection, path)
        connection.execute("UPDATE t SET name = ? WHERE id = 1", ("a" * 99_999 + "b",))
        (after,) = seen(connection, path)
        assert (before.rows, after.rows) == (2, 2)
        assert 100_000 < before.size == after.size < 120_000
        assert before.digest != after.digest


def test_pages_in_the_log_come_before_those_in_the_file(path):
    with closing(connect(path, journal="wal")) as connection:
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")
        connection.execute("INSERT INTO t VALUES (1, 'a')")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        in_file = agree(connection, path)
        connection.execute("UPDATE t SET name = 'b'")
        in_log = agree(connection, path)
        assert in_file.keys().isdisjoint(in_log)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert agree(connection, path) == in_log
        connection.execute("PRAGMA journal_mode=delete")
        assert agree(connection, path) == in_log


def test_a_log_that_went_on_meanwhile_tells_nothing(path):
    with (
        closing(connect(path, journal="wal")) as reader,
        closing(sqlite3.connect(path, isolation_level=None)) as writer,
        PageFile(path) as file,
    ):
        writer.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")
        before = file.log_index()
        assert before is not None
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM t").fetchall()
        writer.execute("INSERT INTO t VALUES (1, 'later')")
        assert not file.look(before)
        assert not file.look(None)
        reader.execute("COMMIT")
        before = file.log_index()
        reader.execute("BEGIN")
        assert reader.execute("SELECT * FROM t").fetchall() == [(1, "later")]
        assert file.look(before)


def test_another_file_of_the_name_tells_nothing(path, tmp_path):
    with closing(connect(path)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")
    with PageFile(path) as file:
        assert file.look(None)
        (tmp_path / "copy.db").write_bytes(path.read_bytes())
        (tmp_path / "copy.db").replace(path)
        assert not file.look(None)


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\x00", b"PK" * 4096, b"SQLite format 3\x00" + b"\x00" * 4096])
def test_what_is_no_database_tells_nothing(path, content):
    path.write_bytes(content)
    with PageFile(path) as file:
        assert not file.look(None)


def test_broken_pages_are_told_and_not_taken_for_rows(path):
    """Every page but the first is overwritten in turn: with nothing, with text, and with a page that points to itself."""
    with closing(connect(path, page_size=512)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")
        connection.execute("WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) INSERT INTO t SELECT i, 'n' || i FROM n")
        connection.execute("INSERT INTO t VALUES (500, ?)", ("x" * 2_000,))
        root = root_of(connection)
    whole, noticed = path.read_bytes(), 0
    for number in range(2, len(whole) // 512 + 1):
        itself = b"\x05\x00\x00\x00\x00\x00\x00\x00" + number.to_bytes(4, "big") + bytes(500)
        for junk in (bytes(512), b"text" * 128, b"\xff" * 512, itself):
            path.write_bytes(whole[: (number - 1) * 512] + junk + whole[number * 512 :])
            with PageFile(path) as file:
                assert file.look(None)
                try:
                    list(leaves(file, root, None, SEED))
                except BrokenTreeError:
                    noticed += 1
    assert noticed > 3 * 10
