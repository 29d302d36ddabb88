"""Cleaning: small steps that bring a text to one way of writing it. Running a step twice equals running it once.

Steps work on the text of a field, or on each item of a list. A step that understands what a value means (an e-mail address, a phone number)
and cannot make sense of it keeps it as it is: cleaning never loses a value. `uncleaned` tells which those are.

Of numbers and dates, `clean_native` works on the text that a system holds, before it is read as such; what was read is clean.
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
_NUMBERS: tuple[FieldType, ...] = ("integer", "decimal", "float")
WORDS = "|"
"""Stands between the words of an argument that is a list."""


@dataclass(frozen=True, slots=True)
class CleanStepInfo:
    """One step as users know it: what it does, `example`, which it does it to and what comes of that, and an argument, if it takes one.

    `vector` cleans a whole column of texts, `worded` does with its argument; both None: the step is one of `clean_library`, by its name.
    """

    help: str
    example: tuple[str, str | None]
    argument: str | None = None
    applies_to: tuple[FieldType, ...] = _TEXTS
    vector: Callable[[pl.Expr], pl.Expr] | None = None
    worded: Callable[[pl.Expr, str], pl.Expr] | None = None

    @property
    def judges(self) -> bool:
        """Whether the step knows what a value means, and so which values mean nothing to it."""
        return self.vector is None and self.worded is None

    def on(self, text: pl.Expr, step: CleanStep) -> pl.Expr | None:
        """A column of texts after the step; None for steps of `clean_library`."""
        if self.worded is not None:
            return self.worded(text, step.argument or "")
        return None if self.vector is None else self.vector(text)


def _title(text: pl.Expr) -> pl.Expr:
    for _ in range(2):  # once is not stable where a letter's capital is two letters, such as ŉ
        text = text.str.to_lowercase().str.to_titlecase()
    return text


def _empty_to_null(text: pl.Expr) -> pl.Expr:
    return pl.when(text != "").then(text)


def _null_if(text: pl.Expr, argument: str) -> pl.Expr:
    words = [word.strip().lower() for word in argument.split(WORDS)]
    return pl.when(~text.str.strip_chars().str.to_lowercase().is_in(words)).then(text)


CONTROLS = r"\x00-\x08\x0e-\x1f\x7f"
INVISIBLE = r"\x{80}-\x{84}\x{86}-\x{9f}\x{ad}\x{180e}\x{200b}\x{200e}\x{200f}\x{202a}-\x{202e}\x{2060}-\x{2069}\x{feff}\x{fff9}-\x{fffb}"
UNSEEN = f"[{CONTROLS}{INVISIBLE}]"
"""Characters that nobody sees. Those that join letters (U+200C, U+200D) are not among them: Persian, Hindi and emoji need them."""


def _visible(text: pl.Expr) -> pl.Expr:
    return text.str.replace_all(UNSEEN, "")


def _only(kept: str) -> Callable[[pl.Expr], pl.Expr]:
    """Drop all other characters; a text that has none of these is kept as it is."""

    def clean(text: pl.Expr) -> pl.Expr:
        rest = text.str.replace_all(f"[^{kept}]+", "")
        return pl.when(rest == "").then(text).otherwise(rest)

    return clean


def _strip_accents(text: pl.Expr) -> pl.Expr:
    return text.str.normalize("NFD").str.replace_all(r"\p{Mn}+", "").str.normalize("NFC")


STEPS: Mapping[str, CleanStepInfo] = {
    "trim": CleanStepInfo("no space at either end", (" Bob ", "Bob"), vector=lambda text: text.str.strip_chars()),
    "collapse": CleanStepInfo(
        "one space where there are several, tabs, line ends or no-break spaces",
        ("Ann\t  Ash", "Ann Ash"),
        vector=lambda text: text.str.replace_all(r"\s+", " "),
    ),
    "visible": CleanStepInfo(
        "no characters that nobody sees: zero-width spaces, byte order marks, soft hyphens, control characters",
        ("An\u200bn", "Ann"),
        vector=_visible,
    ),
    "lower": CleanStepInfo("small letters", ("ÉLAN", "élan"), vector=lambda text: text.str.to_lowercase()),
    "upper": CleanStepInfo("capital letters", ("ab-12", "AB-12"), vector=lambda text: text.str.to_uppercase()),
    "title": CleanStepInfo("A Capital At Each Word", ("old mill lane", "Old Mill Lane"), vector=_title),
    "nfc": CleanStepInfo("one encoding per accented letter (always done)", ("e\u0301", "é"), vector=lambda text: text.str.normalize("NFC")),
    "nfkc": CleanStepInfo(
        "full-width letters, ligatures and such as plain ones", ("\uff21\ufb01", "Afi"), vector=lambda text: text.str.normalize("NFKC")
    ),
    "strip_accents": CleanStepInfo("letters without accents", ("Ångström", "Angstrom"), vector=_strip_accents),
    "digits": CleanStepInfo("digits 0-9 only", ("+44 (0)20", "44020"), vector=_only("0-9")),
    "alnum": CleanStepInfo("letters and digits only", ("AB-12 é", "AB12é"), vector=_only(r"\p{L}\p{M}\p{N}")),
    "empty_to_null": CleanStepInfo("an empty text is null", ("", None), applies_to=("text",), vector=_empty_to_null),
    "null_if": CleanStepInfo(
        "words that stand for nothing are null, whatever their capitals",
        ("N/A", None),
        argument='[n/a, "-"]',
        applies_to=("text", *_NUMBERS, "boolean", "date", "datetime"),
        worded=_null_if,
    ),
    "name": CleanStepInfo(
        "a person's name in capitals only or small letters only, capitalised the usual way", ("ANN MCDONALD", "Ann McDonald")
    ),
    "email": CleanStepInfo(
        "an e-mail address in its normal form, by syntax alone (domain in small letters)", (" Ann@EXAMPLE.com ", "Ann@example.com")
    ),
    "phone": CleanStepInfo(
        "a phone number with its country's code; numbers without one are of the country named", ("(01632) 960001", "+441632960001"), "GB"
    ),
    "country": CleanStepInfo("a country's name or code as its two-letter code", ("Germany", "DE")),
    "postcode": CleanStepInfo("a postcode of the country named, as its post writes it", ("sw1a1aa", "SW1A 1AA"), "GB"),
    "date": CleanStepInfo(
        "a date of any notation as 2026-11-20; where only numbers tell day from month, they are in the order named: dmy, mdy or ymd",
        ("20.11.2026", "2026-11-20"),
        "dmy",
        applies_to=("text", "date"),
    ),
    "money": CleanStepInfo(
        "an amount as 1234.50, whichever marks it has; what may be read in two ways is read as the example is written, and no currency"
        " but that of the example is dropped",
        ("€ 1.234,50", "1234.50"),
        '"1.234,56 EUR"',
        applies_to=("text", *_NUMBERS),
    ),
    "iban": CleanStepInfo(
        "a valid bank account number in capitals without spaces", ("gb82 west 1234 5698 7654 32", "GB82WEST12345698765432")
    ),
}
"""Every step by name."""


def step_problem(step: CleanStep, kind: FieldType) -> str | None:
    """Why a step cannot be used on fields of type `kind`; None when it can."""
    info = STEPS.get(step.name)
    if info is None:
        return f"unknown cleaning step {step.name!r}{did_you_mean(step.name, STEPS)}"
    if kind not in info.applies_to:
        return f"the cleaning step {step.name!r} does not apply to fields of type {kind}"
    if info.argument and not step.argument:
        return f"the cleaning step {step.name!r} needs an argument: {{{step.name}: {info.argument}}}"
    if not info.argument and step.argument is not None:
        return f"the cleaning step {step.name!r} takes no argument"
    if info.judges:
        problem: str | None = _library().argument_problem(step)
        return problem
    return None


def clean_column(cells: pl.Series, steps: Sequence[CleanStep], kind: FieldType) -> pl.Series:
    """Cells after all steps, in their order. Absent and NULL stay; NFC is kept. Library steps look at distinct values only.

    Cells of other types than text and list are clean as they are: see `clean_native`.
    """
    if not steps or kind not in _TEXTS:
        return cells
    if kind == "list":
        return _clean_lists(cells, steps)
    if not any(STEPS[step.name].judges for step in steps):
        return _cleaned_at_once(cells, steps)
    distinct = _texts(cells).drop_nulls().unique()
    return _restored(cells, _replaced(_texts(cells), distinct, _cleaned_texts(distinct, steps)))


def clean_native(values: pl.Series, steps: Sequence[CleanStep], kind: FieldType, *, is_number: bool = False) -> pl.Series:
    """Native values of a field of type `kind` as they are to be read: for numbers, dates and such, what stands before their type is known.

    Of values that have a type already (`is_number`: exact decimals, which come as texts), only those that stand for nothing (`null_if`)
    become null: 1.234 of a column of numbers is no 1,234 of somebody who writes it 1.234.
    """
    if not steps or kind in _TEXTS:
        return values
    if values.dtype == pl.String and not is_number:
        distinct = values.drop_nulls().unique()
        return _replaced(values, distinct, _cleaned_texts(distinct, steps)).alias(values.name)
    frame = values.alias("c").to_frame()
    for step in steps:
        if step.name == "null_if" and not values.dtype.is_nested():
            nothing = _null_if(_as_written(values), step.argument or "").is_null()
            frame = frame.select(pl.when(~nothing).then("c").alias("c"))
    return frame.to_series().alias(values.name)


def _as_written(values: pl.Series) -> pl.Expr:
    """Typed values as a person would write them: a whole float without `.0`, a midnight without its time."""
    if isinstance(values.dtype, pl.Datetime):
        return pl.col("c").dt.to_string("%Y-%m-%d %H:%M:%S").str.strip_suffix(" 00:00:00")
    text = pl.col("c").cast(pl.String)
    return text.str.strip_suffix(".0") if values.dtype.is_float() else text


def uncleaned(cells: pl.Series, steps: Sequence[CleanStep]) -> pl.Series:
    """Boolean per cell of a text field: a library step could make no sense of the cleaned value and left it as it was."""
    judged = [step for step in steps if STEPS[step.name].judges]
    distinct = _texts(cells).drop_nulls().unique()
    bad = [text for text in distinct if text and any(_library().clean_one(text, step) is None for step in judged)]
    return cells.is_in(bad).fill_null(value=False)


def _cleaned_at_once(cells: pl.Series, steps: Sequence[CleanStep]) -> pl.Series:
    text: pl.Expr = pl.when(pl.col("c") != NULL).then(pl.col("c"))
    for step in steps:
        after = STEPS[step.name].on(text, step)
        assert after is not None
        text = after
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
        after = STEPS[step.name].on(pl.col("c"), step)
        if after is not None:
            done = done.to_frame("c").select(after).to_series()
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
