"""A private SFTP server for tests: asyncssh's, in a thread of this process, on a free loopback port."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncssh

START_LIMIT_S = 60.0
USER, PASSWORD = "office", "a s3cret/+word"


class _Login(asyncssh.SSHServer):
    """One user, who has a password."""

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (USER, PASSWORD)


@contextmanager
def asyncssh_server(home: Path) -> Iterator[str]:
    """The address of the folder `files` in `home`, which is all that the server shows, until the end of the block."""
    (home / "files").mkdir()
    key = asyncssh.generate_private_key("ssh-ed25519")
    loop, started, ports = asyncio.new_event_loop(), threading.Event(), list[int]()

    async def serve() -> asyncssh.SSHAcceptor:
        server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=_Login,
            server_host_keys=[key],
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(home).encode()),
        )
        ports.append(server.get_port())
        started.set()
        return server

    def run() -> None:
        asyncio.set_event_loop(loop)
        server = loop.run_until_complete(serve())
        loop.run_forever()
        server.close()
        loop.run_until_complete(server.wait_closed())
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(START_LIMIT_S)
    known = home / "known_hosts"
    known.write_text(f"[127.0.0.1]:{ports[0]} {key.export_public_key().decode().strip()}\n")
    try:
        yield f"sftp://{USER}:a%20s3cret%2F%2Bword@127.0.0.1:{ports[0]}/files?known_hosts={known}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_LIMIT_S)
