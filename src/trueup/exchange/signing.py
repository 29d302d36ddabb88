"""Signatures: Ed25519 over the bytes of `datapackage.json`, which holds the hashes of everything else.

A private key is 32 bytes in any of the forms of `trueup keys new`, a public one is `trueup-public-` and 43 letters and digits of base64.
The signature lies beside the statement, in base64.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from trueup.errors import PackageError
from trueup.exchange.statement import SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trueup.sealing import Key

PUBLIC = "trueup-public-"
LARGEST_SIGNATURE = 200


def public_key(key: Key) -> str:
    """The public key that belongs to a private one, as text."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    raw = Ed25519PrivateKey.from_private_bytes(key.raw).public_key().public_bytes_raw()
    return PUBLIC + base64.urlsafe_b64encode(raw).decode().rstrip("=")


def is_public_key(text: str) -> bool:
    """Whether this is a public key."""
    return _raw(text) is not None


def _raw(text: str) -> bytes | None:
    if not text.startswith(PUBLIC):
        return None
    try:
        raw = base64.urlsafe_b64decode(text.removeprefix(PUBLIC) + "=")
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == 32 else None


def signature(key: Key, text: bytes) -> bytes:
    """The signature file for a statement's bytes."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return base64.b64encode(Ed25519PrivateKey.from_private_bytes(key.raw).sign(text)) + b"\n"


def check_signature(text: bytes, path: Path, signers: Sequence[str]) -> None:
    """Whether one of these public keys signed the statement. Raises PackageError."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        with path.open("rb") as file:
            signed = base64.b64decode(file.read(LARGEST_SIGNATURE), validate=False)
    except FileNotFoundError:
        raise PackageError(f"it is not signed: {SIGNATURE} is not there", kind="tampered") from None
    except binascii.Error:
        raise PackageError(f"{SIGNATURE} is no signature", kind="tampered") from None
    for signer in signers:
        raw = _raw(signer)
        if raw is None:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(raw).verify(signed, text)
        except InvalidSignature:
            continue
        return
    raise PackageError("its signature does not fit: it was changed, or signed with another key", kind="tampered")
