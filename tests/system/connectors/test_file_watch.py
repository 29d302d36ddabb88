"""Watching files and SQLite databases: half-written files, replaced ones, open workbooks, notes of triggers."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sparing import every_third
from tests.system.connectors.watch_tools import nothing_told, spec, told, watching
from trueup.connectors import file_watch
from trueup.connectors.csv import CsvConnector
from trueup.connectors.excel import ExcelConnector
from trueup.connectors.file_watch import file_way
from trueup.connectors.sqlite import SqliteConnector
from trueup.connectors.watching import made_name
from trueup.errors import PositionLostError, UsageError
from trueup.model import ObjectSpec

SHEET = ObjectSpec(name=None, key=("id",))
PEOPLE = spec("people")
MADE = made_name("test")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    path.write_text("id,name\n1,Ada\n")
    return path


def sheet(file: Path, **settings: Any) -> CsvConnector:
    return CsvConnector.open("sheet", {"path": str(file), **settings})


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("way", ["events", "look"])
def test_a_file_that_is_being_written_is_told_when_it_is_quiet(file: Path, way: str):
    with watching(sheet(file, watch=way), SHEET) as watch:
        nothing_told(watch, 0.3)
        with file.open("a") as growing:
            for number in range(12):
                wrote = time.monotonic()
                growing.write(f"{number},x\n")
                growing.flush()
                hints = watch.wait(0.15)
                quiet = time.monotonic() - wrote >= 0.5  # this machine was slow, and nothing was written for so long
                assert hints is None or quiet, "told while it was still being written"
            growing.write("12,x\n")
        assert told(watch).keys == {0: None}
        nothing_told(watch)


def test_a_file_that_never_comes_to_rest_is_told_all_the_same(file: Path, monkeypatch: pytest.MonkeyPatch):
    with watching(sheet(file), SHEET) as watch:
        watch._longest_s = 1.0  # type: ignore[attr-defined]
        until = time.monotonic() + 60
        with file.open("a") as growing:
            while time.monotonic() < until:
                growing.write("7,x\n")
                growing.flush()
                if watch.wait(0.05) is not None:
                    break
            else:
                raise AssertionError("a growing file was never told")
        told(watch)  # and once more when it has come to rest


def test_a_file_that_is_replaced_or_made_anew_is_told_once(file: Path):
    with watching(sheet(file), SHEET) as watch:
        other = file.with_name("other.tmp")
        other.write_text("id,name\n1,Eve\n")
        other.replace(file)
        told(watch)
        nothing_told(watch)
        file.unlink()
        nothing_told(watch)  # it may be about to be replaced, and there is nothing to read
        file.write_text("id,name\n1,Eve\n")
        told(watch)
        file.with_name("neighbour.csv").write_text("x")
        nothing_told(watch)


def test_each_file_of_a_folder_is_an_object(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("id\n1\n")
    with watching(sheet(tmp_path), spec("a"), spec("b"), ObjectSpec(name=None, key=("id",))) as watch:
        assert watch.fresh == {0, 1}
        assert "name the file" in watch.way.unwatched[2]
        (tmp_path / "b.csv").write_text("id\n2\n")
        assert told(watch, 1).keys == {1: None}


def test_closing_a_workbook_is_told_because_it_can_be_written_then(tmp_path: Path):
    book = tmp_path / "stock.xlsx"
    book.write_bytes(b"what a workbook holds does not matter to who watches it")
    lock = tmp_path / "~$stock.xlsx"
    with watching(ExcelConnector.open("stock", {"path": str(book)}), spec("Sheet1"), spec("Sheet2")) as watch:
        lock.write_bytes(b"somebody")
        nothing_told(watch)
        book.write_bytes(b"saved, and still open")
        assert told(watch).keys == {0: None, 1: None}
        lock.unlink()
        assert told(watch).keys == {0: None, 1: None}


def test_the_settings_choose_and_a_network_drive_is_looked_at(file: Path, monkeypatch: pytest.MonkeyPatch):
    assert [file_way(setting, [file])[0].how for setting in (None, "events", "look", "poll", "off")] == ["file"] * 3 + ["poll", "off"]
    with pytest.raises(UsageError, match="not watched"):
        sheet(file, watch="off").watch([SHEET], name="test")
    mounts = file.with_name("mounts")
    mounts.write_text(f"none / ext4 rw 0 0\n//server/share {file.parent} cifs rw 0 0\n")
    monkeypatch.setattr(file_watch, "_MOUNTS", mounts)
    way, events = file_way(None, [file])
    assert not events
    assert "cifs" in way.why


# ---------------------------------------------------------------- SQLite


@pytest.fixture(params=every_third(["delete", "wal", "truncate"]))
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "till.db", isolation_level=None)
    connection.execute(f"PRAGMA journal_mode={request.param}")
    connection.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, code TEXT UNIQUE, name TEXT)")
    connection.executemany("INSERT INTO people VALUES (?, ?, ?)", [(number, f"c{number}", "x") for number in range(100)])
    yield connection
    connection.close()


def till(tmp_path: Path, **settings: Any) -> SqliteConnector:
    return SqliteConnector.open("till", {"path": str(tmp_path / "till.db"), **settings})


@pytest.mark.slow
def test_reading_tells_nothing_and_every_commit_is_told(db: sqlite3.Connection, tmp_path: Path):
    connector, reader = till(tmp_path), till(tmp_path)
    with watching(connector, PEOPLE) as watch:
        for _ in range(3):
            list(reader.read(PEOPLE, ["name"]))
            reader.close()
        nothing_told(watch, 0.6)
        for number in range(20):
            db.execute("UPDATE people SET name = ? WHERE id = 1", (f"n{number}",))
            told(watch)
            while watch.wait(0.15) is not None:
                pass
    connector.close()


def test_notes_are_deleted_when_they_were_confirmed(db: sqlite3.Connection, tmp_path: Path):
    connector = till(tmp_path, watch="triggers")
    with watching(connector, PEOPLE, spec("people", "code")) as watch:
        db.execute("UPDATE people SET code = 'new' WHERE id = 7")
        hints = told(watch)
        assert (hints.keys[0], set(hints.keys[1] or ())) == (("7",), {"c7", "new"})
        watch.confirm(str(hints.position))
        nothing_told(watch, 0.5)
        assert db.execute(f"SELECT count(*) FROM {MADE}").fetchone() == (0,)
        db.execute("INSERT OR REPLACE INTO people VALUES (8, 'c8', 'replaced')")
        assert told(watch).keys[0] == ("8",)
    connector.unwatch(name="test")
    assert db.execute("SELECT name FROM sqlite_schema WHERE name LIKE 'trueup%'").fetchall() == []
    connector.close()


def test_a_file_of_before_has_missed_changes(db: sqlite3.Connection, tmp_path: Path):
    connector = till(tmp_path, watch="triggers")
    with watching(connector, PEOPLE) as watch:
        old = tmp_path / "old.db"
        with sqlite3.connect(old) as copy:
            db.backup(copy)
        copy.close()
        db.execute("UPDATE people SET name = 'y' WHERE id < 5")
        kept = told(watch).position
    connector.close()
    with sqlite3.connect(old) as copy:
        copy.backup(db)
    copy.close()
    with pytest.raises(PositionLostError, match="older than it was"):
        connector.watch([PEOPLE], name="test", since=kept)
    connector.close()


def test_a_table_that_is_made_anew_loses_its_triggers_and_is_fresh(db: sqlite3.Connection, tmp_path: Path):
    connector = till(tmp_path, watch="triggers")
    with watching(connector, PEOPLE) as watch:
        kept = watch.position
    db.execute("DROP TABLE people")
    db.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT)")
    with watching(connector, PEOPLE, since=kept) as watch:
        assert watch.fresh == {0}
        db.execute("INSERT INTO people VALUES (1, 'x')")
        assert told(watch).keys == {0: ("1",)}
    connector.close()


def test_a_database_that_is_being_written_for_long_is_waited_for(db: sqlite3.Connection, tmp_path: Path):
    connector = till(tmp_path, watch="triggers", lock_timeout_s=0.1)
    with watching(connector, PEOPLE) as watch:
        nothing_told(watch, 0.2)
        db.execute("BEGIN EXCLUSIVE")
        db.execute("UPDATE people SET name = 'y' WHERE id = 3")
        nothing_told(watch, 0.6)
        db.execute("COMMIT")
        assert told(watch).keys == {0: ("3",)}
    connector.close()
