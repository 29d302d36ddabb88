"""Packages on an SFTP server (`trueup.remote.sftp` says how it is addressed)."""

from __future__ import annotations

import posixpath
import secrets
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from trueup.errors import SystemUnreachableError
from trueup.exchange.naming import TEMPORARY
from trueup.exchange.places import LEFT_S, STAMP_BYTES, TakenError, stamped
from trueup.exchange.statement import FILE
from trueup.remote.sftp import SftpFolder, upload

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from paramiko import SFTPClient

    from trueup.exchange.naming import PackageName


class SftpPlace:
    """A folder on an SFTP server. Connects when it is first used, and again where the connection broke off."""

    def __init__(self, address: str) -> None:
        """Connect to nothing yet. Raises TrueupError for an address without host or folder."""
        self._server = SftpFolder(address)

    @property
    def shown(self) -> str:
        """See Place."""
        return self._server.shown

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def names(self) -> list[str]:
        """See Place."""
        return self._server.done(lambda sftp: sftp.listdir(self._server.folder))

    def examine(self, *, writes: bool) -> None:
        """See Place. Of a folder that some may write to, the server does not say whether we are among them."""
        self.names()
        mode = self._server.done(lambda sftp: sftp.stat(self._server.folder).st_mode)
        if writes and mode is not None and not mode & 0o222:
            raise SystemUnreachableError(f"nothing can be put into the place {self.shown}", hint="let its user write to the folder")

    def stamp(self, name: PackageName) -> str:
        """See Place."""
        path = self._server.path(str(name)) if name.ending else self._server.path(str(name), FILE)

        def ask(sftp: SFTPClient) -> str:
            try:
                with sftp.open(path, "rb") as file:
                    size = file.stat().st_size or 0
                    file.seek(max(0, size - STAMP_BYTES))
                    return stamped(name, size, file.read(STAMP_BYTES))
            except FileNotFoundError:
                return ""

        return self._server.done(ask)

    def fetch(self, name: PackageName, to: Path) -> None:
        """See Place."""
        source = self._server.path(str(name))

        def copy(sftp: SFTPClient) -> None:
            if name.ending:
                sftp.get(source, str(to))
                return
            to.mkdir(exist_ok=True)
            for facts in sftp.listdir_attr(source):
                if stat.S_ISREG(facts.st_mode or 0) and "/" not in facts.filename:
                    sftp.get(posixpath.join(source, facts.filename), str(to / facts.filename))

        self._server.done(copy)

    def publish(self, source: Path, name: PackageName) -> None:
        """See Place."""
        final, half = self._server.path(str(name)), self._server.path(f".{name}.{secrets.token_hex(4)}{TEMPORARY}")

        def put(sftp: SFTPClient) -> None:
            self._remove_leftovers(sftp, name.entity)
            try:
                if source.is_dir():
                    sftp.mkdir(half)
                    for path in sorted(source.iterdir()):
                        upload(sftp, path, posixpath.join(half, path.name))
                else:
                    upload(sftp, source, half)
                with suppress(FileNotFoundError):
                    sftp.lstat(final)
                    raise TakenError(f"{self.shown}/{name} is there already", hint="it is never replaced: move it away if it is not wanted")
                sftp.rename(half, final)  # in one step; a name that is taken is refused by the server
            finally:
                with suppress(OSError):
                    _remove(sftp, half)

        self._server.done(put)

    def close(self) -> None:
        """See Place."""
        self._server.close()

    # ---------------------------------------------------------------- inside

    def _remove_leftovers(self, sftp: SFTPClient, entity: str) -> None:
        for facts in sftp.listdir_attr(self._server.folder):
            name = facts.filename
            if name.startswith(f".{entity}-") and name.endswith(TEMPORARY) and time.time() - (facts.st_mtime or time.time()) > LEFT_S:
                with suppress(OSError):
                    _remove(sftp, self._server.path(name))


def _remove(sftp: SFTPClient, path: str) -> None:
    facts = sftp.lstat(path)
    if stat.S_ISDIR(facts.st_mode or 0):
        for name in sftp.listdir(path):
            sftp.remove(posixpath.join(path, name))
        sftp.rmdir(path)
    else:
        sftp.remove(path)
