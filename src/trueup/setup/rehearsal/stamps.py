"""How a system writes down when a row was modified: found out from the rows that are there."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from trueup.model import ColumnType

_MOMENT = re.compile(r"\d{4}-\d\d-\d\d(?P<gap>[T ])\d\d:\d\d(?P<seconds>:\d\d)?(?P<finer>\.\d+)?(?P<zone>Z|[+-]00:?00)?")
_MILLISECONDS = 10**11
"""A number of seconds is smaller for thousands of years."""


def stamps_like(kind: ColumnType, zone: str | None, sample: Any) -> Callable[[datetime], Any] | None:
    """What a column of this type keeps of a moment, written as in a `sample` of it. None: that cannot be said, and nothing is kept."""
    local = ZoneInfo(zone) if zone else UTC
    match kind:
        case "datetime":
            return lambda moment: moment
        case "timestamp":
            return lambda moment: moment.astimezone(local).replace(tzinfo=None)
        case "date":
            return lambda moment: moment.astimezone(local).date()
        case "integer" if isinstance(sample, int):
            factor = 1000 if sample > _MILLISECONDS else 1
            return lambda moment: int(moment.timestamp() * factor)
        case "text" if isinstance(sample, str):
            found = _MOMENT.fullmatch(sample.strip())
            return None if found is None else lambda moment: _written(moment, found, local)
        case _:
            return None


def _written(moment: datetime, like: re.Match[str], local: ZoneInfo | Any) -> str:
    shown = moment.astimezone(UTC if like["zone"] else local)
    text = shown.strftime(f"%Y-%m-%d{like['gap']}%H:%M")
    if like["seconds"]:
        text += shown.strftime(":%S")
    if like["finer"]:
        text += shown.strftime(".%f")[: len(like["finer"])]
    return text + (like["zone"] or "")
