"""A state's file encrypted: nothing of it in the clear, the right key alone opens it, and converting it loses nothing, killed or not."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from trueup.errors import MasterKeyError, StateError, StateLockedError
from trueup.model import KeyPlace
from trueup.sealing import MasterKeys, new_key
from trueup.sealing import master as masters_known
from trueup.store import Store, convert, encryption, engine, golden, meta
from trueup.store.before_upgrade import keep_copy
from trueup.store.vault import Vault

ROOT = Path(__file__).parents[3]
NOW = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
MARKER = "MARKER-5f21ab"


@pytest.fixture
def masters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MasterKeys:
    """The master keys of a configuration that was read."""
    monkeypatch.setattr(masters_known, "_known", {})
    keys = masters_known.remember(KeyPlace("file", str(tmp_path / "keys" / "master.key")))
    keys.add(first=False)
    return keys


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A state in the clear, with marked content."""
    place = tmp_path / "work" / "state.db"
    with Store.open(str(place)) as store:
        fill(store)
    return place


def fill(store: Store, records: int = 3_000) -> None:
    with store.write() as tx:
        meta.set_(tx, "marked", MARKER)
        names = [f'{{"name": "{MARKER} {number}"}}' for number in range(records)]
        golden.upsert(tx, "customer", pl.DataFrame({"id": range(1, records + 1), "data": names, "version": [1] * records}), new=True)


def content(path: Path) -> tuple[object, ...]:
    with Store.open(str(path), read_only=True) as store, store.read() as db:
        rows = store.query("SELECT id, data FROM golden ORDER BY id", 10_000)
        return meta.get(db, "marked"), golden.count(db, "customer"), rows


def in_the_clear(folder: Path) -> list[str]:
    """The files that show content, or that they are of SQLite."""
    found = [file for file in folder.rglob("*") if file.is_file()]
    return [
        file.name for file in found if MARKER.encode() in (text := file.read_bytes()) or b"SQLite format 3" in text or b"CREATE T" in text
    ]


# ---------------------------------------------------------------- converting


def test_a_state_is_encrypted_put_under_another_key_and_decrypted_again(path, masters):
    before = content(path)
    assert in_the_clear(path.parent) == ["state.db"]
    convert.encrypt(str(path), masters, NOW)
    assert in_the_clear(path.parent) == []
    assert content(path) == before
    [first] = encryption.file_keys(path)
    convert.encrypt(str(path), masters, NOW)
    [second] = encryption.file_keys(path)
    assert first.id != second.id
    assert content(path) == before
    assert convert.decrypt(str(path), NOW)
    assert not convert.decrypt(str(path), NOW)
    assert sorted(file.name for file in path.parent.iterdir()) == ["state.db", "state.db.lock"]
    assert content(path) == before
    with closing(sqlite3.connect(path)) as plain:
        assert plain.execute("PRAGMA page_size").fetchone() == (8192,)
        assert plain.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_new_state_is_encrypted_from_its_first_byte(tmp_path, masters):
    path = tmp_path / "work" / "state.db"
    convert.encrypt(str(path), masters, NOW)
    with Store.open(str(path)) as store:
        fill(store)
        assert (path.parent / "state.db-wal").stat().st_size > 100_000
        assert in_the_clear(path.parent) == []
    assert in_the_clear(path.parent) == []
    assert {file.stat().st_mode & 0o077 for file in path.parent.glob("state.db*") if not file.name.endswith(".lock")} == {0}


def test_an_encrypted_state_works_as_any_other(path, masters):
    convert.encrypt(str(path), masters, NOW)
    with Store.open(str(path)) as store:
        with store.lock("sync", now=NOW), store.write() as tx:
            meta.set_(tx, "a", "kept")
        with store.read() as db, store.write() as tx:
            meta.set_(tx, "a", "later")
            assert meta.get(db, "a") in {None, "kept"}
        with pytest.raises(StateError, match="only reading"):
            store.query("DELETE FROM run")
        with pytest.raises(StateError, match="cannot be run"):
            store.query("SELECT nonsense FROM nowhere")
        with pytest.raises(StateError), store.read() as db:
            db.connection.exec_driver_sql("DELETE FROM run")
        store.copy_to(path.parent / "copy.db")
        Vault(store, masters).set_("A", "value", NOW)
    assert content(path.parent / "copy.db") == content(path)
    assert in_the_clear(path.parent) == []
    with Store.open(str(path), read_only=True) as store:
        assert Vault(store, masters).values("A") == {"A": "value"}


