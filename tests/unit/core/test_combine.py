"""Merges that keep every side's work: counters, lists and texts."""

from __future__ import annotations

from random import Random
from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.tools import NOW, edit, edits, entity, hours
from trueup.core.cells import AT, GID, NULL, SYSTEM
from trueup.core.combine import add_deltas, beyond_counting, merge_lines, merge_texts, merge_unions
from trueup.model import Field

SHAPE = entity(
    Field(name="points", type="integer", conflict="add"),
    Field(name="balance", type="decimal", conflict="add"),
    Field(name="tags", type="list", conflict="union"),
)
SYSTEMS = ("crm", "shop", "till")


def total(*rows: dict[str, Any]) -> str:
    """What a counter comes to."""
    return str(add_deltas(SHAPE, edits(*rows))[1]["value"].item())


def tags(*items: str) -> str:
    return orjson.dumps(sorted(items)).decode()


def union(*rows: dict[str, Any]) -> str:
    """What a list comes to."""
    return str(merge_unions(edits(*(row | {"field": "tags"} for row in rows)))["value"].item())


def text(*rows: dict[str, Any]) -> str | None:
    """What a text comes to; None where the edits overlap."""
    merged, clashing = merge_texts(edits(*rows))
    assert merged.height + clashing.height == 1
    return None if merged.is_empty() else str(merged["value"].item())


# ---------------------------------------------------------------- add


def test_every_systems_change_is_added():
    assert total(edit("crm", "15", "10", "10"), edit("shop", "7", "10", "10")) == "12"


def test_a_change_is_counted_from_what_its_system_showed_not_from_golden():
    """The shop has not heard of 30 yet: it sold 2 of its 10."""
    assert total(edit("shop", "8", "10", "30")) == "28"


def test_null_counts_as_zero():
    assert total(edit("crm", "5", NULL, NULL)) == "5"
    assert total(edit("crm", NULL, "5", "7")) == "2"


def test_a_system_that_shows_null_is_told_the_sum():
    moved, totals = add_deltas(SHAPE, edits(edit("crm", NULL, "30", "30")))
    assert (totals["value"].item(), moved["moved_sent"].item()) == ("0", NULL)


def test_counters_whose_sum_may_not_fit_are_named():
    fits = edit("crm", "99999999999999999", "1", "1")
    assert beyond_counting(edits(fits, edit("crm", "-100000000000000000", "1", "1", **{GID: 2}))).rows() == [(2, "points")]
    assert beyond_counting(edits(edit("crm", NULL, "5", None), edit("crm", "0.00000000000000000001", "5", None))).is_empty()


def test_decimals_are_added_exactly():
    row = {"field": "balance"}
    assert total(edit("crm", "0.3", "0.1", "0.1") | row, edit("shop", "0.2", "0.1", "0.1") | row) == "0.4"


def test_after_its_own_change_a_system_stands_for_that_much_more():
    """What others added is still to be delivered: 12 is due in both."""
    moved, _totals = add_deltas(SHAPE, edits(edit("crm", "15", "10", "10"), edit("shop", "7", "10", "10")))
    assert dict(moved.select(SYSTEM, "moved_sent").rows()) == {"crm": "15", "shop": "7"}


def test_a_system_that_rounds_stands_for_the_golden_value_and_its_own_change():
    """The till holds 10 and stands for 10.4; one more makes it stand for 11.4, so that nothing is due."""
    moved, totals = add_deltas(SHAPE, edits(edit("till", "11", "10", "10.4", field="balance", sent="10.4")))
    assert moved["moved_sent"].item() == totals["value"].item() == "11.4"


def test_a_total_is_dated_by_the_latest_change():
    rows = [edit("shop", "7", "10", "10", **{AT: hours(-3)}), edit("crm", "9", "10", "10", **{AT: hours(-2)})]
    for order in (rows, rows[::-1]):
        _moved, totals = add_deltas(SHAPE, edits(*order))
        assert totals.select(SYSTEM, AT).row(0) == ("crm", hours(-2))


