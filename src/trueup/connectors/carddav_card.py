r"""One vCard as its lines: what is not written keeps every byte, whichever program made it.

A card is read as RFC 6350 (4.0) and RFC 2426 (3.0) say, and as 2.1 still comes along (`TEL;HOME:`). Lines are unfolded to be read; a line
that is changed is written anew, all others are given back as they came, with their folds. Groups (`item1.EMAIL`), parameters and
properties that nobody here knows stay what they are.
"""

from __future__ import annotations

import quopri
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_FOLD = re.compile(r"\r?\n[ \t]")
_LINE_END = re.compile(r"\r\n|\n|\r")
_HEAD = re.compile(r"(?:(?P<group>[A-Za-z0-9-]+)\.)?(?P<name>[A-Za-z0-9-]+)")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_FOLD_AT = 75
_TYPES = "TYPE"


class CardError(ValueError):
    """This is no vCard, or not one card; or a text that no vCard can hold."""


@dataclass(frozen=True, slots=True)
class Line:
    """One property. `raw` is the line as it came, with folds; empty for one made here. `params` are in order, a name may come twice."""

    name: str
    value: str
    group: str = ""
    params: tuple[tuple[str, str], ...] = ()
    raw: str = ""

    @property
    def types(self) -> frozenset[str]:
        """What its TYPE parameters say, in lower case: `TYPE=home,pref`, `TYPE=home;TYPE=pref` and `HOME;PREF` are one."""
        told = [part for name, value in self.params if name == _TYPES for part in value.split(",")]
        return frozenset(part.strip().lower() for part in told if part.strip())

    @property
    def rank(self) -> int:
        """How much it is preferred: 1 the most (`PREF=1`, `TYPE=pref`), 101 where nothing is said."""
        for name, value in self.params:
            if name == "PREF" and value.isdigit():
                return int(value)
        return 1 if "pref" in self.types else 101

    @property
    def text(self) -> str:
        """The value as text."""
        return unescaped(self._plain())

    def fields(self) -> list[str]:
        """The parts of a structured value (N, ADR, ORG)."""
        return [unescaped(part) for part in split(self._plain(), ";")]

    def items(self) -> list[str]:
        """The items of a value that is a list (CATEGORIES, NICKNAME)."""
        return [unescaped(part) for part in split(self._plain(), ",")]

    def _plain(self) -> str:
        """The value of a 2.1 line is in quoted-printable where it has other characters than ASCII."""
        told = {name: value.upper() for name, value in self.params}
        if told.get("ENCODING") != "QUOTED-PRINTABLE" and "quoted-printable" not in self.types:
            return self.value
        raw = quopri.decodestring(self.value.encode("ascii", "ignore"))
        try:
            text = raw.decode(told.get("CHARSET", "utf-8"))
        except (LookupError, UnicodeDecodeError):
            text = raw.decode("latin-1")
        return text.replace("\r\n", "\n").replace("\n", "\\n")

    def with_value(self, value: str) -> Line:
        """The same property with another (escaped) value. What says how the old one was encoded goes."""
        kept = tuple((name, said) for name, said in self.params if name not in {"ENCODING", "CHARSET"})
        return replace(self, value=value, params=kept, raw="")

    def written(self) -> str:
        """The line as it is put into a card, folded, without its end."""
        if self.raw:
            return self.raw
        head = f"{self.group}.{self.name}" if self.group else self.name
        return folded("".join([head, *(f";{name}={_parameter(value)}" for name, value in self.params)]) + ":" + self.value)


@dataclass(frozen=True, slots=True)
class Card:
    """One card. `lines` are those between BEGIN and END, in order."""

    lines: tuple[Line, ...]
    end: str = "\r\n"

    @property
    def version(self) -> str:
        """`3.0`, `4.0`, `2.1`; 3.0 where the card does not say."""
        return next((line.value.strip() for line in self.lines if line.name == "VERSION"), "3.0")

    def named(self, name: str) -> list[Line]:
        """The lines of a property."""
        return [line for line in self.lines if line.name == name]

    def with_lines(self, old: Sequence[Line], new: Sequence[Line]) -> Card:
        """The card with these lines in the place of those; the new ones stand where the first old one stood, else last."""
        gone = {id(line) for line in old}
        lines: list[Line] = []
        put = False
        for line in self.lines:
            if id(line) not in gone:
                lines.append(line)
            elif not put:
                lines.extend(new)
                put = True
        if not put:
            lines.extend(new)
        groups = {line.group for line in old if line.group} - {line.group for line in lines if line.group and line.name != "X-ABLABEL"}
        kept = tuple(line for line in lines if not (line.group in groups and line.name == "X-ABLABEL"))
        return replace(self, lines=kept)

    def written(self) -> str:
        """The card's text."""
        return "".join(line + self.end for line in ("BEGIN:VCARD", *(line.written() for line in self.lines), "END:VCARD"))


