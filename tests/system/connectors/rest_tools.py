"""A service and a connector to it, for tests of what applications do to those who ask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import polars as pl

from trueup.connectors.base import Page, WriteBatch
from trueup.connectors.rest.connector import RestConnector
from trueup.model import ObjectSpec
from trueup.testing.rest_service import TOKEN, RestService

CONTACTS = ObjectSpec(name="contacts", key=("id",))
DATED = ObjectSpec(name="contacts", key=("id",), modified="updated_at")
PAGE = {"style": "cursor", "from": "/next", "to": "query.cursor", "size": {"to": "query.limit", "rows": 10}}


def contacts(**more: Any) -> dict[str, Any]:
    """The object of a connector file; `more` replaces or adds settings, `read` and `write` by their parts."""
    read = {"full": {"get": "/contacts", "items": "/data", "page": PAGE}, "one": {"get": "/contacts/${id}"}}
    write = {
        "create": {"post": "/contacts", "body": {"attributes": "${fields}"}, "item": ""},
        "update": {"patch": "/contacts/${id}", "body": {"attributes": "${changed}"}, "item": ""},
        "delete": {"delete": "/contacts/${id}"},
    }
    made = {
        "key": "/id",
        "modified": "/updated_at",
        "envelope": "/attributes",
        "columns": {"id": {"type": "integer", "at": "/id"}, "name": "text", "email": "text", "age": "integer"},
        "read": {**read, **more.pop("read", {})},
        "write": {**write, **more.pop("write", {})},
    }
    return {name: value for name, value in {**made, **more}.items() if value is not None}


def filled(service: RestService, rows: int = 25) -> None:
    """A directory of so many contacts."""
    service.traps.token = TOKEN
    service.make("contacts")
    for number in range(1, rows + 1):
        service.put("contacts", {"id": number, "name": f"n{number}", "email": f"e{number}@example.com"})
    service.collections["contacts"].number = rows


def opened(
    directory: Path, service: RestService, made: dict[str, Any] | None = None, *, http: dict[str, Any] | None = None
) -> RestConnector:
    """A connector with such an object."""
    file = {
        "connector": "directory",
        "auth": {"kind": "bearer", "token": "${secrets.token}"},
        "http": {"base_url": service.url, "attempts": 3, "most_wait_s": 5, **(http or {})},
        "objects": {"contacts": made or contacts()},
    }
    (directory / "directory.yaml").write_bytes(orjson.dumps(file))
    return RestConnector.open("directory", {"file": "directory.yaml", "secrets": {"token": TOKEN}}, directory=str(directory))


def read(connector: RestConnector, columns: tuple[str, ...] = ("name",), obj: ObjectSpec = CONTACTS, **how: Any) -> list[Page]:
    """All pages."""
    return list(connector.read(obj, columns, **how))


def keys(pages: list[Page]) -> list[str]:
    """The keys shown, in order."""
    return [key for page in pages for key in page.rows["__key"].to_list()]


def creates(*names: str) -> WriteBatch:
    """New rows with names and addresses."""
    rows = {"__op": range(len(names)), "__key": [None] * len(names), "name": names, "email": [f"{name}@example.com" for name in names]}
    return WriteBatch(kind="create", rows=pl.DataFrame(rows, schema_overrides={"__key": pl.String, "__op": pl.Int64}))


def updates(**names: str) -> WriteBatch:
    """New names by key (`k7="Ada"`)."""
    rows = {
        "__op": range(len(names)),
        "__key": [key[1:] for key in names],
        "__write": [["name"]] * len(names),
        "name": list(names.values()),
    }
    return WriteBatch(kind="update", rows=pl.DataFrame(rows, schema_overrides={"__op": pl.Int64}))


def outcomes(connector: RestConnector, batch: WriteBatch) -> list[dict[str, Any]]:
    """Outcomes in the order of the operations."""
    return connector.write(CONTACTS, batch).sort("__op").to_dicts()
