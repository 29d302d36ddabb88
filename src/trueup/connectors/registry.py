"""Connector names and the classes behind them, loaded when first used.

Third parties add their own under the entry point group `trueup.connectors`. Importing this module loads no connector.
"""

from __future__ import annotations

import difflib
import importlib
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from trueup.connectors.presets import draft_names, preset_names
from trueup.errors import UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from trueup.connectors.base import Connector

ENTRY_POINT_GROUP = "trueup.connectors"

_SHIPPED = {
    "memory": ("trueup.connectors.memory", "MemoryConnector"),
    "sqlite": ("trueup.connectors.sqlite", "SqliteConnector"),
    "postgres": ("trueup.connectors.postgres", "PostgresConnector"),
    "mysql": ("trueup.connectors.mysql", "MysqlConnector"),
    "csv": ("trueup.connectors.csv", "CsvConnector"),
    "excel": ("trueup.connectors.excel", "ExcelConnector"),
    "jsonl": ("trueup.connectors.jsonl", "JsonlConnector"),
    "webhook": ("trueup.connectors.webhook", "WebhookConnector"),
    "rest": ("trueup.connectors.rest.connector", "RestConnector"),
    "carddav": ("trueup.connectors.carddav", "CarddavConnector"),
    "tap": ("trueup.connectors.tap", "TapConnector"),
}


def names() -> list[str]:
    """Every connector that can be used, shipped ones and presets first; a third party's cannot take a shipped name."""
    ours = [*_SHIPPED, *preset_names()]
    return [*ours, *sorted({entry.name for entry in entry_points(group=ENTRY_POINT_GROUP)} - set(ours))]


def is_known(name: str) -> bool:
    """Whether there is such a connector. Those of others are looked for only where it is none of ours: that reads every package's files."""
    return name in _SHIPPED or name in preset_names() or name in names()


def _load(entry: EntryPoint) -> type[Connector]:
    try:
        found: type[Connector] = entry.load()
    except (ImportError, AttributeError) as error:
        message = f"the connector {entry.name!r} ({entry.value}) cannot be loaded: {error}"
        raise UsageError(message, hint="install or repair the package that brings it") from error
    return found


def connector_class(name: str) -> type[Connector]:
    """The class of a connector. Raises UsageError for a name that does not exist, or whose package cannot be loaded."""
    if name in _SHIPPED:
        module, attribute = _SHIPPED[name]
        found: type[Connector] = getattr(importlib.import_module(module), attribute)
        return found
    if name in preset_names():
        from trueup.connectors.rest.preset import preset_class

        return preset_class(name)
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        if entry.name == name:
            return _load(entry)
    known = names()
    near = difflib.get_close_matches(name, known, n=1)
    message = f"there is no connector {name!r}"
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
    if name in draft_names():
        hint = f"nobody has confirmed it yet: `trueup connector show {name} --file > {name}.yaml`, and connector: rest with that file"
    raise UsageError(message, hint=hint)
