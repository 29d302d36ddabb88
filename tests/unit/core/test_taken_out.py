"""Rows that a run made are taken out without looking at a value, and just as the undo that looks at everything takes them out."""

from __future__ import annotations

from typing import Any

import polars as pl
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.core.tools import ADA, NOW, agreed, candidate, entity, owed, shadow
from trueup.core.cells import GID, SYSTEM
from trueup.core.facts import GONE_SCHEMA, MISSING, PRESENT, UNREADABLE, WITHDRAWN, Decision, Facts
from trueup.core.reconcile import reconcile
from trueup.core.taken_out import taken_out
from trueup.core.undo import LINE_SCHEMA, TAKEN_OUT, Done, reverse

SHAPE = entity(systems=("crm", "shop", "list"))
RUN, SINCE = 7, 8
PLACES = [(gid, system) for gid in (1, 2, 3) for system in SHAPE.mappings]


def line(gid: int, run: int, kind: str = "edit", **told: Any) -> dict[str, Any]:
    """A line of the history."""
    values = {"field": "name", SYSTEM: "crm", "before": '"Al"', "after": '"Ada"'} | told
    return dict.fromkeys(LINE_SCHEMA) | {GID: gid, "run": run, "kind": kind} | values


def done(made: list[tuple[int, str]], *lines: dict[str, Any], deletable: frozenset[str] = frozenset(SHAPE.mappings)) -> Done:
    """A run that made these rows, with its own lines and those of later runs."""
    told = pl.DataFrame(list(lines), schema=LINE_SCHEMA)
    rows = [(gid, system, f"k{gid}") for gid, system in made]
    return Done(
        run=RUN,
        lines=told.filter(pl.col("run") == RUN),
        later=told.filter(pl.col("run") != RUN),
        created=pl.DataFrame(rows, schema=GONE_SCHEMA, orient="row"),
        deletable=deletable,
        writable=frozenset(SHAPE.mappings),
    )


def at_once(facts: Facts, run: Done) -> tuple[Decision, set[int]]:
    standing = facts.shadows.select("system", "key", "gid", "fingerprint", "state", "sent")
    decision, plain = taken_out(facts.entity, run, standing, facts.frozen[GID], NOW)
    return decision, set(plain)


def rows_out(decision: Decision) -> set[tuple[int, str]]:
    return set(decision.withdrawn.select(GID, SYSTEM).rows())


def test_rows_that_a_run_made_are_taken_out_where_others_remain():
    decision, plain = at_once(agreed(SHAPE, {1: ADA, 2: ADA}), done([(1, "shop"), (1, "list"), (2, "shop")]))
    assert plain == {1, 2}
    assert rows_out(decision) == {(1, "shop"), (1, "list"), (2, "shop")}
    assert set(decision.history.select(GID, SYSTEM, "kind", "rule").rows()) == {
        (gid, system, TAKEN_OUT, f"undo of run {RUN}") for gid, system in rows_out(decision)
    }


def test_what_needs_a_closer_look_is_left():
    made = [(1, "shop")]
    nothing: list[tuple[Facts, Done]] = [
        (agreed(SHAPE), done([(1, system) for system in SHAPE.mappings])),  # its last rows
        (agreed(SHAPE), done(made, line(1, RUN))),  # a value is to be put back as well
        (agreed(SHAPE), done(made, line(1, SINCE))),  # somebody has edited it
        (agreed(SHAPE), done(made, deletable=frozenset({"crm"}))),  # nothing can be deleted there
        (agreed(SHAPE, frozen=[candidate("crm", "Al")]), done(made)),
        (agreed(SHAPE, deltas=[shadow(1, "crm", sent={"name": "Al"})]), done(made)),  # crm is owed a value
        (agreed(SHAPE, deltas=[shadow(1, "shop", state=MISSING)]), done(made)),
        (agreed(SHAPE), done([(1, "elsewhere")])),  # a system that is not there any more
    ]
    for facts, run in nothing:
        decision, plain = at_once(facts, run)
        assert (plain, rows_out(decision), decision.anything) == (set(), set(), False)


def test_an_edit_that_is_undone_itself_stands_against_nothing():
    run = done([(1, "shop")], line(1, SINCE), line(1, SINCE + 1, "undo", rule=f"undo of run {SINCE}"))
    assert at_once(agreed(SHAPE), run)[1] == {1}


place = st.sampled_from(PLACES)
said = st.builds(
    line,
    st.sampled_from((1, 2, 3)),
    st.sampled_from((RUN, SINCE, SINCE + 1)),
    st.sampled_from(("edit", "lost", "undo", TAKEN_OUT, "overruled")),
    rule=st.sampled_from((None, f"undo of run {SINCE}", f"undo of run {RUN}")),
)
odd = st.builds(
    lambda where, state, sent, seen, fingerprint: shadow(*where, state=state, sent=sent, seen=seen, fingerprint=fingerprint),
    place,
    st.sampled_from((PRESENT, PRESENT, MISSING, UNREADABLE, WITHDRAWN)),
    st.sampled_from((None, None, {"name": "Al"})),
    st.sampled_from((None, {"name": "ADA"})),
    st.sampled_from((None, 5)),
)


@given(
    made=st.lists(place, unique=True, max_size=6),
    lines=st.lists(said, max_size=2),
    odds=st.lists(odd, max_size=2, unique_by=lambda item: (item["gid"], item["system"])),
    frozen=st.sampled_from((None, 1)),
    deletable=st.sampled_from((frozenset(SHAPE.mappings), frozenset({"shop"}))),
)
@settings(max_examples=settings().max_examples // 4)  # each costs what a dozen others do
@example(made=[(1, "shop"), (2, "list")], lines=[], odds=[], frozen=None, deletable=frozenset(SHAPE.mappings))
def test_what_is_decided_at_once_is_what_the_whole_undo_decides(
    made: list[tuple[int, str]], lines: list[dict[str, Any]], odds: list[dict[str, Any]], frozen: int | None, deletable: frozenset[str]
) -> None:
    waiting = [] if frozen is None else [candidate("crm", "Al", gid=frozen)]
    facts = agreed(SHAPE, dict.fromkeys((1, 2, 3), ADA), deltas=odds, frozen=waiting)
    run = done(made, *lines, deletable=deletable)
    decision, plain = at_once(facts, run)
    reversal = reverse(facts, run)
    whole = reconcile(facts, reversal.merged)
    of_them = pl.col(GID).is_in(list(plain))
    assert set(decision.history.rows()) == set(whole.history.filter(of_them).rows())
    assert rows_out(decision) == set(reversal.merged.withdrawn.filter(of_them).select(GID, SYSTEM).rows())
    assert reversal.refused.filter(of_them).is_empty()
    assert reversal.merged.changes.filter(of_them).is_empty()
    assert whole.golden.filter(pl.col("id").is_in(list(plain))).is_empty()
    marked = whole.shadows.filter(pl.col("gid").is_in(list(plain))).select("gid", "system", "state", "sent")
    assert set(marked.rows()) == {(gid, system, WITHDRAWN, "{}") for gid, system in rows_out(decision)}
    for system in SHAPE.mappings:
        todo, all_due = owed(facts, decision, system), owed(facts, whole, system)
        assert set(todo.deletes.rows()) == set(all_due.deletes.filter(of_them).rows())
        assert todo.creates.is_empty()
        assert todo.updates.is_empty()
        assert all_due.creates.filter(of_them).is_empty()
        assert all_due.updates.filter(of_them).is_empty()
