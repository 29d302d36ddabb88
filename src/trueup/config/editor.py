"""The JSON Schema that `trueup schema` prints: the configuration's own settings, and those of each connector beside its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trueup.config.schema import ConfigShape
from trueup.connectors import registry
from trueup.connectors.rest.schema import FileShape

if TYPE_CHECKING:
    from collections.abc import Mapping

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_VARIABLE = {"type": "string", "pattern": r"\$\{"}


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a configuration. Loads every connector; raises UsageError where one cannot be loaded."""
    schema = ConfigShape.model_json_schema(by_alias=True)
    system = schema["$defs"]["SystemShape"]
    known = registry.names()
    system["properties"]["connector"]["enum"] = known
    system["allOf"] = [_settings_of(name, registry.connector_class(name).settings_schema()) for name in known]
    return {"$schema": DIALECT, **schema, "title": "trueup configuration"}


def connector_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a connector file; what fits together in it only `trueup connector check` knows."""
    return {"$schema": DIALECT, **FileShape.model_json_schema(by_alias=True), "title": "trueup connector file"}


def _settings_of(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a system with this connector has; a variable may stand for any of them."""
    then: dict[str, Any] = {
        "properties": {key: {"anyOf": [part, _VARIABLE], **_help(part)} for key, part in settings.get("properties", {}).items()}
    }
    for word in ("required", "anyOf", "oneOf"):
        if word in settings:
            then[word] = settings[word]
    return {"if": {"properties": {"connector": {"const": name}}, "required": ["connector"]}, "then": then}


def _help(part: Mapping[str, Any]) -> dict[str, Any]:
    return {word: part[word] for word in ("title", "description", "examples") if word in part}
