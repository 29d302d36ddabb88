"""Cleaning steps for values whose notation differs from place to place: postcodes, dates, amounts of money. All work on one non-empty text.

Each gives None where it can make no sense of the text, and is strict: nothing is guessed, and nothing that carries meaning is dropped.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache

import pycountry

from trueup.core.number_format import number_format

# ---------------------------------------------------------------- postcodes

POSTCODES: dict[str, tuple[str, ...]] = {
    "AT": ("9999",), "AU": ("9999",), "BE": ("9999",), "BG": ("9999",), "BR": ("99999-999",), "CA": ("A9A 9A9",), "CH": ("9999",),
    "CY": ("9999",), "CZ": ("999 99",), "DE": ("99999",), "DK": ("9999",), "EE": ("99999",), "ES": ("99999",), "FI": ("99999",),
    "FR": ("99999",), "GB": ("A9 9AA", "A99 9AA", "AA9 9AA", "AA99 9AA", "A9A 9AA", "AA9A 9AA"), "GR": ("999 99",), "HR": ("99999",),
    "HU": ("9999",), "IE": ("A99 AAAA", "A9A AAAA"), "IN": ("999999",), "IT": ("99999",), "JP": ("999-9999",), "LT": ("LT-99999",),
    "LU": ("9999",), "LV": ("LV-9999",), "MT": ("AAA 9999",), "MX": ("99999",), "NL": ("9999 AA",), "NO": ("9999",), "NZ": ("9999",),
    "PL": ("99-999",), "PT": ("9999-999",), "RO": ("999999",), "SE": ("999 99",), "SI": ("9999",), "SK": ("999 99",),
    "US": ("99999", "99999-9999"), "ZA": ("9999",),
}  # fmt: skip
"""How each country's post writes its codes: 9 is a digit, A a letter; in IE's second half A is either. Source: https://www.upu.int/en/Postal-Solutions/Programmes-Services/Addressing-Solutions."""

_NEITHER = re.compile(r"[\s.\-\u2010-\u2015]+")
_COMPACT_MARK = re.compile(r"[\s-]")


def postcode(text: str, country: str) -> str | None:
    """The code as that country's post writes it."""
    plain = _NEITHER.sub("", text).upper()
    if not plain.isascii():
        return None
    prefix = re.match(rf"\s*{country}[\s-]+", text, re.IGNORECASE)
    for compact in (plain, plain[len(country) :] if prefix else ""):
        for mask in POSTCODES[country]:
            if compact and _postcode_shape(country, mask).fullmatch(compact):
                return _laid_out(compact, mask)
    return None


@lru_cache(256)
def _postcode_shape(country: str, mask: str) -> re.Pattern[str]:
    signs = {"9": "[0-9]", "A": "[A-Z0-9]" if country == "IE" else "[A-Z]"}
    first = "[A-Z]" if country == "IE" else ""
    compact = _COMPACT_MARK.sub("", mask)
    return re.compile(first + "".join(signs.get(sign, sign) for sign in (compact[1:] if first else compact)))


def _laid_out(compact: str, mask: str) -> str:
    signs = iter(compact)
    return "".join(sign if sign in " -" else next(signs) for sign in mask)


# ---------------------------------------------------------------- dates

DATE_ORDERS = ("dmy", "mdy", "ymd")
_YEAR_FIRST = re.compile(r"(\d{4})\s*([./-])\s*(\d{1,2})\s*\2\s*(\d{1,2})")
_YEAR_LAST = re.compile(r"(\d{1,2})\s*([./-])\s*(\d{1,2})\s*\2\s*(\d{4})")
_DAY_FIRST = re.compile(r"(\d{1,2})(?:st|nd|rd|th|\.)?[\s-]*([a-z]{3,9})\.?,?[\s-]*(\d{4})")
_MONTH_FIRST = re.compile(r"([a-z]{3,9})\.?\s*(\d{1,2})(?:st|nd|rd|th)?,?\s+(\d{4})")
_MIDNIGHT = re.compile(r"[ t]0{1,2}:00(:00(\.0+)?)?z?$")
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december",
)  # fmt: skip


def date_text(text: str, order: str) -> str | None:
    """A date as 2026-11-20. Two digits are no year, a time of day other than midnight is no date."""
    plain = _MIDNIGHT.sub("", text.strip().lower())
    if found := _YEAR_FIRST.fullmatch(plain):
        return _iso(found[1], found[3], found[4])
    if found := _YEAR_LAST.fullmatch(plain):
        if order == "ymd":
            return None
        day, month = (found[1], found[3]) if order == "dmy" else (found[3], found[1])
        return _iso(found[4], month, day)
    if found := _DAY_FIRST.fullmatch(plain):
        return _iso(found[3], _month(found[2]), found[1])
    if found := _MONTH_FIRST.fullmatch(plain):
        return _iso(found[3], _month(found[1]), found[2])
    return None


