"""A state of an older version is copied before it is changed; one of a newer version is not touched."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.system.store.older import make_state_of
from trueup.errors import StateError
from trueup.store import Store, before_upgrade, fresh, migrate, person, schema

SOURCE = Path(__file__).parents[3] / "src"
ROW = "INSERT INTO meta (key, value) VALUES ('kept', 'as it was')"


def revision_of(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute(f"SELECT version_num FROM {schema.VERSION_TABLE}").fetchone()[0])


def test_an_older_state_is_kept_as_it_was_beside_the_new_one(tmp_path):
    state = tmp_path / "state.db"
    make_state_of(str(state), "0005", [ROW])
    Store.open(str(state)).close()
    (copy,) = before_upgrade.copies(state)
    assert revision_of(state) == schema.REVISION
    assert revision_of(copy) == "0005"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT value FROM meta WHERE key = 'kept'").fetchone() == ("as it was",)
    Store.open(str(state)).close()
    assert before_upgrade.copies(state) == [copy]


def test_the_way_back_is_the_copy(tmp_path):
    """What the older version would open is byte for byte a state of its revision; opened here, it is brought up to date once more."""
    state = tmp_path / "state.db"
    make_state_of(str(state), "0003", [ROW])
    Store.open(str(state)).close()
    (copy,) = before_upgrade.copies(state)
    for ending in ("", "-wal", "-shm"):
        (tmp_path / f"state.db{ending}").unlink(missing_ok=True)
    copy.replace(state)
    assert revision_of(state) == "0003"
    with Store.open(str(state)) as store, store.read() as db:
        assert migrate.current_revision(db.connection) == schema.REVISION


def test_a_new_state_and_looking_leave_no_copies(tmp_path):
    state = tmp_path / "state.db"
    Store.open(str(state)).close()
    assert before_upgrade.copies(state) == []
    older = tmp_path / "older.db"
    make_state_of(str(older), "0005")
    with pytest.raises(StateError, match="older trueup"):
        Store.open(str(older), read_only=True)
    assert before_upgrade.copies(older) == []
    assert revision_of(older) == "0005"


def tables_of(path: Path) -> tuple[list[tuple[str, str, str | None]], dict[str, list[Any]]]:
    """Everything that a state's file says about its tables, without the lines in which it says it, and what stands in them."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()
        made = [(kind, name, " ".join(sql.split()) if sql else None) for kind, name, sql in rows]
        return made, {
            name: sorted(connection.execute(f'SELECT * FROM "{name}"').fetchall()) for kind, name, _sql in rows if kind == "table"
        }


def test_a_new_state_is_what_the_migrations_make_of_nothing(tmp_path, monkeypatch):
    quick, slow = tmp_path / "quick.db", tmp_path / "slow.db"
    Store.open(str(quick)).close()
    made = fresh.statements()
    with monkeypatch.context() as patch:
        patch.setattr(fresh, "statements", tuple)
        Store.open(str(slow)).close()
    assert made
    assert tables_of(quick) == tables_of(slow)
    assert revision_of(quick) == schema.REVISION


def test_tables_of_another_revision_are_not_made(tmp_path, monkeypatch):
    other = tmp_path / "fresh.sql"
    other.write_text("-- revision 0001\n\nCREATE TABLE wrong (id INTEGER);\n", encoding="utf-8")
    monkeypatch.setattr(fresh, "_FILE", other)
    fresh.statements.cache_clear()
    try:
        Store.open(str(tmp_path / "state.db")).close()
    finally:
        fresh.statements.cache_clear()
    made, _rows = tables_of(tmp_path / "state.db")
    assert revision_of(tmp_path / "state.db") == schema.REVISION
    assert "wrong" not in str(made)


UNDER_OLD_NAMES = [
    "DROP INDEX login_session_person",
    "DROP INDEX login_session_expires",
    "ALTER TABLE login_person RENAME TO person",
    "ALTER TABLE login_invitation RENAME TO invitation",
    "ALTER TABLE login_session RENAME TO session",
    "CREATE INDEX session_person ON session (person)",
    "CREATE INDEX session_expires ON session (expires_at)",
    "INSERT INTO person (id, name, role, created_at, created_by) VALUES (1, 'anna', 'admin', 0, 'users add')",
]


@pytest.mark.parametrize("revision", ["0022", "0023"])
def test_people_are_kept_whose_tables_had_other_names(tmp_path, revision):
    """As revision 0022 made them at first."""
    state, new = tmp_path / "state.db", tmp_path / "new.db"
    make_state_of(str(state), revision, UNDER_OLD_NAMES)
    with Store.open(str(state)) as store, store.read() as db:
        assert [one.name for one in person.list_(db)] == ["anna"]
    Store.open(str(new)).close()
    assert {name for _kind, name, _sql in tables_of(state)[0]} == {name for _kind, name, _sql in tables_of(new)[0]}


def test_only_some_copies_are_kept(tmp_path):
    state = tmp_path / "state.db"
    for number in range(5):
        old = tmp_path / f"state.db.before-000{number}"
        old.write_text("an older copy", encoding="utf-8")
        os.utime(old, (number, number))
    make_state_of(str(state), "0005")
    Store.open(str(state)).close()
    kept = sorted(path.name for path in before_upgrade.copies(state))
    assert kept == ["state.db.before-0003", "state.db.before-0004", f"state.db.before-{schema.REVISION}"]


NO_ROOM = """
import resource, signal, sys
from trueup.errors import StateError
from trueup.store import Store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    Store.open(sys.argv[1])
except StateError as error:
    print(error)
"""


def test_without_room_for_the_copy_nothing_is_changed(tmp_path):
    state = tmp_path / "state.db"
    make_state_of(str(state), "0005", [ROW])
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    done = subprocess.run([sys.executable, "-c", NO_ROOM, str(state)], env=environment, capture_output=True, text=True, check=True)
    assert "make room" in done.stdout, done.stderr
    assert "nothing was changed" in done.stdout
    assert revision_of(state) == "0005"
    assert sorted(path.name for path in tmp_path.glob("*before*")) == []


def test_a_newer_state_stays_byte_for_byte(tmp_path):
    state = tmp_path / "state.db"
    Store.open(str(state)).close()
    with closing(sqlite3.connect(state)) as connection, connection:
        connection.execute(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'")
    before = state.read_bytes()
    with pytest.raises(StateError, match="newer trueup"):
        Store.open(str(state))
    assert state.read_bytes() == before
    assert before_upgrade.copies(state) == []
