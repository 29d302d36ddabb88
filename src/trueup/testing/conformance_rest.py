"""The world of the REST connector: the conformance service, and a connector file that grows with every object that a rule asks for."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import orjson

from trueup.connectors.jsonl_text import NumberText
from trueup.connectors.rest.connector import RestConnector
from trueup.testing.conformance_world import Column, Row, Traits, Trial, World, holds
from trueup.testing.rest_service import TOKEN, RestService, Rule

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from trueup.connectors.base import Connector
    from trueup.model import ObjectSpec

Style = Literal["cursor", "next_url", "link_header", "offset", "page"]
Way = Literal["etag", "version", "read_compare"]


JOB: dict[str, Any] = {
    "id": "/job",
    "poll": {"get": "/imports/${job}"},
    "status": "/status",
    "done": "done",
    "failed": "failed",
    "reason": "/reason",
    "running": {"get": "/imports", "items": "/data"},
    "every_s": 0.001,
}
"""How the service tells of rows that it was handed over."""
KEPT = 4
"""The connector file describes the newest objects alone: no rule needs more at once."""


class RestWorld(World):
    """One service. `style` of its pages; `way`: what a write is told to find; `bulk`: rows are written many at once; `jobs`: later."""

    traits: ClassVar[Traits] = Traits(
        types=frozenset({"text", "integer", "decimal", "float", "boolean", "date", "datetime", "timestamp", "list"}),
        absent=True,
        unguarded_keys=False,
        misfits=True,
        makes_objects=False,
        refuses=frozenset({"length", "null", "unique"}),
    )
    connector: ClassVar[type[Connector]] = RestConnector

    def __init__(
        self, directory: str, *, style: Style = "cursor", way: Way = "etag", bulk: bool = False, jobs: bool = False, page_rows: int = 7
    ) -> None:
        """Start the service; the connector file lies in `directory`."""
        super().__init__(directory)
        self.service = RestService()
        self.service.traps.token = TOKEN
        self._style, self._way, self._bulk, self._jobs, self._page_rows = style, way, bulk or jobs, jobs, page_rows
        self._objects: dict[str, dict[str, Any]] = {}
        self._types: dict[str, dict[str, str]] = {}
        self.make("nothing", Trial(columns={"id": Column(nullable=False), "changed": Column(type="datetime")}, modified="changed"))

    def close(self) -> None:
        """See World."""
        self.service.close()

    def settings(self) -> dict[str, Any]:
        """See World."""
        return {"file": "service.yaml", "secrets": {"token": TOKEN}}

    # ---------------------------------------------------------------- the connector file

    def _save(self) -> None:
        file = {
            "connector": "service",
            "auth": {"kind": "bearer", "token": "${secrets.token}"},
            "http": {
                "base_url": self.service.url,
                "errors": [
                    {"status": ["4xx"], "class": "rejected", "at": "/error/field", "message": "/error/message", "field": "/error/field"}
                ],
            },
            "objects": self._objects,
        }
        Path(self.directory, "service.yaml").write_bytes(orjson.dumps(file, option=orjson.OPT_INDENT_2))

    def _page(self) -> dict[str, Any]:
        own: dict[str, dict[str, Any]] = {
            "cursor": {"from": "/next", "to": "query.cursor"},
            "next_url": {"from": "/next_url"},
            "link_header": {},
            "offset": {"to": "query.offset"},
            "page": {"to": "query.page"},
        }
        return {"style": self._style, **own[self._style], "size": {"to": "query.limit", "rows": self._page_rows}}

    def make(self, name: str, trial: Trial) -> None:
        """See World."""
        self.service.make(name, key=trial.key, rules={column: _rule(said) for column, said in trial.columns.items()})
        self._types[name] = {column: said.type for column, said in trial.columns.items()}
        columns = {
            column: {"type": said.type, "at": _pointer(column) if column in trial.key else f"/attributes{_pointer(column)}"}
            for column, said in trial.columns.items()
        }
        listed = {"get": f"/{name}", "items": "/data", "page": self._page()}
        one = f"/{name}/${{id}}" if len(trial.key) == 1 else f"/{name}/" + "/".join(f"${{key.{part}}}" for part in trial.key)
        natives = {"etag": "etag", "version": "/version"}
        condition: Any = {"header": "If-Match", "from": natives[self._way]} if self._way in natives else "read_compare"
        made: dict[str, Any] = {
            "key": [_pointer(part) for part in trial.key],
            "envelope": "/attributes",
            "columns": columns,
            "read": {"full": listed, "one": {"get": one}},
            "write": {
                "create": {"post": f"/{name}", "body": "${record}", "item": ""},
                "update": {"patch": one, "body": {"attributes": "${changed}"}, "item": "", "precondition": condition},
                "delete": {"delete": one, "precondition": condition},
            },
        }
        if trial.modified is not None:
            made["modified"] = f"/attributes{_pointer(trial.modified)}"
            made["read"]["deleted"] = {"get": f"/{name}", "query": {"deleted": True}, "items": "/data"}
        if self._bulk:
            results = {"items": "inputs", "max": 20, "results": "/results", "errors": "/errors", "index": "/index", "status": "/status"}
            results |= {"message": "/error/message", "field": "/error/field", "id": "/id", "row": "/row"}
            if self._jobs:
                results |= {"errors": None, "job": JOB}
                for kind in ("create", "update", "delete"):  # one row is a job as well
                    del made["write"][kind]
            for kind in ("create", "update", "delete"):
                made["write"].setdefault("bulk", {})[kind] = {
                    "post": f"/imports/{name}" if self._jobs else f"/{name}/batch",
                    "body": {"op": kind},
                    "item": "${record}",
                    **results,
                }
        self._objects[name] = made
        for old in list(self._objects)[1:-KEPT]:
            del self._objects[old]
        self._save()

    # ---------------------------------------------------------------- by hand

    def insert(self, obj: ObjectSpec, rows: Sequence[Row]) -> None:
        """See World."""
        for row in rows:
            self.service.put(obj.name or "", self._inside(obj, row))

    def rows(self, obj: ObjectSpec) -> list[Row]:
        """See World."""
        return [{name: _outside(value) for name, value in row.items()} for row in self.service.rows(obj.name or "")]

    def edit(self, obj: ObjectSpec, where: Row, values: Row) -> None:
        """See World."""
        for row in self.service.rows(obj.name or ""):
            if holds(row, where):
                self.service.put(obj.name or "", {**row, **self._inside(obj, values)})

    def spoil(self, obj: ObjectSpec, where: Row, column: str) -> None:
        """See World."""
        for row in self.service.rows(obj.name or ""):
            if holds(row, where):
                self.service.put(obj.name or "", {**row, column: "not a number"})

    def remove(self, obj: ObjectSpec, where: Row) -> None:
        """See World."""
        made = self.service.collections[obj.name or ""]
        for key in [key for key, row in made.rows.items() if holds(row, where)]:
            self.service.drop(obj.name or "", key)

    def _inside(self, obj: ObjectSpec, row: Row) -> Row:
        """Values as JSON has them."""
        types = self._types[obj.name or ""]
        return {name: _cell(value, types.get(name, "text")) for name, value in row.items()}


def _pointer(name: str) -> str:
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _rule(said: Any) -> Rule:
    return Rule(nullable=said.nullable, unique=said.unique, max_length=said.max_length, number=said.type in {"integer", "decimal", "float"})


def _cell(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if kind == "decimal":
        return NumberText(format(Decimal(str(value)), "f"))
    if kind in {"date", "timestamp", "datetime"}:
        return _spelled(value)
    return value


def _spelled(value: date | datetime | str) -> str:
    return value if isinstance(value, str) else value.isoformat()


def _outside(value: Any) -> Any:
    return Decimal(str(value)) if isinstance(value, NumberText) else value


class VersionedRestWorld(RestWorld):
    """Rows show their version themselves, and writes are told to find it."""

    traits: ClassVar[Traits] = replace(RestWorld.traits, versions=True)
