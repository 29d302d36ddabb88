"""Where master keys are: files, variables, the keyring, commands; and that none of them shows a key in a message."""

from __future__ import annotations

import base64
import os
import sys
import threading
from pathlib import Path

import pytest

from trueup.errors import MasterKeyError
from trueup.model import KeyPlace
from trueup.sealing import MasterKeys, new_key, seal
from trueup.sealing.sources import changing_place

KEY = new_key()


def held(path: Path, text: str = KEY.text, mode: int = 0o600) -> MasterKeys:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return MasterKeys(KeyPlace("file", str(path)))


def refused(masters: MasterKeys, words: str) -> None:
    with pytest.raises(MasterKeyError, match=words) as caught:
        masters.current()
    assert caught.value.hint
    assert KEY.text[11:30] not in str(caught.value)


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_file_that_only_its_owner_reads_is_taken(tmp_path, mode):
    assert held(tmp_path / "key", mode=mode).current() == KEY


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602, 0o644, 0o777])
def test_a_file_that_others_may_read_or_change_is_refused(tmp_path, mode):
    refused(held(tmp_path / "key", mode=mode), rf"others \(mode {mode:04o}\)")


def test_a_file_that_is_no_key_is_refused(tmp_path):
    refused(held(tmp_path / "a", KEY.text[:-3]), "cut short")
    refused(held(tmp_path / "b", "hunter2"), "is no key")
    (tmp_path / "c").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "c").chmod(0o600)
    refused(MasterKeys(KeyPlace("file", str(tmp_path / "c"))), "not text")
    (tmp_path / "folder").mkdir(mode=0o700)
    refused(MasterKeys(KeyPlace("file", str(tmp_path / "folder"))), "not a plain file")
    refused(MasterKeys(KeyPlace("file", str(tmp_path / "absent"))), "holds none")
    os.mkfifo(tmp_path / "pipe", 0o600)
    refused(MasterKeys(KeyPlace("file", str(tmp_path / "pipe"))), "not a plain file")


def test_a_new_key_is_kept_before_the_former_ones_and_by_its_owner_alone(tmp_path):
    masters = MasterKeys(KeyPlace("file", str(tmp_path / "below" / "key")))
    first = masters.add(first=False)
    with pytest.raises(MasterKeyError, match="already"):
        masters.add(first=False)
    second = masters.add()
    assert masters.all() == [second, first]
    assert (tmp_path / "below" / "key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "below").iterdir()] == ["key"]


def test_links_are_followed_and_stay(tmp_path):
    held(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    masters = MasterKeys(KeyPlace("file", str(tmp_path / "link")))
    new = masters.add()
    assert (tmp_path / "link").is_symlink()
    assert MasterKeys(KeyPlace("file", str(tmp_path / "real"))).all() == [new, KEY]


def test_only_a_former_key_that_nothing_needs_is_forgotten(tmp_path):
    masters = held(tmp_path / "key")
    new = masters.add()
    for key_id, needed, words in ((new.id, (), "in use"), (KEY.id, {KEY.id}, "in use"), ("00000000", (), "no key 00000000")):
        with pytest.raises(MasterKeyError, match=words):
            masters.forget(key_id, needed)
    assert masters.all() == [new, KEY]
    masters.forget(KEY.id, {new.id})
    assert masters.all() == [new]


def test_no_key_is_lost_where_several_are_put_there_at_once(tmp_path):
    held(tmp_path / "key")
    made = []

    def add() -> None:
        made.append(MasterKeys(KeyPlace("file", str(tmp_path / "key"))).add())

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = {key.id for key in MasterKeys(KeyPlace("file", str(tmp_path / "key"))).all()}
    assert found == {KEY.id, *(key.id for key in made)}
    assert len(found) == 9


def test_a_file_that_cannot_be_written_is_as_it_was(tmp_path, monkeypatch):
    masters = held(tmp_path / "key")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MasterKeyError, match="No space left on device; it is as it was"):
        masters.add()
    assert masters.all() == [KEY]
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


# ---------------------------------------------------------------- variables, commands


def test_a_variable_gives_the_keys_and_cannot_be_changed():
    assert MasterKeys(KeyPlace("env", "MK", given=KEY.text)).current() == KEY
    assert KEY.text not in repr(KeyPlace("env", "MK", given=KEY.text))
    refused(MasterKeys(KeyPlace("env", "MK")), "holds none")
    refused(MasterKeys(KeyPlace(chosen=False)), "names none")
    with pytest.raises(MasterKeyError, match="cannot change"), changing_place(KeyPlace("env", "MK")):
        pass


def test_a_variable_from_a_file_that_others_may_read_is_refused(tmp_path):
    path = tmp_path / ".env"
    path.write_text("MK=x\n")
    path.chmod(0o644)
    place = KeyPlace("env", "MK", given=KEY.text, given_in=str(path))
    refused(MasterKeys(place), "may be read or changed by others")
    path.chmod(0o600)
    assert MasterKeys(place).current() == KEY


def command(code: str) -> MasterKeys:
    return MasterKeys(KeyPlace("command", "the tool", (sys.executable, "-c", code)))


def test_a_command_prints_the_key():
    assert command(f"print({KEY.text!r})").current() == KEY
    assert command(f"print({base64.b64encode(KEY.raw).decode()!r})").current() == KEY


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (f"import sys; print({KEY.text!r}); sys.exit('no rights for ' + {KEY.text!r})", "ended with status 1"),
        ("pass", "printed nothing"),
        (f"print({KEY.text[:40]!r})", "cut short"),
        ("import sys; sys.stdout.buffer.write(bytes(range(128, 160)))", "not text"),
    ],
    ids=["fails", "says nothing", "cut short", "no text"],  # a key in a name would be another one in each process
)
def test_a_command_that_gives_no_key_is_told_without_what_it_said(code, words):
    refused(command(code), words)


