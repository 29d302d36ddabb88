"""Applications that trueup knows: their connector files come with it, and `connector: NAME` takes one."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from trueup.connectors.presets import DRAFTS, PRESETS
from trueup.connectors.rest.connector import RestConnector, caps_of
from trueup.connectors.rest.file import names_of, read_file

if TYPE_CHECKING:
    from pathlib import Path

    from trueup.connectors.rest.schema import FileShape


class PresetConnector(RestConnector):
    """An application that comes with trueup: its settings are what its connector file needs."""

    @classmethod
    def settings_schema(cls) -> dict[str, Any]:
        """See base.Connector."""
        assert cls.shipped is not None
        file = read_file(cls.shipped)
        schema = super().settings_schema()
        properties = {name: shape for name, shape in schema["properties"].items() if name != "file"}
        for kind in ("secrets", "values"):
            names = names_of(file, kind)
            if not names:
                del properties[kind]
                continue
            described = {name: {"type": "string", "description": file.settings.get(name, f"`{name}`")} for name in names}
            properties[kind] = {**properties[kind], "properties": described, "additionalProperties": False}
        return {**schema, "title": file.title or file.connector, "properties": properties, "required": []}


@functools.cache
def preset_class(name: str) -> type[PresetConnector]:
    """The connector of a shipped preset, which must be there."""
    path = PRESETS / f"{name}.yaml"
    made = type(f"{name.title().replace('-', '')}Connector", (PresetConnector,), {"shipped": path, "caps": caps_of(read_file(path))})
    made.__doc__ = f"{read_file(path).title or name}, by its preset."
    return made


def preset_file(name: str) -> tuple[Path, FileShape]:
    """A preset or a draft by name: where it stands, and what it says. Raises KeyError where there is none."""
    for folder in (PRESETS, DRAFTS):
        path = folder / f"{name}.yaml"
        if path.name in {found.name for found in folder.glob("*.yaml")}:
            return path, read_file(path)
    raise KeyError(name)
