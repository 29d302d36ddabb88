"""A folder on an SFTP server: `sftp://user[:password]@host[:port]/folder`, and `/~/folder` for one in the user's home.

The server must be known: its key stands in `~/.ssh/known_hosts`, or in the file that `?known_hosts=FILE` names. Without a password, keys of
an agent and of `~/.ssh` are tried, or the one that `?key=FILE` names. Needs trueup[sftp].
"""

from __future__ import annotations

import posixpath
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from trueup.errors import AccessRefusedError, SystemUnreachableError, TrueupError, keep_secret

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from paramiko import SFTPClient, SSHClient

TIMEOUT_S = 30.0
BLOCK_BYTES = 1 << 18
_CMD_EXTENDED = 200
_T = TypeVar("_T")


class SftpFolder:
    """A folder on an SFTP server. Connects when it is first used, and again where the connection broke off."""

    def __init__(self, address: str) -> None:
        """Connect to nothing yet. Raises TrueupError for an address without host or folder."""
        parts = urlsplit(address)
        try:
            port = parts.port or 22
        except ValueError:
            port = 0
        folder = unquote(parts.path)
        if not parts.hostname or not parts.username or not folder.strip("/") or not port:
            raise TrueupError("this is no address of a folder on an SFTP server", hint="write sftp://USER@HOST/FOLDER")
        self._host, self._port = parts.hostname, port
        self._user = unquote(parts.username)
        self._password = None if parts.password is None else unquote(parts.password)
        if self._password:
            keep_secret("password", self._password)
        self.folder = folder.removeprefix("/~/") if folder.startswith("/~/") else folder
        more = parse_qs(parts.query)
        self._key = next(iter(more.get("key", [])), None)
        self._known_hosts = next(iter(more.get("known_hosts", [])), None)
        self._ssh: SSHClient | None = None
        self._sftp: SFTPClient | None = None

    @property
    def shown(self) -> str:
        """Its address, without a password."""
        port = "" if self._port == 22 else f":{self._port}"
        folder = self.folder if self.folder.startswith("/") else f"/~/{self.folder}"
        return f"sftp://{self._user}@{self._host}{port}{folder}"

    def path(self, *names: str) -> str:
        """The path of a file in the folder."""
        return posixpath.join(self.folder, *names)

    def close(self) -> None:
        """Give back what was opened."""
        sftp, self._sftp = self._sftp, None
        ssh, self._ssh = self._ssh, None
        if sftp is not None:
            sftp.close()
        if ssh is not None:
            ssh.close()

    def done(self, work: Callable[[SFTPClient], _T]) -> _T:
        """What a piece of work gives. Raises SystemUnreachableError, AccessRefusedError."""
        from paramiko import SSHException

        try:
            return work(self._connected())
        except (EOFError, SSHException) as error:
            self.close()
            raise SystemUnreachableError(
                f"{self.shown} broke off: {str(error) or type(error).__name__}", hint="run again: nothing is left half-done"
            ) from None
        except OSError as error:
            raise SystemUnreachableError(
                f"the place {self.shown} cannot be used: {error.strerror or error}", hint="check the folder and the rights on the server"
            ) from None

    def _connected(self) -> SFTPClient:
        if self._sftp is not None and self._ssh is not None and (transport := self._ssh.get_transport()) and transport.is_active():
            return self._sftp
        self.close()
        try:
            from paramiko import AuthenticationException, BadHostKeyException, RejectPolicy, SSHClient, SSHException
        except ImportError:
            raise TrueupError("SFTP needs a library that is not installed", hint="pip install 'trueup[sftp]'") from None
        ssh = SSHClient()
        try:
            if self._known_hosts is None:
                ssh.load_system_host_keys()
            else:
                ssh.load_host_keys(self._known_hosts)
            ssh.set_missing_host_key_policy(RejectPolicy())
            given: dict[str, Any] = {"password": self._password, "key_filename": self._key}
            own = self._password is None and self._key is None
            ssh.connect(
                self._host,
                self._port,
                self._user,
                timeout=TIMEOUT_S,
                banner_timeout=TIMEOUT_S,
                auth_timeout=TIMEOUT_S,
                allow_agent=own,
                look_for_keys=own,
                **given,
            )
            self._ssh, self._sftp = ssh, ssh.open_sftp()
            channel = self._sftp.get_channel()
            if channel is not None:
                channel.settimeout(TIMEOUT_S)
        except BadHostKeyException:
            ssh.close()
            raise AccessRefusedError(
                f"{self.shown}: the server shows another key than the known one", hint="somebody may be in between: ask who runs the server"
            ) from None
        except AuthenticationException:
            ssh.close()
            raise AccessRefusedError(f"{self.shown}: the login was refused", hint="check user, password or key") from None
        except SSHException as error:
            ssh.close()
            raise AccessRefusedError(f"{self.shown}: {error}", hint="the server's key must stand in known_hosts") from None
        except OSError as error:
            ssh.close()
            why = error.strerror or str(error) or type(error).__name__
            raise SystemUnreachableError(f"{self.shown} does not answer: {why}", hint="check host, port and network") from None
        return self._sftp


def upload(sftp: SFTPClient, source: Path, target: str) -> None:
    """Copy a file, and have the server force it to disk where it can (fsync@openssh.com). Its size is compared."""
    with source.open("rb") as old, sftp.open(target, "wx") as new:
        new.set_pipelined(pipelined=True)
        while block := old.read(BLOCK_BYTES):
            new.write(block)
        new.set_pipelined(pipelined=False)
        new.flush()
        with suppress(OSError):
            sftp._request(_CMD_EXTENDED, "fsync@openssh.com", new.handle)  # type: ignore[attr-defined]  # noqa: SLF001 - no name of its own
    size = sftp.stat(target).st_size
    if size != source.stat().st_size:
        raise OSError(f"{size} of {source.stat().st_size} bytes arrived")
