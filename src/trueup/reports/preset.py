"""The connector files that come with trueup, in words: what to write for one, what was confirmed, and what is not covered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trueup.connectors.rest.file import names_of
from trueup.connectors.rest.schema import ANY
from trueup.reports.connector_file import words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trueup.connectors.rest.schema import FileShape, ObjectShape, StartShape
    from trueup.connectors.rest.schema_http import AuthShape, LimitShape


def line_of(file: FileShape) -> list[str]:
    """One line of the list."""
    confirmed = "a draft: not confirmed" if file.draft else f"{file.verified_on}"
    return [file.connector, file.title or file.connector, file.api_version or "", confirmed, objects_of(file)]


def objects_of(file: FileShape) -> str:
    """The objects by name."""
    return ", ".join("any" if name == ANY else name for name in file.objects)


def summary(file: FileShape) -> dict[str, Any]:
    """What a program wants to know of one."""
    return {
        "name": file.connector,
        "title": file.title,
        "api_version": file.api_version,
        "verified_on": file.verified_on,
        "draft": file.draft,
        "confirmed": file.confirmed,
        "not_covered": file.not_covered,
        "sources": file.sources,
        "settings": file.settings,
        "mappings": {name: start.model_dump(by_alias=True, exclude_none=True) for name, start in file.mappings.items()},
    }


def told(file: FileShape) -> Iterator[str]:
    """Everything about one, a line each."""
    yield f"{file.title or file.connector} (API version {file.api_version})" if file.api_version else f"{file.title or file.connector}"
    if file.draft:
        yield f"a draft: {file.draft}"
    for what in file.confirmed:
        yield f"confirmed  {what}"
    for what in file.not_covered:
        yield f"not there  {what}"
    for source in file.sources:
        yield f"source     {source}"
    yield ""
    yield "what it does:"
    yield from (f"  {line}".rstrip() for line in words(file))
    yield ""
    yield "to begin with, in trueup.yaml:"
    yield from (f"  {line}".rstrip() for line in starter(file).splitlines())


# ---------------------------------------------------------------- what to write


def starter(file: FileShape) -> str:
    """The part of a trueup.yaml that uses the file: the system, and an entity for each mapping that it proposes."""
    name = file.connector.replace("-", "_")
    lines = ["systems:", f"  {name}:"]
    if file.draft:
        lines += ["    connector: rest", f"    file: {file.connector}.yaml"]
    else:
        lines.append(f"    connector: {file.connector}")
    lines += _oauth2(file, name)
    for kind in ("secrets", "values"):
        needed = _needed(file, kind)
        if needed:
            lines.append(f"    {kind}:")
            lines += [f'      {one}: "${{{name.upper()}_{one.upper()}}}"{_comment(file, one)}' for one in needed]
    if file.mappings:
        lines.append("entities:")
        for entity, start in file.mappings.items():
            lines += _entity(entity, start, name)
    return "\n".join(lines) + "\n"


def _needed(file: FileShape, kind: str) -> list[str]:
    """What has to be given for the first way of saying who asks, and for the address and the requests."""
    plain = file.model_copy(update={"auth": file.auth.model_copy(update={"any_of": file.auth.any_of[:1]}), "webhook": None})
    return names_of(plain, kind)


def _oauth2(file: FileShape, name: str) -> list[str]:
    if file.auth.any_of[0].kind != "oauth2":
        return []
    client = f"{name.upper()}_CLIENT"
    return [f'    oauth2: {{client_id: "${{{client}_ID}}", client_secret: "${{secret:{client}_SECRET}}"}}   # then: trueup connect {name}']


def _comment(file: FileShape, name: str) -> str:
    return f"   # {file.settings[name]}" if name in file.settings else ""


def _entity(entity: str, start: StartShape, system: str) -> list[str]:
    lines = [f"  {entity}:"]
    if start.match:
        lines.append(f"    match: {_flow(start.match)}")
    lines.append("    fields:")
    lines += [f"      {field}: {start.types.get(field, 'text')}" for field in start.fields]
    told_ = [f"object: {_word(start.object_)}", f"key: {_word(start.key)}"]
    told_ += [f"modified: {_word(start.modified)}"] if start.modified else []
    told_ += [f"direction: {start.direction}"] if start.direction != "both" else []
    lines += ["    mappings:", f"      {system}:", *(f"        {part}" for part in told_), "        fields:"]
    return [*lines, *(f"          {field}: {_word(column)}" for field, column in start.fields.items())]


def _flow(match: list[list[str]]) -> str:
    return "[" + ", ".join("[" + ", ".join(rule) + "]" for rule in match) + "]"


def _word(text: str) -> str:
    plain = text.replace("_", "").replace("/", "").replace("$", "").isalnum() and not text[:1].isdigit()
    return text if plain else f'"{text}"'


# ---------------------------------------------------------------- the table of the reference


def row_of(file: FileShape) -> list[str]:
    """One row of the generated table."""
    return [
        f"`{file.connector}`",
        f"{file.title} {file.api_version or ''}".strip(),
        f"{'; '.join(file.confirmed)} ({file.verified_on})" if file.confirmed else "nothing yet",
        "<br>".join(_abilities(name, obj) for name, obj in file.objects.items()),
        "; ".join(_limit(limit) for limit in file.http.limits) or "none that are known",
        ", ".join(dict.fromkeys(_who(kind) for kind in file.auth.any_of)),
        "; ".join(file.not_covered),
    ]


def _who(kind: AuthShape) -> str:
    return {"oauth2": "OAuth 2", "none": "nobody asks"}.get(kind.kind, kind.kind)


def _limit(limit: LimitShape) -> str:
    where = f" ({limit.match})" if limit.match else ""
    return f"{limit.requests} in {limit.per_s:g} s{where}" if limit.requests else f"{limit.concurrency} at once{where}"


def _abilities(name: str, obj: ObjectShape) -> str:
    can = ["read"]
    if obj.read.changed is not None:
        can.append("changes")
    if obj.read.deleted is not None or obj.gone is not None:
        can.append("deletes told")
    for kind in ("create", "update", "delete"):
        single = getattr(obj.write, kind) or (obj.write.upsert if kind != "delete" else None)
        bulk = obj.write.bulk.get(kind) or (obj.write.bulk.get("upsert") if kind != "delete" else None)
        if single is not None or bulk is not None:
            can.append(f"{kind}{f' (by {bulk.max})' if bulk is not None else ''}")
    update = obj.write.update or obj.write.upsert
    if update is not None:
        said = update.precondition
        can.append("read_compare" if said is None else said if isinstance(said, str) else "native precondition")
    return f"{'any object' if name == ANY else name}: {', '.join(can)}"
