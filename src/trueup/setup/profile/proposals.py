"""What would clean a column: steps of `clean:`, with the reason for each and what they make of its values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import phonenumbers
import polars as pl

from trueup.core.cells import NULL
from trueup.core.clean import STEPS, WORDS, clean_column, uncleaned
from trueup.core.clean_forms import POSTCODES, postcode
from trueup.core.clean_library import clean_one
from trueup.core.forms import COUNT, DIRT, TEXT
from trueup.model import CleanStep
from trueup.reports.profile_facts import SAMPLES, Proposal
from trueup.reports.table import counted
from trueup.setup.profile.columns import KIND, NAMES, PLACES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trueup.setup.profile.columns import Measured

TRIED = 2_000
"""So many different values are tried with steps that know what a value means; each takes some hundred microseconds."""
ASKED = 200
UNDERSTOOD, MEANT = 0.9, 0.5
"""Of the values that are asked about, a step must understand so many: of words that may be others, and of what is known to be its kind."""
_ORDER = ("control", "invisible", "wide", "outer-space", "inner-space", "unusual-space")
_DATE_FORMATS = {"date-dots": "%d.%m.%Y", "date-ymd": "%Y/%m/%d"}


@dataclass(frozen=True, slots=True)
class Reason:
    """One step and why it is proposed."""

    step: CleanStep
    why: str


def propose_clean(found: Measured, country: str | None = None) -> Proposal | None:
    """What would clean a column; None where nothing needs to. `country` is where most of its object's records are, None: not known."""
    if found.texts.is_empty() and not found.profile.blank:
        return None
    reasons = [*_general(found), *_placeholders(found), *_meant(found, country), *_named(found, country)]
    reasons = [reason for number, reason in enumerate(reasons) if reason.step not in [earlier.step for earlier in reasons[:number]]]
    advice = "; ".join(_advice(found, reasons, country))
    if not reasons:
        return Proposal((), "", advice=advice) if advice else None
    made = tried(found.texts.select(TEXT, COUNT), [reason.step for reason in reasons])
    blank = found.profile.blank  # of which nothing shows before or after
    made = replace(made, tried=made.tried + blank, changed=made.changed + blank)
    if not made.changed and not advice:
        return None
    why = "; ".join(dict.fromkeys(reason.why for reason in reasons))
    return Proposal(
        tuple(written(reason.step) for reason in reasons) if made.changed else (),
        why if made.changed else "",
        made.tried,
        made.changed,
        made.unclear,
        made.samples,
        made.unclear_samples,
        advice,
    )


def written(step: CleanStep) -> str:
    """A step as the configuration has it."""
    if step.argument is None:
        return step.name
    if step.name == "null_if":
        return f"{{null_if: [{', '.join(_quoted(word) for word in step.argument.split(WORDS))}]}}"
    return f"{{{step.name}: {step.argument if step.argument.isalpha() else _quoted(step.argument)}}}"


def _quoted(word: str) -> str:
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


# ---------------------------------------------------------------- which steps


def _general(found: Measured) -> Iterator[Reason]:
    """Steps for what is untidy whatever the values mean."""
    dirt = {item.name: item for item in found.profile.dirt}
    lines = found.texts[TEXT].str.contains("\n").any()
    for name in _ORDER:
        step = DIRT[name].step
        if name not in dirt or step is None or (step == "collapse" and lines):
            continue
        yield Reason(CleanStep(step), f"{_values(dirt[name].count)} with {DIRT[name].words}")
    if found.profile.blank:
        yield Reason(CleanStep("trim"), f"{_values(found.profile.blank)} of spaces alone")
        yield Reason(CleanStep("empty_to_null"), f"{_values(found.profile.blank)} of spaces alone")


def _values(count: int) -> str:
    return counted(count, "value")


def _placeholders(found: Measured) -> Iterator[Reason]:
    words = [text.strip().lower() for text, _count in found.profile.placeholders if WORDS not in text]
    if words:
        count = sum(count for _text, count in found.profile.placeholders)
        yield Reason(CleanStep("null_if", WORDS.join(dict.fromkeys(words))), f"{_values(count)} without meaning")


