"""Secrets in the state, on both back ends: sealed, bound to their names, rotated, and never half-way."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trueup.errors import MasterKeyError, StateError, UsageError
from trueup.model import KeyPlace
from trueup.sealing import MasterKeys, new_key
from trueup.store import Store, schema, secret
from trueup.store.vault import MOST_BYTES, Vault

ROOT = Path(__file__).parents[3]
NOW = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
MARKER = "MARKER-9f3a7c"


@pytest.fixture
def masters(tmp_path) -> MasterKeys:
    keys = MasterKeys(KeyPlace("file", str(tmp_path / "master.key")))
    keys.add(first=False)
    return keys


@pytest.fixture
def vault(store: Store, masters: MasterKeys) -> Vault:
    return Vault(store, masters)


def again(vault: Vault) -> Vault:
    """The vault as another process would open it."""
    return Vault(vault._store, MasterKeys(vault._masters.place))


def test_values_are_kept_by_name_and_version(vault):
    assert [vault.set_(name, value, NOW) for name, value in [("A", "one"), ("B", "zwei ü 日本"), ("A", "three")]] == [1, 1, 2]
    assert again(vault).values(["A", "B", "C"]) == {"A": "three", "B": "zwei ü 日本"}
    assert [(one.name, one.version, one.opens) for one in vault.known()] == [("A", 2, True), ("B", 1, True)]


def test_a_removed_value_is_gone_and_its_versions_go_on(vault, store):
    vault.set_("A", "one", NOW)
    assert vault.remove("A", NOW)
    assert not vault.remove("A", NOW)
    assert vault.values(["A"]) == {}
    assert vault.known() == []
    assert vault.set_("A", "two", NOW) == 2


@pytest.mark.parametrize("name", ["", "a b", "1a", "a" * 101, "ä", "a}", "a\nb"])
def test_names_that_no_configuration_could_write_are_refused(vault, name):
    with pytest.raises(UsageError):
        vault.set_(name, "x", NOW)


@pytest.mark.parametrize("value", ["", "a\x00b", "x" * (MOST_BYTES + 1)])
def test_values_that_are_none_are_refused(vault, value):
    with pytest.raises(UsageError, match="nothing was changed"):
        vault.set_("A", value, NOW)
    assert vault.known() == []


def test_a_row_under_another_name_or_an_old_one_put_back_does_not_open(vault, store):
    vault.set_("A", "admin", NOW)
    vault.set_("B", "guest", NOW)
    with store.read() as db:
        old = secret.rows(db)
    vault.set_("A", "admin2", NOW)
    with store.read() as db:
        new = secret.rows(db)
    for wrong in (replace(old["B"], name="A"), replace(old["A"], version=2), replace(new["A"], version=1)):
        with store.write() as tx:
            secret.put(tx, wrong)
        with pytest.raises(StateError, match="the secret A was changed"):
            vault.values(["A"])
        assert vault.values(["B"]) == {"B": "guest"}
    with store.write() as tx:
        secret.put(tx, new["A"])
    assert vault.values(["A"]) == {"A": "admin2"}


def test_rotation_of_both_layers_keeps_the_values(vault, store):
    for name in "ABC":
        vault.set_(name, f"value {name}", NOW)
    with store.read() as db:
        before = secret.rows(db), secret.keys(db)
    new = vault._masters.add()
    assert again(vault).values("ABC") == {name: f"value {name}" for name in "ABC"}  # the former key is still there
    assert vault.rewrap() == 1
    assert vault.rewrap() == 0
    assert vault.rotate(NOW - timedelta(days=1)) == 3  # the clock may go back
    with store.read() as db:
        after = secret.rows(db), secret.keys(db)
    assert {key.master for key in after[1]} == {new.id}
    assert len(after[1]) == 1
    assert {key.id for key in before[1]}.isdisjoint({key.id for key in after[1]})
    assert all(before[0][name].sealed != after[0][name].sealed for name in "ABC")
    assert again(vault).values("ABC") == {name: f"value {name}" for name in "ABC"}


def test_with_another_or_no_master_key_nothing_opens_and_nothing_changes(vault, store, tmp_path):
    vault.set_("A", "one", NOW)
    path = tmp_path / "master.key"
    kept = path.read_text()
    for text in (new_key().text, ""):
        path.write_text(text)
        closed = again(vault)
        for act in (
            lambda closed=closed: closed.values(["A"]),
            lambda closed=closed: closed.set_("B", "two", NOW),
            lambda closed=closed: closed.rotate(NOW),
            closed.rewrap,
            closed.check_keys,
        ):
            with pytest.raises(MasterKeyError, match="master key"):
                act()
        assert [one.opens for one in closed.known()] == [False]
    path.write_text(kept)
    assert again(vault).values(["A", "B"]) == {"A": "one"}


def test_where_the_master_key_is_lost_for_good_values_are_set_anew(vault, tmp_path):
    for name in "AB":
        vault.set_(name, "one", NOW)
    lost = vault._masters.current().id
    (tmp_path / "master.key").unlink()
    closed = again(vault)
    closed._masters.add(first=False)
    closed.set_("A", "two", NOW, fresh_key=True)
    assert again(closed).values(["A"]) == {"A": "two"}
    assert closed.masters_needed() == {lost, closed._masters.current().id}
    closed.set_("B", "three", NOW)
    assert again(closed).values("AB") == {"A": "two", "B": "three"}
    assert closed.masters_needed() == {closed._masters.current().id}


def test_a_state_made_before_there_were_secrets_holds_none(vault, store):
    with store.write() as tx:
        for table in (schema.secret, schema.data_key):
            table.drop(tx.connection)
    assert vault.values(["A"]) == {}
    assert vault.known() == []
    assert vault.masters_needed() == set()


def test_many_at_once_seal_under_one_data_key(target, masters):
    with Store.open(target):
        pass

    def set_(name: str) -> None:
        with Store.open(target) as own:
            Vault(own, MasterKeys(masters.place)).set_(name, name, NOW)

    threads = [threading.Thread(target=set_, args=(name,)) for name in "ABCDEF"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Store.open(target) as store, store.read() as db:
        assert len(secret.keys(db)) == 1
        assert Vault(store, masters).values("ABCDEF") == {name: name for name in "ABCDEF"}


def test_no_value_is_in_the_clear_in_the_file_or_its_log(tmp_path, masters):
    with Store.open(str(tmp_path / "state.db")) as store:
        vault = Vault(store, masters)
        vault.set_("A", MARKER, NOW)
        vault.set_("A", MARKER + "2", NOW)
        vault.rotate(NOW)
        assert (tmp_path / "state.db-wal").stat().st_size > 0
        for path in tmp_path.iterdir():
            assert MARKER.encode() not in path.read_bytes(), path
    for path in tmp_path.iterdir():
        assert MARKER.encode() not in path.read_bytes(), path


# ---------------------------------------------------------------- kills, and other processes

ROTATIONS = """
    import sys
    from datetime import UTC, datetime
    from pathlib import Path
    from tests.system.kills import killed_at_each_step
    from trueup.model import KeyPlace
    from trueup.sealing import MasterKeys
    from trueup.store import Store
    from trueup.store.vault import Vault

    VALUES = {name: f"value {name}" for name in "ABC"}

    def vault(folder):
        return Vault(Store.open(str(folder / "state.db")), MasterKeys(KeyPlace("file", str(folder / "keys" / "master.key"))))

    def rotate(folder):
        one = vault(folder)
        one._masters.add()
        one.rewrap()
        one.rotate(datetime.now(UTC))
        one.set_("A", "another", datetime.now(UTC))
        one._masters.forget(one._masters.all()[-1].id, one.masters_needed())

    def look(folder):
        for again in (False, True):
            found = vault(folder).values("ABC")
            assert found in (VALUES, VALUES | {"A": "another"}), found
            assert not [path for path in (folder / "keys").iterdir() if path.stat().st_mode & 0o077]
            if not again:
                rotate(folder)

    folder = Path(sys.argv[1], "work")
    folder.mkdir()
    first = vault(folder)
    first._masters.add(first=False)
    for name, value in VALUES.items():
        first.set_(name, value, datetime.now(UTC))
    first._store.close()
    print("killed", killed_at_each_step(folder, rotate, look))
