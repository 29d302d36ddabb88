"""The arguments of a command as the audit trail may keep them: without anything that may be a secret, or about a person."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trueup.model import Config

HIDDEN = "…"
_UNTOLD = {"config", "as_json"}
"""What says nothing about the work: the configuration has a line of its own."""


def harmless(given: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """Names that the configuration knows, numbers, switches and files as they are; of any other text only that it was given."""
    fields = {name for entity in config.entities.values() for name in entity.fields}
    names = {*config.entities, *config.systems, *fields}
    kept = {name: _harmless(value, names, config) for name, value in given.items() if name not in _UNTOLD}
    if isinstance(given.get("statement"), str):
        kept["statement"] = without_values(given["statement"])
    return {name: value for name, value in kept.items() if value not in (None, False, [])}


_SQL = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))|(?P<quoted>\$(\w*)\$.*?(?:\$\3\$|\Z)|'(?:[^']|'')*(?:'|\Z)|"(?:[^"]|"")*(?:"|\Z)"""
    r"""|`[^`]*(?:`|\Z)|\[[^\]]*(?:\]|\Z))|(?P<word>[^\W\d]\w*)|(?P<number>\d[\w.]*)|(?P<gap>\s+)|(?P<sign>.)""",
    re.DOTALL,
)


def without_values(statement: str) -> str:
    """A SQL statement with ? for everything that may be a value: whatever is quoted, in whichever way, and numbers. Comments go.

    With a backslash in it, databases disagree about where a quotation ends: nothing of such a statement is kept.
    """
    if "\\" in statement:
        return HIDDEN
    kept = {"comment": " ", "quoted": "?", "number": "?", "gap": " "}
    return "".join(kept.get(part.lastgroup or "", part.group()) for part in _SQL.finditer(statement)).strip()


def _harmless(value: Any, names: set[str], config: Config) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Path):
        return str(value).encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list | tuple):
        return [_harmless(item, names, config) for item in value]
    text = str(value)
    if text in names:
        return text
    system, colon, _key = text.partition(":")
    return f"{system}:{HIDDEN}" if colon and system in config.systems else HIDDEN
