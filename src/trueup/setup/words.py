"""Names of columns and tables: taken apart into words, abbreviations written out, and different words for one thing taken for one."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from functools import cache

_SPLIT = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[^\W\d_A-Z]+|[A-Z]+|\d+")

_WRITTEN_OUT = {
    "addr": "address", "adr": "address", "amt": "amount", "bday": "birthday", "cat": "category", "cd": "code", "co": "company",
    "comp": "company", "ctry": "country", "curr": "currency", "cust": "customer", "dept": "department", "desc": "description",
    "descr": "description",
    "dob": "birthday", "e": "", "emp": "employee", "fname": "firstname", "inv": "invoice", "lname": "lastname",
    "mob": "mobile", "nm": "name", "nbr": "number", "no": "number", "nr": "number", "num": "number", "org": "company", "ph": "phone",
    "prod": "product", "qty": "quantity", "ref": "reference", "tel": "phone", "txt": "", "val": "value", "whs": "warehouse", "yr": "year",
}  # fmt: skip
"""Abbreviations, and words that say nothing."""

_ALIKE = (
    ("email", "mail", "email address", "mail address", "electronic mail"),
    ("phone", "telephone", "phone number", "telephone number", "landline", "contact number"),
    ("mobile", "mobile phone", "cell", "cell phone", "cellphone", "mobile number", "handy"),
    ("first name", "firstname", "given name", "givenname", "forename", "vorname"),
    ("last name", "lastname", "surname", "family name", "familyname", "nachname"),
    ("name", "full name", "fullname", "display name", "displayname", "title", "label", "designation"),
    ("company", "company name", "organisation", "organization", "firm", "employer", "business", "business name", "account name"),
    ("city", "town", "place", "locality", "ort", "stadt"),
    ("postcode", "zip", "zip code", "zipcode", "postal code", "postalcode", "plz"),
    ("street", "address", "street address", "address line 1", "address 1", "address line", "strasse"),
    ("country", "nation", "country code", "land"),
    ("region", "state", "province", "county"),
    ("birthday", "date of birth", "birth date", "birthdate", "born"),
    ("sku", "article number", "item number", "product code", "item code", "article code", "part number", "product number", "article"),
    ("barcode", "ean", "gtin", "upc"),
    ("price", "unit price", "sales price", "list price", "retail price", "selling price"),
    ("cost", "cost price", "purchase price", "buying price"),
    ("quantity", "stock", "on hand", "onhand", "in stock", "inventory", "available", "stock level", "stock quantity", "count", "units"),
    ("description", "details", "text"),
    ("note", "notes", "comment", "comments", "remark", "remarks", "memo"),
    ("status", "stage", "condition"),
    ("active", "enabled", "is active"),
    ("category", "group", "product group", "kind", "type", "class"),
    ("vat", "vat number", "vat id", "tax id", "tax number", "ust id"),
    ("amount", "total", "sum", "total amount", "grand total", "gross", "invoice total"),
    ("credit", "credit limit", "limit"),
    ("currency", "currency code"),
    ("due", "due date", "payment due", "payable by"),
    ("website", "url", "homepage", "web", "web site", "link"),
    ("created", "created at", "created on", "date created", "creation date", "added"),
    (
        "modified",
        "updated",
        "updated at",
        "modified at",
        "last modified",
        "changed",
        "changed at",
        "last change",
        "last updated",
        "timestamp",
    ),
    ("salary", "pay", "wage", "gross pay"),
    ("department", "team", "division", "unit"),
    ("job", "job title", "position", "role", "function"),
    ("started", "start date", "hired", "hire date", "entry date", "joined"),
    ("manager", "boss", "supervisor", "reports to"),
    ("weight", "mass"),
    ("brand", "make", "manufacturer", "maker"),
    ("supplier", "vendor"),
    ("consent", "opt in", "newsletter", "subscribed", "marketing"),
    ("customer", "client", "contact", "person", "people", "account", "subscriber", "member", "partner", "buyer", "lead"),
    ("product", "item", "article", "good", "material"),
    ("order", "sale", "purchase"),
    ("invoice", "bill"),
    ("employee", "staff", "worker", "colleague", "personnel"),
)
_MEANING = {said: group[0] for group in reversed(_ALIKE) for said in group}
_IDENTITY = frozenset({"id", "key", "uuid", "guid", "number", "code", "reference"})
"""Words that only say that something is a name in a register."""


@cache
def words(name: str) -> tuple[str, ...]:
    """The words of a name, in small letters, in the singular, abbreviations written out."""
    found = []
    for part in _SPLIT.findall(name):
        word = part.casefold()
        word = _WRITTEN_OUT.get(word, word)
        if word:
            found.append(word)
    return tuple(found)


def singular(word: str) -> str:
    """`customers` is about one customer."""
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3 else word


def meaning(name: str, about: tuple[str, ...] = ()) -> str:
    """What a name stands for: the common word of a group of names, else its own words.

    `about` are the words for the thing that it is a column of: `customer_email` of a customer is an email.
    """
    said = [singular(word) if len(word) > 4 else word for word in words(name)]
    for shown in (said, [word for word in said if word not in about and _MEANING.get(word, word) not in about]):
        text = " ".join(shown)
        if text in _MEANING:
            return _MEANING[text]
        joined = "".join(shown)
        if joined in _MEANING:
            return _MEANING[joined]
    rest = [word for word in said if word not in about and _MEANING.get(word, word) not in about]
    return " ".join(_MEANING.get(word, word) for word in rest or said)


def is_common(said: str) -> bool:
    """Whether this is the common word of a group of names."""
    return _MEANING.get(said) == said


def about(name: str) -> tuple[str, ...]:
    """The words for what a table holds."""
    found = [singular(word) for word in words(name)]
    return tuple(dict.fromkeys([*found, *(_MEANING.get(word, word) for word in found)]))


@cache
def likeness(left: str, right: str) -> float:
    """How much two meanings are the same words, 0 to 1."""
    if left == right:
        return 1.0
    ours, theirs = set(left.split()), set(right.split())
    shared = (ours & theirs) - _IDENTITY
    of_all = len(shared) / len((ours | theirs) - _IDENTITY) if (ours | theirs) - _IDENTITY else 0.0
    return 0.8 * max(of_all, SequenceMatcher(None, left, right).ratio() ** 2)
