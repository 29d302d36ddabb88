"""Cleaning steps that know what a value means, each by the library that knows best. All work on one non-empty text.

A step gives None where it can make no sense of the text. Every answer is a fixed point of its step: one that would not be stable, or
would leave something of the value behind (an extension, a word), counts as no sense.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

import phonenumbers
import pycountry
from email_validator import EmailNotValidError, validate_email
from nameparser import HumanName

from trueup.core.clean_forms import DATE_ORDERS, POSTCODES, date_text, money, money_problem, postcode

if TYPE_CHECKING:
    from collections.abc import Callable

    from trueup.model import CleanStep


def clean_one(text: str, step: CleanStep) -> str | None:
    """The cleaned text; None where the step can make no sense of it."""
    clean = _CLEANERS[step.name]
    cleaned = clean(text, step.argument or "")
    if cleaned is None or clean(cleaned, step.argument or "") != cleaned:
        return None
    return cleaned


def argument_problem(step: CleanStep) -> str | None:
    """Why the step's argument cannot be used, None when it can."""
    said = step.argument or ""
    if step.name == "phone" and said not in phonenumbers.SUPPORTED_REGIONS:
        return f"the cleaning step 'phone' needs a two-letter country code such as GB, not {said!r}"
    if step.name == "postcode" and said not in POSTCODES:
        return f"the cleaning step 'postcode' does not know the postcodes of {said!r}; it knows those of {', '.join(POSTCODES)}"
    if step.name == "date" and said not in DATE_ORDERS:
        return f"the cleaning step 'date' needs the order of day, month and year (dmy, mdy or ymd), not {said!r}"
    if step.name == "money" and (problem := money_problem(said)):
        return f"the cleaning step 'money' needs an amount by example: {problem}"
    return None


def _email(text: str, _argument: str) -> str | None:
    try:
        return validate_email(text.strip(), check_deliverability=False).normalized
    except EmailNotValidError:
        return None


_PHONE = re.compile(r"[\d\s()+./\-\u2010-\u2015\u00a0]+")


def _phone(text: str, region: str) -> str | None:
    if not _PHONE.fullmatch(text):  # words around a number, and extensions, have no place in +441632960001
        return None
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


_COUNTRY_HABITS = {
    "uk": "GB",
    "u.k.": "GB",
    "great britain": "GB",
    "england": "GB",
    "scotland": "GB",
    "wales": "GB",
    "usa": "US",
    "u.s.a.": "US",
    "u.s.": "US",
}
"""Common ways of writing that ISO 3166 does not list."""


def _country(text: str, _argument: str) -> str | None:
    word = text.strip()
    habit = _COUNTRY_HABITS.get(word.lower())
    if habit:
        return habit
    try:
        return str(pycountry.countries.lookup(word).alpha_2)
    except LookupError:
        return None


def _name(text: str, _argument: str) -> str | None:
    if not (text.isupper() or text.islower()):
        return text  # someone has thought about the capitals
    name = HumanName(text)
    name.capitalize()
    cleaned = str(name)
    same_words = cleaned.casefold().split() == text.casefold().split()
    return cleaned if same_words else text


_IBAN = re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}")
_IBAN_MODULUS = 97  # ISO 13616: the rearranged number leaves 1


def _iban(text: str, _argument: str) -> str | None:
    compact = re.sub(r"[\s-]", "", text).upper()
    if not _IBAN.fullmatch(compact):
        return None
    digits = "".join(str(int(char, 36)) for char in compact[4:] + compact[:4])
    return compact if int(digits) % _IBAN_MODULUS == 1 else None


_CLEANERS: dict[str, Callable[[str, str], str | None]] = {
    "email": lru_cache(65_536)(_email),
    "phone": lru_cache(65_536)(_phone),
    "country": lru_cache(4_096)(_country),
    "name": _name,
    "iban": _iban,
    "postcode": postcode,
    "date": lru_cache(65_536)(date_text),
    "money": money,
}
