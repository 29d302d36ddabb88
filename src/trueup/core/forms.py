"""What values look like: of which kind each text is, how it is written, and what is untidy about it. On whole columns of distinct texts.

A column is looked at as its distinct texts with a count each (`counted`). `kinds` gives each text one word: what it is, with its notation
where there are several. `DIRT` are the ways in which a text can be untidy whatever it means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import polars as pl

from trueup.core.clean import CONTROLS, INVISIBLE, UNSEEN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TEXT, COUNT = "text", "count"
SCHEMA = pl.Schema({TEXT: pl.String(), COUNT: pl.Int64()})

Family = Literal["email", "url", "iban", "phone", "uuid", "boolean", "date", "datetime", "integer", "decimal", "money", "code", "text"]

_CURRENCY = r"(?:[€£$¥₹₺₽₩₪฿]|[A-Z]{3}|kr\.?|zł|Kč|Ft|lei|Fr\.)"
_GROUPED = r"\d{1,3}(?:[.,'’ \x{a0}\x{202f}]\d{3})+(?:[.,]\d{1,4})?"
_AMOUNT = rf"(?:{_GROUPED}|\d+(?:[.,]\d{{1,4}})?)"
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of text in one notation: `family` is what it is, `words` name it for people.

    The pattern is of the trimmed text; where `with_digit`, it has a digit as well.
    """

    name: str
    family: Family
    words: str
    pattern: str
    with_digit: bool = False


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("email", "email", "e-mail address", r"(?i)^[^\s@,;<>()]+@[^\s@,;<>()]+\.[a-z\x{80}-\x{10ffff}]{2,}$"),
        Kind("url", "url", "web address", r"(?i)^(?:https?://|www\.)\S+$"),
        Kind("uuid", "uuid", "UUID", r"(?i)^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$"),
        Kind("boolean", "boolean", "yes or no", r"(?i)^(?:true|false|yes|no|y|n|ja|nein|on|off)$"),
        Kind("datetime", "datetime", "date and time", r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d"),
        Kind("date-iso", "date", "date such as 2026-11-20", r"^\d{4}-\d{1,2}-\d{1,2}$"),
        Kind("date-ymd", "date", "date such as 2026/11/20", r"^\d{4}([./])\d{1,2}[./]\d{1,2}$"),
        Kind("date-dots", "date", "date such as 20.11.2026", r"^\d{1,2}\.\s?\d{1,2}\.\s?\d{4}$"),
        Kind("date-slashes", "date", "date such as 20/11/2026", r"^\d{1,2}/\d{1,2}/\d{4}$"),
        Kind("date-dashes", "date", "date such as 20-11-2026", r"^\d{1,2}-\d{1,2}-\d{4}$"),
        Kind("date-short", "date", "date with a year of two digits", r"^\d{1,2}([./-])\d{1,2}[./-]\d{2}$"),
        Kind(
            "date-words",
            "date",
            "date with the month's name",
            rf"(?i)^(?:\d{{1,2}}(?:st|nd|rd|th|\.)?[\s-]*{_MONTH},?[\s-]*\d{{4}}|{_MONTH}\s*\d{{1,2}}(?:st|nd|rd|th)?,?\s+\d{{4}})$",
        ),
        Kind("integer", "integer", "whole number", r"^[-+]?(?:0|[1-9]\d{0,17})$"),
        Kind("decimal-point", "decimal", "number with a decimal point", r"^[-+]?\d+\.\d+$"),
        Kind("decimal-comma", "decimal", "number with a decimal comma", r"^[-+]?\d+,\d+$"),
        Kind("grouped", "decimal", "number with marks between thousands", rf"^[-+(]?{_GROUPED}[-)]?$"),
        Kind("money", "money", "amount with a currency", rf"^[-+(]?(?:{_CURRENCY}\s?[-+]?{_AMOUNT}|{_AMOUNT}\s?{_CURRENCY})[-)]?$"),
        Kind("iban", "iban", "bank account number (IBAN)", r"(?i)^[a-z]{2}\d{2}(?:[ -]?[a-z0-9]{4}){2,7}[ -]?[a-z0-9]{1,4}$"),
        Kind("phone-code", "phone", "phone number with a country's code", r"^(?:\+|00)\s?[1-9][\d\s()./\x{a0}-]{6,24}$"),
        Kind("phone", "phone", "phone number", r"^(?:0|\()[\d\s()./\x{a0}-]{5,24}$"),
        Kind("code", "code", "code of letters and digits", r"^[A-Za-z0-9]+(?:[-_/.][A-Za-z0-9]+)*$", with_digit=True),
    )
}  # fmt: skip
"""In this order: a text is of the first kind that it looks like, and else plain text."""