def test_a_command_that_is_not_there_or_hangs_is_told(monkeypatch):
    refused(MasterKeys(KeyPlace("command", "no-such-tool", ("/no/such/tool",))), "No such file")
    monkeypatch.setattr("trueup.sealing.sources.COMMAND_LIMIT_S", 0.3)
    refused(command("import time; time.sleep(30)"), "stopped")


# ---------------------------------------------------------------- the keyring

BACKEND = '''
import json, os, pathlib
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked

class InFile(KeyringBackend):
    """A keyring for tests: keyring's own way of choosing a back end finds it."""
    priority = 1
    path = pathlib.Path(os.environ["TEST_KEYRING"])

    def get_password(self, service, username):
        if self.path.name == "locked":
            raise KeyringLocked("locked, and the key was HUNTER2")
        known = json.loads(self.path.read_text()) if self.path.exists() else {}
        return known.get(f"{service}/{username}")

    def set_password(self, service, username, password):
        known = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.path.write_text(json.dumps(known | {f"{service}/{username}": password}))
'''


@pytest.fixture
def keyring(tmp_path, monkeypatch):
    import keyring

    (tmp_path / "infile_keyring.py").write_text(BACKEND)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TEST_KEYRING", str(tmp_path / "ring"))
    sys.modules.pop("infile_keyring", None)
    before = keyring.get_keyring()
    keyring.set_keyring(__import__("infile_keyring").InFile())
    yield __import__("infile_keyring").InFile
    keyring.set_keyring(before)


def test_the_keyring_keeps_keys(keyring):
    place = KeyPlace("keyring", "customers")
    refused(MasterKeys(place), "holds none")
    first = MasterKeys(place).add(first=False)
    second = MasterKeys(place).add()
    assert MasterKeys(place).all() == [second, first]
    refused(MasterKeys(KeyPlace("keyring", "others")), "holds none")


def test_a_locked_keyring_is_told(keyring, tmp_path):
    keyring.path = tmp_path / "locked"
    refused(MasterKeys(KeyPlace("keyring", "customers")), "KeyringLocked")


def test_without_the_package_the_keyring_is_refused_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(MasterKeyError, match=r"install trueup\[keyring\]"):
        MasterKeys(KeyPlace("keyring", "customers")).current()


# ---------------------------------------------------------------- opening


def test_a_wrong_key_and_a_lost_key_are_told_by_their_ids(tmp_path):
    masters = held(tmp_path / "key")
    other = new_key()
    sealed = seal(other, new_key().raw, "data key")
    with pytest.raises(MasterKeyError, match=rf"sealed under the master key {other.id}, and .* holds {KEY.id}"):
        masters.open(sealed, other.id, "data key", "the state")
    (tmp_path / "key").unlink()
    masters.look_again()
    with pytest.raises(MasterKeyError, match="holds none"):
        masters.open(sealed, other.id, "data key", "the state")


def test_a_key_that_another_process_has_put_there_meanwhile_is_found(tmp_path):
    masters = held(tmp_path / "key")
    assert masters.all() == [KEY]
    new = MasterKeys(masters.place).add()
    assert masters.find(new.id) == new


def test_what_was_changed_is_told_apart_from_a_wrong_key(tmp_path):
    masters = held(tmp_path / "key")
    sealed = bytearray(seal(KEY, new_key().raw, "data key"))
    sealed[-1] ^= 1
    with pytest.raises(MasterKeyError, match="damaged or was changed"):
        masters.open(bytes(sealed), KEY.id, "data key", "the state")