def test_counters_of_different_records_and_fields_are_kept_apart():
    _moved, totals = add_deltas(
        SHAPE,
        edits(
            edit("crm", "1", "0", "0"),
            edit("crm", "20", "0", "0", **{GID: 2}),
            edit("crm", "300", "0", "0", field="balance"),
        ),
    )
    assert set(totals.select(GID, "field", "value").rows()) == {(1, "points", "1"), (2, "points", "20"), (1, "balance", "300")}


NUMBERS = st.integers(-1000, 1000)


@given(NUMBERS, st.dictionaries(st.sampled_from(SYSTEMS), st.tuples(NUMBERS, NUMBERS), min_size=1), st.randoms(use_true_random=False))
def test_adding_up_needs_no_order(agreed: int, said: dict[str, tuple[int, int]], random: Random) -> None:
    rows = [edit(system, str(now), str(before), str(agreed)) for system, (before, now) in said.items()]
    expected = agreed + sum(now - before for before, now in said.values())
    assert total(*rows) == str(expected)
    assert total(*random.sample(rows, len(rows))) == str(expected)


# ---------------------------------------------------------------- union


def test_what_anybody_added_is_in_and_what_anybody_removed_is_out():
    base = tags("post")
    assert union(edit("crm", tags("post", "vip"), base, base), edit("shop", tags("news"), base, base)) == tags("news", "vip")


def test_an_item_that_one_added_and_another_removed_stays():
    assert union(edit("crm", tags(), tags("vip"), tags("vip")), edit("shop", tags("vip"), tags(), tags("vip"))) == tags("vip")


def test_what_a_system_never_had_it_does_not_remove():
    assert union(edit("shop", tags("a"), tags(), tags("b"))) == tags("a", "b")


def test_an_emptied_list_is_empty_and_a_nulled_one_null():
    assert union(edit("crm", tags(), tags("a"), tags("a"))) == "[]"
    assert union(edit("crm", NULL, tags("a"), tags("a"))) == NULL


def test_a_list_that_everybody_says_is_empty_is_no_null():
    assert union(edit("crm", tags(), NULL, NULL), edit("shop", tags(), NULL, NULL)) == "[]"


def test_a_list_that_was_null_and_got_nothing_stays_null():
    assert union(edit("crm", tags(), tags("a"), NULL)) == NULL


LISTS = st.one_of(st.just(NULL), st.sets(st.sampled_from("abcd")).map(lambda items: tags(*items)))


@given(LISTS, st.dictionaries(st.sampled_from(SYSTEMS), st.tuples(LISTS, LISTS), min_size=1), st.randoms(use_true_random=False))
def test_joining_lists_needs_no_order(agreed: str, said: dict[str, tuple[str, str]], random: Random) -> None:
    rows = [edit(system, now, before, agreed) for system, (before, now) in said.items()]
    assert union(*random.sample(rows, len(rows))) == union(*rows)


@given(LISTS, st.dictionaries(st.sampled_from(SYSTEMS), st.tuples(LISTS, LISTS), min_size=1))
def test_a_joined_list_has_what_was_added_and_nothing_that_was_only_removed(agreed: str, said: dict[str, tuple[str, str]]) -> None:
    def items(cell: str) -> set[str]:
        return set() if cell == NULL else set(orjson.loads(cell))

    added = set[str]().union(*(items(now) - items(before) for before, now in said.values()))
    removed = set[str]().union(*(items(before) - items(now) for before, now in said.values()))
    merged = items(union(*(edit(system, now, before, agreed) for system, (before, now) in said.items())))
    assert merged == (items(agreed) - removed) | added


# ---------------------------------------------------------------- text

BASE = "tea\n\nno calls"


def test_edits_of_lines_that_do_not_touch_are_both_kept():
    both = text(edit("crm", "green tea\n\nno calls", BASE, BASE), edit("shop", "tea\n\nno calls before ten", BASE, BASE))
    assert both == "green tea\n\nno calls before ten"


