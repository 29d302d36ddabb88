"""A change of the configuration that is proposed and not made: the file as it would be, beside the one that counts, and the difference."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

import ruamel.yaml
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from trueup.config.load import load_config
from trueup.errors import ConfigError, UsageError

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
    found: Node | None = ruamel.yaml.YAML().compose(text)
    for name in ("entities", entity, "fields", field):
        found = _value(found, name)
        if found is None:
            break
    if found is None:
        raise UsageError(f"{entity}.{field} is not written where it was looked for", hint=BY_HAND)
    start, end = found.start_mark.index, found.end_mark.index
    if found.anchor is not None:
        raise UsageError(f"{entity}.{field} is written once for several places", hint=BY_HAND)
    owner = f"source_of_truth: {_scalar(system)}"
    if isinstance(found, ScalarNode):
        return f"{text[:start]}{{type: {text[start:end]}, {owner}}}{text[end:]}"
    assert isinstance(found, MappingNode)
    pairs = [(key, value) for key, value in found.value if key.value not in GIVES_WAY]
    if found.flow_style:
        kept = [text[key.start_mark.index : value.end_mark.index].rstrip() for key, value in pairs]
        return f"{text[:start]}{{{', '.join([*kept, owner])}}}{text[end:]}"
    lines = text.splitlines(keepends=True)
    going = {number for key, value in found.value if key.value in GIVES_WAY for number in _lines(key, value)}
    at = found.start_mark.line
    indent = " " * found.start_mark.column
    new = [f"{indent}{owner}\n"]
    return "".join([*lines[:at], *new, *(line for number, line in enumerate(lines[at:], at) if number not in going)])


def _lines(key: Node, value: Node) -> range:
    """The lines on which a pair in block style stands."""
    last = value.end_mark.line if value.end_mark.column else value.end_mark.line - 1
    return range(key.start_mark.line, max(last, key.start_mark.line) + 1)


def _value(found: Node | None, name: str) -> Node | None:
    """What a mapping says under a name."""
    if not isinstance(found, MappingNode):
        return None
    return next((value for key, value in found.value if key.value == name), None)


def _scalar(name: str) -> str:
    """A name as YAML reads it back."""
    plain = name.replace("-", "").replace("_", "")
    return name if plain.isalnum() and plain.isascii() and not plain.isdigit() else "'" + name.replace("'", "''") + "'"
