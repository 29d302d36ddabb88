"""A package as one encrypted file, `.zip.sealed`.

The form, for who must read it with other tools:

    8 bytes    `TRUEUPP1`
    16 bytes   salt, at random
    8 bytes    length of the zip in bytes, big-endian
    then       the zip in parts of 1 MiB (the last one shorter), each encrypted with AES-256-GCM and followed by its tag of 16 bytes

The key of a file is HKDF-SHA256 of the shared key with this salt and, as info, `trueup package ` and the package's name. The nonce of a
part is its number (11 bytes, big-endian, from 0) and a byte that is 1 for the last part, else 0; the first 32 bytes are authenticated
with each part. So no part can be changed, left out, put elsewhere or taken from another package, and one that breaks off is told from one
that was changed by its length.
"""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
import zlib
from typing import IO, TYPE_CHECKING

from trueup.errors import PackageError
from trueup.exchange.statement import FILE, LARGEST_STATEMENT, SIGNATURE, read_statement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from trueup.sealing import Key

MAGIC = b"TRUEUPP1"
SALT_BYTES, LENGTH_BYTES, TAG_BYTES = 16, 8, 16
HEAD_BYTES = len(MAGIC) + SALT_BYTES + LENGTH_BYTES
PART_BYTES = 1 << 20
MEMBERS = 4
"""The statement, its signature, and two files."""


def seal_file(source: Path, target: Path, name: str, key: Key) -> None:
    """Encrypt a file under the name (without ending) of its package."""
    size, salt = source.stat().st_size, os.urandom(SALT_BYTES)
    head = MAGIC + salt + size.to_bytes(LENGTH_BYTES, "big")
    cipher = _cipher(key, salt, name)
    with source.open("rb") as plain, target.open("wb") as sealed:
        sealed.write(head)
        number, part = 0, plain.read(PART_BYTES)
        while True:
            following = plain.read(PART_BYTES)
            sealed.write(cipher.encrypt(_nonce(number, last=not following), part, head))
            if not following:
                return
            number, part = number + 1, following


def open_file(source: Path, target: Path, name: str, keys: Sequence[Key]) -> None:
    """Decrypt a file with the one of these keys that opens it. Raises PackageError: half-copied, or tampered."""
    with source.open("rb") as sealed:
        head = sealed.read(HEAD_BYTES)
        if len(head) < HEAD_BYTES:
            raise PackageError("the file breaks off", kind="half-copied")
        if not head.startswith(MAGIC):
            raise PackageError("this is no sealed package", kind="tampered")
        size = int.from_bytes(head[-LENGTH_BYTES:], "big")
        parts = max(1, -(-size // PART_BYTES))
        there, wanted = source.stat().st_size, HEAD_BYTES + size + parts * TAG_BYTES
        if there < wanted:
            raise PackageError(f"the file has {there:,} of {wanted:,} bytes", kind="half-copied")
        if there > wanted:
            raise PackageError(f"the file has {there:,} bytes, and {wanted:,} were written", kind="tampered")
        salt = head[len(MAGIC) : len(MAGIC) + SALT_BYTES]
        for key in keys:
            if _opened(sealed, target, _cipher(key, salt, name), head, parts):
                return
    raise PackageError(
        "it does not open: it was changed, renamed, or sealed under another key", kind="tampered", hint="compare `encrypt` on both sides"
    )


def _opened(sealed: IO[bytes], target: Path, cipher: AESGCM, head: bytes, parts: int) -> bool:
    from cryptography.exceptions import InvalidTag

    sealed.seek(HEAD_BYTES)
    with target.open("wb") as plain:
        for number in range(parts):
            try:
                plain.write(cipher.decrypt(_nonce(number, last=number == parts - 1), sealed.read(PART_BYTES + TAG_BYTES), head))
            except InvalidTag:
                return False
    return True


def _cipher(key: Key, salt: bytes, name: str) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=salt, info=b"trueup package " + name.encode()).derive(key.raw))


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


# ---------------------------------------------------------------- zip


def zip_folder(folder: Path, target: Path) -> None:
    """The files of a folder as a zip, the statement first."""
    names = sorted((path.name for path in folder.iterdir()), key=lambda name: (name != FILE, name))
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name in names:
            archive.write(folder / name, name)


def unzip(source: Path, folder: Path) -> None:
    """Unpack a zip, no more than its statement speaks of. Raises PackageError."""
    try:
        with zipfile.ZipFile(source) as archive:
            members = archive.infolist()
            _check_members(members)
            for one in sorted(members, key=lambda one: one.filename != FILE):
                most = LARGEST_STATEMENT if one.filename in {FILE, SIGNATURE} else _stated_bytes(folder, one.filename)
                if one.file_size > most:
                    raise PackageError(f"{one.filename} has {one.file_size:,} bytes, and at most {most:,} are expected", kind="tampered")
                with archive.open(one) as packed, (folder / one.filename).open("xb") as plain:
                    shutil.copyfileobj(packed, plain)
    except zipfile.BadZipFile as error:
        if "CRC" in str(error):
            raise PackageError("a file in the zip was changed: its checksum differs", kind="tampered") from None
        raise PackageError("the zip breaks off, or is none", kind="half-copied") from None
    except (EOFError, zlib.error, NotImplementedError, RuntimeError) as error:
        raise PackageError(f"the zip cannot be unpacked: {error}", kind="tampered") from None


def _stated_bytes(folder: Path, path: str) -> int:
    """How many bytes the statement, unpacked before, tells of a file; a file that it does not speak of may be small."""
    if not (folder / FILE).exists():
        raise PackageError(f"there is no {FILE} in the zip", kind="wrong")
    told = {one.path: one.bytes for one in read_statement((folder / FILE).read_bytes()).resources}
    return told.get(path, LARGEST_STATEMENT)


def _check_members(members: Sequence[zipfile.ZipInfo]) -> None:
    names = [one.filename for one in members]
    odd = [name for name in names if "/" in name or "\\" in name or name in {"", ".", ".."} or name.startswith(".")]
    if odd or len(set(names)) != len(names) or len(names) > MEMBERS or any(_is_link(one) for one in members):
        raise PackageError("the zip holds other files than a package does", kind="tampered")


def _is_link(member: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(member.external_attr >> 16)
