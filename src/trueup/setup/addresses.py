"""Addresses of systems as people have them at hand: a database's URL, or a file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from trueup.connectors.presets import preset_names
from trueup.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_SCHEMES = {"postgres": "postgres", "postgresql": "postgres", "mysql": "mysql", "mariadb": "mysql", "sqlite": "sqlite"}
_SUFFIXES = {
    **dict.fromkeys((".db", ".sqlite", ".sqlite3"), "sqlite"),
    **dict.fromkeys((".csv", ".tsv", ".txt"), "csv"),
    **dict.fromkeys((".xlsx", ".xlsm"), "excel"),
    **dict.fromkeys((".jsonl", ".ndjson"), "jsonl"),
}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}", re.ASCII)
_EXAMPLE = "write NAME=ADDRESS, such as crm=postgresql://me@localhost/crm or sheet=customers.xlsx"


@dataclass(frozen=True, slots=True)
class Address:
    """A system that was named: its connector, and its URL or the path of its file (the other one is None)."""

    name: str
    connector: str
    url: str | None = None
    path: str | None = None

    @property
    def variable(self) -> str:
        """The variable that keeps the URL, which may hold a password."""
        return f"{self.name.upper().replace('-', '_')}_URL"

    @property
    def settings(self) -> dict[str, str]:
        """What the connector needs."""
        return {"url": self.url} if self.url is not None else {"path": self.path or ""}


def read_addresses(texts: Sequence[str]) -> list[Address]:
    """The systems that these speak of. Raises UsageError as `read_address`, and where a name is given twice."""
    addresses = [read_address(text) for text in texts]
    doubled = {item.name for item in addresses if sum(other.name == item.name for other in addresses) > 1}
    if doubled:
        raise UsageError(f"`{min(doubled)}` is given twice", hint="give each system a name of its own")
    return addresses


def read_address(text: str) -> Address:
    """The system that `NAME=ADDRESS` speaks of. Raises UsageError where it is none, or nothing that can be connected.

    The address never stands in a message: it may hold a password.
    """
    name, separator, place = text.partition("=")
    if not separator or not place:
        message = f"`{name if not separator and '://' not in name else '…'}` names no system and its address"
        raise UsageError(message, hint=_EXAMPLE)
    if not _NAME.fullmatch(name):
        message = f"`{name}` cannot name a system"
        raise UsageError(message, hint="use letters, digits, _ and -, a letter first")
    scheme = place.partition("://")[0].casefold() if "://" in place else ""
    if scheme == "sqlite":
        return Address(name, "sqlite", path=urlsplit(place).path.removeprefix("/") or place.partition("://")[2])
    if scheme in _SCHEMES:
        connector = _SCHEMES[scheme]
        return Address(name, connector, url=f"{'postgresql' if connector == 'postgres' else 'mysql'}://{place.partition('://')[2]}")
    if scheme:
        message = f"{name}: nothing connects to `{scheme}://` addresses"
        web = "; of a web application, `trueup connector list` says more" if scheme in {"http", "https"} else ""
        raise UsageError(message, hint=f"databases: {', '.join(_SCHEMES)}{web}")
    connector = _SUFFIXES.get(Path(place).suffix.casefold(), "")
    if not connector:
        message = f"{name}: nothing reads {Path(place).name}"
        if place in preset_names():
            message = f"{name}: {place} is a web application, of which nothing is proposed"
            raise UsageError(message, hint=f"`trueup connector show {place}` says what to write into trueup.yaml")
        if Path(place).suffix.casefold() in {".yaml", ".yml"}:
            message = f"{name}: of a web application nothing is proposed"
            raise UsageError(message, hint="write the system into trueup.yaml: {connector: rest, file: …}; see docs/connectors.md")
        raise UsageError(message, hint=f"files that end in {', '.join(_SUFFIXES)}, or a database's URL")
    return Address(name, connector, path=place)
