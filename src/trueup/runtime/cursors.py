"""Cursors of incremental reads: inclusive, and stepped back by an overlap for rows that were committed late.

A cursor is the text of the highest `modified` value seen: a moment in ISO form, or a number (a row version).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

OVERLAP_S = 120.0


def step_back(cursor: str, overlap_s: float = OVERLAP_S) -> str:
    """The cursor to read from. A moment is moved back; a number stands (row versions are not committed out of order by much)."""
    try:
        moment = datetime.fromisoformat(cursor)
    except ValueError:
        return cursor
    earliest = datetime.min.replace(tzinfo=moment.tzinfo)
    if moment - earliest < timedelta(seconds=overlap_s):
        return cursor
    return (moment - timedelta(seconds=overlap_s)).isoformat(sep="T")


def not_ahead(cursor: str, now: datetime, zone: str) -> str:
    """The cursor, but no later than `now`: what a clock that runs ahead has dated must not hide what is dated rightly afterwards.

    A moment without an offset is read in `zone`; a number stands.
    """
    try:
        moment = datetime.fromisoformat(cursor)
    except ValueError:
        return cursor
    limit = now if moment.tzinfo is not None else now.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    return cursor if moment <= limit else limit.isoformat(sep="T")
