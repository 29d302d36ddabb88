"""JSON Pointers (RFC 6901): where a value stands in a body. `""` is the whole."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from trueup.connectors.jsonl_text import ABSENT, look_up

__all__ = ["ABSENT", "Path", "at", "last_name", "parse", "place", "text_of"]

Path = tuple[str, ...]


@lru_cache(maxsize=4096)
def parse(pointer: str) -> Path:
    """The names that lead along a pointer. Raises ValueError for a text that is none."""
    if not pointer:
        return ()
    if not pointer.startswith("/"):
        raise ValueError(f"`{pointer}` is no JSON Pointer: it begins with /")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/"))


def text_of(path: Path) -> str:
    """The pointer that leads along these names."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)


def last_name(path: Path) -> str:
    """The last name of a path; empty for the whole."""
    return path[-1] if path else ""


def at(value: Any, path: Path) -> Any:
    """What stands there; ABSENT where nothing does."""
    return look_up(value, path)


def place(body: dict[str, Any], path: Path, value: Any) -> None:
    """Put a value into nested objects, making those that are missing. Raises ValueError where something else is in the way.

    An item of a list that is there already is named by its number.
    """
    inside: Any = body
    for part in path[:-1]:
        following = inside.setdefault(part, {}) if isinstance(inside, dict) else inside[_number(inside, part, path)]
        if not isinstance(following, dict | list):
            raise ValueError(  # noqa: TRY004 - the value of a body, not an argument of another type
                f"there is no object at {text_of(path[:-1])}"
            )
        inside = following
    if isinstance(inside, dict):
        inside[path[-1]] = value
    else:
        inside[_number(inside, path[-1], path)] = value


def _number(items: list[Any], part: str, path: Path) -> int:
    if not part.isdecimal() or int(part) >= len(items):
        raise ValueError(f"there is no item {part} on the way to {text_of(path)}")
    return int(part)
