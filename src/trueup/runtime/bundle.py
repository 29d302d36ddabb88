"""The support bundle: what helps somebody else to understand an installation, without any value of a record and without secrets.

Nothing is copied and then cleaned. Each file is made of facts that cannot hold a value: names, numbers, sizes, times and words of ours. Of
the configuration every path is told, and its value only where it is one of the few words that the configuration itself knows.
"""

from __future__ import annotations

import os
import zipfile
from contextlib import suppress
from importlib import metadata
from typing import TYPE_CHECKING, Any

import orjson

from trueup.errors import ConfigError, UsageError
from trueup.runtime.doctor_state import head_of
from trueup.runtime.workspace import Workspace
from trueup.yamlfile import read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from trueup.reports.health import Diagnosis

READ_ME = """\
A support bundle of trueup. It holds no value of any record, no key of a row, no password and no address:

findings.json       what `trueup doctor` found, without the words of servers and of the operating system
facts.json          versions, sizes, counts of rows by table, runs with their times, whether systems answer
configuration.json  every path of the configuration; of values only words that trueup itself knows, of others their kind
packages.json       the Python packages that are installed, with their versions

Names of systems, entities, fields, tables and columns are in it. Read it before you send it.
"""

_WORDS = frozenset({"connector", "direction", "type", "assign", "action", "merge", "conflict", "match", "precedence", "from",
                    "source_of_truth", "key", "object", "column", "modified", "entity", "encoding", "delimiter", "empty"})  # fmt: skip
"""Settings whose values are names of a schema, or words of trueup."""
_OF_SYSTEMS = frozenset({"connector", "encoding", "delimiter"})


def write_bundle(path: Path, found: Diagnosis, config: Path) -> None:
    """Write the bundle, whole or not at all; an existing file is not replaced. Raises UsageError where it cannot be written."""
    files = {
        "README.txt": READ_ME.encode(),
        "findings.json": _json([{"level": one.level, "check": one.check, "message": one.message} for one in found.ordered]),
        "facts.json": _json(found.facts | {"audit_head": _head(config)}),
        "configuration.json": _json(dict(_paths(_document(config), ()))),
        "packages.json": _json({one.metadata["Name"]: one.version for one in metadata.distributions() if one.metadata["Name"]}),
    }
    part = path.with_name(path.name + ".part")
    if path.exists():
        raise UsageError(f"{path} is there already", hint="name another file")
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise UsageError(f"{path} cannot be written: {error.strerror}", hint="name a file in a folder that exists and has room") from error


def _json(value: Any) -> bytes:
    return orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)


def _head(config: Path) -> str | None:
    from trueup.config.load import load_config

    try:
        with Workspace(load_config(config, connects=False)) as workspace:
            return head_of(workspace)
    except ConfigError:
        return None


def _document(config: Path) -> Any:
    return read_yaml(config).data or {}


def _paths(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Dotted path -> what may be told of its value."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            # The words of a value map, and constants for new rows, are values of records.
            told = str(key) if path[-1:] not in (("values",), ("set",)) else "…"
            yield from _paths(item, (*path, told))
        return
    yield ".".join(path), _told(value, path)


def _told(value: Any, path: tuple[str, ...]) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    words = _OF_SYSTEMS if path[:1] == ("systems",) else _WORDS  # what a connector is set to may be called `key`, and be one
    if path and path[-1] in words and _is_name(value):
        return value
    if len(path) > 1 and path[-2] == "fields" and path[0] == "entities" and isinstance(value, str):
        return value if _is_name(value) else "…"  # a plain column
    return f"({_kind(value)})"


def _is_name(value: Any) -> bool:
    """Whether it looks like a name: no address, no expression, no text."""
    if isinstance(value, list):
        return all(_is_name(item) for item in value)
    return isinstance(value, str) and value.replace("_", "").replace(" ", "").isalnum()


def _kind(value: Any) -> str:
    kinds: Mapping[type, str] = {str: "text", list: "list", dict: "nothing in it"}
    return "number" if isinstance(value, int | float) else kinds.get(type(value), type(value).__name__)
