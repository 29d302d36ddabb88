"""The conformance service: a small web application with every habit and trap that such applications are known for, each behind a switch.

    with RestService() as service:
        service.make("contacts", key=("id",))
        service.traps.page_cap = 10
        …requests to service.url…

`python -m trueup.testing.rest_service --port 8480` serves one to play with: a directory of contacts. A record is shown as
`{"id": …, "attributes": {…}, "updated_at": …, "version": …}`; docs/connectors.md describes the requests.
"""

from __future__ import annotations

import argparse
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Self

from trueup.connectors.jsonl_text import NumberText, parse_line
from trueup.connectors.rest.message import json_bytes
from trueup.testing.rest_hooks import Hooks
from trueup.testing.rest_http import Answer, Asked, Server
from trueup.testing.rest_jobs import Exports, Imports, RefusedError

JSON = {"content-type": "application/json"}
TOKEN = "open-sesame"  # noqa: S105 - what the service takes where nothing else is said
PAGE_ROWS = 50


@dataclass(slots=True)
class Traps:
    """What the application does to those who ask. Every one is off unless it is set.

    token          what a bearer must say; None: anybody may ask
    lacks          the scope that the token would need to write
    per_s          so many requests in any `window_s` seconds, else 429; `retry_after`: it then says for how long
    budget         tells what is left in headers (X-Remaining, X-Reset)
    page_cap       pages are silently cut to so many rows
    page_refused   a page of more rows is refused
    cap            a list ends after so many rows, whatever is left
    mixed_times    moments are shown in whole seconds for odd versions, in microseconds for even ones
    soft           deleted rows stay, with `"archived": true`
    lose           so many writes from now on are carried out, and the reply is lost
    fail           so many requests from now on are answered with 503
    lag            lists show what was there before so many writes
    slow_s         every answer takes so long
    html           errors are pages for people
    wrong_type     JSON is sent as text/plain, and so many answers (`garbled`) are no JSON at all
    ok_errors      failures are told with status 200 and an `error`
    blind          If-Match is not looked at
    repeats        a list begins anew at its end, for ever
    elsewhere      every request is sent on to this address
    renamed        members are shown under other names (a changed schema)
    unkeyed        so many records of a list lack their key
    import_looks   an import job is done when it has been looked at so often
    import_stuck   it never ends
    import_fails   it ends as failed, with the first half of its rows written
    import_forgets so many import jobs from now on are carried out, and nobody knows of them when they are asked for
    """

    token: str | None = None
    lacks: str | None = None
    per_s: int | None = None
    window_s: float = 1.0
    retry_after: bool = True
    budget: int | None = None
    page_cap: int | None = None
    page_refused: int | None = None
    cap: int | None = None
    mixed_times: bool = False
    soft: bool = False
    lose: int = 0
    fail: int = 0
    lag: int = 0
    slow_s: float = 0.0
    html: bool = False
    wrong_type: bool = False
    garbled: int = 0
    ok_errors: bool = False
    blind: bool = False
    repeats: bool = False
    elsewhere: str | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    unkeyed: int = 0
    import_looks: int = 2
    import_stuck: bool = False
    import_fails: bool = False
    import_forgets: int = 0


@dataclass(slots=True)
class Rule:
    """What a member must be: not null, of another value in each row, of at most so many characters, a number."""

    nullable: bool = True
    unique: bool = False
    max_length: int | None = None
    number: bool = False


@dataclass(slots=True)
class Collection:
    """The records of one kind, by key. `flat`: members stand at the top of a record instead of below `attributes`."""

    key: tuple[str, ...]
    rules: dict[str, Rule] = field(default_factory=dict)
    flat: bool = False
    rows: dict[tuple[Any, ...], dict[str, Any]] = field(default_factory=dict)
    facts: dict[tuple[Any, ...], tuple[datetime, int]] = field(default_factory=dict)  # changed at, version
    deleted: dict[tuple[Any, ...], datetime] = field(default_factory=dict)
    before: deque[list[dict[str, Any]]] = field(default_factory=lambda: deque(maxlen=50))
    number: int = 0
    versions: int = 0
    ordered: list[tuple[Any, ...]] | None = None  # keys in their order, until a row comes or goes
    name: str = ""


