"""Keys as text and as bytes, and what is sealed under them.

A key's text is `trueup-key-` and 48 letters and digits (32 bytes, and 4 of their SHA-256, so that a text that was cut short is told). Also
taken are 32 bytes in base64 or hex, as key services hand them out, and base64 of the text itself. A key's id says which one it is, and
nothing about it. What is sealed is bound to a name (`bound_to`): under another name it does not open.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from trueup.errors import MasterKeyError

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "trueup-key-"
KEY_BYTES = 32
CHECK_BYTES = 4
NONCE_BYTES = 12
FORM = b"\x01"
"""The first byte of everything sealed: AES-256-GCM, a nonce of 12 bytes, the text, a tag of 16."""

_HEX = re.compile(r"[0-9A-Fa-f]{64}")


class NotOpenedError(Exception):
    """What is sealed does not open: another key, another name, or it was changed or cut short."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key of 32 bytes. Never printed but by `text`."""

    raw: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """Eight hex digits that name the key, without telling anything about it."""
        return sha256(b"trueup key id\x00" + self.raw).hexdigest()[:8]

    @property
    def text(self) -> str:
        """The key itself, as it is kept."""
        return PREFIX + base64.urlsafe_b64encode(self.raw + _check(self.raw)).decode()


def new_key() -> Key:
    """A key from the operating system's randomness."""
    return Key(os.urandom(KEY_BYTES))


def parse_keys(text: str, where: str) -> list[Key]:
    """The keys of a text, in order, once each: separated by blanks or line ends; a line that begins with `#` is a comment.

    Raises MasterKeyError for anything else; the text is never shown. `where` says to people where it came from.
    """
    found: dict[str, Key] = {}
    for number, token in _tokens(text):
        raw = _raw(token) or _raw(_decoded(token))
        if raw is None:
            reason = "was cut short, or mistyped" if token.startswith(PREFIX) else "is no key"
            raise MasterKeyError(
                f"{where}: text {number} {reason}",
                hint=f"a key is {PREFIX} and 48 letters and digits, as `trueup keys new` prints it, or 32 bytes in base64 or hex",
            )
        key = Key(raw)
        found.setdefault(key.id, key)
    return list(found.values())


def _tokens(text: str) -> Iterator[tuple[int, str]]:
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return enumerate((token for line in lines for token in line.split()), start=1)


def _raw(token: str) -> bytes | None:
    """The 32 bytes; None where this is no key."""
    if token.startswith(PREFIX):
        whole = _base64(token.removeprefix(PREFIX))
        if whole is None or len(whole) != KEY_BYTES + CHECK_BYTES or whole[KEY_BYTES:] != _check(whole[:KEY_BYTES]):
            return None
        return whole[:KEY_BYTES]
    if _HEX.fullmatch(token):
        return bytes.fromhex(token)
    plain = _base64(token)
    return plain if plain is not None and len(plain) == KEY_BYTES else None


def _decoded(token: str) -> str:
    """The text behind a base64 token; empty where there is none."""
    return (_base64(token) or b"").decode("ascii", errors="replace").strip()


def _base64(text: str) -> bytes | None:
    standard = text.replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _check(raw: bytes) -> bytes:
    return sha256(raw).digest()[:CHECK_BYTES]


def seal(key: Key, value: bytes, bound_to: str) -> bytes:
    """The value, sealed; no two results are alike."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = os.urandom(NONCE_BYTES)
    return FORM + nonce + AESGCM(key.raw).encrypt(nonce, value, _associated(bound_to))


def unseal(key: Key, sealed: bytes, bound_to: str) -> bytes:
    """The value. Raises NotOpenedError."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce, rest = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
    if sealed[:1] != FORM or len(nonce) != NONCE_BYTES:
        raise NotOpenedError
    try:
        return AESGCM(key.raw).decrypt(nonce, rest, _associated(bound_to))
    except (InvalidTag, ValueError) as error:
        raise NotOpenedError from error


def _associated(bound_to: str) -> bytes:
    return b"trueup\x00" + bound_to.encode()
