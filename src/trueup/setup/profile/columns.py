"""One column measured: what its values look like, what is missing, doubled, far out or untidy. Values in, facts out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from trueup.core.forms import (
    COUNT,
    DIRT,
    KINDS,
    SCHEMA,
    TEXT,
    UNSURE_PLACEHOLDERS,
    blank,
    counted,
    in_form,
    is_placeholder,
    kinds,
    numbers,
    shape,
    untidy,
)
from trueup.reports.profile_facts import SAMPLES, ColumnProfile, Doubled, Found
from trueup.setup import words
from trueup.setup.profile.numbers import spread_of, spread_of_days

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trueup.model import ColumnInfo

KIND, FAMILY = "kind", "family"
MOSTLY = 0.8
"""From this share of the values on, a column is said to hold values of a kind."""
NEARLY_UNIQUE = 0.9
RARE = 0.05
SHAPED, LONGEST_SHAPED = 50_000, 40
"""Patterns are looked for in so many different values of a column whose texts are no longer."""
COMPARED, LONGEST_COMPARED = 3_000_000, 200
NAMES = frozenset({"name", "first name", "last name", "manager", "customer", "employee"})
PLACES = frozenset({"city", "street", "region"})
IDENTITIES = frozenset({"email", "phone", "mobile", "sku", "barcode", "vat", "iban", "id", "number", "key", "uuid"})
"""What columns mean of which the values tell things apart; two rows that share one are worth a look."""
_NUMBERS = frozenset({"integer", "decimal", "float"})
_AMOUNTS = ("money", "decimal", "integer")
"""Families of numbers in texts, the one that says most about a column first."""
_MOMENTS = frozenset({"date", "datetime", "timestamp"})
_NO_VALUES = frozenset({"json", "binary", "bytes"})
_STRUCTURED = frozenset({"email", "url", "iban", "phone", "uuid", "date", "datetime", "integer", "decimal", "money"})
_AKIN = {
    "integer": {"integer", "decimal", "money"},
    "decimal": {"integer", "decimal", "money"},
    "money": {"integer", "decimal", "money"},
    "phone": {"phone", "integer", "decimal", "code"},
    "date": {"date", "datetime"},
    "datetime": {"date", "datetime"},
}


@dataclass(slots=True)
class Measured:
    """A column's facts, and what proposals are made from: its distinct texts that show something, with count, kind and family."""

    profile: ColumnProfile
    means: str = ""
    texts: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema={**SCHEMA, KIND: pl.String(), FAMILY: pl.String()}))
    family: str = "text"  # what most of the values are, those without meaning aside


def measure_column(
    info: ColumnInfo, values: pl.Series, *, about: tuple[str, ...] = (), is_key: bool = False, names_others: bool = False
) -> Measured:
    """What the values of a column tell. `about` are words for the things that its object holds; `names_others`: it holds keys of others."""
    profile = ColumnProfile(info.name, info.native_type or info.type, empty=values.null_count())
    found = Measured(profile, words.meaning(info.name, about))
    given = values.drop_nulls()
    profile.filled = given.len()
    if info.type in _NO_VALUES or values.dtype.is_nested():
        return found
    if info.type == "decimal":
        given = given.cast(pl.Float64, strict=False).drop_nulls()
    if info.type in _NUMBERS or info.type in _MOMENTS or info.type == "boolean":
        _typed(found, given, info.type, is_key=is_key, is_name=is_key or names_others or found.means in IDENTITIES)
        return found
    _texts(found, given.cast(pl.String), is_key=is_key)
    return found


# ---------------------------------------------------------------- columns with a type of their own


