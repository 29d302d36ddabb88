"""What the configuration says otherwise than before, in words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from trueup.reports.table import PLAIN, clip, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trueup.reports.table import Style

VALUE_CELLS = 50
TITLE = (
    "The configuration changed since these systems were last read whole. What is read otherwise counts as nobody's edit;"
    " nothing is overruled or deleted for it."
)


def configuration_text(changes: Sequence[Mapping[str, Any]], style: Style = PLAIN) -> str:
    """A line per changed part; the empty text where nothing changed."""
    if not changes:
        return ""
    rows = [
        [
            item["entity"],
            item["system"] or "",
            item["field"] or "",
            item["part"],
            _value(item["before"]),
            _value(item["now"]),
            item["means"],
        ]
        for item in changes
    ]
    head = ["entity", "system", "field", "setting", "before", "now", ""]
    hints = "".join(f"\n{style.paint('!', 'warn')} {line}" for line in renames_perhaps(changes))
    return f"{style.paint(TITLE, 'warn')}\n{table(head, rows, style, indent='  ', open_end=True)}{hints}"


def meaning(item: Mapping[str, Any]) -> str:
    """What one difference does to the data."""
    part, there = item["part"], item["now"] is not None
    if part == "field":
        return "met for the first time" if there else "neither compared nor written any more; its values stay everywhere"
    if part == "mapping":
        return "met for the first time: matched, then completed" if there else "neither read nor written any more; its rows and links stay"
    return _MEANS.get(part, "read otherwise: nobody's edit, and nothing is written for it")


def renames_perhaps(changes: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each field that went while another came, and for each that has another name and another column at once."""
    said: dict[str, None] = {}
    went: dict[str, list[str]] = {}
    came: dict[str, list[str]] = {}
    for item in changes:
        if item["part"] == "field":
            known = (came if item["now"] is not None else went).setdefault(item["entity"], [])
            known += [] if item["field"] in known else [item["field"]]
    for entity, names in came.items():
        if len(names) == len(went.get(entity, ())) == 1:
            said[_NEW.format(entity=entity, old=went[entity][0], name=names[0])] = None
    renamed = {(item["entity"], item["system"], item["field"]): item["before"] for item in changes if item["part"] == "was"}
    for item in changes:
        old = renamed.get((item["entity"], item["system"], item["field"]))
        if old is not None and item["part"] in {"column", "read"}:
            said[_OTHER_COLUMN.format(entity=item["entity"], old=old, name=item["field"], system=item["system"])] = None
    return list(said)


_NEW = "{entity}: {old} is gone and {name} is new, which starts empty. If it is the same under another name, say `was: {old}`"
_OTHER_COLUMN = (
    "{entity}: {name} is {old} under another name (`was:`), and is read from another column of {system} as well: what stands there replaces"
    " the agreed values as if nobody had edited them. If it is something else, it is a new field: take `was:` away"
)
_DECIDES = "decides about edits from now on; no value moves for it"
_MOVED = "met again: rows are found by key or `match`; nothing that lacks there is taken for deleted"
_WRITES = "values are written otherwise from now on; what is there stays"
_MEANS = {
    "was": "another name: values, links and history stay",
    "source_of_truth": _DECIDES,
    "conflict": _DECIDES,
    "hold_if": _DECIDES,
    "precedence": _DECIDES,
    "match": "decides about new rows from now on; links stay",
    "deletes": "decides about deletes from now on; rows that vanished before stay as they were left",
    "guard": "decides what is held from now on",
    "entity": "neither read nor written any more; its records stay in the state",
    "where": "rows outside of it are kept, linked, and left alone",
    "set": "constants of rows made from now on",
    "direction": "what a system shows is not overwritten because it may be written now",
    "write": _WRITES,
    "lossy": _WRITES,
    "assign": "keys of rows made from now on",
    "modified": "dates edits from now on; everything is read once more",
    "key": _MOVED,
    "name": _MOVED,
    "sql": _MOVED,
    **dict.fromkeys(("path", "url", "host", "database", "schema", "file"), _MOVED),
    **dict.fromkeys(("required", "pattern", "min", "max", "one_of"), "values that do not fit are told and not taken; what is there stays"),
    "write_back": "cleaned values are written back where they came from",
}


def _value(value: Any) -> str:
    if value is None or value in ([], {}):
        return "–"
    return clip(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), VALUE_CELLS)