def test_a_state_that_is_open_is_not_converted(path, masters, monkeypatch):
    monkeypatch.setattr("trueup.store.in_use.WAIT_FOR_OTHERS_S", 0.2)
    before = content(path)
    with Store.open(str(path), read_only=True), pytest.raises(StateError, match=r"has a state in .* open"):
        convert.encrypt(str(path), masters, NOW)
    with Store.open(str(path)) as store, store.lock("sync", now=NOW), pytest.raises(StateLockedError):
        convert.encrypt(str(path), masters, NOW)
    for work in ("SELECT count(*) FROM golden", "INSERT INTO meta VALUES ('another', 'program')"):
        code = (
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]).fetchone(); print('open', flush=True); input()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", code, str(path), work], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "open\n"
            with pytest.raises(StateError, match="in use by another program"):
                convert.encrypt(str(path), masters, NOW)
            other.kill()
    assert content(path) == before
    assert encryption.access_to(path).key is None


def test_a_state_in_postgresql_is_not_ours_to_encrypt(postgres_url, masters):
    with pytest.raises(StateError, match="in PostgreSQL"):
        convert.encrypt(postgres_url, masters, NOW)


def test_on_a_full_disk_the_state_is_as_it_was(path, masters, monkeypatch):
    before = content(path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(convert, "_compare", full)
    with pytest.raises(StateError, match="is full"):
        convert.encrypt(str(path), masters, NOW)
    monkeypatch.undo()
    masters_known.remember(masters.place)
    assert content(path) == before
    assert not list(path.parent.glob("*converting*"))
    convert.encrypt(str(path), masters, NOW)
    assert content(path) == before


def test_a_copy_that_differs_is_not_taken(path, masters, monkeypatch):
    copy = convert._copy

    def wrong(old_path: Path, old: encryption.Access, fresh: Path, new: encryption.Access) -> None:
        copy(old_path, old, fresh, new)
        with closing(new.connect(str(fresh))) as connection:
            connection.execute("UPDATE golden SET data = data || ' ' WHERE id = 2999")

    before = content(path)
    monkeypatch.setattr(convert, "_copy", wrong)
    with pytest.raises(StateError, match="not what it was made from"):
        convert.encrypt(str(path), masters, NOW)
    assert content(path) == before
    assert encryption.access_to(path).key is None


# ---------------------------------------------------------------- keys that do not fit


def test_a_wrong_and_a_lost_master_key_are_told_and_nothing_is_touched(path, masters, tmp_path):
    convert.encrypt(str(path), masters, NOW)
    bytes_before = path.read_bytes()
    file = tmp_path / "keys" / "master.key"
    kept = file.read_text()
    for text, words in ((new_key().text, "the encrypted state cannot be opened: sealed under"), ("", "there is no master key")):
        file.write_text(text)
        masters.look_again()
        for act in (
            lambda: Store.open(str(path)),
            lambda: Store.open(str(path), read_only=True),
            lambda: convert.decrypt(str(path), NOW),
        ):
            with pytest.raises(MasterKeyError, match=words) as caught:
                act()
            assert caught.value.hint
    file.write_text(kept)
    masters.look_again()
    assert path.read_bytes() == bytes_before
    assert content(path)[0] == MARKER


def test_a_key_file_that_is_missing_damaged_or_of_another_state_is_told(path, masters, tmp_path):
    convert.encrypt(str(path), masters, NOW)
    other = tmp_path / "other" / "state.db"
    convert.encrypt(str(other), masters, NOW)
    bytes_before, key_file = path.read_bytes(), encryption.key_file(path)
    kept = key_file.read_bytes()
    key_file.unlink()
    with pytest.raises(StateError, match=r"its key file .*state.db.key is missing"):
        Store.open(str(path))
    for text, words in (
        (encryption.key_file(other).read_bytes(), "encrypted under another key than the one in"),
        (kept[:-40], "is damaged"),
        (kept.replace(b'"sealed":"A', b'"sealed":"B'), "damaged or was changed"),
    ):
        key_file.write_bytes(text)
        with pytest.raises((StateError, MasterKeyError), match=words) as caught:
            Store.open(str(path))
        assert caught.value.hint
    key_file.write_bytes(kept)
    assert path.read_bytes() == bytes_before
    assert content(path)[0] == MARKER


def test_without_sqlcipher_it_says_what_to_install(path, masters, monkeypatch):
    convert.encrypt(str(path), masters, NOW)
    monkeypatch.setitem(sys.modules, "sqlcipher3", None)
    with pytest.raises(StateError, match=r"install trueup\[encrypted\]"):
        Store.open(str(path))


def test_a_new_master_key_opens_the_file_too(path, masters):
    convert.encrypt(str(path), masters, NOW)
    former = masters.current()
    masters.add()
    assert encryption.rewrap(path, masters) == 1
    assert encryption.rewrap(path, masters) == 0
    masters.forget(former.id, {key.master for key in encryption.file_keys(path)})
    assert content(path)[0] == MARKER


def test_a_changed_page_is_noticed(path, masters):
    convert.encrypt(str(path), masters, NOW)
    with Store.open(str(path), read_only=True) as store:
        root = store.query("SELECT rootpage FROM sqlite_master WHERE name = 'golden'")[1][0][0]
    text = bytearray(path.read_bytes())
    text[(root - 1) * encryption.PAGE_BYTES + 100] ^= 1
    path.write_bytes(text)
    with Store.open(str(path), read_only=True) as store, pytest.raises(StateError):
        store.query("SELECT sum(length(data)) FROM golden")


# ---------------------------------------------------------------- kills

KILLED = """
    import sys
    from datetime import UTC, datetime
    from pathlib import Path
    from tests.system.kills import killed_at_each_step
    from trueup.model import KeyPlace
    from trueup.sealing import master
    from trueup.store import Store, convert, encryption, meta

    def masters(folder):
        return master.remember(KeyPlace("file", str(folder / "keys" / "master.key")))

    def work(folder):
        keys, state, now = masters(folder), str(folder / "state.db"), datetime.now(UTC)
        if "encrypt" in sys.argv[2]:
            convert.encrypt(state, keys, now)
        if "again" in sys.argv[2]:
            keys.add()
            encryption.rewrap(folder / "state.db", keys)
            convert.encrypt(state, keys, now)
        if "decrypt" in sys.argv[2]:
            convert.decrypt(state, now)

    def look(folder):
        masters(folder)
        for again in (False, True):
            with Store.open(str(folder / "state.db")) as store:
                with store.read() as db:
                    assert meta.get(db, "a") == "kept", again
                with store.write() as tx:
                    meta.set_(tx, "b", str(again))
            if not again:
                work(folder)
        left = sorted(path.name for path in folder.iterdir() if path.name != "keys")
        key = ["state.db.key"] if "decrypt" not in sys.argv[2] else []
        assert left == ["state.db", *key, "state.db.lock"], left
        assert len(encryption.file_keys(folder / "state.db")) == len(key)

    folder = Path(sys.argv[1], "work")
    folder.mkdir()
    masters(folder).add(first=False)
    with Store.open(str(folder / "state.db")) as store, store.write() as tx:
        meta.set_(tx, "a", "kept")
    if sys.argv[3:]:
        convert.encrypt(str(folder / "state.db"), masters(folder), datetime.now(UTC))
    print("killed", killed_at_each_step(folder, work, look))
"""


@pytest.mark.parametrize("what", [["encrypt"], ["again", "encrypted"], ["decrypt", "encrypted"]], ids=" ".join)
@pytest.mark.slow
def test_a_conversion_killed_at_any_step_leaves_a_state_that_opens_and_is_simply_done_again(tmp_path, what):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path), *what],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split()[-1]) > 8
    shutil.rmtree(tmp_path / "work")


def test_a_key_file_says_nothing_of_the_key(path, masters):
    convert.encrypt(str(path), masters, NOW)
    key = encryption.access_to(path).key
    assert key is not None
    text = encryption.key_file(path).read_text()
    assert json.loads(text)["keys"][0]["master"] == masters.current().id
    assert key.raw.hex() not in text
    assert key.text[11:30] not in text


def test_the_copy_before_an_upgrade_is_encrypted_as_well(path, masters):
    convert.encrypt(str(path), masters, NOW)
    reader = engine.sqlite_engine(path, writer=False, read_only=False)
    kept = keep_copy(reader, "0001", "0002")
    reader.dispose()
    assert kept is not None
    assert in_the_clear(path.parent) == []
    assert content(kept) == content(path)
    assert [file.name for file in path.parent.iterdir() if ".part" in file.name] == []
