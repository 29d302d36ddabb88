"""Systems that are described by a connector file: any web application that speaks JSON."""

from __future__ import annotations

import difflib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import httpx2
from pydantic import ValidationError

from trueup.connectors.base import PAGE_ROWS
from trueup.connectors.rest.auth import Authorization, Header, Missing, Nobody, Parameter, basic
from trueup.connectors.rest.client import Client
from trueup.connectors.rest.file import read_file
from trueup.connectors.rest.hooks import RestHooks, said_of
from trueup.connectors.rest.imports import Imports
from trueup.connectors.rest.objects import RestObject
from trueup.connectors.rest.paging import Listing
from trueup.connectors.rest.pointer import at, parse, text_of
from trueup.connectors.rest.reading import Reader
from trueup.connectors.rest.schema import ANY, ColumnShape
from trueup.connectors.rest.scopes import scopes_of
from trueup.connectors.rest.template import places, render, text
from trueup.connectors.rest.writing import Writer
from trueup.errors import AccessRefusedError, ConfigError, ObjectMissingError, ObjectUnreadableError, Problem, keep_secret
from trueup.model import Caps

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import polars as pl

    from trueup.connectors.base import Page, WriteBatch
    from trueup.connectors.needing import Need, Permissions
    from trueup.connectors.rest.limits import Ledger
    from trueup.connectors.rest.schema import FileShape, ObjectShape
    from trueup.connectors.rest.schema_http import AuthShape
    from trueup.model import ObjectInfo, ObjectSpec, Precondition

_WEAKEST: dict[str, int] = {"native": 0, "read_compare": 1, "none": 2}


