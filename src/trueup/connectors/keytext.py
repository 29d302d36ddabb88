"""The text of keys of several columns, apart from `base` so that who only receives webhooks need not load Polars."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def join_key(parts: Sequence[str]) -> str:
    """Key text of several key columns; a single part stands as it is."""
    if len(parts) == 1:
        return parts[0]
    return "|".join(part.replace("\\", "\\\\").replace("|", "\\|") for part in parts)


def split_key(key: str, width: int) -> tuple[str, ...]:
    """The parts of a key text of `width` columns. Raises ValueError when it has another number of parts."""
    if width == 1:
        return (key,)
    parts, current, escaped = [], [], False
    for char in key:
        if escaped:
            current.append(char)
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == "|":
            parts.append("".join(current))
            current = []
        else:
            current.append(char)
    parts.append("".join(current))
    if len(parts) != width:
        message = f"key {key!r} has {len(parts)} parts, expected {width}"
        raise ValueError(message)
    return tuple(parts)