def parsed(text: str) -> Card:
    """One card. Raises CardError for what is none, or more than one."""
    text = text.removeprefix("\ufeff")
    end = "\n" if "\r\n" not in text and "\n" in text else "\r\n"
    lines = [_line(raw) for raw in _logical(text)]
    marks = [(line.name, line.value.strip().upper()) for line in lines]
    begins, ends = marks.count(("BEGIN", "VCARD")), marks.count(("END", "VCARD"))
    if begins != 1 or ends != 1 or marks[0] != ("BEGIN", "VCARD") or marks[-1] != ("END", "VCARD"):
        raise CardError("it is not one vCard" if begins or ends else "it is no vCard")
    return Card(tuple(lines[1:-1]), end)


def _logical(text: str) -> Iterable[str]:
    """Lines with their folds, without their ends; empty ones are left out. A soft line end of quoted-printable joins two lines as well."""
    found: list[str] = []
    for raw in _LINE_END.split(text):
        if raw[:1] in {" ", "\t"} and found:
            found[-1] += "\r\n" + raw
        elif found and found[-1].endswith("=") and "QUOTED-PRINTABLE" in found[-1].partition(":")[0].upper():
            found[-1] = found[-1][:-1] + raw
        elif raw:
            found.append(raw)
    return found


def _line(raw: str) -> Line:
    whole = _FOLD.sub("", raw)
    head, value = _cut(whole)
    parts = _split_quoted(head, ";")
    name = _HEAD.fullmatch(parts[0].strip())
    if name is None:
        return Line("", whole, raw=raw)  # nothing that can be read; kept as it is
    params: list[tuple[str, str]] = []
    for part in parts[1:]:
        said, equals, given = part.partition("=")
        if not equals:
            said, given = _TYPES, said  # 2.1
        params.append((said.strip().upper(), _unquoted(given)))
    return Line(name["name"].upper(), value, name["group"] or "", tuple(params), raw)


def _cut(whole: str) -> tuple[str, str]:
    """The head and the value: the first colon that stands in no quotes is between them."""
    quoted = False
    for place, char in enumerate(whole):
        if char == '"':
            quoted = not quoted
        elif char == ":" and not quoted:
            return whole[:place], whole[place + 1 :]
    return whole.partition(":")[0], whole.partition(":")[2]


def _split_quoted(text: str, mark: str) -> list[str]:
    parts, quoted = [""], False
    for char in text:
        if char == '"':
            quoted = not quoted
        if char == mark and not quoted:
            parts.append("")
        else:
            parts[-1] += char
    return parts


def _unquoted(given: str) -> str:
    """A parameter's value; RFC 6868 says how line ends, quotes and `^` are put."""
    plain = given.strip().replace('"', "")
    return re.sub(r"\^([n'^])", lambda found: {"n": "\n", "'": '"', "^": "^"}[found[1]], plain)


def _parameter(value: str) -> str:
    plain = value.replace("^", "^^").replace("\n", "^n").replace('"', "^'")
    return f'"{plain}"' if re.search(r"[:;]", plain) else plain


def split(value: str, mark: str) -> list[str]:
    """The parts of an escaped value, still escaped."""
    parts, place = [""], 0
    while place < len(value):
        char = value[place]
        if char == "\\" and place + 1 < len(value):
            parts[-1] += value[place : place + 2]
            place += 2
            continue
        if char == mark:
            parts.append("")
        else:
            parts[-1] += char
        place += 1
    return parts


def unescaped(value: str) -> str:
    r"""Text without escapes: `\n` is a line end, any other escaped character itself."""
    return _ESCAPED.sub(lambda found: "\n" if found[1] in "nN" else found[1], value)


def escaped(text: str) -> str:
    """Text as a value, or as a part of one. Every kind of line end becomes the one that cards have. Raises CardError."""
    if _FORBIDDEN.search(text):
        raise CardError("a vCard cannot hold control characters")
    plain = text.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")
    return _LINE_END.sub("\\\\n", plain)


def folded(line: str) -> str:
    """A line in pieces of at most 75 bytes, none of which ends within a character or an escape."""
    if len(line.encode()) <= _FOLD_AT:
        return line
    pieces, size = [""], 0
    for char in line:
        width = len(char.encode())
        if size + width > _FOLD_AT - (1 if pieces[-1].endswith("\\") else 0) and not pieces[-1].endswith("\\"):
            pieces.append("")
            size = 1
        pieces[-1] += char
        size += width
    return "\r\n ".join(pieces)
