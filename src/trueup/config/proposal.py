"""A change of the configuration that is proposed and not made: the file as it would be, beside the one that counts, and the difference."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import ruamel.yaml
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from trueup.config.load import load_config
from trueup.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

GIVES_WAY = {"source_of_truth", "conflict"}
"""What says who wins, and so gives way to somebody who always does."""
BY_HAND = "change it by hand"


@dataclass(frozen=True, slots=True)
class Change:
    """What is proposed: `file` holds all of it, `diff` are the lines that differ."""

    file: str
    diff: tuple[str, ...]


def owned_by(file: str, entity: str, field: str, system: str) -> Change:
    """Propose that a system be the source of truth of a field; everything else stays as it is written, comments too.

    Raises UsageError where the file is written in a way in which that cannot be done, or where the result would not be right.
    """
    path = Path(file)
    before = path.read_text(encoding="utf-8")
    after = _with_owner(before, entity, field, system)
    into = path.with_name(f"{path.stem}.proposed{path.suffix}")
    try:
        into.write_text(after, encoding="utf-8")
        load_config(into)
    except OSError as error:
        raise UsageError(f"{into} cannot be written: {error.strerror or error}", hint=BY_HAND) from error
    except ConfigError as error:
        into.unlink()
        raise UsageError(f"the configuration would not be right: {error}", hint=BY_HAND) from error
    changed = difflib.unified_diff(before.splitlines(), after.splitlines(), path.name, into.name, lineterm="", n=2)
    return Change(str(into), tuple(changed))


def _with_owner(text: str, entity: str, field: str, system: str) -> str:
    """The text with one field changed."""
    return with_setting(text, ("entities", entity, "fields", field), "source_of_truth", scalar(system))


def with_rule(text: str, entity: str, field: str, rule: str) -> str:
    """The text with the rule of a field, as YAML has it, in place of whatever said who wins. Raises UsageError as `with_setting`."""
    return with_setting(text, ("entities", entity, "fields", field), "conflict", rule)


def with_direction(text: str, entity: str, system: str, direction: str) -> str:
    """The text with the direction of a mapping. Raises UsageError as `with_setting`."""
    return with_setting(text, ("entities", entity, "mappings", system), "direction", direction)


def with_setting(text: str, path: Sequence[str], name: str, value: str) -> str:
    """The text with `name: value` at a place, all else as it is written.

    Raises UsageError where that place is not written, or counts for several.
    """
    found: Node | None = ruamel.yaml.YAML().compose(text)
    said = ".".join(path[1:])
    for part in path:
        found = _value(found, part)
        if found is None:
            break
    if found is None:
        raise UsageError(f"{said} is not written where it was looked for", hint=BY_HAND)
    start, end = found.start_mark.index, found.end_mark.index
    if found.anchor is not None:
        raise UsageError(f"{said} is written once for several places", hint=BY_HAND)
    gives_way = GIVES_WAY if name in GIVES_WAY else {name}
    new = f"{name}: {value}"
    if isinstance(found, ScalarNode):
        kept = f"type: {text[start:end]}, " if text[start:end].strip() else ""
        return f"{text[:start]}{{{kept}{new}}}{text[end:]}"
    assert isinstance(found, MappingNode)
    pairs = [(key, item) for key, item in found.value if key.value not in gives_way]
    if found.flow_style:
        parts = [text[key.start_mark.index : item.end_mark.index].rstrip() for key, item in pairs]
        return f"{text[:start]}{{{', '.join([*parts, new])}}}{text[end:]}"
    lines = text.splitlines(keepends=True)
    going = {number for key, item in found.value if key.value in gives_way for number in _lines(key, item)}
    at = found.start_mark.line
    first = f"{' ' * found.start_mark.column}{new}\n"
    return "".join([*lines[:at], first, *(line for number, line in enumerate(lines[at:], at) if number not in going)])


def _lines(key: Node, value: Node) -> range:
    """The lines on which a pair in block style stands."""
    last = value.end_mark.line if value.end_mark.column else value.end_mark.line - 1
    return range(key.start_mark.line, max(last, key.start_mark.line) + 1)


def _value(found: Node | None, name: str) -> Node | None:
    """What a mapping says under a name."""
    if not isinstance(found, MappingNode):
        return None
    return next((value for key, value in found.value if key.value == name), None)


def scalar(name: str) -> str:
    """A name as YAML reads it back."""
    plain = name.replace("-", "").replace("_", "")
    return name if plain.isalnum() and plain.isascii() and not plain.isdigit() else "'" + name.replace("'", "''") + "'"