"""


@pytest.mark.slow
def test_a_rotation_killed_at_any_step_loses_nothing_and_is_simply_done_again(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(ROTATIONS), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 40


READER = """
    import sys
    from trueup.model import KeyPlace
    from trueup.sealing import MasterKeys
    from trueup.store import Store
    from trueup.store.vault import Vault
    number = 0
    print("ready", flush=True)
    while not number or not sys.argv[3:] or number < int(sys.argv[3]):
        with Store.open(sys.argv[1], read_only=True) as store:
            found = Vault(store, MasterKeys(KeyPlace("file", sys.argv[2]))).values("A")
        assert found["A"].startswith("value"), found
        number += 1
"""


@pytest.mark.slow
def test_processes_that_read_while_keys_are_rotated_and_forgotten_always_see_the_values(target, masters, tmp_path):
    with Store.open(target) as store:
        vault = Vault(store, masters)
        vault.set_("A", "value 0", NOW)
        reader = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(READER), target, masters.place.where, "150"],
            env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with reader:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "ready\n"
            rounds = 0
            while reader.poll() is None:
                rounds += 1
                former = masters.current().id
                masters.add()
                vault.rewrap()
                vault.rotate(NOW)
                vault.set_("A", f"value {rounds}", NOW)
                masters.forget(former, vault.masters_needed())
            assert reader.stderr is not None
            assert reader.returncode == 0, reader.stderr.read()
        assert rounds > 3
