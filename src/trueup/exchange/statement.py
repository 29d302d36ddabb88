"""What a package says of itself: `datapackage.json`, a Frictionless Data Package (https://specs.frictionlessdata.io/data-package/).

    resources    each with `name`, `path`, `schema` (types and key), `hash` ("sha256:…"), `bytes`
    trueup       form, entity, sequence, cutoff, timezone, exported_at, rows, gone, totals, and the marks of null and absent in CSV

The first resource holds the records, the second one tells which are gone. Sums are decimal texts: no float ever holds one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, cast
from zoneinfo import ZoneInfo

import orjson

from trueup.errors import PackageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.model import FieldType

FILE = "datapackage.json"
SIGNATURE = "datapackage.json.sig"
FORM = 1
ID = "trueup_id"
"""The column with the number of the record: the key of a package's rows."""
GONE_COLUMNS: tuple[tuple[str, FieldType], ...] = ((ID, "integer"), ("at", "datetime"), ("into", "integer"))
COUNTED: tuple[FieldType, ...] = ("integer", "decimal", "float", "reference")
"""Types of columns that have a control total, all but the key's."""
LARGEST_STATEMENT = 16_000_000

Form = Literal["csv", "jsonl"]
_MEDIA = {"csv": "text/csv", "jsonl": "application/x-ndjson"}
_DIALECT = {"delimiter": ",", "quoteChar": '"', "doubleQuote": True, "lineTerminator": "\n", "skipInitialSpace": False, "header": True}
_TYPES: dict[FieldType, str] = {
    "text": "string",
    "integer": "integer",
    "decimal": "number",
    "float": "number",
    "boolean": "boolean",
    "date": "date",
    "datetime": "datetime",
    "list": "array",
    "json": "any",
    "reference": "integer",
}
_READ: dict[str, FieldType] = {
    "string": "text",
    "integer": "integer",
    "number": "decimal",
    "boolean": "boolean",
    "date": "date",
    "datetime": "datetime",
    "array": "list",
    "any": "json",
    "object": "json",
}
_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_DECIMAL = re.compile(r"-?[0-9]+(?:\.[0-9]+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Column:
    """One column. Of a package that was read, a float is a decimal and a reference an integer: their texts are the same."""

    name: str
    type: FieldType


@dataclass(frozen=True, slots=True)
class Resource:
    """One file of a package. `hash` is the SHA-256 of its bytes, in hex. What is gone is told in CSV, in whatever form the records are."""

    name: str
    path: str
    columns: tuple[Column, ...]
    hash: str
    bytes: int

    @property
    def form(self) -> Form:
        """How it is written."""
        return "csv" if self.path.endswith(".csv") else "jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What is said of a package before anything of it is written. `cutoff` is the moment as of which the records are, in UTC."""

    entity: str
    sequence: int
    cutoff: datetime
    timezone: str
    exported_at: datetime
    form: Form
    columns: tuple[Column, ...]
    signed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """All that `datapackage.json` says. `null` and `absent` are the marks in CSV; JSON Lines need none."""

    entity: str
    sequence: int
    cutoff: datetime
    timezone: str
    exported_at: datetime
    form: Form
    records: Resource
    gone: Resource
    rows: int
    gone_rows: int
    totals: Mapping[str, str] = field(default_factory=dict)
    null: str = ""
    absent: str = ""
    signed: bool = False

    @property
    def resources(self) -> tuple[Resource, Resource]:
        """Both files."""
        return self.records, self.gone

    def text(self) -> bytes:
        """The file."""
        own = {
            "form": FORM,
            "entity": self.entity,
            "sequence": self.sequence,
            "cutoff": in_zone(self.cutoff, self.timezone),
            "timezone": self.timezone,
            "exported_at": in_zone(self.exported_at, "UTC"),
            "rows": self.rows,
            "gone": self.gone_rows,
            "totals": dict(self.totals),
            "signed": self.signed,
            "null": self.null,
            "absent": self.absent,
        }
        body = {
            "profile": "data-package",
            "name": f"{self.entity}-{self.sequence:06d}".lower(),
            "created": in_zone(self.exported_at, "UTC"),
            "resources": [self._resource(one) for one in self.resources],
            "trueup": own,
        }
        return orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def _resource(self, one: Resource) -> dict[str, Any]:
        schema: dict[str, Any] = {
            "fields": [{"name": column.name, "type": _TYPES[column.type], **_more(column)} for column in one.columns],
            "primaryKey": [ID],
            "missingValues": [self.null, self.absent] if one.form == "csv" else [""],
        }
        dialect = {"dialect": _DIALECT} if one.form == "csv" else {}
        return {
            "name": one.name,
            "path": one.path,
            "format": one.form,
            "mediatype": _MEDIA[one.form],
            "encoding": "utf-8",
            **dialect,
            "schema": schema,
            "hash": f"sha256:{one.hash}",
            "bytes": one.bytes,
        }


def _more(column: Column) -> dict[str, Any]:
    if column.name == ID:
        return {"constraints": {"required": True, "unique": True}}
    if column.type == "datetime":
        return {"format": "any"}
    return {}


def in_zone(moment: datetime, zone: str) -> str:
    """A moment as ISO 8601 with the offset of its zone."""
    return moment.astimezone(ZoneInfo(zone)).isoformat().replace("+00:00", "Z")


def resource_names(entity: str, form: Form) -> tuple[tuple[str, str], tuple[str, str]]:
    """Name and path of the two resources."""
    return (entity.lower(), f"{entity}.{form}"), (f"{entity.lower()}-gone", f"{entity}-gone.csv")


# ---------------------------------------------------------------- reading


def read_statement(raw: bytes) -> Statement:
    """What a package says. Raises PackageError: half-copied where the text breaks off, else wrong."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        if not raw.rstrip().endswith(b"}"):
            raise PackageError(f"{FILE} breaks off", kind="half-copied") from None
        raise PackageError(f"{FILE} is not JSON", kind="wrong") from None
    return _Reading(body).statement()


class _Reading:
    """Takes a statement apart; everything about it is asked for once, and refused where it is not as it must be."""

    def __init__(self, body: Any) -> None:
        self._body = self._is(body, dict, "the whole")
        self._own = self._is(self._body.get("trueup"), dict, "trueup")

    def statement(self) -> Statement:
        if self._own.get("form") != FORM:
            raise PackageError(
                f"{FILE}: the form {self._own.get('form')!r} is not known here",
                kind="wrong",
                hint="the sender's trueup is newer than this one",
            )
        entity, zone = self._text("entity"), self._text("timezone")
        try:
            ZoneInfo(zone)
        except (OSError, ValueError, KeyError):  # a folder, a path, a name that is none
            raise PackageError(f"{FILE}: there is no time zone {zone!r}", kind="wrong") from None
        resources = self._is(self._body.get("resources"), list, "resources")
        if len(resources) != 2:
            raise PackageError(f"{FILE}: there must be two resources, and there are {len(resources)}", kind="wrong")
        form = str(self._is(resources[0], dict, "a resource").get("format"))
        if form not in _MEDIA:
            raise PackageError(f"{FILE}: the format {form!r} is not known", kind="wrong", hint="there are csv and jsonl")
        found = Statement(
            entity=entity,
            sequence=self._number("sequence", least=1),
            cutoff=self._moment("cutoff"),
            timezone=zone,
            exported_at=self._moment("exported_at"),
            form=cast("Form", form),
            records=self._resource(resources[0], form),
            gone=self._resource(resources[1], "csv"),
            rows=self._number("rows"),
            gone_rows=self._number("gone"),
            totals=self._totals(),
            null=self._text("null"),
            absent=self._text("absent"),
            signed=self._own.get("signed") is True,
        )
        self._check(found)
        return found

    @staticmethod
    def _check(found: Statement) -> None:
        names = resource_names(found.entity, found.form)
        if [(one.name, one.path) for one in found.resources] != list(names):
            wanted = " and ".join(path for _name, path in names)
            raise PackageError(f"{FILE}: the files must be {wanted}", kind="wrong")
        if tuple((column.name, column.type) for column in found.gone.columns) != GONE_COLUMNS:
            raise PackageError(f"{FILE}: the columns of {found.gone.name} must be {', '.join(dict(GONE_COLUMNS))}", kind="wrong")
        columns = [column.name for column in found.records.columns]
        if columns[:1] != [ID] or found.records.columns[0].type != "integer":
            raise PackageError(f"{FILE}: the first column must be {ID}, an integer", kind="wrong")
        counted = {column.name for column in found.records.columns if column.type in COUNTED} - {ID}
        if set(found.totals) != counted:
            raise PackageError(f"{FILE}: there must be one total for each column of numbers", kind="wrong")

    def _resource(self, value: Any, form: str) -> Resource:
        said = self._is(value, dict, "a resource")
        name, path, sha = (self._is(said.get(key), str, f"a resource's {key}") for key in ("name", "path", "hash"))
        size = self._is(said.get("bytes"), int, f"the bytes of {name}")
        if said.get("format") != form or str(said.get("encoding", "utf-8")).lower() != "utf-8":
            raise PackageError(f"{FILE}: {name} must be {form} in utf-8", kind="wrong")
        if not _HASH.fullmatch(sha):
            raise PackageError(f"{FILE}: the hash of {name} is no sha256:…", kind="wrong")
        schema = self._is(said.get("schema"), dict, f"the schema of {name}")
        fields = self._is(schema.get("fields"), list, f"the fields of {name}")
        columns = tuple(self._column(one, name) for one in fields)
        if len({column.name for column in columns}) != len(columns):
            raise PackageError(f"{FILE}: two columns of {name} have one name", kind="wrong")
        return Resource(name, path, columns, sha.removeprefix("sha256:"), size)

    def _column(self, value: Any, resource: str) -> Column:
        said = self._is(value, dict, f"a field of {resource}")
        name, kind = (self._is(said.get(key), str, f"the {key} of a field of {resource}") for key in ("name", "type"))
        if kind not in _READ:
            raise PackageError(f"{FILE}: the type {kind!r} of {name} is not known", kind="wrong", hint=f"there are {', '.join(_READ)}")
        return Column(name, _READ[kind])

    def _totals(self) -> dict[str, str]:
        said: dict[str, Any] = self._is(self._own.get("totals"), dict, "totals")
        for name, total in said.items():
            if not isinstance(total, str) or not _DECIMAL.fullmatch(total):
                raise PackageError(f"{FILE}: the total of {name} is no decimal number in quotes", kind="wrong")
        return said

    def _text(self, name: str) -> str:
        return str(self._is(self._own.get(name), str, f"trueup: {name}"))

    def _number(self, name: str, least: int = 0) -> int:
        number = int(self._is(self._own.get(name), int, f"trueup: {name}"))
        if number < least:
            raise PackageError(f"{FILE}: trueup: {name} is below {least}", kind="wrong")
        return number

    def _moment(self, name: str) -> datetime:
        text = self._text(name)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise PackageError(f"{FILE}: trueup: {name} is no time", kind="wrong") from None
        if moment.tzinfo is None:
            raise PackageError(f"{FILE}: trueup: {name} says no time zone", kind="wrong")
        return moment.astimezone(UTC)

    @staticmethod
    def _is(value: Any, kind: type, what: str) -> Any:
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            words = {dict: "an object", list: "a list", str: "text", int: "a whole number"}
            raise PackageError(f"{FILE}: {what} must be {words[kind]}", kind="wrong")
        return value