def _typed(found: Measured, given: pl.Series, kind: str, *, is_key: bool, is_name: bool) -> None:
    """`is_name`: numbers only name something, and are not large or small."""
    profile = found.profile
    values = _as_texts(given, kind)
    texts = counted(values)
    profile.distinct = texts.height
    profile.frequent = _frequent(texts)
    nearly = _is_nearly_unique(profile, is_key=is_key) or found.means in IDENTITIES
    profile.doubled = _doubled(texts, compared=False) if nearly and kind == "integer" else None
    if kind == "boolean":
        return
    if kind in _NUMBERS:
        profile.spread = None if is_name else spread_of(given)
        return
    strange = texts.filter(is_placeholder(pl.col(TEXT)) & _sure(texts, profile.filled))
    profile.placeholders = [(text, count) for text, count in strange.rows()]
    profile.spread = spread_of_days(given.filter(~values.is_in(strange[TEXT].implode())))


def _as_texts(given: pl.Series, kind: str) -> pl.Series:
    """Typed values as people write them; points in time by their day."""
    if kind in _MOMENTS:
        return given.cast(pl.Date, strict=False).cast(pl.String)
    text = given.cast(pl.String)
    return text.str.strip_suffix(".0") if given.dtype.is_float() else text


# ---------------------------------------------------------------- texts


def _texts(found: Measured, given: pl.Series, *, is_key: bool) -> None:
    profile = found.profile
    every = counted(given)
    shows_nothing = every.select(blank(pl.col(TEXT))).to_series()
    texts = every.filter(~shows_nothing)
    profile.blank = int(every.filter(shows_nothing)[COUNT].sum())
    profile.filled -= profile.blank
    profile.distinct = texts.height
    if texts.is_empty():
        return
    kind = kinds(texts[TEXT])
    families = {name: item.family for name, item in KINDS.items()} | {"text": "text"}
    found.texts = texts = texts.with_columns(kind.alias(KIND), kind.replace_strict(families, return_dtype=pl.String).alias(FAMILY))
    length = pl.col(TEXT).str.len_chars()
    profile.shortest, profile.longest = texts.select(length.min().alias("least"), length.max().alias("most")).row(0)
    profile.placeholders = _placeholders(texts, profile.filled)
    found.family = main_family(_without(texts, profile))
    profile.kinds = _kinds(texts)
    profile.frequent = _frequent(texts)
    profile.patterns = _patterns(texts)
    profile.dirt = [*_untidy(texts), *_of_its_kind(found)]
    is_number = found.family in {"integer", "decimal", "money", "date", "datetime"}
    compared = texts.height <= COMPARED and profile.longest <= LONGEST_COMPARED and not is_number
    nearly = _is_nearly_unique(profile, is_key=is_key) or found.means in IDENTITIES
    profile.doubled = _doubled(_without(texts, profile), compared=compared) if nearly else None
    if not nearly and compared and (spelt := _variants(texts)) is not None:
        profile.dirt.append(spelt)
    _spread_of_texts(found)


def _without(texts: pl.DataFrame, profile: ColumnProfile) -> pl.DataFrame:
    """The texts but for those that stand for nothing."""
    words = [word for word, _count in profile.placeholders]
    return texts.filter(~pl.col(TEXT).is_in(words)) if words else texts


def _sure(texts: pl.DataFrame, rows: int) -> pl.Series:
    """Which texts stand for nothing for sure, or are rare enough among many to do so."""
    word = texts.select(pl.col(TEXT).str.strip_chars().str.to_lowercase()).to_series()
    sure = ~word.is_in(list(UNSURE_PLACEHOLDERS))
    return sure | (texts[COUNT] < RARE * rows) if texts.height > SAMPLES else sure


def _placeholders(texts: pl.DataFrame, rows: int) -> list[tuple[str, int]]:
    likely = texts.filter(is_placeholder(pl.col(TEXT)))
    if likely.is_empty():
        return []
    strange = texts.filter(is_placeholder(pl.col(TEXT)) & _sure(texts, rows))
    return [(text, count) for text, count in strange.select(TEXT, COUNT).rows()]


