"""A profile as one HTML file to hand around, with a small plot for each column."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from trueup.reports.page import Safe, histogram, lines, numbers, page, shares, table, value
from trueup.reports.profile_words import (
    clock_is_wrong,
    clock_words,
    doubled_words,
    far_out,
    kinds_line,
    looks_like,
    match_words,
    object_line,
    orphan_words,
    proposal_line,
    samples_of,
    untidy,
)
from trueup.reports.table import moment, show

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from trueup.reports.profile_facts import ColumnProfile, ObjectProfile, ProfileReport, SystemProfile


def profile_page(report: ProfileReport) -> str:
    """The page, whole."""
    body = [
        "<h1>What the systems hold</h1>",
        f'<p class="quiet">Measured at {moment(report.measured_at)} by trueup, by reading only: nothing was changed anywhere.</p>',
        _numbers(report),
    ]
    for system in report.systems.values():
        body += _system(system)
    body.append(
        '<p class="quiet">In the plots of rows: green is filled and tidy, amber is untidy or stands for nothing, grey is empty. Numbers and'
        " days are called far out beyond three times the width of the middle half, where the median distance confirms it.</p>"
    )
    return page("What the systems hold", body)


def _numbers(report: ProfileReport) -> str:
    objects = [item for system in report.systems.values() for item in system.objects]
    columns = [column for item in objects for column in item.columns.values()]
    return numbers(
        [
            (f"{len(objects):,}", "objects"),
            (f"{sum(item.rows for item in objects):,}", "rows"),
            (f"{len(columns):,}", "columns"),
            (f"{sum(column.dirty for column in columns):,}", "untidy values"),
            (f"{sum(column.proposal is not None and bool(column.proposal.clean) for column in columns):,}", "columns to clean"),
            (f"{sum(found.rows for item in objects for found in item.orphans):,}", "rows that point to nothing"),
        ]
    )


def _system(system: SystemProfile) -> Iterator[str]:
    yield f"<h2><bdi>{escape(system.name)}</bdi></h2>"
    if system.error is not None:
        yield f'<p class="warn">{escape(system.error)}</p>'
    else:
        kind = "warn" if clock_is_wrong(system.clock) else "quiet"
        yield f'<p class="{kind}">{escape(system.connector)}; {escape(clock_words(system.clock))}</p>'
    yield from (f'<p class="warn">Left out: {escape(what)}: {escape(why)}</p>' for what, why in system.left_out.items())
    for item in system.objects:
        yield from _object(item)


def _object(item: ObjectProfile) -> Iterator[str]:
    title = f"{item.name} ({item.entity})" if item.entity else item.name
    yield f"<h3>{escape(show(title))}</h3><p>{escape(object_line(item))}.</p>"
    yield from (f'<p class="warn">{escape(show(reason))} ({count:,})</p>' for reason, count in item.reasons)
    yield from (f'<p class="warn">{escape(note)}</p>' for note in item.notes)
    head = ["column", "type", "rows", "filled", "empty", "different", "values", "spread", "untidy"]
    yield table("", head, [_column(column) for column in item.columns.values()], about=f"The columns of {title}")
    doubles: list[list[Any]] = [["match", match_words(found)] for found in item.doubles]
    doubles += [[column.name, doubled_words(column.doubled)] for column in item.columns.values() if column.doubled is not None]
    yield table("The same in several rows", ["column", "what"], doubles)
    yield table("Pointing to nothing", ["what"], [[orphan_words(found)] for found in item.orphans])
    out = [
        [column.name, far_out(column.spread)] for column in item.columns.values() if column.spread is not None and column.spread.outliers
    ]
    yield table("Far from the others", ["column", "what"], out)
    yield table("What would clean it", ["column", "clean", "what it does", "before → after"], list(_proposals(item.columns.values())))


def _column(column: ColumnProfile) -> list[Any]:
    doubtful = min(column.filled, column.dirty)
    said = f"{column.filled - doubtful} tidy, {doubtful} untidy, {column.empty + column.blank} empty"
    rows = shares((column.filled - doubtful, doubtful, column.empty + column.blank), said)
    return [
        column.name,
        column.declared,
        rows,
        column.filled,
        column.empty + column.blank,
        column.distinct,
        _values(column),
        _spread(column),
        untidy(column),
    ]


def _values(column: ColumnProfile) -> Safe:
    """What the values look like, with examples; the most frequent ones of columns with few."""
    if len(column.kinds) > 1:
        return lines(escape(kinds_line(found)) for found in column.kinds[:4])
    shown = [escape(looks_like(column))] if column.kinds else []
    if column.frequent and column.distinct <= max(20, column.filled // 10):
        shown += [f"<bdi><code>{escape(show(text))}</code></bdi> {count:,}" for text, count in column.frequent]
    elif column.patterns:
        shown += [f"<code>{escape(show(found.name))}</code> {found.count:,}" for found in column.patterns[:3]]
    return lines(shown)


def _spread(column: ColumnProfile) -> Safe:
    spread = column.spread
    if spread is None:
        return Safe("")
    said = f"{show(spread.least)} to {show(spread.most)}, median {show(spread.median)}"
    return Safe(f"{histogram(spread.bins, said)}{escape(said)}")


def _proposals(columns: Iterable[ColumnProfile]) -> Iterator[list[Any]]:
    for column in columns:
        proposal = column.proposal
        if proposal is None:
            continue
        steps = Safe(f"<code>clean: [{escape(', '.join(proposal.clean))}]</code>" if proposal.clean else "")
        what = "; ".join(text for text in (proposal_line(proposal) if proposal.clean else "", proposal.advice) if text)
        pairs = lines(f"{value(before)} → {value(after)}" for before, after in samples_of(proposal))
        yield [column.name, steps, what, pairs]