def test_an_edit_meets_what_golden_has_become():
    assert text(edit("shop", "tea\n\nno calls before ten", BASE, "green tea\n\nno calls")) == "green tea\n\nno calls before ten"


def test_two_edits_of_one_line_overlap():
    assert text(edit("crm", "green tea\n\nno calls", BASE, BASE), edit("shop", "black tea\n\nno calls", BASE, BASE)) is None


def test_the_same_edit_twice_is_one():
    edited = "green tea\n\nno calls"
    assert text(edit("crm", edited, BASE, BASE), edit("shop", edited, BASE, BASE)) == edited


def test_lines_without_an_unchanged_one_between_them_overlap():
    base = "one\ntwo\n"
    assert text(edit("crm", "1\ntwo\n", base, base), edit("shop", "one\n2\n", base, base)) is None


def test_a_text_cleared_to_null_meets_no_other_edit():
    assert text(edit("crm", NULL, BASE, BASE)) == NULL
    assert text(edit("crm", NULL, BASE, BASE), edit("shop", "coffee", BASE, BASE)) is None


def test_a_clash_is_told_by_record_and_field_and_harms_no_other():
    rows = edits(
        edit("crm", "x", BASE, BASE, field="notes"),
        edit("shop", "y", BASE, BASE, field="notes"),
        edit("crm", "z", BASE, BASE, field="notes", **{GID: 2}),
    )
    merged, clashing = merge_texts(rows)
    assert clashing.rows() == [(1, "notes")]
    assert merged.select(GID, "value").rows() == [(2, "z")]


LINES = st.lists(st.sampled_from(["a\n", "b\n", "c\n"]), max_size=5)


@given(LINES, LINES)
def test_one_side_alone_is_taken_as_it_is(base: list[str], changed: list[str]) -> None:
    assert merge_lines(base, changed, base) == changed
    assert merge_lines(base, base, changed) == changed
    assert merge_lines(base, changed, changed) == changed


@given(LINES, LINES, LINES)
def test_a_text_merge_does_not_ask_who_is_who(base: list[str], ours: list[str], theirs: list[str]) -> None:
    assert merge_lines(base, ours, theirs) == merge_lines(base, theirs, ours)


@given(LINES, LINES, LINES)
def test_a_text_merge_loses_and_invents_no_line(base: list[str], ours: list[str], theirs: list[str]) -> None:
    """What a side added stands; what both added alike at one place may count once."""
    merged = merge_lines(base, ours, theirs)
    if merged is None:
        return
    assert set(merged) <= set(ours) | set(theirs)
    for line in (set(ours) | set(theirs)) - set(base):
        added = ours.count(line), theirs.count(line)
        assert max(added) <= merged.count(line) <= sum(added)


@given(st.lists(st.sampled_from("abc"), min_size=3, max_size=3), st.permutations(SYSTEMS))
def test_the_order_of_rows_does_not_matter_for_texts(words: list[str], order: list[str]) -> None:
    base = "\n".join("xyzuv")
    lines = {"crm": 0, "shop": 2, "till": 4}
    rows = {}
    for word, (system, number) in zip(words, lines.items(), strict=True):
        changed = base.split("\n")
        changed[number] = word
        rows[system] = edit(system, "\n".join(changed), base, base)
    assert text(*(rows[system] for system in order)) == f"{words[0]}\ny\n{words[1]}\nu\n{words[2]}"


@pytest.mark.parametrize("merge", [merge_unions, lambda rows: merge_texts(rows)[0]])
def test_a_merged_value_is_dated_by_the_latest_edit_and_ties_go_by_precedence(merge: Any) -> None:
    def by(crm: int, shop: int) -> Any:
        crms, shops = edit("crm", "[]", '["a"]', '["a"]', **{AT: hours(crm)}), edit("shop", "[]", '["a"]', '["a"]', **{AT: hours(shop)})
        found: pl.DataFrame = merge(edits(crms, shops))
        return found.select(SYSTEM, AT).row(0)

    assert by(-2, -1) == ("shop", hours(-1))
    assert by(0, 0) == ("crm", NOW)