def _meant(found: Measured, country: str | None) -> Iterator[Reason]:
    """Steps for what the values mean."""
    dirt = {item.name: item for item in found.profile.dirt}
    match found.family:
        case "email" if "capitals" in dirt or "outer-space" in dirt:
            yield Reason(CleanStep("trim"), "e-mail addresses")
            yield Reason(CleanStep("lower"), "e-mail addresses, whose capitals mean nothing")
        case "phone" if (home := _home(found) or country) is not None and _share(found, CleanStep("phone", home)) >= MEANT:
            yield Reason(CleanStep("phone", home), f"phone numbers, in {_notations(found)} notations, mostly of {home}")
        case "iban":
            yield Reason(CleanStep("iban"), "bank account numbers")
        case "date" if "notation" in dirt and (order := _order_of_days(found)) is not None:
            yield Reason(CleanStep("date", order), f"dates in {_notations(found)} notations")
        case "decimal" | "money" if "notation" in dirt or found.family == "money":
            if (example := _example(found)) is not None:
                yield Reason(
                    CleanStep("money", example), "amounts in several notations" if "notation" in dirt else "amounts with a currency"
                )


def _named(found: Measured, country: str | None) -> Iterator[Reason]:
    """Steps for what the name of the column says of its values."""
    dirt = {item.name: item for item in found.profile.dirt}
    if found.means == "country" and _share(found, CleanStep("country")) >= UNDERSTOOD:
        yield Reason(CleanStep("country"), "countries, by name and by code")
    if found.means == "postcode" and (home := _post(found, country)) is not None:
        yield Reason(CleanStep("postcode", home), f"postcodes of {home}")
    if "capitals" in dirt and found.means in NAMES:
        yield Reason(CleanStep("name"), f"{counted(dirt['capitals'].count, 'name')} {dirt['capitals'].words}")
    if "capitals" in dirt and found.means in PLACES:
        yield Reason(CleanStep("title"), f"{_values(dirt['capitals'].count)} {dirt['capitals'].words}")


def _advice(found: Measured, reasons: Sequence[Reason], country: str | None) -> Iterator[str]:
    """What no step does by itself."""
    names = {reason.step.name for reason in reasons}
    shown = {item.name for item in found.profile.kinds if item.name != "integer"}
    if found.family == "phone" and "phone" not in names and country is None:
        yield "phone numbers without a country's code: say whose they are, as in clean: [{phone: GB}]"
    if found.family == "date" and "date" not in names:
        dates = {name for name in shown if name.startswith("date-")}
        if len(dates) == 1 and (form := _DATE_FORMATS.get(next(iter(dates)))) is not None:
            yield f'dates in one notation: the mapping reads them with format: "{form}"'
        elif dates & {"date-slashes", "date-dashes", "date-short"}:
            yield "no value tells whether the day or the month comes first: somebody has to know"
    if found.family == "decimal" and "money" not in names and "decimal-comma" in shown and "decimal-point" not in shown:
        yield 'numbers with a decimal comma: the mapping reads them with format: "1.234,56"'
    if any(item.name == "misread" for item in found.profile.dirt):
        yield "texts that were read in a wrong encoding: mend them where they come from, or say the system's `encoding`"
    if any(item.name == "spelling" for item in found.profile.dirt) and not names & {"country", "postcode", "name", "title"}:
        yield "values that differ in form alone: agree on one way of writing, or map them with `values`"


def _notations(found: Measured) -> str:
    kinds = found.texts.filter(pl.col("family") == found.family)[KIND].n_unique()
    return {1: "one", 2: "two", 3: "three"}.get(kinds, str(kinds)) if kinds > 1 else "various"


def _home(found: Measured) -> str | None:
    """The country of most phone numbers that name one; None where none do."""
    regions: Counter[str] = Counter()
    for text in found.texts.filter(pl.col(KIND) == "phone-code")[TEXT].head(ASKED):
        try:
            number = phonenumbers.parse("+" + text.strip()[2:] if text.strip().startswith("00") else text, None)
        except phonenumbers.NumberParseException:
            continue
        region = phonenumbers.region_code_for_number(number) or phonenumbers.region_code_for_country_code(number.country_code or 0)
        if region in phonenumbers.SUPPORTED_REGIONS:
            regions[region] += 1
    return min(regions, key=lambda region: (-regions[region], region)) if regions else None


