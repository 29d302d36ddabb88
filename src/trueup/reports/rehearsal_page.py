"""A rehearsal as one HTML file to hand around: no other file, no script, readable on a phone and on paper."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from trueup.reports.page import numbers, page, table
from trueup.reports.rehearsal_text import (
    WEATHER_WORDS,
    agreement_table,
    copies_table,
    ending,
    first_lines,
    flow_table,
    headline,
    held_table,
    load_table,
    moves_table,
    rejected_table,
    script_lines,
    settled_table,
)
from trueup.reports.table import duration, moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trueup.reports.rehearsal_facts import Rehearsal
    from trueup.reports.rehearsal_text import Table


def rehearsal_page(found: Rehearsal) -> str:
    """The page, whole."""
    verdict, _, rest = headline(found).partition("\n")
    body = [
        "<h1>What would have happened</h1>",
        f'<p class="quiet">Rehearsed at {moment(found.began_at)} by trueup on masked copies: nothing real was written.</p>',
        f"<p><b>{escape(verdict)}</b> {escape(rest)}</p>",
        _numbers(found),
        *_advice(found),
        *_part("What was copied", copies_table(found), found.notes),
        *_part("How values were masked", _masks(found)),
        *_part("The first run", flow_table(found.first), first_lines(found)),
        *_part(f"The script, {WEATHER_WORDS[found.weather]}", moves_table(found), script_lines(found)),
        *_part("Where edits met", settled_table(found)),
        *_part("Held by guards", held_table(found)),
        *_part("Set aside", rejected_table(found)),
        *_part("What the systems were asked", load_table(found)),
        *_part("At the end", agreement_table(found), [ending(found)]),
        f'<p class="quiet">Seed {found.seed}; {escape(duration(found.seconds))}.</p>',
    ]
    return page("What would have happened", [part for part in body if part])


def _numbers(found: Rehearsal) -> str:
    return numbers(
        [
            (f"{sum(one.copied for one in found.copies):,}", "rows copied and masked"),
            (f"{sum(found.edits.values()):,}", "edits by the script"),
            (f"{found.lost:,}", "edits lost"),
            (f"{found.duplicates:,}", "rows made twice"),
            (f"{sum(found.troubles.values()):,}", "calls that went wrong"),
            (f"{sum(one.waiting for one in found.settled):,}", "conflicts for a person"),
            (f"{len(found.held):,}", "parts held by guards"),
        ]
    )


def _advice(found: Rehearsal) -> Iterable[str]:
    if not found.advice:
        return ["<p>Nothing to change before switching on.</p>"]
    items = "".join(f"<li>{escape(line)}</li>" for line in found.advice)
    return ["<h2>Before you switch this on</h2>", f"<ul>{items}</ul>"]


def _masks(found: Rehearsal) -> Table:
    return ("system", "column", "masked"), [[one.system, name, how] for one in found.copies for name, how in one.columns.items()]


def _part(title: str, shown: Table, tail: Sequence[str] = ()) -> Iterable[str]:
    head, rows = shown
    if not rows and not tail:
        return
    yield f"<h2>{escape(title)}</h2>"
    yield table("", head, rows)
    yield from (f"<p>{escape(line)}</p>" for line in tail)
