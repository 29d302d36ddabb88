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
    " nothing is deleted for it."
)


def configuration_text(changes: Sequence[Mapping[str, Any]], style: Style = PLAIN) -> str:
    """A line per changed part; the empty text where nothing changed."""
    if not changes:
        return ""
    rows = [
        [item["entity"], item["system"], item["field"] or "", item["part"], _value(item["before"]), _value(item["now"])] for item in changes
    ]
    return f"{style.paint(TITLE, 'warn')}\n{table(['entity', 'system', 'field', 'setting', 'before', 'now'], rows, style, indent='  ')}"


def _value(value: Any) -> str:
    if value is None or value in ([], {}):
        return "–"
    return clip(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), VALUE_CELLS)