class RestConnector:
    """One application, as its connector file describes it. Used by one thread at a time; it uses several itself."""

    caps: Caps = Caps(kind="api")
    shipped: ClassVar[Path | None] = None  # the connector file of a preset; else the system names its own

    def __init__(
        self,
        name: str,
        file: FileShape,
        secrets: Mapping[str, str],
        values: Mapping[str, str],
        base_url: str | None = None,
        columns: Mapping[str, Mapping[str, ColumnShape]] | None = None,
    ) -> None:
        """`secrets` and `values` are put in for `${secrets.…}` and `${values.…}`; `columns` are more than the file names, by object."""
        self.name = name
        self.file = file
        self._scope = {"secrets": dict(secrets), "values": dict(values)}
        led = base_url is None and any(place.name.startswith("token.") for place in places(file.http.base_url))
        address = base_url or ("" if led else str(render(file.http.base_url, self._scope)))
        headers = {name: text(value) for name, value in render(file.http.headers, self._scope).items()}
        self._client = Client(name, file.http, address, headers=headers, told=self._told if led else None)
        self._grant: Mapping[str, Any] | None = None
        self.instead: tuple[str, ...] = ()  # secrets of an earlier way to say who asks, which are not given
        self._client.authorization = self._authorization(file.auth.any_of)
        self._columns = columns or {}
        self._objects: dict[tuple[str, tuple[str, ...], str | None], RestObject] = {}
        self._workers: ThreadPoolExecutor | None = None
        self.caps = caps_of(file)

    # ---------------------------------------------------------------- opening

    @classmethod
    def open(cls, name: str, settings: Mapping[str, Any], *, directory: str = ".") -> Self:
        """See base.Connector. Raises ConfigError with everything that is wrong with the connector file."""
        known = cls.settings_schema()["properties"]
        problems = [
            Problem("", 0, f"systems.{name}.{given}", f"unknown setting {given!r}", f"known: {', '.join(known)}")
            for given in settings
            if given not in known
        ]
        if cls.shipped is None and not isinstance(settings.get("file"), str):
            problems.append(Problem("", 0, f"systems.{name}.file", "`file` is missing", "name the connector file: file: directory.yaml"))
        columns = _columns(name, settings.get("columns") or {}, problems)
        if problems:
            raise ConfigError(problems)
        file = read_file(cls.shipped or Path(directory, settings["file"]))
        secrets = {key: str(value) for key, value in (settings.get("secrets") or {}).items()}
        values = {key: str(value) for key, value in (settings.get("values") or {}).items()}
        for secret, value in secrets.items():
            keep_secret(secret, value)
        where = [place for place in places(file.http.base_url) if not place.name.startswith("token.")]
        led = len(where) < len(places(file.http.base_url))  # a part of the address comes with the token
        needed = [*(() if settings.get("base_url") else where), *places(file.http.headers)]
        missing = [place.name for place in needed if place.value({"secrets": secrets, "values": values}) is None]
        if missing:
            kind, _, which = missing[0].partition(".")
            raise ConfigError(
                [
                    Problem(
                        "",
                        0,
                        f"systems.{name}.{kind}",
                        f"`{which}` is missing",
                        f"every request needs it: the connector file says ${{{missing[0]}}}",
                    )
                ]
            )
        if led and not settings.get("base_url"):
            return cls(name, file, secrets, values, None, columns)
        address = settings.get("base_url") or render(file.http.base_url, {"secrets": secrets, "values": values})
        try:
            right = httpx2.URL(str(address)).host and str(address).startswith(("http://", "https://"))
        except httpx2.InvalidURL:
            right = ""
        if not right:
            raise ConfigError([Problem("", 0, f"systems.{name}.base_url", "this is no address", "for example https://api.example.com")])
        return cls(name, file, secrets, values, settings.get("base_url"), columns)

    @classmethod
    def settings_schema(cls) -> dict[str, Any]:
        """See base.Connector."""
        named = {"type": "object", "additionalProperties": {"type": "string"}}
        properties = {
            "file": {
                "type": "string",
                "title": "Connector file",
                "description": "The file that describes the application",
                "minLength": 1,
                "examples": ["directory.yaml"],
            },
            "secrets": {**named, "title": "Secrets", "description": "What the connector file calls `${secrets.NAME}`"},
            "values": {**named, "title": "Values", "description": "What the connector file calls `${values.NAME}`: a region, an account"},
            "base_url": {
                "type": "string",
                "title": "Address",
                "description": "Another address than the connector file's: a test account's",
            },
            "columns": {
                "type": "object",
                "title": "Columns",
                "description": "More columns than the connector file names, by object: fields of your own, or other types",
                "additionalProperties": {"type": "object"},
                "examples": [{"contacts": {"region": "text", "score": "integer"}}],
            },
        }
        return {
            "type": "object",
            "title": "REST application",
            "properties": properties,
            "required": ["file"],
            "additionalProperties": False,
        }

    def _authorization(self, kinds: Sequence[AuthShape]) -> Authorization:
        """The first way of which all secrets are given."""
        lacking: list[str] = []
        for kind in kinds:
            missing = [place.name for place in places(kind.model_dump()) if place.value(self._scope) is None]
            if missing:
                lacking += [name for name in missing if name not in lacking]
                continue
            self.instead = tuple(name.removeprefix("secrets.") for name in lacking)
            return self._made(kind)
        names = ", ".join(name.removeprefix("secrets.") for name in lacking)
        raise ConfigError(
            [
                Problem(
                    "",
                    0,
                    f"systems.{self.name}.secrets",
                    f"`{names}` is missing: the application wants to know who asks",
                    "secrets: {" + ", ".join(f'{name.partition(".")[2]}: "${{…}}"' for name in lacking) + "}",
                )
            ]
        )

    def _made(self, kind: AuthShape) -> Authorization:
        said = {name: render(value, self._scope) for name, value in kind.model_dump().items()}
        match kind.kind:
            case "bearer":
                return Header("Authorization", f"{kind.prefix} {said['token']}".strip())
            case "basic":
                return basic(str(said["user"]), str(said["password"]))
            case "header":
                return Header(str(said["name"]), str(said["value"]))
            case "query":
                return Parameter(str(said["name"]), str(said["value"]))
            case "oauth2":
                self._grant = {name: value for name, value in said.items() if value is not None}
                return Missing(self.name)
            case _:
                return Nobody()

    def _told(self) -> str:
        """The address, of which a part came with the token. Raises AccessRefusedError where that does not tell it."""
        kept = getattr(self._client.authorization, "kept", {})
        place = next(place for place in places(self.file.http.base_url) if place.name.startswith("token."))
        if place.name.partition(".")[2] not in kept:
            raise AccessRefusedError(
                f"the answer with its token does not say `{place.name.partition('.')[2]}`",
                hint=f"run `trueup connect {self.name} --renew`, or name its address: `base_url: …`",
                system=self.name,
            )
        return str(render(self.file.http.base_url, {**self._scope, "token": kept}))

    @property
    def grant(self) -> Mapping[str, Any] | None:
        """See auth.Authorized."""
        return self._grant

    def authorize_by(self, authorization: Authorization) -> None:
        """See auth.Authorized."""
        self._client.authorization = authorization

    def share_limits(self, ledger: Ledger) -> None:
        """See limits.Budgeted."""
        self._client.share_limits(ledger)

    def scopes(self, needs: Sequence[Need]) -> Permissions:
        """See needing.KnowsScopes."""
        return scopes_of(self.file, needs)

    @property
    def hooks(self) -> RestHooks | None:
        """See hooking.Hooked."""
        shape = self.file.webhook
        return RestHooks(self._client, shape, self._scope) if shape is not None and shape.subscribe is not None else None

    @classmethod
    def webhook_of(cls, settings: Mapping[str, Any], *, directory: str = ".") -> Mapping[str, Any] | None:
        """What its connector file says under `webhook`, as a configuration would; None: nothing, or a secret of it is not given.

        Raises ConfigError where the file cannot be read.
        """
        return said_of(cls._file(settings, directory).webhook, _scope(settings))

    @classmethod
    def caps_for(cls, settings: Mapping[str, Any], *, directory: str = ".") -> Caps:
        """The abilities of such a system, without opening it. Raises ConfigError where its file cannot be read."""
        return caps_of(cls._file(settings, directory))

    @classmethod
    def _file(cls, settings: Mapping[str, Any], directory: str) -> FileShape:
        return read_file(cls.shipped or Path(directory, str(settings.get("file") or "")))

    # ---------------------------------------------------------------- the contract

    def discover(self) -> list[ObjectInfo]:
        """See base.Connector: the objects of the connector file. Those that need a value or a right that is not given are left out."""
        found: list[ObjectInfo] = []
        left_out: list[Exception] = []
        for name in self._names():
            try:
                found.append(self._object(name).info())
            except (ObjectMissingError, AccessRefusedError) as error:
                left_out.append(error)
        if left_out and not found:
            raise left_out[0]
        return found

    def describe(self, obj: ObjectSpec) -> ObjectInfo:
        """See base.Connector."""
        return self._known(obj).info()

    def read(
        self,
        obj: ObjectSpec,
        columns: Sequence[str],
        *,
        since: str | None = None,
        keys: Sequence[str] | None = None,
        page_rows: int = PAGE_ROWS,
    ) -> Iterator[Page]:
        """See base.Connector."""
        known = self._known(obj)
        known.need((*columns, *((obj.modified,) if obj.modified else ())))
        if since is not None and obj.modified is None:
            raise ObjectUnreadableError(
                f"{known.name} cannot be read from a cursor", hint="name its `modified` column, or read everything", system=self.name
            )
        Imports(self._client, known).wait_for_others()
        return self._reader(known).read(columns, obj.modified, since, keys, page_rows)

    def find(self, obj: ObjectSpec, columns: Sequence[str], values: pl.DataFrame) -> pl.DataFrame:
        """See base.Connector."""
        known = self._known(obj)
        known.need((*columns, *values.columns))
        Imports(self._client, known).wait_for_others()
        return self._reader(known).find(columns, values)

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """See base.Connector."""
        known = self._known(obj)
        Imports(self._client, known).wait_for_others()
        return Writer(self._client, known, self._reader(known), self._pool, obj).write(batch)

    def prepare(self, obj: ObjectSpec, columns: Mapping[str, str]) -> None:
        """See base.Connector; nothing is made in an application."""

    def close(self) -> None:
        """See base.Connector."""
        workers, self._workers = self._workers, None
        if workers is not None:
            workers.shutdown(wait=True, cancel_futures=True)
        self._client.close()

    @property
    def requests(self) -> int:
        """How many requests were sent so far."""
        return self._client.requests

    # ---------------------------------------------------------------- inside

    @property
    def _pool(self) -> ThreadPoolExecutor:
        if self._workers is None:
            self._workers = ThreadPoolExecutor(self.file.http.parallel, thread_name_prefix=f"rest-{self.name}")
        return self._workers

    def _names(self) -> list[str]:
        """Every object that is known by name: those of the file, and those that the application lists."""
        found = [name for name in self.file.objects if name != ANY]
        shape = self.file.objects[ANY].named if ANY in self.file.objects else None
        for records in Listing(self._client, shape, self._scope, "its objects") if shape is not None else ():
            told = (at(record, parse(shape.name)) for record in records) if shape is not None else ()
            found += [name for name in told if isinstance(name, str) and name not in found]
        return found

    def _shape(self, name: str | None, key: tuple[str, ...], modified: str | None) -> ObjectShape:
        shape = self.file.objects.get(name or "") if name != ANY else None
        if shape is not None:
            return shape
        if ANY not in self.file.objects or not name:
            near = difflib.get_close_matches(name or "", self.file.objects, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the connector file has {', '.join(self.file.objects)}"
            raise ObjectMissingError(f"there is no object {name!r}", hint=hint, system=self.name)
        shape = self.file.objects[ANY]
        chosen: dict[str, Any] = {"key": [_pointer(shape, part) for part in key]} if key else {}
        if modified is not None:
            chosen["modified"] = _pointer(shape, modified)
        return shape.model_copy(update=chosen)

    def _object(self, name: str | None, key: tuple[str, ...] = (), modified: str | None = None) -> RestObject:
        shape = self._shape(name, key, modified)
        place = (str(name), tuple(shape.key), shape.modified)
        found = self._objects.get(place)
        if found is None:
            self._need_values(str(name), shape)
            found = RestObject(self.name, str(name), shape, self._scope, self._columns.get(str(name), {}))
            found.learn(self._client)
            self._objects[place] = found
        return found

    def _need_values(self, name: str, shape: ObjectShape) -> None:
        """Raises ObjectMissingError where requests need a value that the configuration does not give."""
        for place in places(shape.model_dump(mode="json", include={"read", "write", "discover"})):
            if place.name.startswith("values.") and place.value(self._scope) is None:
                value = place.name.removeprefix("values.")
                told = f": {self.file.settings[value]}" if value in self.file.settings else ""
                raise ObjectMissingError(
                    f"{name} needs the value {value}, which is not given{told}",
                    hint=f"add `values: {{{value}: …}}` to the system",
                    system=self.name,
                )

    def _known(self, obj: ObjectSpec) -> RestObject:
        """An object as a mapping names it. Raises ObjectMissingError where it, or its key, is another one."""
        found = self._object(obj.name, tuple(obj.key), obj.modified)
        found.need(obj.key)
        if obj.key and tuple(obj.key) != found.key:
            raise ObjectMissingError(
                f"the key of {found.name} is {', '.join(found.key)}, not {', '.join(obj.key)}",
                hint=f"map it with key: {found.key[0] if len(found.key) == 1 else list(found.key)}",
                system=self.name,
            )
        return found

    def _reader(self, obj: RestObject) -> Reader:
        return Reader(self._client, obj, lambda name: self._reader(self._object(name)), self._pool)


def _scope(settings: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """What `${secrets.…}` and `${values.…}` stand for."""
    return {kind: {name: str(value) for name, value in (settings.get(kind) or {}).items()} for kind in ("secrets", "values")}


def _pointer(shape: ObjectShape, column: str) -> str:
    """Where a column stands that a mapping names."""
    said = shape.columns.get(column)
    if said is not None and said.at is not None:
        return said.at
    return column if column.startswith("/") else shape.envelope + text_of((column,))


def _columns(system: str, said: Mapping[str, Any], problems: list[Problem]) -> dict[str, dict[str, ColumnShape]]:
    """The columns that the configuration names; what is wrong with them is added to the problems."""
    found: dict[str, dict[str, ColumnShape]] = {}
    for obj, columns in said.items():
        for name, shape in columns.items() if isinstance(columns, dict) else ():
            try:
                found.setdefault(obj, {})[name] = ColumnShape.model_validate({"type": shape} if isinstance(shape, str) else shape)
            except ValidationError as error:
                wrong = error.errors(include_url=False)[0]
                place = ".".join(map(str, (f"systems.{system}.columns", obj, name, *wrong["loc"])))
                problems.append(Problem("", 0, place, str(wrong["msg"]), "for example text, or {type: decimal, format: text}"))
    return found


def caps_of(file: FileShape) -> Caps:
    """What can be said of every object of a connector file."""
    objects = list(file.objects.values())
    writes = [obj.write for obj in objects]
    weakest: Precondition = "native"
    for obj in objects:
        for write in (obj.write.update, obj.write.delete):
            if write is not None:
                said = write.precondition
                mode: Precondition = "read_compare" if said is None else said if isinstance(said, str) else "native"
                weakest = mode if _WEAKEST[mode] > _WEAKEST[weakest] else weakest
    compared = any(write.bulk.keys() & {"update", "delete", "upsert"} for write in writes)  # as is said of one row, else read again
    if all(write.update is None and write.delete is None for write in writes):
        weakest = "read_compare" if compared else "none"
    shows = [shape for write in writes for shape in (write.create or write.upsert, write.update) if shape is not None]
    bulk_shows = [bulk.row is not None for write in writes for kind, bulk in write.bulk.items() if kind != "delete"]
    return Caps(
        kind="api",
        precondition=weakest,
        stored_row=bool(shows or bulk_shows) and all(shape.item is not None for shape in shows) and all(bulk_shows),
        incremental=any(obj.modified is not None or obj.read.changed is not None for obj in objects),
        tombstones=any(obj.read.deleted is not None or obj.gone is not None for obj in objects),
        find=True,
        creates=any(write.create or write.upsert or write.bulk.keys() & {"create", "upsert"} for write in writes),
        updates=any(write.update or write.bulk.keys() & {"update", "upsert"} for write in writes),
        deletes=any(write.delete or "delete" in write.bulk for write in writes),
        assigns_keys=all(obj.assigns_key for obj in objects),
    )
