"""`Vault`: secrets in a state, sealed under a data key that is itself sealed under a master key kept elsewhere.

Each change is one transaction, so that a process killed at any point leaves everything sealed before or everything sealed after. A value
is bound to its name and version: a row of the table that is put under another name, or an older one put back, does not open.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from trueup.errors import MasterKeyError, StateError, UsageError
from trueup.sealing import Key, NotOpenedError, new_key, seal, unseal
from trueup.store import schema, secret
from trueup.store.migrate import one_at_a_time

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from trueup.sealing import MasterKeys
    from trueup.store.database import Store
    from trueup.store.db import Db

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}", re.ASCII)
MOST_BYTES = 64 * 1024
_MOMENT = timedelta(microseconds=1)
WHAT = "the secrets in the state"


@dataclass(frozen=True, slots=True)
class Known:
    """A secret without its value. `opens` is False where its master key is not at hand or it is damaged."""

    name: str
    version: int
    at: datetime
    opens: bool


class Vault:
    """The secrets of one state."""

    def __init__(self, store: Store, masters: MasterKeys) -> None:
        """Read nothing yet."""
        self._store = store
        self._masters = masters

    # -------------------------------------------------------------- looking

    def values(self, names: Iterable[str]) -> dict[str, str]:
        """The values of those that exist. Raises MasterKeyError where they cannot be opened, StateError where one was tampered with."""
        wanted = set(names)
        for again in (False, True):
            with self._store.read() as db:
                rows = [row for row in _rows(db) if row.name in wanted]
                keys = {key.id: key for key in _keys(db)}
            try:
                opened = {name: self._open_key(keys, name) for name in {row.data_key or "" for row in rows}}
            except MasterKeyError:
                if again:
                    raise
                continue  # the master key may have been changed between the two readings
            return {row.name: _value(row, opened[row.data_key or ""]) for row in rows}
        return {}

    def known(self) -> list[Known]:
        """Every secret by name, and whether it opens."""
        with self._store.read() as db:
            rows = _rows(db)
        return [Known(row.name, row.version, row.at, self._opens(row.name)) for row in rows]

    def _opens(self, name: str) -> bool:
        try:
            self.values([name])
        except (MasterKeyError, StateError):
            return False
        return True

    def masters_needed(self) -> set[str]:
        """The ids of the master keys without which something here does not open."""
        with self._store.read() as db:
            return {key.master for key in _keys(db)}

    def check_keys(self) -> None:
        """Raises MasterKeyError where a data key does not open."""
        with self._store.read() as db:
            for key in _keys(db):
                self._masters.open(key.sealed, key.master, _key_bound(key.id), WHAT)

    # -------------------------------------------------------------- changing

    def set_(self, name: str, value: str, at: datetime, *, fresh_key: bool = False) -> int:
        """Keep a value under a name; returns its version.

        `fresh_key` seals it under a new data key, where the master key of the present one is lost. Raises UsageError, MasterKeyError.
        """
        check_name(name)
        _check_value(value)
        with self._store.write() as tx:
            one_at_a_time(tx.connection)
            key_id, key = self._fresh_key(tx, at) if fresh_key else self._present_key(tx, at)
            before = secret.rows(tx).get(name)
            row = secret.Sealed(name, before.version + 1 if before else 1, key_id, None, at)
            secret.put(tx, replace(row, sealed=seal(key, value.encode(), _bound(row))))
            self._drop_unused(tx)
        return row.version

    def remove(self, name: str, at: datetime) -> bool:
        """Forget a value; False where there is none."""
        with self._store.write() as tx:
            one_at_a_time(tx.connection)
            before = secret.rows(tx).get(name)
            if before is None or before.sealed is None:
                return False
            secret.put(tx, replace(before, data_key=None, sealed=None, at=at))
            self._drop_unused(tx)
        return True

    def rotate(self, at: datetime) -> int:
        """Seal every value anew under a new data key; returns how many. Raises MasterKeyError, StateError: nothing is changed then."""
        with self._store.write() as tx:
            one_at_a_time(tx.connection)
            rows = _rows(tx)
            keys = {key.id: key for key in secret.keys(tx)}
            opened = {row.name: _value(row, self._open_key(keys, row.data_key or "")) for row in rows}
            key_id, key = self._fresh_key(tx, at)
            for row in rows:
                moved = replace(row, data_key=key_id)
                secret.put(tx, replace(moved, sealed=seal(key, opened[row.name].encode(), _bound(moved))))
            self._drop_unused(tx)
        return len(rows)

    def rewrap(self) -> int:
        """Seal every data key under the current master key; returns how many were not. Raises MasterKeyError: nothing is changed then."""
        with self._store.write() as tx:
            one_at_a_time(tx.connection)
            self._masters.look_again()
            master = self._masters.current()
            behind = [key for key in secret.keys(tx) if key.master != master.id]
            for key in behind:
                opened = self._masters.open(key.sealed, key.master, _key_bound(key.id), WHAT)
                secret.put_key(tx, replace(key, master=master.id, sealed=seal(master, opened.raw, _key_bound(key.id))))
        return len(behind)

    # -------------------------------------------------------------- data keys

    def _present_key(self, tx: Db, at: datetime) -> tuple[str, Key]:
        keys = secret.keys(tx)
        if not keys:
            return self._fresh_key(tx, at)
        return keys[0].id, self._open_key({keys[0].id: keys[0]}, keys[0].id)

    def _fresh_key(self, tx: Db, at: datetime) -> tuple[str, Key]:
        master, key = self._masters.current(), new_key()
        after = max((known.at + _MOMENT for known in secret.keys(tx)), default=at)  # the newest, whatever the clock says
        sealed = seal(master, key.raw, _key_bound(key.id))
        secret.put_key(tx, secret.SealedKey(key.id, master.id, sealed, max(after, at)))
        return key.id, key

    def _open_key(self, keys: dict[str, secret.SealedKey], key_id: str) -> Key:
        sealed = keys.get(key_id)
        if sealed is None:
            raise StateError("a secret in the state is sealed under a key that is not there", hint="put back a backup, or set it anew")
        return self._masters.open(sealed.sealed, sealed.master, _key_bound(key_id), WHAT)

    def _drop_unused(self, tx: Db) -> None:
        """Forget the data keys that seal nothing any more, but for the newest."""
        used = {row.data_key for row in secret.rows(tx).values()}
        for key in secret.keys(tx)[1:]:
            if key.id not in used:
                secret.drop_key(tx, key.id)


def _rows(db: Db) -> list[secret.Sealed]:
    return [row for row in secret.rows(db).values() if row.sealed is not None] if _knows_secrets(db) else []


def _keys(db: Db) -> list[secret.SealedKey]:
    return secret.keys(db) if _knows_secrets(db) else []


def _knows_secrets(db: Db) -> bool:
    """Not where a trueup that knew none made the state, and it is opened as it is."""
    return sa.inspect(db.connection).has_table(schema.secret.name)


def check_name(name: str) -> None:
    """Raises UsageError for a name that cannot be written as `${secret:NAME}`."""
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot name a secret", hint="use letters, digits, _, - and ., a letter first, at most 100 characters")


def _check_value(value: str) -> None:
    if not value:
        raise UsageError("the value is empty", hint="nothing was changed")
    if len(value.encode()) > MOST_BYTES:
        raise UsageError(f"the value is longer than {MOST_BYTES // 1024} KiB", hint="nothing was changed; keep long texts in a file")
    if "\x00" in value:
        raise UsageError("the value holds a NUL character", hint="nothing was changed; give text")


def _value(row: secret.Sealed, key: Key) -> str:
    try:
        return unseal(key, row.sealed or b"", _bound(row)).decode()
    except NotOpenedError:
        raise StateError(
            f"the secret {row.name} was changed in the state by something else than trueup",
            hint=f"set it anew: `trueup secrets set {row.name}`",
        ) from None


def _bound(row: secret.Sealed) -> str:
    return f"secret\x00{row.name}\x00{row.version}\x00{row.data_key}"


def _key_bound(key_id: str) -> str:
    return f"data key\x00{key_id}"
