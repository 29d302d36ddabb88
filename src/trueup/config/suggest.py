"""Which known name was probably meant."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SHOWN = 20
MAX_NAME = 80  # longer texts are no misspelled names, and comparing them takes long


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, upper and lower case alike; None where none is near."""
    names = {candidate.casefold(): candidate for candidate in sorted(known, reverse=True)}
    if len(name) > MAX_NAME:
        return None
    found = get_close_matches(name.casefold(), list(names), n=1, cutoff=0.6)
    return names[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str], *, lead: str = ": ") -> str:
    """`: did you mean `email`?`, or nothing where no known name is near."""
    found = closest(name, known)
    return f"{lead}did you mean `{found}`?" if found else ""


def listing(what: str, known: Iterable[str]) -> str:
    """`fields: name, email` in the given order, cut after `SHOWN`; `there are no fields` where there are none."""
    names = list(known)
    if not names:
        return f"there are no {what}"
    shown = ", ".join(names[:SHOWN])
    return f"{what}: {shown}" + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
