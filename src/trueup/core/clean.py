"""Cleaning: small steps that bring a text to one way of writing it. Running a step twice equals running it once.

Steps work on the text of a field, or on each item of a list. A step that understands what a value means (an e-mail address, a phone number)
and cannot make sense of it keeps it as it is: cleaning never loses a value. `uncleaned` tells which those are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
import polars as pl

from trueup.core.cells import NULL, json_text
from trueup.core.expressions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType

    from trueup.model import CleanStep, FieldType

_TEXTS: tuple[FieldType, ...] = ("text", "list")


@dataclass(frozen=True, slots=True)
class CleanStepInfo:
    """One step as users know it. `vector` cleans a whole column of texts; None: the step is one of `clean_library`, by its name."""

    help: str
    takes_argument: bool = False
    applies_to: tuple[FieldType, ...] = _TEXTS
    vector: Callable[[pl.Expr], pl.Expr] | None = None


def _title(text: pl.Expr) -> pl.Expr:
    for _ in range(2):  # once is not stable where a letter's capital is two letters, such as ŉ
        text = text.str.to_lowercase().str.to_titlecase()
    return text


def _empty_to_null(text: pl.Expr) -> pl.Expr:
    return pl.when(text != "").then(text)


def _only(kept: str) -> Callable[[pl.Expr], pl.Expr]:
    """Drop all other characters; a text that has none of these is kept as it is."""

    def clean(text: pl.Expr) -> pl.Expr:
        rest = text.str.replace_all(f"[^{kept}]+", "")
        return pl.when(rest == "").then(text).otherwise(rest)

    return clean


def _strip_accents(text: pl.Expr) -> pl.Expr:
    return text.str.normalize("NFD").str.replace_all(r"\p{Mn}+", "").str.normalize("NFC")


STEPS: Mapping[str, CleanStepInfo] = {
    "trim": CleanStepInfo("no space at either end", vector=lambda text: text.str.strip_chars()),
    "collapse": CleanStepInfo(
        "one space where there are several, tabs or line ends", vector=lambda text: text.str.replace_all(r"\s+", " ")
    ),
    "lower": CleanStepInfo("small letters", vector=lambda text: text.str.to_lowercase()),
    "upper": CleanStepInfo("capital letters", vector=lambda text: text.str.to_uppercase()),
    "title": CleanStepInfo("A Capital At Each Word", vector=_title),
    "nfc": CleanStepInfo("one encoding per accented letter (always done)", vector=lambda text: text.str.normalize("NFC")),
    "nfkc": CleanStepInfo("full-width letters, ligatures and such as plain ones", vector=lambda text: text.str.normalize("NFKC")),
    "strip_accents": CleanStepInfo("letters without accents: é becomes e", vector=_strip_accents),
    "digits": CleanStepInfo("digits 0-9 only", vector=_only("0-9")),
    "alnum": CleanStepInfo("letters and digits only", vector=_only(r"\p{L}\p{M}\p{N}")),
    "empty_to_null": CleanStepInfo("an empty text is null", applies_to=("text",), vector=_empty_to_null),
    "email": CleanStepInfo("an e-mail address in its normal form, by syntax alone (domain in small letters)"),
    "phone": CleanStepInfo("a phone number as +441632960001; numbers without country code are of the country named", takes_argument=True),
    "country": CleanStepInfo("a country's name or code as its two-letter code"),
    "name": CleanStepInfo("a person's name in capitals only or small letters only, capitalised the usual way: McDonald, van der Berg"),
    "iban": CleanStepInfo("a valid bank account number in capitals without spaces"),
}
"""Every step by name."""


def step_problem(step: CleanStep, kind: FieldType) -> str | None:
    """Why a step cannot be used on fields of type `kind`; None when it can."""
    info = STEPS.get(step.name)
    if info is None:
        return f"unknown cleaning step {step.name!r}{did_you_mean(step.name, STEPS)}"
    if kind not in info.applies_to:
        return f"the cleaning step {step.name!r} does not apply to fields of type {kind}"
    if info.takes_argument and not step.argument:
        return f"the cleaning step {step.name!r} needs an argument: {{{step.name}: GB}}"
    if not info.takes_argument and step.argument is not None:
        return f"the cleaning step {step.name!r} takes no argument"
    if info.vector is None:
        problem: str | None = _library().argument_problem(step)
        return problem
    return None


def clean_column(cells: pl.Series, steps: Sequence[CleanStep], kind: FieldType) -> pl.Series:
    """Cells after all steps, in their order. Absent and NULL stay; NFC is kept. Library steps look at distinct values only."""
    if not steps:
        return cells
    if kind == "list":
        return _clean_lists(cells, steps)
    vectors = [STEPS[step.name].vector for step in steps]
    if all(vectors):
        return _cleaned_at_once(cells, [vector for vector in vectors if vector is not None])
    distinct = _texts(cells).drop_nulls().unique()
    return _restored(cells, _replaced(_texts(cells), distinct, _cleaned_texts(distinct, steps)))


def uncleaned(cells: pl.Series, steps: Sequence[CleanStep]) -> pl.Series:
    """Boolean per cell of a text field: a library step could make no sense of the cleaned value and left it as it was."""
    judged = [step for step in steps if STEPS[step.name].vector is None]
    distinct = _texts(cells).drop_nulls().unique()
    bad = [text for text in distinct if text and any(_library().clean_one(text, step) is None for step in judged)]
    return cells.is_in(bad).fill_null(value=False)


def _cleaned_at_once(cells: pl.Series, vectors: Sequence[Callable[[pl.Expr], pl.Expr]]) -> pl.Series:
    text: pl.Expr = pl.when(pl.col("c") != NULL).then(pl.col("c"))
    for vector in vectors:
        text = vector(text)
    kept = pl.col("c").is_null() | (pl.col("c") == NULL)
    cleaned = cells.to_frame("c").select(pl.when(kept).then(pl.col("c")).otherwise(text.fill_null(NULL)).alias(cells.name)).to_series()
    return _normalised(cleaned)


def _normalised(texts: pl.Series) -> pl.Series:
    """NFC, at no cost where all is ASCII."""
    frame = texts.to_frame("c")
    plain = frame.select((pl.col("c").str.len_bytes() == pl.col("c").str.len_chars()).all()).item()
    return texts if plain else texts.str.normalize("NFC")


def _texts(cells: pl.Series) -> pl.Series:
    return cells.to_frame("c").select(pl.when(pl.col("c") != NULL).then(pl.col("c"))).to_series()


def _restored(cells: pl.Series, cleaned: pl.Series) -> pl.Series:
    """Cleaned texts as cells again: absent and NULL as they were, a text that became null is NULL."""
    frame = pl.DataFrame({"old": cells, "new": cleaned})
    kept = pl.col("old").is_null() | (pl.col("old") == NULL)
    return frame.select(pl.when(kept).then(pl.col("old")).otherwise(pl.col("new").fill_null(NULL)).alias(cells.name)).to_series()


def _cleaned_texts(texts: pl.Series, steps: Sequence[CleanStep]) -> pl.Series:
    """Non-null texts after all steps; null where a step makes null of it."""
    done = texts
    for step in steps:
        vector = STEPS[step.name].vector
        if vector is not None:
            done = done.to_frame("c").select(vector(pl.col("c"))).to_series()
        else:
            one = _library().clean_one
            done = pl.Series([text if not text else (one(text, step) or text) for text in done], dtype=pl.String)
    return _normalised(done)


def _replaced(texts: pl.Series, old: pl.Series, new: pl.Series) -> pl.Series:
    answers = pl.DataFrame({"c": old, "new": new}, schema={"c": pl.String, "new": pl.String})
    return texts.to_frame("c").join(answers, on="c", how="left", maintain_order="left").get_column("new")


def _clean_lists(cells: pl.Series, steps: Sequence[CleanStep]) -> pl.Series:
    distinct = _texts(cells).drop_nulls().unique()
    lists = [orjson.loads(cell) for cell in distinct]
    items = pl.Series(sorted({item for items in lists for item in items}), dtype=pl.String)
    clean = dict(zip(items, _cleaned_texts(items, steps), strict=True))
    sets = pl.Series([sorted({text for item in items if (text := clean[item])}) for items in lists], dtype=pl.List(pl.String))
    encoded = sets.to_frame("c").select(json_text(pl.col("c"))).to_series()
    return _restored(cells, _replaced(_texts(cells), distinct, encoded))


def _library() -> ModuleType:
    from trueup.core import clean_library  # these packages are slow to load, and most runs do without

    return clean_library
