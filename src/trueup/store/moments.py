"""Points in time as the tables hold them: whole microseconds since 1970-01-01T00:00Z."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(moment: datetime) -> int:
    """Microseconds since the epoch. Raises ValueError for a naive time, whose meaning would depend on this machine."""
    if moment.tzinfo is None:
        message = f"a time without a zone cannot be stored: {moment}"
        raise ValueError(message)
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The aware UTC time of a number of microseconds since the epoch."""
    return _EPOCH + micros * _MICROSECOND