PLACEHOLDERS = (
    "n/a", "n.a.", "na", "#n/a", "nan", "null", "nil", "none", "(none)", "<null>", "undefined", "unknown", "unbekannt", "tbd", "tba", "tbc",
    "to be confirmed", "not available", "not applicable", "no value", "k.a.", "keine angabe", "-", "--", "---", "–", "—", ".", "..", "...",
    "?", "??", "???", "x", "xx", "xxx", "test", "dummy", "1900-01-01", "01.01.1900", "01/01/1900", "1970-01-01", "9999-12-31", "31.12.9999",
    "0000-00-00", "1899-12-30", "1753-01-01", "0001-01-01",
)  # fmt: skip
"""Words and dates that stand for nothing, in small letters."""
UNSURE_PLACEHOLDERS = frozenset(
    {"na", "x", "xx", "xxx", "test", "none", "null", "nil", "unknown", "unbekannt", ".", "..", "1970-01-01", "?"}
)
"""Some of these are values somewhere: a name, a size, a country. They count where they are rare in their column, or of another kind."""


@dataclass(frozen=True, slots=True)
class Dirt:
    """One way in which a text is untidy: `words` say it for people, `step` is what mends it (None: nothing does by itself)."""

    name: str
    words: str
    step: str | None
    found: Callable[[pl.Expr], pl.Expr]
    beyond_ascii: bool = False  # only texts with other letters than ASCII can be so


_WIDE = r"[\x{ff01}-\x{ff5e}\x{fb00}-\x{fb06}\x{3000}]"
_MISREAD = r"Ã[\x{80}-\x{bf}\x{2013}-\x{203a}\x{20ac}\x{152}-\x{192}]|â\x{20ac}|Â[\x{a0}-\x{bf}]|\x{fffd}|ï»¿"
"""UTF-8 taken for Windows-1252 or Latin-1, and what could not be read at all."""

DIRT: Mapping[str, Dirt] = {
    dirt.name: dirt
    for dirt in (
        Dirt("outer-space", "space at an end", "trim", lambda text: text != text.str.strip_chars()),
        Dirt("inner-space", "several spaces, or a tab", "collapse", lambda text: text.str.strip_chars().str.contains(r"  |\t")),
        Dirt("control", "control characters", "visible", lambda text: text.str.contains(f"[{CONTROLS}]")),
        Dirt(
            "unusual-space",
            "no-break or other unusual space",
            "collapse",
            lambda text: text.str.strip_chars().str.contains(r"[\x{a0}\x{1680}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}]"),
            beyond_ascii=True,
        ),
        Dirt("invisible", "characters that nobody sees", "visible", lambda text: text.str.contains(f"[{INVISIBLE}]"), beyond_ascii=True),
        Dirt(
            "decomposed",
            "letters and accents apart (Unicode not in NFC)",
            "nfc",
            lambda text: text != text.str.normalize("NFC"),
            beyond_ascii=True,
        ),
        Dirt("wide", "full-width letters or ligatures", "nfkc", lambda text: text.str.contains(_WIDE), beyond_ascii=True),
        Dirt("misread", "read in a wrong encoding", None, lambda text: text.str.contains(_MISREAD), beyond_ascii=True),
    )
}


def counted(values: pl.Series) -> pl.DataFrame:
    """Distinct texts with their counts (SCHEMA), the most frequent first, those of one count as they come; nulls are left out."""
    texts = values.cast(pl.String).alias(TEXT).drop_nulls()
    found = texts.to_frame().group_by(TEXT, maintain_order=True).agg(pl.len().cast(pl.Int64).alias(COUNT))
    return found.sort(COUNT, descending=True, maintain_order=True)


def blank(text: pl.Expr) -> pl.Expr:
    """Whether a text shows nothing: it is empty, or only spaces and characters that nobody sees."""
    return text.str.replace_all(UNSEEN, "").str.strip_chars() == ""


def is_placeholder(text: pl.Expr) -> pl.Expr:
    """Whether a text may stand for nothing."""
    return text.str.strip_chars().str.to_lowercase().is_in(PLACEHOLDERS)


