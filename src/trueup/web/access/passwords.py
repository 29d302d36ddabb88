"""Passwords: hashed with argon2id, so that whoever gets hold of the state can hardly guess them."""

from __future__ import annotations

import hashlib
import secrets
import unicodedata
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from trueup.errors import UsageError

SHORTEST = 12
LONGEST = 256
"""Characters. Nobody types more; and without a limit a request could keep a processor busy."""
_hasher = PasswordHasher()  # argon2id with the parameters of RFC 9106 for little memory: 64 MiB, three rounds
_room = BoundedSemaphore(2)  # so many at once: each takes its 64 MiB
_nobody: list[str] = []


def checked(password: str, name: str) -> str:
    """A password as it is hashed. Raises UsageError, with why, for one that would be guessed."""
    shaped = unicodedata.normalize("NFKC", password)
    if len(shaped) < SHORTEST:
        raise UsageError(f"the password has {len(shaped)} characters", hint=f"at least {SHORTEST}: a few words that nobody would guess")
    if len(shaped) > LONGEST:
        raise UsageError(f"the password is longer than {LONGEST} characters", hint="choose a shorter one")
    plain = shaped.casefold()
    if len(set(plain)) < 5 or (name and name.casefold() in plain and len(plain) - len(name) < 6):
        raise UsageError("the password is easily guessed", hint="a few words that nobody would guess")
    return shaped


def hashed(password: str) -> str:
    """What is kept of a password that was `checked`."""
    with _room:
        return _hasher.hash(password)


def matches(kept: str | None, password: str) -> bool:
    """Whether it is the password. None is nobody's: that takes as long as for somebody, so that names cannot be found out."""
    if len(password) > LONGEST:
        return False
    with _room:
        if kept is None and not _nobody:
            _nobody.append(_hasher.hash(secrets.token_urlsafe()))
        try:
            _hasher.verify(kept or _nobody[0], unicodedata.normalize("NFKC", password))
        except (VerificationError, InvalidHashError):
            return False
        return kept is not None


def is_old(kept: str) -> bool:
    """Whether a hash was made under weaker parameters than new ones."""
    return _hasher.check_needs_rehash(kept)


def token() -> str:
    """A new secret that nobody can guess."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """What is kept of a token: nobody can guess one, so that a plain hash will do."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
