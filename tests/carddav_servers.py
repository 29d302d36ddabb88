"""A private CardDAV server for tests: Radicale, as a process of its own, on a free loopback port; and vdirsyncer, who judges it."""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tests.python_programs import environment, fetched
from tests.servers import free_port

START_LIMIT_S = 60.0
USER, PASSWORD = "anna", "s3cret/+word"


class RadicaleServer:
    """One running server, and a plain client of it that knows nothing of the connector."""

    def __init__(self, port: int, folder: Path) -> None:
        """Nothing is asked yet."""
        self.port = port
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self.numbers = itertools.count(1)  # names of address books
        self.client = httpx2.Client(base_url=self.url, auth=(USER, PASSWORD), timeout=60)

    def settings(self, **more: object) -> dict[str, object]:
        """What the connector needs."""
        return {"url": self.url, "user": USER, "password": PASSWORD, **more}

    def book(self, name: str) -> str:
        """Make an address book; its path."""
        path = f"/{USER}/{name}/"
        body = (
            '<D:mkcol xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"><D:set><D:prop>'
            "<D:resourcetype><D:collection/><C:addressbook/></D:resourcetype></D:prop></D:set></D:mkcol>"
        )
        answer = self.client.request("MKCOL", path, content=body)
        assert answer.status_code == 201, answer.text
        return path

    def put(self, path: str, card: str) -> None:
        """Put a card there, whatever was there."""
        answer = self.client.put(path, content=card.encode(), headers={"content-type": "text/vcard; charset=utf-8"})
        assert answer.status_code in {201, 204}, (answer.status_code, answer.text)

    def get(self, path: str) -> str:
        """The card that is there."""
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.status_code
        return answer.text

    def delete(self, path: str) -> None:
        """Remove it."""
        assert self.client.delete(path).status_code in {200, 204}


@contextmanager
def radicale() -> Iterator[RadicaleServer]:
    """A server until the end of the block."""
    packages = fetched("carddav")
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryFile() as said:
        folder = Path(home)
        (folder / "users").write_text(f"{USER}:{PASSWORD}\n")
        port = free_port()
        words = [sys.executable, "-m", "radicale", "--config", "", "--server-hosts", f"127.0.0.1:{port}", "--auth-type", "htpasswd"]
        words += ["--auth-htpasswd-filename", str(folder / "users"), "--auth-htpasswd-encryption", "plain", "--auth-delay", "0"]
        words += ["--storage-filesystem-folder", str(folder / "collections"), "--logging-level", "error"]
        process = subprocess.Popen(words, stdout=said, stderr=said, env=environment(packages), cwd=folder)
        server = RadicaleServer(port, folder / "collections")
        try:
            deadline = time.monotonic() + START_LIMIT_S
            while not _answers(server):
                if process.poll() is not None or time.monotonic() > deadline:
                    said.seek(0)
                    raise RuntimeError(f"the CardDAV server does not answer: {said.read().decode(errors='replace')[-1500:]}")
                time.sleep(0.1)
            yield server
        finally:
            server.client.close()
            process.terminate()
            process.wait(START_LIMIT_S)


def _answers(server: RadicaleServer) -> bool:
    try:
        return server.client.request("PROPFIND", "/", headers={"depth": "0"}).status_code == 207
    except httpx2.TransportError:
        return False


def vdirsyncer(server: RadicaleServer, book: str, folder: Path) -> Path:
    """Have vdirsyncer bring an address book and a folder of files into agreement; the folder of the files."""
    cards = folder / "cards"
    cards.mkdir(exist_ok=True)
    settings = f"""
[general]
status_path = "{folder}/status/"
[pair judge]
a = "book"
b = "files"
collections = null
conflict_resolution = "a wins"
[storage book]
type = "carddav"
url = "{server.url}/{USER}/{book}/"
username = "{USER}"
password = "{PASSWORD}"
[storage files]
type = "filesystem"
path = "{cards}"
fileext = ".vcf"
"""
    (folder / "config").write_text(settings)
    packages = fetched("carddav")
    program = "import sys; from vdirsyncer.cli import app; sys.exit(app())"
    for words in (["discover"], ["sync", "--force-delete"]):
        done = subprocess.run(
            [sys.executable, "-c", program, "-c", folder / "config", *words],
            capture_output=True,
            text=True,
            env=environment(packages),
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    return cards
