"""Servers that a page needs: `<!-- servers: kinto postgres radicale -->` starts them, and tells the page by variables where they are."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.carddav_servers import PASSWORD, USER, radicale
from tests.kinto_server import kinto_server
from tests.servers import start_postgres

_MARK = re.compile(r"^<!-- servers: ([a-z ]+) -->$", re.MULTILINE)


@contextmanager
def servers(text: str) -> Iterator[dict[str, str]]:
    """Variables of the servers that a page asks for; they run as long as the block. Raises ServerUnavailableError."""
    told: dict[str, str] = {}
    with ExitStack() as running:
        for name in [name for mark in _MARK.findall(text) for name in mark.split()]:
            told |= _start(name, running)
        yield told


def _start(name: str, running: ExitStack) -> dict[str, str]:
    match name:
        case "kinto":
            home = Path(running.enter_context(tempfile.TemporaryDirectory()))
            return {"CRM_URL": running.enter_context(kinto_server(home)), "CRM_PASSWORD": "an-example"}
        case "postgres":
            server = start_postgres()
            running.callback(server.stop)
            return {"COMPANY_DATABASE": running.enter_context(server.database())}
        case "radicale":
            return {"CARDS_URL": running.enter_context(radicale()).url, "CARDS_USER": USER, "CARDS_PASSWORD": PASSWORD}
        case _:
            raise ValueError(f"no server is called {name!r}")