def _month(word: str) -> int:
    """The number of an English month, by its name or the first three letters; 0 for another word."""
    word = "sep" if word == "sept" else word
    return next((number for number, name in enumerate(_MONTHS, 1) if word in {name, name[:3]}), 0)


def _iso(year: str, month: str | int, day: str) -> str | None:
    try:
        return date(int(year), int(month), int(day)).isoformat()
    except ValueError:
        return None


# ---------------------------------------------------------------- amounts of money

_SIGNS = {
    "€": "EUR", "£": "GBP", "$": "USD", "US$": "USD", "¥": "JPY", "₹": "INR", "zł": "PLN", "Kč": "CZK", "₺": "TRY", "₽": "RUB", "₩": "KRW",
    "R$": "BRL", "Fr.": "CHF", "SFr.": "CHF", "A$": "AUD", "C$": "CAD", "₪": "ILS", "₴": "UAH", "฿": "THB", "Ft": "HUF", "lei": "RON",
}  # fmt: skip
_SPACES = re.compile(r"[\s\u00a0\u202f\u2009]+")
_OTHER_GROUPS = " '’"


@lru_cache(64)
def _written_like(example: str) -> tuple[str, frozenset[str]]:
    """The decimal mark of an example, and the ways of writing its currency. Raises ValueError for what is no example."""
    form = number_format(example)
    said = (form.prefix + form.suffix).strip()
    code = _SIGNS.get(said, said.upper() if pycountry.currencies.get(alpha_3=said.upper()) else "")
    known = {sign for sign, of in _SIGNS.items() if of == code} | {code} if code else {said}
    return form.point, frozenset(word.lower() for word in known if word)


def money_problem(example: str) -> str | None:
    """Why an example cannot be used, None when it can."""
    try:
        _written_like(example)
    except ValueError as error:
        return str(error)
    return None


def money(text: str, example: str) -> str | None:
    """An amount as 1234.50. Its currency is that of the example, or not said."""
    point, currency = _written_like(example)
    plain = _SPACES.sub(" ", text).strip().replace("\u2212", "-").lower()
    in_brackets = plain.startswith("(") and plain.endswith(")")
    negative = plain.count("-") == 1 or in_brackets
    body = plain[1:-1] if in_brackets else plain
    body = _bare(body.strip("- "), currency).strip("- ")
    digits = _digits(body, point)
    if digits is None:
        return None
    return f"-{digits}" if negative and digits.strip("0.") else digits


def _bare(text: str, currency: frozenset[str]) -> str:
    """Without the currency before or behind it."""
    for word in sorted(currency, key=len, reverse=True):
        if text.startswith(word):
            return text.removeprefix(word).strip()
        if text.endswith(word):
            return text.removesuffix(word).strip()
    return text


def _digits(body: str, point: str) -> str | None:
    """Plain digits with a point; None for what is no number."""
    other = "," if point == "." else "."
    if re.fullmatch(r"[0-9]+", body):
        return body
    for group in (other, *_OTHER_GROUPS):
        found = re.fullmatch(rf"([0-9]{{1,3}}(?:{re.escape(group)}[0-9]{{3}})+)(?:{re.escape(point)}([0-9]+))?", body)
        if found:
            whole = found[1].replace(group, "")
            return f"{whole}.{found[2]}" if found[2] else whole
    if found := re.fullmatch(rf"([0-9]+){re.escape(point)}([0-9]+)", body):
        return f"{found[1]}.{found[2]}"
    # Not as the example is written, but there is only one way to read it.
    for group in (point, *_OTHER_GROUPS):
        found = re.fullmatch(rf"([0-9]{{1,3}}(?:{re.escape(group)}[0-9]{{3}})+){re.escape(other)}([0-9]+)", body)
        if found:
            return f"{found[1].replace(group, '')}.{found[2]}"
    if re.fullmatch(rf"[0-9]{{1,3}}(?:{re.escape(point)}[0-9]{{3}}){{2,}}", body):
        return body.replace(point, "")
    if found := re.fullmatch(rf"([0-9]+){re.escape(other)}([0-9]+)", body):
        return f"{found[1]}.{found[2]}"
    return None
