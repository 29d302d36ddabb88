"""`${name|filter}` in requests: names stand for values, filters give them another form, and nothing is ever evaluated.

A text that is one place and nothing else (`"${fields}"`) becomes the value itself, whatever it is; otherwise values are put in as text.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import quote

from trueup.connectors.jsonl_text import ABSENT, look_up
from trueup.connectors.rest.message import json_bytes
from trueup.connectors.rest.pointer import parse

_PLACE = re.compile(r"\$\{([^}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[^|{}]+)?")
NOTHING = object()
"""What a place without a value makes of a parameter, header or member that is nothing else: it is left out."""


def moment_of(value: Any) -> datetime:
    """A point in time, of ISO text or as it is; without a zone it is in UTC. Raises ValueError."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(moment, datetime):
        raise ValueError(f"{value!r} is no point in time")  # noqa: TRY004 - the value of a record, not an argument of another type
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _iso(value: Any) -> str:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    return moment_of(value).replace(tzinfo=None).isoformat() + "Z"


def text(value: Any) -> str:
    """A value as it stands in an address, a header or within a text."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return _iso(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, int | float):
        return str(value)
    return json_bytes(value).decode()


FILTERS: dict[str, Callable[[Any], Any]] = {
    "iso": _iso,
    "iso_s": lambda value: moment_of(value).strftime("%Y-%m-%dT%H:%M:%SZ"),
    "date": lambda value: moment_of(value).date().isoformat(),
    "http_date": lambda value: moment_of(value).strftime("%a, %d %b %Y %H:%M:%S GMT"),
    "epoch_s": lambda value: int(moment_of(value).timestamp()),
    "epoch_ms": lambda value: int(moment_of(value).timestamp() * 1000),
    "comma": lambda value: ",".join(map(text, value)),
    "single_quoted": lambda value: "'" + text(value).replace("'", "''") + "'",
    "lower": lambda value: text(value).lower(),
    "upper": lambda value: text(value).upper(),
    "md5": lambda value: hashlib.md5(text(value).encode(), usedforsecurity=False).hexdigest(),
    "base64": lambda value: base64.b64encode(text(value).encode()).decode(),
    "path": lambda value: quote(text(value), safe=""),
    "text": text,
    "integer": lambda value: int(text(value)),
    "json": lambda value: json_bytes(value).decode(),
    "quoted": lambda value: json_bytes(text(value)).decode(),
}


@dataclass(frozen=True, slots=True)
class Place:
    """One `${…}`."""

    name: str
    filters: tuple[str, ...]

    def value(self, scope: Mapping[str, Any]) -> Any:
        """What stands for it; None where nothing does. Raises KeyError for a name that means nothing here, ValueError for a bad value."""
        head, _, rest = self.name.partition(".")
        found = scope[head]
        if rest:
            found = _inside(found, rest)
        for name in self.filters if found is not None else ():
            found = FILTERS[name](found)
        return found


def _inside(value: Any, rest: str) -> Any:
    """What stands in a value under a name, or at a pointer (`${row./product/id}`)."""
    if not rest.startswith("/"):
        return value.get(rest) if isinstance(value, Mapping) else None
    found = look_up(value, parse(rest))
    return None if found is ABSENT else found


def places(template: Any) -> list[Place]:
    """Every place in a text, or in the texts of a nested value. Raises ValueError for one that is not written as it should be."""
    if isinstance(template, str):
        return [_place(found) for found in _PLACE.findall(template)]
    if isinstance(template, Mapping):
        return [found for item in (*template.keys(), *template.values()) for found in places(item)]
    if isinstance(template, list | tuple):
        return [found for item in template for found in places(item)]
    return []


def _place(inner: str) -> Place:
    name, *filters = (part.strip() for part in inner.split("|"))
    if not _NAME.fullmatch(name):
        raise ValueError(f"`${{{inner}}}` names nothing: write ${{name}} or ${{name|filter}}")
    for wrong in filters:
        if wrong not in FILTERS:
            raise ValueError(f"there is no filter `{wrong}`: there are {', '.join(FILTERS)}")
    return Place(name, tuple(filters))


def render(template: Any, scope: Mapping[str, Any]) -> Any:
    """The template with its places filled. Members and items of which nothing is left but an empty place are left out (`NOTHING`)."""
    if isinstance(template, str):
        return _render_text(template, scope)
    if isinstance(template, Mapping):
        pairs = ((_render_text(name, scope), render(item, scope)) for name, item in template.items())
        return {text(name): item for name, item in pairs if item is not NOTHING and name is not NOTHING}
    if isinstance(template, list | tuple):
        return [item for item in (render(item, scope) for item in template) if item is not NOTHING]
    return template


def _render_text(template: str, scope: Mapping[str, Any]) -> Any:
    if "${" not in template:
        return template
    whole = _PLACE.fullmatch(template)
    if whole is not None:
        value = _place(whole[1]).value(scope)
        return NOTHING if value is None else value
    return _PLACE.sub(lambda found: text(_filled(_place(found[1]), scope)), template)


def _filled(place: Place, scope: Mapping[str, Any]) -> Any:
    value = place.value(scope)
    return "" if value is None else value


def render_path(template: str, scope: Mapping[str, Any]) -> str:
    """A path with its places filled and quoted; one whose value has the filter `path` or is a whole address is quoted already."""

    def filled(found: re.Match[str]) -> str:
        place = _place(found[1])
        value = text(_filled(place, scope))
        return value if "path" in place.filters or place.name == "url" else segment(value)

    return _PLACE.sub(filled, template)


def segment(value: str) -> str:
    """A text as one step of a path; `.` and `..` would lead elsewhere."""
    return value.replace(".", "%2E") if value in {".", ".."} else quote(value, safe="")