def main_family(texts: pl.DataFrame) -> str:
    """What most of the rows hold: a family of kinds, `text` where no family has enough. Numbers with and without marks are one family.

    Numbers are `money` where any has a currency, else `decimal` where any has a fraction, else `integer`.
    """
    if texts.is_empty():
        return "text"
    rows = dict(texts.group_by(FAMILY).agg(pl.col(COUNT).sum()).iter_rows())
    enough = MOSTLY * sum(rows.values())
    numeric = {family: rows[family] for family in _AMOUNTS if family in rows}
    if sum(numeric.values()) >= enough:
        return next(iter(numeric))
    family = max(rows, key=lambda name: (rows[name], name))
    return family if rows[family] >= enough else "text"


def _kinds(texts: pl.DataFrame) -> list[Found]:
    found = [
        Found(str(name), KINDS[str(name)].words if str(name) in KINDS else "text", int(part[COUNT].sum()), _samples(part))
        for (name,), part in texts.group_by(KIND, maintain_order=True)
    ]
    return sorted(found, key=lambda item: -item.count)


def _samples(texts: pl.DataFrame) -> tuple[str, ...]:
    return tuple(texts[TEXT].head(SAMPLES).to_list())


def _frequent(texts: pl.DataFrame) -> list[tuple[str, int]]:
    return [(text, count) for text, count in texts.filter(pl.col(COUNT) > 1).head(SAMPLES).select(TEXT, COUNT).rows()]


def _patterns(texts: pl.DataFrame) -> list[Found]:
    """How the texts are written, of columns whose texts are short."""
    if int(texts[TEXT].str.len_chars().quantile(0.9) or 0) > LONGEST_SHAPED:
        return []
    shaped = texts.head(SHAPED).with_columns(shape(pl.col(TEXT)).alias("shape"))
    found = shaped.group_by("shape").agg(pl.col(COUNT).sum(), pl.col(TEXT).head(3)).sort(COUNT, "shape", descending=[True, False])
    return [Found(name, "", count, tuple(samples)) for name, count, samples in found.head(SAMPLES).rows()]


def _untidy(texts: pl.DataFrame) -> Iterable[Found]:
    marks = untidy(texts[TEXT])
    for name, dirt in DIRT.items():
        if marks[name].any():
            part = texts.filter(marks[name])
            yield Found(name, dirt.words, int(part[COUNT].sum()), _samples(part))


def _of_its_kind(found: Measured) -> Iterable[Found]:
    """What is untidy about values given what most of them are."""
    texts = _without(found.texts, found.profile)
    family = found.family
    if family in _STRUCTURED:
        strange = texts.filter(~pl.col(FAMILY).is_in(list(_AKIN.get(family, {family}))))
        if not strange.is_empty():
            said = "number" if family in _AMOUNTS else next(kind.words for kind in KINDS.values() if kind.family == family)
            yield Found("odd", f"not like most others ({said.split(' such as')[0]})", int(strange[COUNT].sum()), _samples(strange))
    if family == "email":
        yield from _where(texts, "capitals", "capital letters", pl.col(TEXT) != pl.col(TEXT).str.to_lowercase())
    if family in {"date", "decimal", "money", "integer", "phone"}:
        yield from _notations(texts.filter(pl.col(FAMILY).is_in(list(_AKIN.get(family, {family})))), family)
    if family == "text" and found.means in NAMES | PLACES:
        yield from _shouted(texts)


def _where(texts: pl.DataFrame, name: str, said: str, condition: pl.Expr) -> Iterable[Found]:
    part = texts.filter(condition)
    if not part.is_empty():
        yield Found(name, said, int(part[COUNT].sum()), _samples(part))


def _notations(texts: pl.DataFrame, family: str) -> Iterable[Found]:
    """Values in another notation than most of their kind. A whole number fits any notation of numbers."""
    told = texts.filter(pl.col(KIND) != "integer") if family != "phone" else texts.filter(pl.col(FAMILY) == "phone")
    rows = told.group_by(KIND).agg(pl.col(COUNT).sum()).sort(COUNT, KIND, descending=[True, False])
    if rows.height > 1:
        part = told.filter(pl.col(KIND) != rows[KIND][0])
        yield Found("notation", "written otherwise than most", int(part[COUNT].sum()), _samples(part))


