"""What a connector file will do, in words: for `trueup connector check`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trueup.connectors.rest.file import names_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trueup.connectors.rest.schema import BulkShape, FileShape, ListShape, ObjectShape, WriteShape
    from trueup.connectors.rest.schema_http import AuthShape, LimitShape
    from trueup.model import Caps

_PAGES = {
    "cursor": "page by page, each naming the next",
    "next_url": "page by page, each with the address of the next",
    "link_header": "page by page, each with a Link header",
    "offset": "page by page, counted in rows",
    "page": "page by page, counted in pages",
    "keyset": "page by page, each behind the last row of the one before",
    "page_info": "page by page, each naming the next",
    "none": "in one answer",
}
_CONDITIONS = {
    "native": "refused by the application where the row was changed meanwhile",
    "read_compare": "read again just before, and left alone where it was changed meanwhile",
    "none": "over whatever is there",
}


def words(file: FileShape) -> list[str]:
    """The file in sentences, a line each; objects begin with their name."""
    return [*_head(file), *(line for name, obj in file.objects.items() for line in ("", *_object(name, obj)))]


def facts(file: FileShape, caps: Caps) -> dict[str, Any]:
    """The same for programs."""
    return {
        "connector": file.connector,
        "api_version": file.api_version,
        "verified_on": file.verified_on,
        "secrets": names_of(file, "secrets"),
        "values": names_of(file, "values"),
        "objects": {
            name: {
                "key": list(obj.key),
                "modified": obj.modified,
                "columns": {column: said.type for column, said in obj.columns.items()},
                "reads": [kind for kind in ("full", "changed", "one", "many", "deleted", "find") if getattr(obj.read, kind) is not None],
                "writes": [kind for kind in ("create", "update", "delete", "upsert") if getattr(obj.write, kind) is not None],
                "bulk": list(obj.write.bulk),
                "jobs": [kind for kind, bulk in obj.write.bulk.items() if bulk.job is not None],
            }
            for name, obj in file.objects.items()
        },
        "precondition": caps.precondition,
        "stored_row": caps.stored_row,
        "incremental": caps.incremental,
    }


def _head(file: FileShape) -> Iterator[str]:
    version = f", version {file.api_version}" if file.api_version else ""
    confirmed = f" (confirmed on {file.verified_on})" if file.verified_on else ""
    yield f"{file.connector}: {file.http.base_url}{version}{confirmed}"
    yield "asks " + ", or ".join(_who(kind) for kind in file.auth.any_of)
    needs = [f"`{name}`" for name in (*names_of(file, "secrets"), *names_of(file, "values"))]
    if needs:
        yield f"needs {', '.join(needs)} from the configuration"
    if file.http.limits:
        yield "asks at most " + ", ".join(map(_limit, file.http.limits))
    if file.http.hosts:
        yield f"may also ask {', '.join(file.http.hosts)}"


def _who(kind: AuthShape) -> str:
    match kind.kind:
        case "none":
            return "without saying who"
        case "bearer":
            return "with a bearer token"
        case "basic":
            return "with a user name and a password"
        case "header":
            return f"with the header {kind.name}"
        case "query":
            return f"with the parameter {kind.name}"
        case _:
            return "by OAuth 2 (`trueup connect`)"


def _limit(limit: LimitShape) -> str:
    where = f" of {limit.match}" if limit.match else ""
    return f"{limit.requests} times in {limit.per_s:g} s{where}" if limit.requests else f"{limit.concurrency} at once{where}"


def _object(name: str, obj: ObjectShape) -> Iterator[str]:
    yield f"{name}, known by {' and '.join(obj.key)}" + (f", dated by {obj.modified}" if obj.modified else "")
    if obj.columns:
        columns = (f"{column} ({said.type}{', read only' if said.read_only else ''})" for column, said in obj.columns.items())
        yield "  columns   " + ", ".join(columns)
    else:
        yield "  columns   " + ("those that the application lists" if obj.discover else "those that its first rows have")
    yield "  all       " + _listed(obj.read.full)
    if obj.read.changed is not None:
        back = obj.read.changed.cursor.overlap_s if obj.read.changed.cursor else 0
        yield "  changes   " + _listed(obj.read.changed) + (f", from {back:g} s before the last one on" if back else "")
    elif obj.modified is not None:
        yield "  changes   from the whole list, by date"
    yield "  by key    " + (_asked(obj.read.many) if obj.read.many else _asked(obj.read.one) if obj.read.one else "from the whole list")
    yield "  by value  " + (_listed(obj.read.find) if obj.read.find is not None else "from the whole list")
    if obj.read.deleted is not None:
        yield "  deleted   " + _listed(obj.read.deleted)
    if obj.gone is not None:
        yield f"  deleted   rows with {obj.gone.at}"
    for kind in ("create", "update", "delete", "upsert"):
        write: WriteShape | None = getattr(obj.write, kind)
        if write is not None:
            yield f"  {kind:8}  {_write(kind, write, obj)}"
    for kind, bulk in obj.write.bulk.items():
        yield f"  {kind:8}  {_bulk(bulk)}"
    if obj.write.create is None and obj.write.update is None and obj.write.upsert is None and not obj.write.bulk:
        yield "  it is never written"


_FORMATS = {"json": "JSON", "jsonl": "JSON Lines", "csv": "CSV"}


def _asked(request: Any) -> str:
    return f"{request.method} {request.path}"


def _listed(shape: ListShape) -> str:
    how = "as a job that is waited for" if shape.job else _PAGES[shape.page.style if shape.page else "none"]
    form = shape.job.format if shape.job else shape.format
    how += "" if form == ("jsonl" if shape.job else "json") else f", in {_FORMATS[form]}"
    size = f", {shape.page.size.rows} rows each" if shape.page and shape.page.size else ""
    each = f", once for each of {shape.of}" if shape.of else ""
    cut = f", begun again after {shape.restart.after:,} rows" if shape.restart else ""
    return f"{_asked(shape)}, {how}{size}{each}{cut}"


def _write(kind: str, write: WriteShape, obj: ObjectShape) -> str:
    if kind in {"create", "upsert"}:
        if write.idempotency is not None:
            again = f"sent twice it counts once ({write.idempotency.header})"
        elif obj.match_on:
            again = f"looked for by {', '.join(obj.match_on)} before it is sent again"
        else:
            again = "never sent again where the answer is lost, unless its key is known"
        return f"{_asked(write)}; {again}"
    mode = "read_compare" if write.precondition is None else write.precondition if isinstance(write.precondition, str) else "native"
    return f"{_asked(write)}; {_CONDITIONS[mode]}"


def _bulk(bulk: BulkShape) -> str:
    job = f", as a job that is waited for ({_asked(bulk.job.poll)}), and that none is begun beside" if bulk.job else ""
    form = "" if bulk.format == "json" else f" in {_FORMATS[bulk.format]}"
    form += f", which {_asked(bulk.job.upload)} brings" if bulk.job and bulk.job.upload else ""
    return f"{_asked(bulk)}, {bulk.max} rows at once{form}{job}, each with an outcome of its own"
