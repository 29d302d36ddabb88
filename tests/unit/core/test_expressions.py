"""Expressions: what they compute, what they must never be able to do, and that one bad row harms only itself."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.core.expressions import FUNCTIONS, evaluate, parse_expression, result_type

FRAME = pl.DataFrame(
    {
        "name": ["José García Márquez", "Cher", None, "a.b c"],
        "Customer No": [1, 2, None, 4],
        "price": pl.Series(["10.10", "0.30", None, "-5"], dtype=pl.String).cast(pl.Decimal(38, 12)),
        "born": [date(1990, 5, 17), None, date(1, 1, 1), date(9999, 12, 31)],
    }
)


def values(text: str) -> list:
    found, failed = evaluate(FRAME, parse_expression(text, FRAME.columns))
    assert failed.is_empty()
    return found.to_list()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("strpos(name, ' ')", [5, 0, None, 4]),
        ("strpos(name, '.')", [0, 0, None, 2]),
        ("position('.' IN name)", [0, 0, None, 2]),
        ("split_part(name, ' ', 1)", ["José", "Cher", None, "a.b"]),
        ("CASE WHEN strpos(name, ' ') > 0 THEN substr(name, strpos(name, ' ') + 1) END", ["García Márquez", None, None, "c"]),
        ("concat_ws(' ', name, 'x')", ["José García Márquez x", "Cher x", "x", "a.b c x"]),
        ("name || '!'", ["José García Márquez!", "Cher!", None, "a.b c!"]),
        ('"Customer No" + 1', [2, 3, None, 5]),
        ('"Customer No" / 2', [0.5, 1.0, None, 2.0]),
        ('"Customer No" // 2', [0, 1, None, 2]),
        ("price * 0.5", [Decimal("5.05"), Decimal("0.15"), None, Decimal("-2.5")]),
        ("price + price + price", [Decimal("30.3"), Decimal("0.9"), None, Decimal(-15)]),
        ("greatest(price, 0)", [Decimal("10.1"), Decimal("0.3"), 0, 0]),
        ("price < 0.31", [False, True, None, True]),
        ("coalesce(name, 'nobody') IN ('Cher', 'nobody')", [False, True, True, False]),
        ("name LIKE '%.%'", [False, False, None, True]),
        ("date_part('year', born)", [1990, None, 1, 9999]),
        ("strftime(born, '%d/%m/%Y')", ["17/05/1990", None, "01/01/0001", "31/12/9999"]),
        ("'it''s'", ["it's"] * 4),
        ("nullif(lower(name), 'cher')", ["josé garcía márquez", None, None, "a.b c"]),
    ],
)
def test_results(text, expected):
    assert values(text) == expected


def test_columns_are_named_in_order_of_use():
    assert parse_expression('concat(name, "Customer No", name)').names == ("name", "Customer No")
    assert parse_expression("'constant'").names == ()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("sum(price)", "sum()"),
        ("SUM\n(price)", "SUM()"),
        ('"sum"(price)', "sum()"),
        ("`sum`(price)", "sum()"),
        ("now()", "now()"),
        ("random()", "random()"),
        ("row_number() OVER (ORDER BY price)", "row_number()"),
        ("abs(price) OVER (PARTITION BY name)", "OVER"),
        ("CURRENT_DATE", "CURRENT_DATE"),
        ("current_timestamp", "current_timestamp"),
        ("(SELECT 1)", "SELECT"),
        ("price IN (select price)", "select"),
        ("EXISTS (SELECT 1)", "EXISTS"),
        ("read_csv('/etc/passwd')", "read_csv()"),
        ("columns('.*')", "columns()"),
        ('"^.*$"', "^.*$"),
        ("count(DISTINCT name)", "count()"),
        ("lowr(name)", "lower"),
        ("name -- comment", "comments"),
        ("rank/**/()", "comments"),
        ("lower(name); drop table x", ";"),
        ("E'a\\n'", "prefix"),
        ("x'ff'", "prefix"),
        ("$$name$$", "$$name$$"),
        ("name[1]", "[1]"),
        ("'open", "unclosed quote"),
        ("", "empty"),
        ("name price", "a word too many"),
        ("name AS price", "a word too many"),
        ("name, price", "cannot read"),
        ("strpos(name)", "two arguments"),
        ("strpos(name", "not closed"),
        ("*", "cannot read"),
    ],
)
def test_what_is_not_one_row_and_no_side_effect_is_refused_by_name(text, named):
    with pytest.raises(ValueError, match=r".") as caught:
        parse_expression(text)
    assert named in str(caught.value)


def test_an_unknown_column_brings_the_nearest_one():
    with pytest.raises(ValueError, match=r"unknown column 'nmae'.*did you mean 'name'"):
        parse_expression("lower(nmae)", FRAME.columns)


def test_a_column_with_the_name_of_a_forbidden_word_can_be_quoted():
    found, _ = evaluate(pl.DataFrame({"order": [3]}), parse_expression('"order" * 2'))
    assert found.to_list() == [6]


def test_only_the_bad_rows_fail_and_each_says_why():
    frame = pl.DataFrame({"v": ["1", "x", None, "3", "x", "y"] * 50})
    found, failed = evaluate(frame, parse_expression("CAST(v AS BIGINT) * 2"))
    assert found.to_list()[:6] == [2, None, None, 6, None, None]
    assert failed["row"].to_list() == [row for row in range(300) if row % 6 in {1, 4, 5}]
    assert failed["reason"][0] == '"x" in v cannot be made a whole number'


def test_division_of_a_decimal_by_zero_fails_on_that_row_alone():
    frame = pl.DataFrame({"a": pl.Series([1, 1], dtype=pl.Decimal(38, 2)), "b": pl.Series([0, 4], dtype=pl.Decimal(38, 2))})
    found, failed = evaluate(frame, parse_expression("a / b"))
    assert found.to_list() == [None, Decimal("0.25")]
    assert failed["row"].to_list() == [0]


def test_types_that_do_not_fit_fail_on_every_row():
    found, failed = evaluate(FRAME, parse_expression("lower(price)"))
    assert found.null_count() == failed.height == FRAME.height
    with pytest.raises(ValueError, match="cannot run"):
        result_type(parse_expression("lower(price)"), {"price": pl.Decimal(38, 12)})
    assert result_type(parse_expression("length(name) > 3"), {"name": pl.String()}) == pl.Boolean


def test_a_wanted_type_is_cast_to_strictly():
    found, failed = evaluate(pl.DataFrame({"v": ["7", "x"]}), parse_expression("v"), pl.Int64())
    assert found.to_list() == [7, None]
    assert failed["row"].to_list() == [1]


def test_no_rows_give_no_values():
    found, failed = evaluate(FRAME.clear(), parse_expression("lower(name)"))
    assert found.len() == failed.height == 0
    assert evaluate(FRAME, parse_expression("1"))[0].len() == FRAME.height


@given(st.text(max_size=30))
def test_any_text_is_either_an_expression_or_a_reason(text):
    try:
        compiled = parse_expression(text, ["name"])
    except ValueError as refused:
        assert str(refused)  # noqa: PT017 - either outcome is right, a crash is not
    else:
        assert set(compiled.names) <= {"name"}


@given(st.sampled_from(sorted(FUNCTIONS)), st.lists(st.sampled_from(["name", "'x'", "1", "price"]), max_size=4))
def test_every_function_is_row_by_row(function, arguments):
    """The value of a row never depends on the other rows."""
    text = f"{function}({', '.join(arguments)})"
    try:
        compiled = parse_expression(text, FRAME.columns)
    except ValueError:
        return
    whole, failed = evaluate(FRAME, compiled)
    for row in range(FRAME.height):
        alone, failed_alone = evaluate(FRAME[row : row + 1], compiled)
        assert alone.len() == 1
        if not failed.height and not failed_alone.height:
            assert str(alone[0]) == str(whole[row])
