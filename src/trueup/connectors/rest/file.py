"""Reads a connector file and finds everything that is wrong with it at once, each at its line."""

from __future__ import annotations

import difflib
import fnmatch
import functools
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from trueup.connectors.rest.hooks import own_places
from trueup.connectors.rest.schema import ANY, ColumnShape, FileShape, ObjectShape, PageShape, RequestShape
from trueup.connectors.rest.schema_http import Shape
from trueup.connectors.rest.template import places
from trueup.errors import ConfigError, Problem
from trueup.yamlfile import parse_yaml, plain, read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pydantic_core import ErrorDetails

    from trueup.yamlfile import YamlDocument, YamlPath

_ALWAYS = frozenset({"secrets", "values"})
_READS = frozenset({"object", "columns", "modified", "key_name"})
_WRITES = frozenset({"id", "key", "fields", "changed", "record", "row", "version", "cells", "unique", *_READS})
_BULK = frozenset({*_WRITES, "number"})
_NAMES: dict[str, frozenset[str]] = {
    "full": frozenset({"parent"}) | _READS,
    "changed": frozenset({"since", "parent"}) | _READS,
    "deleted": frozenset({"since", "parent"}) | _READS,
    "one": frozenset({"id", "key"}) | _READS,
    "many": frozenset({"ids"}) | _READS,
    "find": frozenset({"column", "value"}) | _READS,
    "header": frozenset({"object"}),
    "discover": frozenset({"object"}),
    "named": frozenset(),
    "upload": frozenset({"job", "url", "object"}),
    "close": frozenset({"job", "url", "object"}),
    "cancel": frozenset({"job", "url", "object"}),
    "poll": frozenset({"job"}),
    "download": frozenset({"job", "url"}),
    "outcome": frozenset({"job"}),
    "running": frozenset({"object"}),
    "create": _WRITES,
    "update": _WRITES,
    "upsert": _WRITES,
    "delete": _WRITES,
    "subscribe": frozenset({"callback", "secret", "object"}),
    "renew": frozenset({"callback", "secret", "object", "id"}),
    "alive": frozenset({"id"}),
    "unsubscribe": frozenset({"id"}),
}
_PLAIN_FORMATS = {
    "datetime": {"iso", "epoch_s", "epoch_ms", "ms_json"},
    "timestamp": {"iso"},
    "date": {"iso", "ms_json"},
    "integer": {"text", "cents"},
    "decimal": {"text", "cents", "number"},
    "float": {"text"},
    "boolean": {"text", "number"},
}


def read_file(path: Path) -> FileShape:
    """A connector file. Raises ConfigError with every problem."""
    try:
        content = path.read_bytes()
    except (OSError, ValueError):
        return _checked(read_yaml(path))  # which says what is wrong
    return _read(str(path), content)


@functools.lru_cache(maxsize=64)
def _read(path: str, content: bytes) -> FileShape:
    """As long as a file says the same, it is read once: every connector of a system has the same one."""
    del content
    return _checked(read_yaml(path))


def parse_text(text: str, file: str) -> FileShape:
    """As `read_file`, of a text; `file` names it in problems."""
    return _checked(parse_yaml(text, file))


def _checked(document: YamlDocument) -> FileShape:
    problems = list(document.problems)
    shape = None
    if not problems and not isinstance(document.data, dict):
        problems.append(document.problem((), "this is no connector file", "it begins with `connector: NAME`; see docs/connectors.md"))
    if not problems:
        try:
            shape = FileShape.model_validate(plain(document.data))
        except ValidationError as error:
            problems += _problems(document, error)
        else:
            problems += _meaning(document, shape)
    if problems or shape is None:
        raise ConfigError(problems)
    return shape


def names_of(file: FileShape, kind: str) -> list[str]:
    """The names that a file takes from `secrets` or `values`, in the order in which they first stand there."""
    found = (place.name.partition(".") for place in places(file.model_dump(mode="json", exclude={"settings", "mappings"})))
    return list(dict.fromkeys(rest for head, _, rest in found if head == kind))


# ---------------------------------------------------------------- what pydantic finds, in words


def _problems(document: YamlDocument, error: ValidationError) -> list[Problem]:
    found: dict[tuple[YamlPath, str], Problem] = {}
    for detail in error.errors(include_url=False, include_input=True):
        path = _path(document, detail["loc"])
        message, hint = _words(detail, path)
        found.setdefault((path, message), document.problem(path, message, hint))
    return list(found.values())


def _path(document: YamlDocument, places_: tuple[str | int, ...]) -> YamlPath:
    """Where it stands: steps that only validation knows (`any_of` that was not written, names of alternatives) are left out."""
    path: YamlPath = ()
    value: Any = document.data
    part: Any
    for number, part in enumerate(places_):
        if (isinstance(value, dict) and part in value) or (isinstance(value, list) and isinstance(part, int) and part < len(value)):
            value = value[part]
        elif number == len(places_) - 1 and isinstance(part, str) and isinstance(value, dict) and not part.endswith("Shape"):
            return (*path, part)
        else:
            continue
        path = (*path, part)
    return path


