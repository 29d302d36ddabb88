"""A loopback service that gives the answers of a vendor's own examples, and a preset that asks it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import polars as pl

from tests.system.connectors.openapi_judge import Judge
from trueup.connectors.base import Connector, Page, WriteBatch
from trueup.connectors.registry import connector_class
from trueup.connectors.rest.auth import Header
from trueup.connectors.rest.connector import RestConnector
from trueup.model import ObjectSpec
from trueup.testing.rest_http import Answer, Asked, Server


@dataclass
class Exchange:
    """One answer: to which method and path, and what it holds. `when`: whether it is for this request; `times`: how often it is given."""

    method: str
    path: str
    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    when: Callable[[dict[str, Any], Any], bool] = lambda _query, _body: True
    times: int = 1


class Vendor:
    """The service. Requests that no exchange is left for are answered with 418 and noted in `unexpected`; every one is judged."""

    def __init__(self, judge: Judge | None, exchanges: list[Exchange]) -> None:
        self.judge, self.left = judge, exchanges
        self.asked: list[tuple[str, str, dict[str, Any], Any, dict[str, str]]] = []
        self.unexpected: list[str] = []
        self.opened: list[RestConnector] = []
        self._server = Server(self._answer, 0)
        self.url = self._server.url

    def _answer(self, asked: Asked) -> Answer:
        path = "/" + "/".join(asked.path)
        try:
            body = json.loads(asked.body) if asked.body else None
        except ValueError:
            body = asked.body.decode()
        headers = {name.lower(): value for name, value in asked.headers.items()}
        query = query_of(asked)
        self.asked.append((asked.method, path, query, body, headers))
        if self.judge is not None:
            self.judge.look_at(asked.method, path, urlencode(asked.pairs), headers, asked.body)
        for exchange in self.left:
            if exchange.times and (exchange.method, exchange.path) == (asked.method, path) and exchange.when(query, body):
                exchange.times -= 1
                content = b"" if exchange.body is None else json.dumps(exchange.body).encode()
                return Answer(exchange.status, content, {"content-type": "application/json", **exchange.headers})
        self.unexpected.append(f"{asked.method} {path} {query} {body}")
        return Answer(418, b'{"message": "nobody expected this"}', {"content-type": "application/json"})

    def close(self) -> None:
        """Stop asking and serving."""
        for connector in self.opened:
            connector.close()
        self._server.close()

    def bodies(self, method: str, path: str) -> list[Any]:
        """What was sent there."""
        return [body for was, where, _, body, _ in self.asked if (was, where) == (method, path)]

    def check(self) -> None:
        """Nothing was asked that the description does not allow, or that nobody expected; every answer was asked for."""
        left = [f"{one.method} {one.path} was not asked for" for one in self.left if one.times]
        wrong = [*self.unexpected, *(self.judge.wrong if self.judge is not None else ()), *left]
        assert not wrong, "\n".join(wrong)


def query_of(asked: Asked) -> dict[str, Any]:
    """The parameters of a request; a list where a name is repeated."""
    found: dict[str, Any] = {}
    for name, value in asked.pairs:
        found[name] = value if name not in found else [*found[name], value] if isinstance(found[name], list) else [found[name], value]
    return found


def opened(name: str, vendor: Vendor, prefix: str = "", **settings: Any) -> RestConnector:
    """The preset, with a token, asking the service."""
    kind = connector_class(name)
    connector = kind.open(name, {"base_url": vendor.url + prefix, **settings})
    assert isinstance(connector, RestConnector)
    vendor.opened.append(connector)
    if connector.grant is not None:
        connector.authorize_by(Header("Authorization", "Bearer token-of-a-test"))
    return connector


def read(connector: Connector, obj: ObjectSpec, columns: Sequence[str], **how: Any) -> list[Page]:
    """All pages."""
    return list(connector.read(obj, columns, **how))


def rows(pages: list[Page]) -> list[dict[str, Any]]:
    """The rows of pages."""
    return [row for page in pages for row in page.rows.drop("__absent", strict=False).to_dicts()]


def batch(kind: Any, *changes: tuple[str | None, dict[str, Any]], expected: list[dict[str, Any]] | None = None) -> WriteBatch:
    """Operations: key and values of each; `expected` the values last seen, in the same order."""
    names = list(dict.fromkeys(name for _, values in changes for name in values))
    made: dict[str, Any] = {"__op": range(len(changes)), "__key": [key for key, _ in changes]}
    if kind == "update":
        made["__write"] = [list(values) for _, values in changes]
    made |= {name: [values.get(name) for _, values in changes] for name in names}
    frame = pl.DataFrame(made, schema_overrides={"__op": pl.Int64, "__key": pl.String})
    seen = None if expected is None else pl.DataFrame([{"__op": number, **one} for number, one in enumerate(expected)])
    return WriteBatch(kind=kind, rows=frame, expected=seen)


def outcomes(connector: Connector, obj: ObjectSpec, written: WriteBatch) -> list[dict[str, Any]]:
    """Outcomes in the order of the operations."""
    done = connector.write(obj, written).sort("__op").to_dicts()
    return [{name.removeprefix("__"): value for name, value in one.items()} for one in done]