AT_ONCE = 5_000
"""So many texts are tried with all kinds at once; of more, each kind is tried on what is left."""


def kinds(texts: pl.Series) -> pl.Series:
    """The name of the kind of each text (`KINDS`, else `text`): the first in their order that it looks like."""
    text = pl.col(TEXT)
    trimmed = texts.alias(TEXT).to_frame().select(text.str.strip_chars())
    # Without a digit, an @, a dot or a slash only the words for yes and no are anything else than text.
    may_be = text.str.contains(r"[0-9@/.]") | (text.str.len_bytes() <= 5)
    if trimmed.height <= AT_ONCE:
        first = pl.coalesce([pl.when(_looks_like(kind)).then(pl.lit(kind.name)) for kind in KINDS.values()])
        return trimmed.select(pl.when(may_be).then(first).fill_null("text").alias("kind")).to_series()
    found = pl.Series("kind", ["text"], dtype=pl.String).new_from_index(0, trimmed.height)
    rest = trimmed.with_row_index("row").filter(may_be)
    places: list[pl.DataFrame] = []
    for kind in KINDS.values():
        like = rest.select(_looks_like(kind)).to_series()
        if like.any():
            places.append(rest.filter(like).select("row", pl.lit(kind.name).alias("kind")))
            rest = rest.filter(~like)
    if not places:
        return found
    told = pl.concat(places)
    return found.scatter(told["row"], told["kind"])


def _looks_like(kind: Kind) -> pl.Expr:
    like = pl.col(TEXT).str.contains(kind.pattern)
    return like & pl.col(TEXT).str.contains("[0-9]") if kind.with_digit else like


def untidy(texts: pl.Series) -> pl.DataFrame:
    """Boolean columns by the names of DIRT."""
    frame = texts.alias(TEXT).to_frame()
    plain = _is_ascii(frame)
    text = pl.col(TEXT)
    wanted = [
        pl.lit(value=False).alias(name) if plain and dirt.beyond_ascii else dirt.found(text).alias(name) for name, dirt in DIRT.items()
    ]
    return frame.with_columns(wanted).drop(TEXT)


def shape(text: pl.Expr) -> pl.Expr:
    """How a text is written: A for capitals, a for small letters, 9 for digits, the rest as it is; long runs shortened: `Aaa+ 99`."""
    signs = text.str.replace_all(r"\p{Lu}", "A").str.replace_all(r"[\p{L}--\p{Lu}]", "a").str.replace_all(r"\p{Nd}", "9")
    return signs.str.replace_all(r"a{4,}", "aaa+").str.replace_all(r"A{4,}", "AAA+").str.replace_all(r"9{7,}", "999999+")


def in_form(texts: pl.Series) -> pl.Series:
    """Texts without regard to capitals, spaces, punctuation and ways of encoding a letter: those that say the same are equal.

    A mark between digits stays: 1.5 is not 15.
    """
    frame = texts.alias(TEXT).to_frame()
    text = pl.col(TEXT) if _is_ascii(frame) else pl.col(TEXT).str.normalize("NFKC")
    marked = text.str.to_lowercase().str.replace_all(r"([0-9])[.,]([0-9])", "${1}\u01c1${2}")
    return frame.select(marked.str.replace_all(r"[^\p{L}\p{M}\p{N}]+", "").alias("form")).to_series()


def _is_ascii(frame: pl.DataFrame) -> bool:
    return bool(frame.select((pl.col(TEXT).str.len_bytes() == pl.col(TEXT).str.len_chars()).all()).item())


def numbers(texts: pl.Series) -> pl.Series:
    """Texts of number kinds as floats, whichever marks they have: the last of two marks is the decimal one. Null: it is no number."""
    text = pl.col(TEXT).str.replace_all(r"[^0-9.,\-()]", "")
    negative = text.str.contains(r"[-(]")
    body = text.str.replace_all(r"[-()]", "")
    comma_last = body.str.contains(r",\d{1,2}$|,\d{4,}$|\.\d{3},")
    plain = pl.when(comma_last).then(body.str.replace_all(r"\.", "").str.replace_all(",", ".")).otherwise(body.str.replace_all(",", ""))
    value = plain.cast(pl.Float64, strict=False)
    return texts.alias(TEXT).to_frame().select(pl.when(negative).then(-value).otherwise(value).alias("number")).to_series()
