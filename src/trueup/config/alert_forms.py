"""What a threshold of an alert may look like: a duration, a share, a number or a size; None for `off`."""

from __future__ import annotations

import re
from typing import Any

from trueup.config import forms

_OFF = {"off", "no", "false"}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(MB|GB|TB)", re.IGNORECASE)
_UNITS = {"MB": 1e6, "GB": 1e9, "TB": 1e12}
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")


def _is_off(value: Any) -> bool:
    return value is False or (isinstance(value, str) and value.strip().lower() in _OFF)


def duration(value: Any) -> float | None:
    """Seconds, or None for `off`."""
    return None if _is_off(value) else forms.duration_s(value)


def count(value: Any) -> float | None:
    """A number above nothing, or None for `off`."""
    if _is_off(value):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise forms.wrong("this is no number above nothing", "write a number such as 10, or off")
    return float(value)


def size(value: Any) -> float | None:
    """Bytes of `500MB`, `2GB`; None for `off`."""
    if _is_off(value):
        return None
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or float(match[1]) == 0:
        raise forms.wrong("this is no size", "write a size such as 500MB or 2GB, or off")
    return float(match[1]) * _UNITS[match[2].upper()]


def switch(value: Any) -> float | None:
    """1 for `on`, None for `off`."""
    if _is_off(value):
        return None
    if value is True or (isinstance(value, str) and value.strip().lower() in {"on", "yes", "true"}):
        return 1.0
    raise forms.wrong("this is neither on nor off", "write on or off")


def addresses(value: Any) -> tuple[str, ...]:
    """One address of a channel or several, as apprise knows them. Raises without showing them: they hold passwords."""
    listed = value if isinstance(value, list) else [value]
    if not listed or not all(isinstance(item, str) and _ADDRESS.fullmatch(item.strip()) for item in listed):
        raise forms.wrong("this is no address of a channel", "write one such as mailtos://user:password@example.com, slack://… or json://…")
    return tuple(item.strip() for item in listed)