def _order_of_days(found: Measured) -> str | None:
    """The order in which dates of numbers are written, where some value tells it and none contradicts; ymd where the year comes first."""
    numbers = r"^(\d{1,2})[./-]\s?(\d{1,2})[./-]\s?\d{4}$"
    told = found.texts.filter(pl.col(KIND).is_in(["date-dots", "date-slashes", "date-dashes"]))[TEXT].str.strip_chars()
    if told.is_empty():
        return "ymd"
    parts = told.str.extract_groups(numbers).struct.unnest()
    first, second = parts.to_series(0).cast(pl.Int64, strict=False), parts.to_series(1).cast(pl.Int64, strict=False)
    days_first, months_first = bool((first > 12).any()), bool((second > 12).any())
    dots = not found.texts.filter(pl.col(KIND) == "date-dots").is_empty()
    if days_first and months_first:
        return None
    if days_first or months_first:
        return "dmy" if days_first else "mdy"
    return "dmy" if dots else None  # nobody writes 20.11.2026 in another order


def _example(found: Measured) -> str | None:
    """An amount as most are written, with the one currency that is named; None where several are."""
    commas = found.texts.filter(pl.col(TEXT).str.contains(r"\d,\d{1,2}\D*$"))[COUNT].sum()
    points = found.texts.filter(pl.col(TEXT).str.contains(r"\d\.\d{1,2}\D*$"))[COUNT].sum()
    signs = found.texts.filter(pl.col("family") == "money")[TEXT].str.replace_all(r"[\d\s.,'’()\x{a0}\x{202f}-]", "").unique().to_list()
    if len(signs) > 2:
        return None
    plain = "1.234,56" if commas > points else "1,234.56"
    examples = [f"{plain} {sign}" for sign in sorted(signs)] or [plain]
    best = max(examples, key=lambda example: (_share(found, CleanStep("money", example)), example))
    return best if _share(found, CleanStep("money", best)) >= UNDERSTOOD else None


def _share(found: Measured, step: CleanStep) -> float:
    """Of the most frequent values, how many the step understands."""
    texts = found.texts[TEXT].head(ASKED)
    words = {text for text, _count in found.profile.placeholders}
    asked = [text for text in texts if text not in words]
    return sum(clean_one(text, step) is not None for text in asked) / len(asked) if asked else 0.0


def _post(found: Measured, country: str | None) -> str | None:
    """The country whose postcodes these are: the one given, or the only one whose way of writing has letters or marks and fits."""
    texts = [text for text in found.texts[TEXT].head(ASKED).to_list() if text]
    fitting = {
        name: sum(postcode(text, name) is not None for text in texts) / len(texts)
        for name in POSTCODES
        if name == country or any(sign in "A-" for mask in POSTCODES[name] for sign in mask)
    }
    if country in fitting and fitting[country] >= UNDERSTOOD:
        return country
    good = [name for name, share in fitting.items() if share >= UNDERSTOOD]
    return good[0] if len(good) == 1 else None


def country_of(columns: Sequence[Measured]) -> str | None:
    """The country of most records of an object, as its column of countries says; None where none does."""
    for found in columns:
        if found.means != "country" or found.texts.is_empty():
            continue
        texts = found.texts.head(ASKED)
        rows: Counter[str] = Counter()
        for text, count in texts.select(TEXT, COUNT).rows():
            code = clean_one(text, CleanStep("country"))
            rows[code or ""] += count
        code = max(rows, key=lambda name: (rows[name], name))
        if code and rows[code] >= 0.8 * sum(rows.values()):
            return code
    return None


# ---------------------------------------------------------------- what they do


def tried(texts: pl.DataFrame, steps: Sequence[CleanStep]) -> Proposal:
    """What steps make of distinct texts with counts; of the most frequent ones only, where a step takes its time for each."""
    slow = any(STEPS[step.name].judges for step in steps)
    some = texts.head(TRIED) if slow else texts
    after = clean_column(some[TEXT], steps, "text")
    becomes = pl.DataFrame({TEXT: some[TEXT], "after": after, COUNT: some[COUNT], "unclear": uncleaned(after, steps)})
    changed = becomes.filter(pl.col("after") != pl.col(TEXT))
    unclear = becomes.filter("unclear")
    shown = changed.gather_every(max(1, changed.height // SAMPLES)).head(SAMPLES)
    return Proposal(
        (),
        "",
        tried=int(some[COUNT].sum()),
        changed=int(changed[COUNT].sum()),
        unclear=int(unclear[COUNT].sum()),
        samples=tuple((before, None if cell == NULL else cell) for before, cell in shown.select(TEXT, "after").rows()),
        unclear_samples=tuple(unclear[TEXT].head(SAMPLES).to_list()),
    )