def _words(detail: ErrorDetails, path: YamlPath) -> tuple[str, str]:
    name = str(path[-1]) if path else "it"
    match detail["type"]:
        case "extra_forbidden":
            known = _known(path[:-1])
            near = difflib.get_close_matches(name, known, n=1)
            said = f": did you mean `{near[0]}`?" if near else ""
            return f"unknown setting `{name}`{said}", f"known: {', '.join(known)}" if known and not near else ""
        case "missing":
            return f"`{name}` is missing", ""
        case "literal_error":
            return f"`{name}` has a value that is not known", f"known: {detail.get('ctx', {}).get('expected', '')}".replace("'", "")
        case "value_error":
            return str(detail["msg"]).removeprefix("Value error, "), ""
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"`{name}` must be a mapping", f"this is {_kind(detail.get('input'))}"
        case _:
            text = str(detail["msg"])
            return f"`{name}`: {text[:1].lower()}{text[1:]}", ""


def _kind(value: Any) -> str:
    names = {str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list", type(None): "nothing"}
    return names.get(type(value), "something else")


def _known(path: YamlPath) -> list[str]:
    """The settings that may stand at a path."""
    shape: Any = FileShape
    for part in path:
        if isinstance(part, int) or shape is None:
            continue
        shape = _inner(shape, part)
    if not (isinstance(shape, type) and issubclass(shape, BaseModel)):
        return []
    return [field.alias or name for name, field in shape.model_fields.items()]


def _inner(shape: Any, part: str) -> Any:
    """The shape below a setting: of a mapping of shapes, any of its names leads to the same one."""
    if isinstance(shape, type) and issubclass(shape, BaseModel):
        for name, field in shape.model_fields.items():
            if part in {name, field.alias}:
                found = [one for one in _shapes(field.annotation) if issubclass(one, Shape)]
                holds_many = "dict" in str(field.annotation)
                return _Many(found[0]) if found and holds_many else (found[0] if found else None)
        return None
    return shape.shape if isinstance(shape, _Many) else None


class _Many:
    """A mapping of names to one shape."""

    def __init__(self, shape: type[BaseModel]) -> None:
        self.shape = shape


def _shapes(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in getattr(annotation, "__args__", ()) for found in _shapes(part)]


# ---------------------------------------------------------------- what fits together


def _meaning(document: YamlDocument, shape: FileShape) -> list[Problem]:
    found = [*_auth(document, shape)]
    for name, obj in shape.objects.items():
        path: YamlPath = ("objects", name)
        found += _object(document, path, obj, shape)
    if shape.webhook is not None:
        found += _requests(document, ("webhook",), shape.webhook)
        found += [document.problem(("webhook", "verify"), wrong) for wrong in _strange(own_places(shape.webhook.verify), _ALWAYS)]
    for number, limit in enumerate(shape.http.limits):
        if limit.match is not None and not fnmatch.translate(limit.match):
            found.append(document.problem(("http", "limits", number), "it matches nothing"))
    if shape.http.base_url.startswith("http://") and not any(part in shape.http.base_url for part in ("//127.", "//localhost", "//[::1]")):
        found.append(
            document.problem(("http", "base_url"), "everybody on the way could read along: this address is not encrypted", "write https://")
        )
    return found


def _auth(document: YamlDocument, shape: FileShape) -> Iterator[Problem]:
    for number, kind in enumerate(shape.auth.any_of):
        for wrong in _strange(kind.model_dump(), _ALWAYS):
            yield document.problem(_path(document, ("auth", "any_of", number)), wrong)
    path = ("http", "base_url")
    for wrong in _strange(shape.http.base_url, _ALWAYS | {"token"}):
        yield document.problem(path, wrong)
    kept = {str(name) for kind in shape.auth.any_of for name in (kind.model_extra or {}).get("keep", ()) or ()}
    led = [place.name.partition(".")[2] for place in places(shape.http.base_url) if place.name.startswith("token.")]
    for name in led:
        if name not in kept:
            yield document.problem(
                path, f"`{name}` is not kept of the answer with a token", f"write `auth: {{kind: oauth2, keep: [{name}], …}}`"
            )
    if led and not shape.http.hosts:
        yield document.problem(path, "a part of it comes from outside", 'say where it may lead to: `hosts: ["*.example.com"]`')


def _object(document: YamlDocument, path: YamlPath, obj: ObjectShape, shape: FileShape) -> list[Problem]:
    found = [*_requests(document, (*path, "read"), obj.read), *_requests(document, (*path, "write"), obj.write)]
    found += [*_listed_columns(document, path, obj), *_listed_objects(document, path, obj)]
    for bulk_kind, bulk in obj.write.bulk.items():
        found += [document.problem((*path, "write", "bulk", bulk_kind), wrong) for wrong in _strange(_templates(bulk), _ALWAYS | _BULK)]
        if bulk.job is not None:
            found += _requests(document, (*path, "write", "bulk", bulk_kind, "job"), bulk.job)
    for name, column in obj.columns.items():
        found += _column(document, (*path, "columns", name), column)
    if obj.columns and obj.discover is None:
        found += [_unknown_column(document, (*path, "match_on"), name, obj) for name in obj.match_on if name not in obj.columns]
        asked = obj.read.find.columns if obj.read.find is not None else ()
        found += [_unknown_column(document, (*path, "read", "find", "columns"), name, obj) for name in asked if name not in obj.columns]
    for kind in ("full", "changed", "deleted"):
        listed = getattr(obj.read, kind)
        if listed is not None and listed.of is not None and listed.of not in shape.objects:
            found.append(document.problem((*path, "read", kind, "of"), f"there is no object `{listed.of}`"))
    cursor = obj.read.changed.cursor if obj.read.changed is not None else None
    if obj.read.changed is not None and path[-1] != ANY and obj.modified is None and (cursor is None or cursor.field is None):
        found.append(
            document.problem((*path, "read", "changed"), "it is not said when a row was changed", "add modified: /updated_at to the object")
        )
    if len(obj.key) > 1 and obj.read.many is not None:
        found.append(document.problem((*path, "read", "many"), "rows with a key of several members cannot be asked for by `ids`"))
    return found


def _listed_columns(document: YamlDocument, path: YamlPath, obj: ObjectShape) -> Iterator[Problem]:
    if obj.discover is not None:
        yield from _request(document, (*path, "discover"), "discover", obj.discover)
        for told, column in obj.discover.types.items():
            yield from _column(document, (*path, "discover", "types", told), column)


def _listed_objects(document: YamlDocument, path: YamlPath, obj: ObjectShape) -> Iterator[Problem]:
    if obj.named is not None:
        yield from _request(document, (*path, "named"), "named", obj.named)
        if path[-1] != ANY:
            yield document.problem((*path, "named"), f"only the object `{ANY}` stands for several, which are listed")


def _unknown_column(document: YamlDocument, path: YamlPath, name: str, obj: ObjectShape) -> Problem:
    near = difflib.get_close_matches(name, obj.columns, n=1)
    return document.problem(path, f"there is no column `{name}`", f"did you mean `{near[0]}`?" if near else "name it in `columns`")


def _column(document: YamlDocument, path: YamlPath, column: ColumnShape) -> Iterator[Problem]:
    if column.format is None or "%" in column.format:
        if column.format is not None and column.type not in {"date", "datetime", "timestamp"}:
            yield document.problem((*path, "format"), f"strptime codes are for dates and times, and this is {column.type}")
        return
    known = _PLAIN_FORMATS.get(column.type, set())
    if column.format not in known:
        hint = f"known for {column.type}: {', '.join(sorted(known))}" if known else f"{column.type} has no formats"
        yield document.problem((*path, "format"), f"`{column.format}` is no format of {column.type}", hint)


def _requests(document: YamlDocument, path: YamlPath, group: BaseModel) -> list[Problem]:
    """The requests that are settings of a shape, each with the names it may use."""
    found = []
    for name in type(group).model_fields:
        request = getattr(group, name)
        for one in request if isinstance(request, list) else [request]:
            if isinstance(one, RequestShape):
                found += _request(document, (*path, name), name, one)
    return found


def _request(document: YamlDocument, path: YamlPath, kind: str, request: RequestShape) -> list[Problem]:
    found = [document.problem(path, wrong) for wrong in _strange(_templates(request), _ALWAYS | _NAMES[kind])]
    if kind == "many":
        found += [document.problem((*path, "each"), wrong) for wrong in _strange(getattr(request, "each", None), frozenset({"id", "key"}))]
    page = getattr(request, "page", None)
    if isinstance(page, PageShape) and page.to is not None and page.to.startswith("body.") and request.method == "GET":
        found.append(document.problem((*path, "page", "to"), "a GET has no body", "write query.NAME"))
    job = getattr(request, "job", None)
    if job is not None:
        found += _request(document, (*path, "job", "poll"), "poll", job.poll)
        found += _request(document, (*path, "job", "download"), "download", job.download)
    if kind in {"one", "update", "delete"} and not any(
        place.name.partition(".")[0] in {"id", "key", "record", "row"} for place in places(_templates(request))
    ):
        found.append(document.problem(path, f"nothing in it says which row: put `${{id}}` into `{request.method.lower()}`"))
    return found


def _templates(request: Any) -> Mapping[str, Any]:
    return {**{name: getattr(request, name, None) for name in ("query", "headers", "body", "item")}, "path": request.path}


def _strange(template: Any, known: frozenset[str]) -> list[str]:
    wrong = []
    for place in places(template):
        name = place.name.partition(".")[0]
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            said = f": did you mean `${{{near[0]}}}`?" if near else f"; there are {', '.join(sorted(known))}"
            wrong.append(f"`${{{place.name}}}` stands for nothing here{said}")
    return wrong