def _shouted(texts: pl.DataFrame) -> Iterable[Found]:
    """Names in capitals only, or without any, where most are written as names are."""
    text = pl.col(TEXT)
    long = text.str.contains(r"\p{L}{3}")
    shouted = (
        long
        & ((text == text.str.to_uppercase()) | (text == text.str.to_lowercase()))
        & (text.str.to_uppercase() != text.str.to_lowercase())
    )
    part = texts.filter(shouted)
    if not part.is_empty() and int(part[COUNT].sum()) < 0.5 * int(texts[COUNT].sum()):
        yield Found("capitals", "in capitals only, or without any", int(part[COUNT].sum()), _samples(part))


# ---------------------------------------------------------------- the same value in several rows


def _is_nearly_unique(profile: ColumnProfile, *, is_key: bool) -> bool:
    return is_key or (profile.filled > SAMPLES and profile.distinct >= NEARLY_UNIQUE * profile.filled)


def _doubled(texts: pl.DataFrame, *, compared: bool) -> Doubled | None:
    """Values of several rows, in a column whose values tell rows apart."""
    twice = texts.filter(pl.col(COUNT) > 1)
    alike = _alike(texts) if compared else []
    if twice.is_empty() and not alike:
        return None
    return Doubled(
        values=twice.height,
        rows=int(twice[COUNT].sum()),
        samples=tuple((text, count) for text, count in twice.select(TEXT, COUNT).head(SAMPLES).rows()),
        in_form=sum(len(group) for group in alike),
        in_form_samples=tuple(tuple(group[:3]) for group in alike[:SAMPLES]),
    )


def _alike(texts: pl.DataFrame) -> list[list[str]]:
    """Texts that say the same but for capitals, spaces and punctuation, together."""
    forms = texts.select(TEXT, in_form(texts[TEXT])).filter(pl.col("form") != "")
    shared = forms.filter(pl.col("form").is_duplicated())
    if shared.is_empty():
        return []
    return [group for (group,) in shared.group_by("form", maintain_order=True).agg(TEXT).select(TEXT).rows()]


def _variants(texts: pl.DataFrame) -> Found | None:
    """Values that say the same as a more frequent one, in other capitals, spaces or punctuation."""
    forms = texts.with_columns(in_form(texts[TEXT])).filter((pl.col("form") != "") & pl.col("form").is_duplicated())
    if forms.is_empty():
        return None
    rest = forms.filter(~pl.col("form").is_first_distinct())  # the most frequent one of each comes first
    return Found("spelling", "the same as another value but for capitals, spaces or punctuation", int(rest[COUNT].sum()), _samples(rest))


# ---------------------------------------------------------------- numbers and days in texts


def _spread_of_texts(found: Measured) -> None:
    family = found.family
    texts = _without(found.texts, found.profile)
    if family in _AMOUNTS and found.means not in IDENTITIES:
        part = texts.filter(pl.col(FAMILY).is_in(_AMOUNTS))
        found.profile.spread = spread_of(_repeated(numbers(part[TEXT]), part[COUNT]))
    elif family in {"date", "datetime"}:
        part = texts.filter(pl.col(KIND).is_in(["date-iso", "datetime"]))
        days = part[TEXT].str.strip_chars().str.head(10).str.to_date("%Y-%m-%d", strict=False)
        found.profile.spread = spread_of_days(_repeated(days, part[COUNT]))


def _repeated(values: pl.Series, counts: pl.Series) -> pl.Series:
    """Each value as often as it is there."""
    return pl.DataFrame({"v": values, "n": counts}).select(pl.col("v").repeat_by("n").explode()).to_series()
