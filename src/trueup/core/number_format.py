"""Numbers by example: `1,234.56` says how a system writes numbers, both ways.

An example shows the number 1234 with or without a mark between the thousands, decimal places with their mark, and anything around it:
`1,234.56`, `1.234,56`, `1 234,56 kr`, `£1,234`, `1'234.50`. Reading is strict about the marks (so `1,50` is never taken for 150) and
lenient about what stands around the number and about missing thousands marks. Writing shows at least the places of the example, and all
that the value has.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import polars as pl

_EXAMPLE = re.compile(r"(?P<prefix>[^\d%-]*)1(?P<group>[^\d]?)234(?:(?P<point>[.,])(?P<places>\d+))?(?P<suffix>[^\d]*)")
_SPACES = "\u00a0\u202f\u2009 "


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """How numbers are written: marks are single characters, `group` is empty where thousands have none."""

    prefix: str
    group: str
    point: str
    places: int
    suffix: str

    def pattern(self) -> str:
        """What a readable number looks like, once spaces are plain and prefix, suffix and sign are gone."""
        grouped = rf"\d{{1,3}}(?:{re.escape(self.group)}\d{{3}})+|" if self.group else ""
        return rf"^(?:{grouped}\d+)(?:{re.escape(self.point)}\d+)?$"

    def plain(self, text: pl.Expr) -> pl.Expr:
        """Plain decimal text (`-1234.56`) of formatted numbers; null where the text is not written this way."""
        body = _plain_spaces(text).str.strip_chars()
        if self.suffix.strip():  # first, for a suffix may hold a dash: 1234,-
            body = body.str.strip_suffix(_spaces(self.suffix).strip()).str.strip_chars()
        body = body.str.replace(r"^\((.*)\)$", "-${1}").str.replace("\u2212", "-", literal=True)
        negative = body.str.contains("-", literal=True)
        body = body.str.strip_chars("-+ ")
        if self.prefix.strip():
            body = body.str.strip_prefix(_spaces(self.prefix).strip()).str.strip_chars("-+ ")
        digits = body.str.replace_all(_spaces(self.group), "", literal=True) if self.group else body
        if self.point != ".":
            digits = digits.str.replace(self.point, ".", literal=True)
        signed = pl.when(negative).then(pl.lit("-") + digits).otherwise(digits)
        return pl.when(body.str.contains(_spaces(self.pattern()))).then(signed).otherwise(None)

    def written(self, plain: str) -> str:
        """A plain decimal text in this format."""
        sign, number = ("-", plain[1:]) if plain.startswith("-") else ("", plain)
        whole, _, fraction = number.partition(".")
        if self.group:
            head = len(whole) % 3 or 3
            whole = self.group.join([whole[:head], *(whole[at : at + 3] for at in range(head, len(whole), 3))])
        fraction = fraction.ljust(self.places, "0")
        return f"{sign}{self.prefix}{whole}{self.point + fraction if fraction else ''}{self.suffix}"


@lru_cache(maxsize=256)
def number_format(example: str) -> NumberFormat:
    """Read an example. Raises ValueError with a reason for people."""
    found = _EXAMPLE.fullmatch(example)
    point = (found["point"] or ("," if found["group"] == "." else ".")) if found else "."
    if found is None or found["group"] == point:
        message = f"cannot read the number format {example!r}: write the number 1234 the way the system does, such as 1,234.56 or 1.234,56"
        raise ValueError(message)
    return NumberFormat(found["prefix"], found["group"], point, len(found["places"] or ""), found["suffix"])


def _spaces(text: str) -> str:
    return re.sub(f"[{_SPACES}]", " ", text)


def _plain_spaces(text: pl.Expr) -> pl.Expr:
    return text.str.replace_all(f"[{_SPACES}]", " ")
