"""From native values to typed ones: what is taken, what is refused, and that whole columns and single values agree."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.core.coerce import coerce_columns
from trueup.core.number_format import number_format
from trueup.core.types import Target, canonical_json, coerce_value, format_problem, load_json

LONDON = "Europe/London"
DAY_US = 86_400_000_000


def both_ways(value: object, target: Target, dtype: pl.DataType | None = None) -> object:
    """The value coerced alone and as a column; the two must agree. Raises ValueError when both refuse it."""
    coerced = coerce_columns(pl.DataFrame({"v": pl.Series([value], dtype=dtype)}), {"v": target})
    try:
        alone = coerce_value(value, target)
    except ValueError as error:
        reasons = [] if "v" not in coerced.failures else coerced.failures["v"]["reason"].to_list()
        if reasons != [str(error)]:
            pytest.fail(f"refused alone ({error}), but as a column: {reasons}")
        raise
    assert coerced.failures == {}
    column = coerced.values["v"]
    assert column.to_list() == pl.Series([alone], dtype=target.dtype).to_list()
    return column.to_list()[0]


@pytest.mark.parametrize(
    ("value", "target", "expected"),
    [
        ("12", Target("integer"), 12),
        (" +12 ", Target("integer"), 12),
        ("12.0", Target("integer"), 12),
        ("-9223372036854775808", Target("integer"), -(2**63)),
        (12.0, Target("integer"), 12),
        (True, Target("integer"), 1),
        ("1,234", Target("integer", format="1,234"), 1234),
        ("", Target("integer"), None),
        ("  ", Target("date"), None),
        ("0.1", Target("decimal"), Decimal("0.1")),
        (0.1, Target("decimal"), Decimal("0.1")),
        ("1e3", Target("decimal"), Decimal(1000)),
        (".5", Target("decimal"), Decimal("0.5")),
        ("12345678901234567890123456.123456789012", Target("decimal"), Decimal("12345678901234567890123456.123456789012")),
        ("1.125", Target("decimal", scale=2), Decimal("1.12")),
        ("1.135", Target("decimal", scale=2), Decimal("1.14")),
        ("1.1250000000000001", Target("decimal", scale=2), Decimal("1.13")),
        ("-2.5", Target("decimal", scale=0), Decimal(-2)),
        ("1,234.56", Target("decimal", format="1,234.56"), Decimal("1234.56")),
        ("1.234,56", Target("decimal", format="1.234,56"), Decimal("1234.56")),
        ("1 234,5 kr", Target("decimal", format="1 234,56 kr"), Decimal("1234.5")),
        ("£-1,234", Target("decimal", format="£1,234.56"), Decimal(-1234)),
        ("(12.50)", Target("decimal", format="1,234.56"), Decimal("-12.5")),
        ("-0.0", Target("float"), 0.0),
        ("1e300", Target("float"), 1e300),
        ("YES", Target("boolean"), True),
        ("off", Target("boolean"), False),
        (1, Target("boolean"), True),
        (0.0, Target("boolean"), False),
        ("ja", Target("boolean", format="Ja/Nein"), True),
        ("0001-01-01", Target("date"), date(1, 1, 1)),
        ("9999-12-31", Target("date"), date(9999, 12, 31)),
        ("2026-11-20T00:00:00", Target("date"), date(2026, 11, 20)),
        ("31/12/1999", Target("date", format="%d/%m/%Y"), date(1999, 12, 31)),
        ("2026-07-01 12:00:00", Target("datetime", zone=LONDON), datetime(2026, 7, 1, 11, tzinfo=UTC)),
        ("2026-07-01T12:00:00.5Z", Target("datetime", zone=LONDON), datetime(2026, 7, 1, 12, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-07-01 12:00:00+02", Target("datetime", zone=LONDON), datetime(2026, 7, 1, 10, tzinfo=UTC)),
        ("01.07.2026 12:00 +0200", Target("datetime", zone=LONDON, format="%d.%m.%Y %H:%M %z"), datetime(2026, 7, 1, 10, tzinfo=UTC)),
        ("01.07.2026 12:00", Target("datetime", zone=LONDON, format="%d.%m.%Y %H:%M"), datetime(2026, 7, 1, 11, tzinfo=UTC)),
        ("01.07.2026", Target("datetime", zone=LONDON, format="%d.%m.%Y"), datetime(2026, 6, 30, 23, tzinfo=UTC)),
        ("2026-07-01", Target("datetime", zone=LONDON), datetime(2026, 6, 30, 23, tzinfo=UTC)),
        (datetime(2026, 10, 25, 1, 30), Target("datetime", zone=LONDON), datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),  # noqa: DTZ001
        (datetime(2026, 7, 1), Target("date"), date(2026, 7, 1)),  # noqa: DTZ001
        ("b; a;;a ", Target("list"), ["a", "b"]),
        ('["b","a;c"]', Target("list"), ["a;c", "b"]),
        ("[a;b", Target("list"), ["[a", "b"]),
        ('{"b": 1.0, "a": null}', Target("json"), '{"a":null,"b":1.0}'),
        ("null", Target("json"), None),
        (42, Target("reference"), "42"),
        (42.0, Target("reference"), "42"),
        (12.0, Target("text"), "12"),
        (0.1, Target("text"), "0.1"),
        ("e\u0301", Target("text"), "\u00e9"),
        ("", Target("text"), ""),
    ],
)
def test_usual_and_unusual_ways_of_writing_are_understood(value, target, expected):
    found = both_ways(value, target)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "target", "reason"),
    [
        ("twelve", Target("integer"), '"twelve" is not a whole number'),
        ("12.5", Target("integer"), '"12.5" is not a whole number'),
        ("9223372036854775808", Target("integer"), "beyond 64-bit"),
        ("\uff11\uff12", Target("integer"), "is not a whole number"),
        ("1_000", Target("integer"), "is not a whole number"),
        ("1,234.56", Target("decimal"), "say how numbers are written with format"),
        ("1,50", Target("decimal", format="1,234.56"), "written like 1,234.56"),
        ("1.0000000000001", Target("decimal"), "more than 12 decimal places"),
        ("1e40", Target("decimal"), "too many digits"),
        ("NaN", Target("decimal"), "not a finite number"),
        ("Infinity", Target("float"), "not a finite number"),
        (float("nan"), Target("decimal"), "not a finite number"),
        (float("inf"), Target("text"), "not a finite number"),
        ("1e999", Target("float"), "not a finite number"),
        ("maybe", Target("boolean"), "is not yes or no"),
        (2, Target("boolean"), "is not yes or no"),
        ("2026-02-30", Target("date"), "is not a date"),
        ("20261120", Target("date"), "is not a date"),
        ("2026-07-01 12:00:00", Target("date"), "has a time of day"),
        ("31/12/1999", Target("date"), "need format"),
        ("2026-12-31 23:59:60", Target("datetime"), "is not a date and time"),
        ("2026-03-29 01:30:00", Target("datetime", zone=LONDON), "does not exist in Europe/London"),
        (datetime(2026, 3, 29, 1, 30), Target("datetime", zone=LONDON), "does not exist in Europe/London"),  # noqa: DTZ001
        ("0001-01-01 00:00:00", Target("datetime", zone="Asia/Tokyo"), "outside the years"),
        ('[["a"]]', Target("list"), "a list of texts is expected"),
        ("{not json", Target("json"), "is not JSON"),
        ("a\x00b", Target("text"), "NUL"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_value(value, target, reason):
    with pytest.raises(ValueError, match=r".") as caught:
        both_ways(value, target)
    assert reason in str(caught.value)


NUMBERISH = st.text(alphabet="0123456789+-.eE ,_", max_size=24)
DATEISH = st.from_regex(r"\A[ ]?\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}(:?\d{2})?)?)?\Z")
WORDS = st.sampled_from(["yes", "No", " TRUE ", "f", "on", "ja", "1", "0", "2", "", "ON "])


@given(
    st.one_of(NUMBERISH, DATEISH, WORDS, st.text(max_size=12)), st.sampled_from(["text", "integer", "decimal", "float", "boolean", "list"])
)
def test_columns_and_single_values_agree(value, kind):
    target = Target(kind)
    try:
        both_ways(value, target, pl.String())
    except ValueError as refused:
        assert str(refused)  # noqa: PT017 - refusing is fine, as long as both ways refuse alike


@given(DATEISH, st.sampled_from(["date", "datetime"]), st.sampled_from(["UTC", LONDON, "America/Sao_Paulo", "Asia/Kolkata"]))
def test_columns_and_single_dates_agree(value, kind, zone):
    try:
        both_ways(value, Target(kind, zone=zone), pl.String())
    except ValueError as refused:
        assert str(refused)  # noqa: PT017 - refusing is fine, as long as both ways refuse alike


@given(st.datetimes(min_value=datetime(1901, 1, 1), max_value=datetime(2037, 12, 31)), st.sampled_from([LONDON, "America/New_York"]))  # noqa: DTZ001
def test_wall_clock_columns_and_single_values_agree(value, zone):
    try:
        both_ways(value, Target("datetime", zone=zone), pl.Datetime("us"))
    except ValueError as refused:
        assert "does not exist" in str(refused)  # noqa: PT017


def test_a_column_of_many_rows_reports_each_bad_row_and_keeps_the_others():
    column = pl.DataFrame({"v": ["1", "x", None, "", "2.50", "x", "1e1"]})
    coerced = coerce_columns(column, {"v": Target("decimal")})
    assert coerced.values["v"].to_list() == [Decimal(1), None, None, None, Decimal("2.5"), None, Decimal(10)]
    assert coerced.failures["v"]["row"].to_list() == [1, 5]


@given(
    st.from_regex(r"[+-]?[0-9]{1,28}(\.[0-9]{0,14})?( |\n|٣)?", fullmatch=True),
    st.one_of(st.none(), st.integers(min_value=0, max_value=12)),
    st.sampled_from(["decimal", "text"]),
)
def test_a_few_texts_are_read_as_many_are(text, scale, kind):
    target = Target(kind, scale=scale if kind == "decimal" else None)
    few = coerce_columns(pl.DataFrame({"v": [text]}), {"v": target})
    many = coerce_columns(pl.DataFrame({"v": [text] * 1_001}), {"v": target})
    assert few.values["v"].to_list() * 1_001 == many.values["v"].to_list()
    assert few.values.schema == many.values.schema
    assert few.failures.keys() == many.failures.keys()


def test_a_column_that_can_never_be_such_a_type_is_an_error():
    with pytest.raises(ValueError, match="cannot be read as date"):
        coerce_columns(pl.DataFrame({"v": [True]}), {"v": Target("date")})


@pytest.mark.parametrize(
    ("example", "number", "written"),
    [
        ("1,234.56", "1234567.8", "1,234,567.80"),
        ("1,234.56", "-0.125", "-0.125"),
        ("1.234,56", "999", "999,00"),
        ("1234", "12", "12"),
        ("£1,234", "1000", "£1,000"),
        ("1 234,5 kr", "1000.25", "1 000,25 kr"),
        ("1'234.50", "1234", "1'234.00"),
    ],
)
def test_numbers_are_written_like_the_example_and_read_back(example, number, written):
    form = number_format(example)
    assert form.written(number) == written
    assert coerce_value(written, Target("decimal", format=example)) == Decimal(number)


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        (Target("decimal", format="0.00"), "write the number 1234"),
        (Target("decimal", format="1,234,5"), "write the number 1234"),
        (Target("date", format="dd/mm/yyyy"), "strptime codes"),
        (Target("date", format="%d/%m"), "whole date"),
        (Target("datetime", format="%Y-%m-%d %Q"), "strptime codes"),
        (Target("boolean", format="yes"), "two words"),
        (Target("text", format="x"), "takes no format"),
    ],
)
def test_formats_that_mean_nothing_are_named(target, problem):
    assert problem in str(format_problem(target))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_canonical_json_is_canonical(value):
    text = canonical_json(value)
    assert canonical_json(load_json(text)) == text


def test_json_numbers_beyond_floats_are_exact():
    text = '{"a":12345678901234567890123,"b":0.12345678901234567890123}'
    assert coerce_value(text, Target("json")) == text


@pytest.mark.parametrize("rows", [1, 3, 2_000])
@pytest.mark.parametrize(
    ("target", "dtype", "first", "last"),
    [
        (Target("date"), pl.Date(), -719_162, 2_932_896),
        (Target("datetime"), pl.Datetime("us", "UTC"), -719_162 * DAY_US, 2_932_897 * DAY_US - 1),
    ],
    ids=["date", "datetime"],
)
def test_years_that_python_does_not_know_are_not_taken_be_they_few_or_many(
    target: Target, dtype: pl.DataType, first: int, last: int, rows: int
) -> None:
    whole = pl.Int32() if dtype == pl.Date else pl.Int64()

    def taken(*values: int | None) -> list[int | None]:
        column = pl.Series("v", [*values] * rows, dtype=whole).cast(dtype)
        return coerce_columns(column.to_frame(), {"v": target}).values["v"].to_physical().to_list()

    assert taken(first, last, None) == [first, last, None] * rows
    assert taken(None) == [None] * rows
    with pytest.raises((ValueError, OverflowError)):
        taken(first, last + 1)
    with pytest.raises((ValueError, OverflowError)):
        taken(first - 1, last)
