"""A private SFTP server for tests: OpenSSH's, from the system or from Debian's packages, on a free loopback port (see `tests.servers`)."""

from __future__ import annotations

import getpass
import shutil
import signal
import socket
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.server_programs import openssh_programs
from tests.servers import Server


class SftpServer(Server):
    """One that serves files alone. A `database` of it is a folder, and its URL holds all that a client needs."""

    scheme = "sftp"
    stop_signal = signal.SIGTERM
    admin_database = ""

    def create_cluster(self) -> None:
        """Keys for the server and for its only user, and an empty folder."""
        for name in ("host", "user"):
            key = Ed25519PrivateKey.generate()
            private = self.home / name
            private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
            self._own(private)
            private.chmod(0o600)
            public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
            (self.home / f"{name}.pub").write_bytes(public + b"\n")
        folders = self.home / "folders"
        folders.mkdir()
        self._own(folders)

    @property
    def user(self) -> str:
        """Who logs in: the account that serves."""
        return self.account.pw_name if self.account is not None else getpass.getuser()

    def command(self) -> list[str]:
        """The server, in the foreground."""
        settings = {
            "ListenAddress": f"127.0.0.1:{self.port}",
            "HostKey": self.home / "host",
            "AuthorizedKeysFile": self.home / "user.pub",
            "PidFile": "none",
            "StrictModes": "no",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "Subsystem": "sftp internal-sftp",
            "ForceCommand": "internal-sftp",
        }
        options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        return [str(self.programs.directory / "sshd"), "-D", "-e", "-f", "/dev/null", *options]

    def answers(self) -> bool:
        """Whether it says what it is."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            known = (self.home / "host.pub").read_text().strip()
            (self.home / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {known}\n")
            return connection.recv(8).startswith(b"SSH-2.0")
        return False

    def url(self, database: str | None = None, *, user: str = "", password: str = "") -> str:
        """The address of a folder."""
        del user, password
        more = f"key={self.home / 'user'}&known_hosts={self.home / 'known_hosts'}"
        return f"sftp://{self.user}@127.0.0.1:{self.port}{self.home / 'folders' / (database or '')}?{more}"

    def folder(self, url: str) -> Path:
        """The folder behind an address, as the server sees it."""
        return self.home / "folders" / url.partition("?")[0].rsplit("/", 1)[-1]

    def create_database(self, name: str) -> None:
        """Make an empty folder."""
        folder = self.home / "folders" / name
        folder.mkdir()
        self._own(folder)

    def drop_database(self, name: str) -> None:
        """Remove it."""
        shutil.rmtree(self.home / "folders" / name, ignore_errors=True)


def start_sftp() -> SftpServer:
    """A running server. Raises ServerUnavailableError."""
    return SftpServer(openssh_programs()).created()
