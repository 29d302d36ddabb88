"""The master keys of an installation: read when first needed, and made, changed and forgotten one at a time."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from trueup.errors import MasterKeyError
from trueup.model import KeyPlace
from trueup.sealing.keys import Key, NotOpenedError, new_key, parse_keys, unseal
from trueup.sealing.sources import changing_place, is_writable, read_place

if TYPE_CHECKING:
    from collections.abc import Collection


_HEAD = """\
# Master keys of trueup. The first one seals; the others only open what was sealed before, in old copies of the state too.
# Without them nothing that they sealed can ever be opened: keep a copy in a safe, away from the state and its backups.
"""


class MasterKeys:
    """What a place holds. Several processes may use it at once."""

    def __init__(self, place: KeyPlace) -> None:
        """Read nothing yet."""
        self.place = place
        self._keys: list[Key] | None = None

    def all(self) -> list[Key]:
        """Every key, the current one first; empty where there is none yet. Raises MasterKeyError where they cannot be had."""
        if self._keys is None:
            text = read_place(self.place)
            self._keys = parse_keys(text, str(self.place)) if text is not None else []
        return self._keys

    def look_again(self) -> None:
        """Read the place anew when next asked: another process may have put a new key there."""
        self._keys = None

    def current(self) -> Key:
        """The key that seals. Raises MasterKeyError where there is none."""
        if keys := self.all():
            return keys[0]
        raise self.missing()

    def missing(self) -> MasterKeyError:
        """There is no key at all."""
        if not self.place.chosen:
            return MasterKeyError(
                f"there is no master key: the configuration names none under `master_key:`, and {self.place} is not set",
                hint="write `master_key: {file: PATH}` into the configuration and run `trueup keys new`",
            )
        return MasterKeyError(f"there is no master key: {self.place} holds none", hint=self._how_to_make_one())

    def _how_to_make_one(self) -> str:
        if is_writable(self.place):
            return "`trueup keys new` makes one; if there was one before, put it back: a new one does not open what the old one sealed"
        return "put one there: `trueup keys new` prints a new one, which does not open what another one sealed"

    def find(self, key_id: str) -> Key | None:
        """The key with this id; the place is read once more where it is not known."""
        for again in (False, True):
            if again:
                self.look_again()
            for key in self.all():
                if key.id == key_id:
                    return key
        return None

    def open(self, sealed: bytes, under: str, bound_to: str, what: str) -> Key:
        """A key that was sealed under the master key with the id `under`. Raises MasterKeyError: wrong key, lost key, damaged.

        `what` is what the key opens, for people.
        """
        key = self.find(under)
        if key is None:
            held = [found.id for found in self.all()]
            if not held:
                raise self.missing()
            raise MasterKeyError(
                f"{what} cannot be opened: sealed under the master key {under}, and {self.place} holds {', '.join(held)}",
                hint=f"put the key {under} back, beside the others; if it is lost for good, nobody can open it (docs/security.md)",
            )
        try:
            return Key(unseal(key, sealed, bound_to))
        except NotOpenedError:
            raise MasterKeyError(
                f"{what} cannot be opened, though {under} is the right master key: what was sealed is damaged or was changed",
                hint="put back a backup of the state",
            ) from None

    # -------------------------------------------------------------- changes

    def add(self, *, first: bool = True) -> Key:
        """Put a new key before the others; they stay. With `first=False` there must be none yet. Raises MasterKeyError."""
        key = new_key()
        with changing_place(self.place) as (text, put):
            known = parse_keys(text, str(self.place))
            if known and not first:
                raise MasterKeyError(
                    f"{self.place} holds a master key already ({known[0].id})", hint="`trueup keys rotate` puts a new one before it"
                )
            put(_text([key, *known]))
        self.look_again()
        if key not in self.all():
            raise MasterKeyError(f"{self.place} does not keep what is put there; nothing was sealed under it", hint="name another place")
        return key

    def forget(self, key_id: str, needed: Collection[str]) -> None:
        """Take a key out. Raises MasterKeyError for the current one, one that is `needed`, and one that is not there."""
        with changing_place(self.place) as (text, put):
            known = parse_keys(text, str(self.place))
            left = [key for key in known if key.id != key_id]
            if len(left) == len(known):
                raise MasterKeyError(f"{self.place} holds no key {key_id}", hint="`trueup keys` lists them")
            if known[0].id == key_id or key_id in needed:
                raise MasterKeyError(f"the master key {key_id} is in use", hint="`trueup keys rotate` puts a new one in its place")
            put(_text(left))
        self.look_again()


_known: dict[KeyPlace, MasterKeys] = {}


def remember(place: KeyPlace) -> MasterKeys:
    """The master keys of a configuration that this process has read: what opens a state is found among all that were remembered."""
    return _known.setdefault(place, MasterKeys(place))


def opened_by_any(sealed: bytes, under: str, bound_to: str, what: str) -> Key:
    """A key that was sealed under a master key of a configuration that this process has read, or, before any, of the default place.

    Raises MasterKeyError, that of the configuration that was read last.
    """
    refused: MasterKeyError | None = None
    for masters in reversed(_known.values()) if _known else [MasterKeys(_default_place())]:
        try:
            return masters.open(sealed, under, bound_to, what)
        except MasterKeyError as error:
            refused = refused or error
    assert refused is not None
    raise refused


def _default_place() -> KeyPlace:
    default = KeyPlace(chosen=False)
    return replace(default, given=os.environ.get(default.where))


def _text(keys: list[Key]) -> str:
    return _HEAD + "".join(f"{key.text}\n" for key in keys)
