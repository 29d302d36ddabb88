"""Whole columns to the field's type: the vectorised half of `types`.

`alternatives` say how a column of a Polars type becomes a field's type, fastest first; each gives null for what it does not take, and
the next one sees only what is left. What none takes goes to `coerce_value`, once per distinct value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.core import quick
from trueup.core.clock_texts import date_text, moment_text
from trueup.core.number_format import number_format
from trueup.core.types import DECIMAL_DIGITS, DECIMAL_PLACES, FALSE_WORDS, TRUE_WORDS, UTC_TIME, Target, coerce_value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Take = Callable[[pl.Expr], pl.Expr]
    Maker = Callable[[Target], Take | list[Take]]

_PLAIN_DECIMAL = rf"^[+-]?\d{{1,{DECIMAL_DIGITS - DECIMAL_PLACES}}}(?:\.\d{{1,{DECIMAL_PLACES}}})?$"
_PLAIN_NUMBER = re.compile(rf"-?[0-9]{{1,{DECIMAL_DIGITS - DECIMAL_PLACES}}}(?:\.[0-9]{{1,{DECIMAL_PLACES}}})?\Z")
_PLAIN_FLOAT = r"^[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$"
_PLAIN_INTEGER = r"^[+-]?\d{1,19}$"
_ISO_DATE = r"^\d{4}-\d{2}-\d{2}$"
_ISO_TIME = r"^\d{4}-\d{2}-\d{2}[ T][012]\d:[0-5]\d:[0-5]\d(?:\.\d{1,9})?Z?$"
_ISO_OFFSET = r"^\d{4}-\d{2}-\d{2}[ T][012]\d:[0-5]\d:[0-5]\d(?:\.\d{1,9})?[+-]\d{2}(?::?\d{2})?$"
_FEW_ROWS = 1_000  # below this, normalising every text at once is faster than looking first which need it
_EXACT_FLOAT = 2.0**53
_JUST_BEYOND_INT64 = 2.0**63


@dataclass(frozen=True, slots=True)
class Coerced:
    """`values`: one typed column per target; null where the raw one is null or blank, and at failures.

    `failures` has, for each column that has any, a frame row UInt32, reason String, in order of rows.
    """

    values: pl.DataFrame
    failures: dict[str, pl.DataFrame]


def convertible(dtype: pl.DataType, target: Target) -> bool:
    """Whether a column of this type can hold values of the target at all; a column without a single usable value is no reason."""
    return dtype == pl.Null or bool(alternatives(plain_dtype(dtype), target))


def plain_dtype(dtype: pl.DataType) -> pl.DataType:
    """The type that `dtype` is widened to first: small integers, 32-bit floats and categories come out of expressions."""
    if dtype.is_integer():
        return pl.Int64() if dtype not in {pl.UInt64, pl.Int128} else pl.String()
    if dtype == pl.Float32:
        return pl.Float64()
    if isinstance(dtype, pl.Categorical | pl.Enum | pl.Null | pl.Time):
        return pl.String()
    if isinstance(dtype, pl.Datetime):
        return UTC_TIME if dtype.time_zone else pl.Datetime("us")
    if isinstance(dtype, pl.List | pl.Array):
        return pl.List(pl.String)
    return dtype


def coerce_columns(frame: pl.DataFrame, targets: Mapping[str, Target]) -> Coerced:
    """Coerce the columns named in `targets`; the others are left out. Raises ValueError where a whole column cannot be such a type."""
    if not targets:
        return Coerced(pl.DataFrame(), {})
    raw = _widened(quick.chosen(frame, list(targets)))
    types = dict(zip(raw.columns, raw.dtypes, strict=True))  # `schema` is made anew whenever it is asked for
    takes = {name: alternatives(types[name], target) for name, target in targets.items()}
    for name, ways in takes.items():
        if not ways:
            message = f"column {name!r} ({types[name]}) cannot be read as {targets[name].type}"
            raise ValueError(message)
    few = raw.height <= _FEW_ROWS
    plain = {
        name: raw[name] if ways[0] is _untouched else _plain(raw[name], ways[0], targets[name], few=few) for name, ways in takes.items()
    }
    rest = [_first(name, types[name], targets[name], few=few) for name, column in plain.items() if column is None]
    made = {column.name: column for column in raw.select(rest).get_columns()} if rest else {}
    values = quick.frame([made[name] if column is None else column for name, column in plain.items()])
    failures: dict[str, pl.DataFrame] = {}
    for name, target in targets.items():
        if values[name].null_count() == raw[name].null_count():
            continue
        left = _left(raw[name], values[name], target)
        if not left.any():
            continue
        column, failed = _settle(raw[name], values[name], left, takes[name][1:], target)
        values = values.with_columns(column.alias(name))
        if failed.height:
            failures[name] = failed
    return Coerced(values, failures)


def _widened(frame: pl.DataFrame) -> pl.DataFrame:
    changes = []
    for name, dtype in frame.schema.items():
        wanted = plain_dtype(dtype)
        if wanted != dtype:
            changes.append(pl.col(name).cast(wanted))
    return frame.with_columns(changes) if changes else frame


def _plain(column: pl.Series, way: Take, target: Target, *, few: bool) -> pl.Series | None:
    """A column that needs no looking at as one of the target: texts that are the same in every normal form, plain decimals, known years.

    None where any value needs it, or there are many of them. To put the same into expressions takes a hundred times as long for a row.
    """
    if not few:
        return None
    if way is _known_years:
        return column if _are_known_years(column) else None
    if column.dtype != pl.String:
        return None
    texts = column.to_list()
    if target.type == "text" and all(text is None or (text.isascii() and "\x00" not in text) for text in texts):
        return column
    if target.type == "decimal" and target.format is None and all(text is None or _PLAIN_NUMBER.match(text) for text in texts):
        return column.cast(target.dtype)
    return None


@lru_cache(maxsize=8192)
def _first(name: str, dtype: pl.DataType, target: Target, *, few: bool) -> pl.Expr:
    """The fastest way for one column, ready to run: building expressions costs more than running them on one row."""
    takes = alternatives(dtype, target)
    take = takes[-1] if target.type == "text" and few else takes[0]
    return take(pl.col(name)).alias(name)


def boolean_words(column: pl.Series) -> str | None:
    """The words for true and false that a text column uses, as a format (`Yes/No`); None where it does not show one clear pair.

    A word found alone brings its usual partner, in the same case.
    """
    words = column.drop_nulls().str.strip_chars().unique().sort().to_list() if column.dtype == pl.String else []
    pairs = {pair for word in words for pair in [_pair(word)] if word}
    return pairs.pop() if len(pairs) == 1 else None


def _pair(word: str) -> str:
    for true_word, false_word in zip(TRUE_WORDS, FALSE_WORDS, strict=True):
        if word.lower() in {true_word, false_word}:
            shape = (
                str.upper if word.isupper() and (len(word) > 1 or true_word in {"t", "y"}) else str.title if word.istitle() else str.lower
            )
            return f"{shape(true_word)}/{shape(false_word)}"
    return ""


def _left(raw: pl.Series, value: pl.Series, target: Target) -> pl.Series:
    """True where a value was given and not taken; a blank text is no value, but for type text."""
    left = raw.is_not_null() & value.is_null()
    if raw.dtype == pl.String and target.type != "text":
        left &= ~raw.str.contains(r"^\s*$").fill_null(value=False)
    return left


def _settle(raw: pl.Series, value: pl.Series, left: pl.Series, takes: Sequence[Take], target: Target) -> tuple[pl.Series, pl.DataFrame]:
    """Try the slower ways on what is left, then one by one. The completed column, and the failures."""
    rest = pl.DataFrame({"row": pl.int_range(raw.len(), dtype=pl.UInt32, eager=True), "raw": raw}).filter(left)
    patches = []
    for take in takes:
        done = rest.with_columns(take(pl.col("raw")).alias("value"))
        patches.append(done.filter(pl.col("value").is_not_null()).select("row", "value"))
        rest = done.filter(pl.col("value").is_null()).select("row", "raw")
    joined = _answers(rest, target)
    patches.append(joined.filter(pl.col("value").is_not_null()).select("row", "value"))
    patch = pl.concat(patches)
    whole = pl.DataFrame({"old": value}).with_row_index("row").join(patch, on="row", how="left", maintain_order="left")
    return whole.select(pl.coalesce("value", "old")).to_series(), joined.filter(pl.col("reason").is_not_null()).select("row", "reason")


def _answers(rest: pl.DataFrame, target: Target) -> pl.DataFrame:
    """Each distinct value one by one: row, value, reason, in order of rows."""
    groups = rest.group_by("raw", maintain_order=True).agg("row")
    values: list[Any] = []
    reasons: list[str | None] = []
    for item in groups["raw"]:
        value, reason = None, None
        try:
            value = coerce_value(item.to_list() if isinstance(item, pl.Series) else item, target)
        except ValueError as error:
            reason = str(error)
        values.append(value)
        reasons.append(reason)
    answers = [pl.Series("value", values, dtype=target.dtype), pl.Series("reason", reasons, dtype=pl.String)]
    return groups.select("row").with_columns(answers).explode("row").sort("row")


# ---------------------------------------------------------------- by type


@lru_cache(maxsize=1024)
def alternatives(dtype: pl.DataType, target: Target) -> list[Take]:
    """The vectorised ways from a (plain) Polars type to the target, fastest first; empty where there is none."""
    kind = _KINDS.get(type(dtype), "")
    if isinstance(dtype, pl.Datetime):
        kind = "aware" if dtype.time_zone else "naive"
    maker = _WAYS[target.type].get(kind)
    return _listed(maker(target)) if maker else []


def _listed(made: Take | list[Take]) -> list[Take]:
    return made if isinstance(made, list) else [made]


_KINDS: dict[type[pl.DataType], str] = {
    pl.String: "string",
    pl.Int64: "integer",
    pl.Float64: "float",
    pl.Decimal: "decimal",
    pl.Boolean: "boolean",
    pl.Date: "date",
    pl.List: "list",
}


def _same(_target: Target) -> Take:
    return _untouched


def _untouched(column: pl.Expr) -> pl.Expr:
    return column


def _never(target: Target) -> Take:
    """Nothing is taken at once: every distinct value is looked at."""
    return lambda column: pl.when(column.is_null()).then(pl.lit(None, dtype=target.dtype)).otherwise(None).cast(target.dtype)


def _cast(dtype: pl.DataType) -> Maker:
    return lambda _target: lambda column: column.cast(dtype, strict=False)


# text


def _text_from_string(_target: Target) -> list[Take]:
    def take(column: pl.Expr) -> pl.Expr:
        # an ASCII text is NFC already, and normalising is slow
        plain = column.str.len_bytes() == column.str.len_chars()
        return pl.when(plain & ~column.str.contains("\x00", literal=True)).then(column).otherwise(None)

    def normal(column: pl.Expr) -> pl.Expr:
        return pl.when(~column.str.contains("\x00", literal=True)).then(column.str.normalize("NFC")).otherwise(None)

    return [take, normal]


def decimal_text(column: pl.Expr) -> pl.Expr:
    """Canonical text of a Decimal column: no exponent, no trailing zeros."""
    text = column.cast(pl.String)
    return pl.when(text.str.contains(".", literal=True)).then(text.str.strip_chars_end("0").str.strip_chars_end(".")).otherwise(text)


def float_text(column: pl.Expr) -> pl.Expr:
    """Canonical text of a Float64 column (finite)."""
    return (column + 0.0).cast(pl.String)


def datetime_cell_text(column: pl.Expr) -> pl.Expr:
    """Canonical text of an aware column: UTC, `Z`, six digits of a fraction or none."""
    return moment_text(column, "T", "Z", fraction=False)


def wall_clock(column: pl.Expr) -> pl.Expr:
    """Text of a naive column: `2026-11-20 02:00:00`, with six digits of a fraction or none."""
    return moment_text(column, " ", "", fraction=False)


def _text_from_float(_target: Target) -> Take:
    def take(column: pl.Expr) -> pl.Expr:
        whole = (column == column.round(0)) & (column.abs() < _EXACT_FLOAT)
        digits = pl.when(whole).then(column).otherwise(None).cast(pl.Int64, strict=False).cast(pl.String)
        return pl.when(whole).then(digits).when(column.is_finite()).then(float_text(column)).otherwise(None)

    return take


def _text_from_list(target: Target) -> Take:
    return lambda column: column.list.join(target.separator, ignore_nulls=True)


# numbers


def _plain_number(target: Target) -> Take:
    if not target.format:
        return lambda column: column.str.strip_chars()
    form = number_format(target.format)
    return form.plain


def _integer_from_string(target: Target) -> Take:
    plain = _plain_number(target)

    def take(column: pl.Expr) -> pl.Expr:
        text = plain(column)
        return pl.when(text.str.contains(_PLAIN_INTEGER)).then(text.cast(pl.Int64, strict=False)).otherwise(None)

    return take


def _integer_from_float(_target: Target) -> Take:
    def take(column: pl.Expr) -> pl.Expr:
        usable = (column == column.round(0)) & (column >= -_JUST_BEYOND_INT64) & (column < _JUST_BEYOND_INT64)
        return pl.when(usable).then(column).otherwise(None).cast(pl.Int64, strict=False)

    return take


def _integer_from_decimal(_target: Target) -> Take:
    return lambda column: pl.when(column == column.floor()).then(column).otherwise(None).cast(pl.Int64, strict=False)


def _rounded(column: pl.Expr, target: Target) -> pl.Expr:
    """An exact Decimal column with 12 places as the target's decimal, half-even (Polars' default)."""
    return column if target.scale is None else column.round(target.scale).cast(target.dtype, strict=False)


def _decimal_from_string(target: Target) -> Take:
    plain = _plain_number(target)

    def take(column: pl.Expr) -> pl.Expr:
        text = plain(column)
        exact = pl.when(text.str.contains(_PLAIN_DECIMAL)).then(text).otherwise(None)
        return _rounded(exact.cast(pl.Decimal(DECIMAL_DIGITS, DECIMAL_PLACES), strict=False), target)

    return take


def _decimal_from_float(target: Target) -> Take:
    return lambda column: _decimal_from_string(Target("decimal", scale=target.scale))(column.cast(pl.String))


def _decimal_from_integer(target: Target) -> Take:
    return lambda column: column.cast(target.dtype, strict=False)


def _decimal_from_decimal(target: Target) -> Take:
    return lambda column: _decimal_from_string(Target("decimal", scale=target.scale))(decimal_text(column))


def _float_from_string(target: Target) -> Take:
    plain = _plain_number(target)

    def take(column: pl.Expr) -> pl.Expr:
        text = plain(column)
        return _finite(pl.when(text.str.contains(_PLAIN_FLOAT)).then(text.cast(pl.Float64, strict=False)).otherwise(None))

    return take


def _finite(column: pl.Expr) -> pl.Expr:
    return pl.when(column.is_finite()).then(column + 0.0).otherwise(None)


def _float_from_float(_target: Target) -> Take:
    return _finite


# booleans


def _boolean_from_string(target: Target) -> Take:
    true_words, false_words = list(TRUE_WORDS), list(FALSE_WORDS)
    if target.format:
        true_words, false_words = ([word.strip().lower()] for word in target.format.split("/", 1))

    def take(column: pl.Expr) -> pl.Expr:
        word = column.str.strip_chars().str.to_lowercase()
        return pl.when(word.is_in(true_words)).then(True).when(word.is_in(false_words)).then(False).otherwise(None)

    return take


def _boolean_from_number(_target: Target) -> Take:
    return lambda column: pl.when(column == 1).then(True).when(column == 0).then(False).otherwise(None)


# dates and times


def _known_years(column: pl.Expr) -> pl.Expr:
    return pl.when(column.dt.year().is_between(1, 9999)).then(column).otherwise(None)


_FIRST_DAY, _LAST_DAY = ((day - date(1970, 1, 1)).days for day in (date.min, date.max))
_DAY_US = 86_400_000_000


def _are_known_years(column: pl.Series) -> bool:
    """The same for a column of dates, or of microseconds in UTC: whether every value that there is has such a year."""
    numbers: list[int | None] = column.cast(pl.Int64).to_list()
    unit = 1 if column.dtype == pl.Date else _DAY_US
    return all(number is None or _FIRST_DAY * unit <= number < (_LAST_DAY + 1) * unit for number in numbers)


def _date_from_string(target: Target) -> Take:
    def take(column: pl.Expr) -> pl.Expr:
        text = column.str.strip_chars()
        if target.format:
            return (
                _known_years(text.str.to_datetime(target.format, strict=False, time_unit="us").dt.date())
                if _has_clock(target.format)
                else _known_years(text.str.to_date(target.format, strict=False))
            )
        iso = pl.when(text.str.contains(_ISO_DATE)).then(text).otherwise(None)
        return _known_years(iso.str.to_date("%Y-%m-%d", strict=False))

    return take


def _has_clock(form: str) -> bool:
    return any(code in form for code in ("%H", "%I", "%T", "%R", "%c", "%s"))


def _date_from_naive(_target: Target) -> Take:
    midnight = pl.lit(0, dtype=pl.Int64).cast(pl.Time)
    return lambda column: _known_years(pl.when(column.dt.time() == midnight).then(column.dt.date()).otherwise(None))


def _date_from_aware(target: Target) -> Take:
    naive = _date_from_naive(target)
    return lambda column: naive(column.dt.convert_time_zone(target.zone).dt.replace_time_zone(None))


def _datetime_from_string(target: Target) -> list[Take]:
    def written(column: pl.Expr) -> pl.Expr:
        text, form = column.str.strip_chars(), str(target.format)
        if "%z" in form:
            return _known_years(text.str.to_datetime(form, strict=False, time_unit="us", time_zone="UTC"))
        if not _has_clock(form):
            return _known_years(localise(text.str.to_date(form, strict=False).cast(pl.Datetime("us")), target.zone))
        return _known_years(localise(text.str.to_datetime(form, strict=False, time_unit="us"), target.zone))

    def iso(column: pl.Expr) -> pl.Expr:
        text = column.str.strip_chars()
        text = pl.when(text.str.contains(_ISO_TIME)).then(text.str.replace("T", " ", literal=True)).otherwise(None)
        naive = text.str.strip_suffix("Z").str.to_datetime("%Y-%m-%d %H:%M:%S%.f", strict=False, time_unit="us")
        utc = naive.dt.replace_time_zone("UTC")
        if target.zone == "UTC":
            return _known_years(utc)
        return _known_years(pl.when(text.str.ends_with("Z")).then(utc).otherwise(localise(naive, target.zone)))

    def offset(column: pl.Expr) -> pl.Expr:
        text = column.str.strip_chars()
        text = pl.when(text.str.contains(_ISO_OFFSET)).then(text.str.replace("T", " ", literal=True)).otherwise(None)
        return _known_years(text.str.to_datetime("%Y-%m-%d %H:%M:%S%.f%#z", strict=False, time_unit="us", time_zone="UTC"))

    return [written] if target.format else [iso, offset]


def localise(naive: pl.Expr, zone: str) -> pl.Expr:
    """Wall clock readings in `zone` as points in time: the earlier of two, null for one that a clock change leaves out."""
    return naive.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")


def _datetime_from_naive(target: Target) -> Take:
    return lambda column: _known_years(localise(column, target.zone))


def _datetime_from_date(target: Target) -> Take:
    return lambda column: localise(column.cast(pl.Datetime("us")), target.zone)


# lists


def set_of_texts(column: pl.Expr) -> pl.Expr:
    """A List(String) column as sets: trimmed, NFC, empty items dropped, sorted, each once."""
    item = pl.element().str.normalize("NFC").str.strip_chars()
    return column.list.eval(item.filter(item != "").unique().sort())


def _list_from_string(target: Target) -> Take:
    def take(column: pl.Expr) -> pl.Expr:
        text = column.str.strip_chars()
        return set_of_texts(pl.when(text.str.starts_with("[") | (text == "")).then(None).otherwise(text).str.split(target.separator))

    return take


def _list_from_list(_target: Target) -> Take:
    return set_of_texts


def _through_text(kind: str) -> Maker:
    """As if the column's canonical text had been given."""

    def make(target: Target) -> Take:
        first = _listed(_TEXT_WAYS[kind](target))[0]
        if target.type == "list":
            return lambda column: _list_from_string(Target("list", separator="\x00"))(first(column))
        return first

    return make


