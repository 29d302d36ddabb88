"""Lines chained by hashes: what makes one, and where a chain is broken.

A line is a JSON object with `number` (1, 2, 3 …), `previous` (the hash of the line before; zeros for the first) and whatever it tells. Its
hash is the SHA-256 of its canonical text: keys sorted, no spaces, UTF-8, only texts, whole numbers, truth values, null, lists and objects.
So a line cannot be changed, taken out or put in without every hash after it being another one, up to the head: the hash of the last.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NOTHING = "0" * 64
"""What the first line names as the hash of the line before it."""

_HEAD = re.compile(r"(?:([0-9]{1,18}):)?([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain. `number` is None where only the hash is known; 0 and zeros for a chain without lines."""

    number: int | None = 0
    hash: str = NOTHING

    def __str__(self) -> str:
        return self.hash if self.number is None else f"{self.number}:{self.hash}"


@dataclass(frozen=True, slots=True)
class Flaw:
    """The first thing that is wrong with a chain: at which line, and what it is."""

    number: int
    what: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a chain was found to be: its end, and the first flaw (None: none)."""

    head: Head
    flaw: Flaw | None = None


def read_head(text: str) -> Head | None:
    """A head as `str(Head)` writes it, or a bare hash; None for anything else."""
    found = _HEAD.fullmatch(text.strip().lower())
    return None if found is None else Head(None if found[1] is None else int(found[1]), found[2])


def canonical(line: Mapping[str, Any]) -> str:
    """The one text of a line. Raises ValueError for a value that has none, as text that is not Unicode."""
    text = json.dumps(line, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_refuse)
    text.encode("utf-8")
    return text


def _refuse(value: object) -> str:
    raise ValueError(f"{type(value).__name__} has no canonical text")


def hash_of(text: str) -> str:
    """The hash of a line's canonical text, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def chained(line: Mapping[str, Any], after: Head) -> tuple[str, Head]:
    """A line put behind the end of a chain: its canonical text, and the new end."""
    number = (after.number or 0) + 1
    text = canonical({**line, "number": number, "previous": after.hash})
    return text, Head(number, hash_of(text))


def examine(lines: Iterable[tuple[str, str]], head: Head | None = None) -> Verdict:
    """Walk a chain of (canonical text, hash) from its first line. `head` is an end that was noted before, or elsewhere.

    A head that was noted earlier is right where the chain still has it; lines after it are not its business.
    """
    end = Head()
    met = head is None or head.hash == NOTHING
    flaw: Flaw | None = None
    for text, kept in lines:
        flaw = _flaw(text, kept, end)
        if flaw is not None:
            return Verdict(end, flaw)
        end = Head((end.number or 0) + 1, kept)
        if head is not None and end.number == head.number and kept != head.hash:
            return Verdict(end, Flaw(end.number or 0, _rewritten(head)))
        met = met or (head is not None and kept == head.hash and head.number in (None, end.number))
    if met or head is None:
        return Verdict(end)
    return Verdict(end, Flaw((end.number or 0) + 1, _cut_off(end, head)))


def _flaw(text: str, kept: str, end: Head) -> Flaw | None:
    """What is wrong with the line that stands behind `end`."""
    expected = (end.number or 0) + 1
    try:
        line = json.loads(text)
        number, previous = line["number"], line["previous"]
    except (ValueError, KeyError, TypeError):
        return Flaw(expected, f"line {expected} was changed: it cannot be read")
    if hash_of(text) != kept:
        return Flaw(expected, f"line {expected} was changed: its hash is not that of its content")
    if number == expected and previous == end.hash:
        return None
    if isinstance(number, int) and number > expected:
        gone = f"line {expected} is" if number == expected + 1 else f"lines {expected} to {number - 1} are"
        return Flaw(expected, f"{gone} missing: removed, or cut out")
    if number != expected:
        return Flaw(expected, f"a line that says to be number {number} was put in where line {expected} should stand")
    if expected == 1:
        return Flaw(1, "line 1 is not the first of its chain: lines before it were removed")
    return Flaw(
        expected - 1,
        f"line {expected - 1} was changed, or put in another's place, and its hash made anew: line {expected} follows another one",
    )


def _rewritten(head: Head) -> str:
    return f"line {head.number} is not the one that had this hash: it, or a line before it, was changed and all hashes after it made anew"


def _cut_off(end: Head, head: Head) -> str:
    if head.number is None:
        return f"no line has this hash: the end was cut off (line {end.number} is the last now), or the chain was made anew"
    gone = f"line {head.number} is" if head.number == (end.number or 0) + 1 else f"lines {(end.number or 0) + 1} to {head.number} are"
    return f"{gone} missing: the end was cut off"