class RestService:
    """The application. Everything may be called from any thread; `port` 0 is a free one."""

    def __init__(self, *, port: int = 0, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Begin to serve."""
        self.traps = Traps()
        self.collections: dict[str, Collection] = {}
        self.requests: list[tuple[str, str]] = []
        self.statuses: dict[int, int] = {}
        self.hooks = Hooks()
        self._now = now
        self._lock = threading.RLock()
        self._recent: deque[float] = deque()
        self._done: dict[str, tuple[Any, ...]] = {}  # idempotency key -> row
        self._exports = Exports(self)
        self._imports = Imports(self)
        self._cursors: dict[tuple[Any, ...], int] = {}
        self._places: list[tuple[Any, ...]] = []
        self._server = Server(self._handle, port)

    @property
    def url(self) -> str:
        """Its address."""
        return self._server.url

    def close(self) -> None:
        """Stop serving."""
        self.hooks.close()
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---------------------------------------------------------------- by hand

    def make(self, name: str, *, key: Sequence[str] = ("id",), rules: Mapping[str, Rule] | None = None, flat: bool = False) -> None:
        """An empty collection."""
        with self._lock:
            self.collections[name] = Collection(tuple(key), dict(rules or {}), flat, name=name)

    def put(self, name: str, row: Mapping[str, Any], *, at: datetime | None = None) -> None:
        """Put a row in place, by hand."""
        with self._lock:
            made = self.collections[name]
            self._store(made, tuple(row.get(part) for part in made.key), dict(row), at)

    def drop(self, name: str, key: tuple[Any, ...]) -> None:
        """Take a row away, by hand."""
        with self._lock:
            self._remove(self.collections[name], key)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """All rows as stored."""
        with self._lock:
            return [dict(row) for row in self.collections[name].rows.values()]

    # ---------------------------------------------------------------- what is stored

    def _store(self, made: Collection, key: tuple[Any, ...], row: dict[str, Any], at: datetime | None = None) -> None:
        self._snapshot(made)
        made.versions += 1
        if key not in made.rows:
            made.ordered = None
        kind = "updated" if key in made.rows else "created"
        made.rows[key] = row
        made.facts[key] = (at or self._now(), made.versions)
        made.deleted.pop(key, None)
        self.hooks.tell(made.name, key, kind)

    def _remove(self, made: Collection, key: tuple[Any, ...]) -> None:
        self._snapshot(made)
        del made.rows[key]
        made.facts.pop(key, None)
        made.ordered = None
        made.deleted[key] = self._now()
        self.hooks.tell(made.name, key, "deleted")

    def _snapshot(self, made: Collection) -> None:
        if self.traps.lag:
            made.before.append(self.shown_all(made))

    def shown_all(self, made: Collection) -> list[dict[str, Any]]:
        """All records as lists show them."""
        return [self._shown(made, key) for key in self._keys(made)]

    @staticmethod
    def _keys(made: Collection) -> list[tuple[Any, ...]]:
        if made.ordered is None:
            made.ordered = sorted(made.rows, key=_order)
        return made.ordered

    def _shown(self, made: Collection, key: tuple[Any, ...]) -> dict[str, Any]:
        row = made.rows[key]
        at, version = made.facts[key]
        members = {self.traps.renamed.get(name, name): value for name, value in row.items() if made.flat or name not in made.key}
        ids = {name: row.get(name) for name in made.key}
        shown: dict[str, Any] = {**ids, **members} if made.flat else {**ids, "attributes": members}
        return {**shown, "updated_at": self._moment(at, version), "version": version}

    def _moment(self, at: datetime, version: int) -> str:
        if self.traps.mixed_times and version % 2:
            at = at.replace(microsecond=0)
        return at.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"

    # ---------------------------------------------------------------- answering

    def _handle(self, asked: Asked) -> Answer:
        with self._lock:
            self.requests.append((asked.method, "/" + "/".join(asked.path)))
            try:
                answer = self._before(asked) or self._routed(asked)
            except RefusedError as error:
                answer = self._refusal(error)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                answer = self._refusal(RefusedError(400, f"this request is not understood: {error}"))
            self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
            return self._after(asked, answer)

    def _before(self, asked: Asked) -> Answer | None:
        traps = self.traps
        if traps.elsewhere is not None:
            return Answer(302, b"", {"location": traps.elsewhere})
        if traps.token is not None and asked.headers.get("authorization") != f"Bearer {traps.token}":
            raise RefusedError(401, "the token is not valid")
        if traps.lacks is not None and asked.method != "GET":
            told = {"www-authenticate": f'Bearer realm="api", error="insufficient_scope", scope="{traps.lacks}"'}
            return Answer(403, json_bytes({"error": {"message": "this token may only read"}}), {**JSON, **told})
        if traps.fail > 0:
            traps.fail -= 1
            raise RefusedError(503, "try again later")
        if traps.per_s is not None:
            now = time.monotonic()
            while self._recent and self._recent[0] <= now - traps.window_s:
                self._recent.popleft()
            if len(self._recent) >= traps.per_s:
                after = {"retry-after": str(max(1, round(traps.window_s)))} if traps.retry_after else {}
                return Answer(429, json_bytes({"error": {"message": "too many requests"}}), {**JSON, **after})
            self._recent.append(now)
        return None

    def _after(self, asked: Asked, answer: Answer) -> Answer:
        traps = self.traps
        answer.after_s = traps.slow_s
        if asked.method != "GET" and answer.status < 400 and traps.lose > 0:
            traps.lose -= 1
            answer.lost = True
        if traps.budget is not None:
            traps.budget = max(0, traps.budget - 1)
            answer.headers |= {"x-remaining": str(traps.budget), "x-reset": "1"}
        if traps.wrong_type and answer.status < 400:
            answer.headers["content-type"] = "text/plain"
        if traps.garbled > 0 and answer.status < 400:
            traps.garbled -= 1
            answer.body = answer.body[: len(answer.body) // 2] + b"}<"
        return answer

    def _refusal(self, error: RefusedError) -> Answer:
        if self.traps.html:
            page = f"<html><head><title>Error {error.status}</title></head><body>{error.message}</body></html>"
            return Answer(error.status, page.encode(), {"content-type": "text/html"})
        body = {"error": {"message": error.message, "field": error.field, "status": error.status}}
        return Answer(200 if self.traps.ok_errors and error.status != 401 else error.status, json_bytes(body), dict(JSON))

    def _routed(self, asked: Asked) -> Answer:
        match (asked.method, *asked.path):
            case (method, "imports", *more):
                return self._imports.answer(method, more, asked.body, asked.query)
            case ("GET", name):
                return self._list(self.collection(name), asked)
            case ("POST", "graphql"):
                return self._graph(parse_line(asked.body))
            case (method, "exports", name, *more):
                return self._exports.answer(method, name, more, asked.query)
            case ("POST", "hooks"):
                return self.json(self.hooks.subscribe(parse_line(asked.body)).shown(), 201)
            case (method, "hooks", number, *more):
                return self._hook(method, number, more)
            case ("POST", name):
                return self._create(self.collection(name), asked)
            case ("POST", name, "batch"):
                return self._batch(self.collection(name), parse_line(asked.body))
            case ("GET" | "PATCH" | "PUT" | "DELETE", name, *parts):
                return self._single(asked, self.collection(name), tuple(parts))
        raise RefusedError(405, "this cannot be done here")

    def collection(self, name: str) -> Collection:
        """The records of this name. Raises RefusedError where there are none."""
        if name not in self.collections:
            raise RefusedError(404, f"there is no {name}")
        return self.collections[name]

    @staticmethod
    def json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
        """An answer that is JSON."""
        return Answer(status, json_bytes(value), {**JSON, **(headers or {})})

    # ---------------------------------------------------------------- lists

    def _list(self, made: Collection, asked: Asked) -> Answer:
        query, traps = asked.query, self.traps
        if query.get("deleted") == "true":
            since = _moment(query.get("since"))
            keys = [key for key, at in made.deleted.items() if since is None or at >= since]
            return self.json({"data": [dict(zip(made.key, key, strict=True)) for key in keys]})
        size = int(query.get("limit", PAGE_ROWS))
        if traps.page_refused is not None and size > traps.page_refused:
            raise RefusedError(400, f"limit is at most {traps.page_refused}")
        size = min(size, traps.page_cap or size)
        records = self._found(made, query)
        total = len(records)
        if traps.cap is not None:
            records = records[: traps.cap]
        start = self._start(query, size, records)
        if traps.repeats:
            page: Sequence[Any] = [records[(start + number) % len(records)] for number in range(size)] if records else []
            following: int | None = 0
        else:
            page = records[start : start + size]
            following = start + size if start + size < len(records) else None
        shown = [show() for _, show in page]
        if traps.unkeyed > 0 and shown:
            traps.unkeyed -= 1
            shown[0] = {name: value for name, value in shown[0].items() if name not in made.key}
        body = {
            "data": shown,
            "next": None if following is None else self._cursor(page[-1][0]),
            "total": total,
            "more": following is not None,
        }
        headers = {}
        if following is not None:
            again = "&".join(f"{name}={value}" for name, value in query.items() if name not in {"offset", "cursor", "page"})
            body["next_url"] = f"{self.url}/{asked.path[0]}?{again}&cursor={body['next']}"
            headers["link"] = f'<{self.url}/{asked.path[0]}?offset=0>; rel="first", <{body["next_url"]}>; rel="next"'
        return self.json(body, headers=headers)

    def _cursor(self, order: tuple[Any, ...]) -> str:
        """A name for the place behind a record, wherever that is when it is asked for."""
        if order not in self._cursors:
            self._cursors[order] = len(self._places)
            self._places.append(order)
        return f"c{self._cursors[order]}"

    def _start(self, query: Mapping[str, str], size: int, records: Sequence[tuple[tuple[Any, ...], Any]]) -> int:
        if "cursor" in query:
            order = self._places[int(query["cursor"].removeprefix("c"))]
            return bisect_right(records, order, key=lambda record: record[0])
        if "page" in query:
            return (int(query["page"]) - 1) * size
        return int(query.get("offset", 0))

    def _found(self, made: Collection, query: Mapping[str, str]) -> Sequence[tuple[tuple[Any, ...], Callable[[], dict[str, Any]]]]:
        """The records asked for, each as what it is sorted by, and a way to show it."""
        if self.traps.lag and len(made.before) >= self.traps.lag:
            before = {tuple(old[name] for name in made.key): old for old in made.before[-self.traps.lag]}
            return _Shown(list(before), before.__getitem__)
        keys = self._keys(made)
        if "after" in query:
            keys = [key for key in keys if str(key[0]) > query["after"]]
        if "ids" in query:
            wanted = set(query["ids"].split(","))
            keys = [key for key in keys if str(key[0]) in wanted]
        for name, value in query.items():
            if name.startswith("filter["):
                keys = [key for key in keys if str(made.rows[key].get(name[7:-1])) == value]
        if "since" in query or query.get("sort") == "updated_at":
            since = _moment(query.get("since")) or datetime.min.replace(tzinfo=UTC)
            dated = sorted(((made.facts[key][0], *_order(key)), key) for key in keys if made.facts[key][0] >= since)
            return [(order, partial(self._shown, made, key)) for order, key in dated]
        return _Shown(keys, lambda key: self._shown(made, key))

    def _graph(self, body: Mapping[str, Any]) -> Answer:
        """`{"query": "… NAME …", "variables": {"first", "after", "input", "id"}}`: reads pages, and writes one row."""
        words = str(body["query"]).replace("(", " ").replace("{", " ").split()
        name = next((word for word in words if word in self.collections), None)
        variables = body.get("variables") or {}
        if name is None:
            return self.json({"errors": [{"message": "there is no such field"}]})
        made = self.collections[name]
        if "mutation" in words:
            try:
                key = self._written(made, None if variables.get("id") is None else (variables["id"],), dict(variables["input"]))
            except RefusedError as error:
                return self.json({"data": {"save": {"record": None, "userErrors": [{"message": error.message, "field": error.field}]}}})
            return self.json({"data": {"save": {"record": self._shown(made, key), "userErrors": []}}})
        start = int(str(variables.get("after") or "c0").removeprefix("c"))
        size = int(variables.get("first") or PAGE_ROWS)
        records = self.shown_all(made)
        info = {"hasNextPage": start + size < len(records), "endCursor": f"c{start + size}"}
        return self.json({"data": {name: {"nodes": records[start : start + size], "pageInfo": info}}})

    def _hook(self, method: str, number: str, more: list[str]) -> Answer:
        hook = self.hooks.known.get(number)
        if hook is None or (more == ["renew"] and not hook.active):
            raise RefusedError(404, "there is no such subscription")
        if method == "DELETE":
            del self.hooks.known[number]
            return Answer(204)
        hook.renewed += more == ["renew"]
        return self.json(hook.shown())

    # ---------------------------------------------------------------- single rows

    def _key(self, made: Collection, parts: Sequence[str]) -> tuple[Any, ...]:
        """The key of a path. One part may stand for a number."""
        if len(parts) != len(made.key):
            raise RefusedError(404, "there is no such record")
        key: tuple[Any, ...] = tuple(parts)
        if key in made.rows:
            return key
        numbers = tuple(int(part) if part.lstrip("-").isdecimal() else part for part in parts)
        if numbers in made.rows and not (self.traps.soft and made.rows[numbers].get("archived")):
            return numbers
        raise RefusedError(404, "there is no such record")

    def _single(self, asked: Asked, made: Collection, parts: tuple[str, ...]) -> Answer:
        if asked.method == "PUT" and parts not in made.rows and len(parts) == len(made.key):
            row = self._given(made, parse_line(asked.body))
            key = self._written(made, None, {**dict(zip(made.key, parts, strict=True)), **row})
            return self._one(made, key, 201)
        key = self._key(made, parts)
        if asked.method == "GET":
            return self._one(made, key)
        wanted = asked.headers.get("if-match")
        if wanted is not None and not self.traps.blind and wanted != f'"{made.facts[key][1]}"' and wanted != str(made.facts[key][1]):
            raise RefusedError(412, "the record was changed meanwhile")
        if asked.method == "DELETE":
            if self.traps.soft:
                self._store(made, key, {**made.rows[key], "archived": True})
            else:
                self._remove(made, key)
            return Answer(204)
        return self._one(made, self._written(made, key, self._given(made, parse_line(asked.body))))

    def _one(self, made: Collection, key: tuple[Any, ...], status: int = 200) -> Answer:
        return self.json(self._shown(made, key), status, {"etag": f'"{made.facts[key][1]}"'})

    @staticmethod
    def _given(made: Collection, body: Mapping[str, Any]) -> dict[str, Any]:
        """The members that a body gives."""
        if made.flat:
            return {name: value for name, value in body.items() if name not in {"updated_at", "version"}}
        return {**{name: body[name] for name in made.key if body.get(name) is not None}, **body.get("attributes", {})}

    def _create(self, made: Collection, asked: Asked) -> Answer:
        again = asked.headers.get("idempotency-key")
        if again is not None and again in self._done:
            return self._one(made, self._done[again], 201)
        key = self._written(made, None, self._given(made, parse_line(asked.body)))
        if again is not None:
            self._done[again] = key
        return self._one(made, key, 201)

    def _written(self, made: Collection, key: tuple[Any, ...] | None, given: dict[str, Any]) -> tuple[Any, ...]:
        """Put members into a row, or make one; what is wrong with them raises RefusedError."""
        new = key is None
        if new:
            if any(given.get(name) is None for name in made.key):
                made.number += 1
                given = {**given, made.key[0]: made.number}
            key = tuple(given[name] for name in made.key)
            if key in made.rows:
                raise RefusedError(409, f"a record with the key {key[0]} exists", made.key[0])
        assert key is not None
        row = {**({} if new else made.rows[key]), **given}
        for name, rule in made.rules.items():
            self._check(made, key, name, rule, row)
        self._store(made, key, row)
        return key

    @staticmethod
    def _check(made: Collection, key: tuple[Any, ...], name: str, rule: Rule, row: Mapping[str, Any]) -> None:
        value = row.get(name)
        if value is None:
            if not rule.nullable:
                raise RefusedError(422, f"{name} must not be empty", name)
            return
        if rule.max_length is not None and len(str(value)) > rule.max_length:
            raise RefusedError(422, f"{name} has more than {rule.max_length} characters", name)
        if rule.number and (isinstance(value, bool) or not isinstance(value, int | float | NumberText)):
            raise RefusedError(422, f"{name} must be a number", name)
        if rule.unique and any(other.get(name) == value for at, other in made.rows.items() if at != key):
            raise RefusedError(422, f"{name} {value} is used by another record", name)

    def _batch(self, made: Collection, body: Mapping[str, Any]) -> Answer:
        """`{"op", "inputs": […]}`: each input has a result of its own, whatever became of the others."""
        results = self.carried_out(made, str(body["op"]), body["inputs"])
        return self.json({"results": results, "errors": [result for result in results if "error" in result]}, 207)

    def carried_out(self, made: Collection, op: str, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """What became of each input."""
        results = []
        for number, item in enumerate(inputs):
            try:
                results.append({"index": number, "status": 200, **self._batched(made, op, item)})
            except RefusedError as error:
                told = {"message": error.message, "field": error.field}
                results.append({"index": number, "status": error.status, "error": told})
        return results

    def _batched(self, made: Collection, op: str, item: Any) -> dict[str, Any]:
        if op == "delete":
            self._remove(made, self._key(made, [str(item)] if not isinstance(item, dict) else [str(item[name]) for name in made.key]))
            return {}
        given = self._given(made, item)
        key = None if op == "create" else self._key(made, [str(given.get(name)) for name in made.key])
        key = self._written(made, key, given)
        return {"id": key[0], "row": self._shown(made, key)}


class _Shown(Sequence[Any]):
    """Records in the order of their keys, shown when they are looked at."""

    def __init__(self, keys: Sequence[tuple[Any, ...]], show: Callable[[tuple[Any, ...]], dict[str, Any]]) -> None:
        self._keys = keys
        self._show = show

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return _Shown(self._keys[place], self._show)
        key = self._keys[place]
        return _order(key), lambda: self._show(key)


def _order(key: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple((part is not None, str(type(part)), part) for part in key)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def main() -> None:
    """Serve a directory of contacts until stopped."""
    parser = argparse.ArgumentParser(description="A small web application to try connector files with: a directory of contacts.")
    parser.add_argument("--port", type=int, default=8480)
    parser.add_argument("--rows", type=int, default=3, help="how many contacts it begins with")
    parser.add_argument("--token", default=TOKEN, help="what a bearer must say")
    parser.add_argument("--object", default="contacts", help="what its records are called")
    parser.add_argument("--per-s", type=int, help="so many requests in any second, else 429")
    parser.add_argument(
        "--alike", action="store_true", help="two contacts may have one address: to find one that has takes long where they are many"
    )
    options = parser.parse_args()
    with RestService(port=options.port) as service:
        service.traps.token = options.token
        service.traps.per_s = options.per_s
        service.make(options.object, rules={"email": Rule(unique=options.rows <= 10_000 and not options.alike)})
        start = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
        names = ("Ada Lovelace", "Grace Hopper", "Alan Turing")
        for number in range(options.rows):
            name = names[number] if number < len(names) else f"Person {number + 1}"
            row = {"id": number + 1, "name": name, "email": f"{name.split()[0].lower()}{number + 1}@example.com", "city": "London"}
            service.put(options.object, row, at=start + timedelta(seconds=number))
            service.collections[options.object].number = number + 1
        print(f"serving {options.object} at {service.url}/{options.object}", flush=True)  # noqa: T201 - a program's output
        threading.Event().wait()


if __name__ == "__main__":
    main()