_TEXT_WAYS: dict[str, Maker] = {
    "string": _text_from_string,
    "integer": _cast(pl.String()),
    "float": _text_from_float,
    "decimal": lambda _target: decimal_text,
    "boolean": _cast(pl.String()),
    "date": lambda _target: date_text,
    "naive": lambda _target: wall_clock,
    "aware": lambda _target: datetime_cell_text,
    "list": _text_from_list,
}

_WAYS: dict[str, dict[str, Maker]] = {
    "text": _TEXT_WAYS,
    "integer": {
        "string": _integer_from_string,
        "integer": _same,
        "float": _integer_from_float,
        "decimal": _integer_from_decimal,
        "boolean": _cast(pl.Int64()),
    },
    "decimal": {
        "string": _decimal_from_string,
        "integer": _decimal_from_integer,
        "float": _decimal_from_float,
        "decimal": _decimal_from_decimal,
        "boolean": lambda target: lambda column: column.cast(pl.Int64).cast(target.dtype),
    },
    "float": {
        "string": _float_from_string,
        "integer": _cast(pl.Float64()),
        "float": _float_from_float,
        "decimal": _cast(pl.Float64()),
        "boolean": _cast(pl.Float64()),
    },
    "boolean": {
        "string": _boolean_from_string,
        "integer": _boolean_from_number,
        "float": _boolean_from_number,
        "decimal": _boolean_from_number,
        "boolean": _same,
    },
    "date": {"string": _date_from_string, "date": lambda _target: _known_years, "naive": _date_from_naive, "aware": _date_from_aware},
    "datetime": {
        "string": _datetime_from_string,
        "date": _datetime_from_date,
        "naive": _datetime_from_naive,
        "aware": lambda _target: _known_years,
    },
    "list": {
        "string": _list_from_string,
        "integer": _through_text("integer"),
        "float": _through_text("float"),
        "boolean": _through_text("boolean"),
        "date": _through_text("date"),
        "list": _list_from_list,
    },
    "json": {"string": _never, "integer": _through_text("integer"), "boolean": _through_text("boolean"), "list": _never, "float": _never},
    "reference": {kind: _TEXT_WAYS[kind] for kind in ("string", "integer", "float", "decimal", "boolean", "date", "naive", "aware")},
}
