"""The morning report as one page of HTML: no other file, no script; on a phone tables become cards, on paper everything is open."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Any

from trueup.reports.by_hand_facts import minutes_text
from trueup.reports.chart import bars
from trueup.reports.morning_words import (
    BAD,
    checksum_text,
    compared_words,
    differing_words,
    headline,
    moved_counts,
    need_text,
    needs,
    open_words,
    runs_words,
)
from trueup.reports.page import Safe, page, table
from trueup.reports.table import counted, duration, moment, show, visible
from trueup.reports.trail import head_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trueup.reports.by_hand_facts import Review
    from trueup.reports.morning_facts import EntityMorning, Morning

LISTED = 200
"""How many lines of a list the page shows; the CSV file has all."""
_CODE = re.compile(r"`([^`]+)`")
_STYLE = """
main { max-width: 64rem; } .quiet { font-size: .9rem; }
.line { font-size: 1.1rem; margin: .6rem 0; padding: .6rem .8rem; border-radius: .4rem; background: #e6f2ec; }
.line.todo { background: #fbefe6; }
ul.todo { list-style: none; margin: .6rem 0; padding: 0; }
ul.todo li { border-left: .3rem solid #b45309; padding: .3rem 0 .3rem .7rem; margin: .4rem 0; }
.bad { color: #9a3412; font-weight: 600; } code { font: .9em ui-monospace, monospace; }
.charts { display: flex; flex-wrap: wrap; gap: .5rem 1.2rem; margin: .5rem 0; }
figure { margin: 0; flex: 1 1 15rem; max-width: 20rem; } figcaption { font-size: .82rem; color: #5b6675; }
svg.bars { width: 100%; height: auto; } svg.bars rect { fill: #3a7d5d; } svg.bars.warn rect { fill: #b45309; }
svg.bars text { font: 10px system-ui, sans-serif; fill: #5b6675; } svg.bars .none { fill: #c3cad6; }
@media print {
  figure { flex: 0 1 30%; } .line, svg.bars rect, ul.todo li { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


def morning_page(report: Morning) -> str:
    """The page, whole."""
    todo = needs(report)
    day = f"{report.at:%Y-%m-%d}"
    body = [
        f"<h1>Morning report, {day}</h1>",
        f'<p class="quiet">Made at {moment(report.at)}; it tells of what was since {moment(report.since)}.</p>',
        f'<p class="line{" todo" if todo else ""}">{escape(headline(report))}</p>',
    ]
    if todo:
        body.append('<ul class="todo">' + "".join(f"<li>{_marked(need_text(need))}</li>" for need in todo) + "</ul>")
    for name, entity in report.entities.items():
        body += _entity(name, entity, report)
    body += [*_runs(report), *_by_hand(report)]
    if head := head_text(report.trail):
        body.append(f'<p class="quiet">{escape(head)}</p>')
    return page(f"Morning report, {day}", body, _STYLE)


def _entity(name: str, entity: EntityMorning, report: Morning) -> Iterator[str]:
    yield f"<h2><bdi>{_text(name)}</bdi></h2>"
    owner = f"; owner: <bdi>{_text(entity.owner)}</bdi>" if entity.owner else ""
    moved = entity.moved
    counts = f"{moved.created:,} new, {moved.updated:,} changed, {moved.deleted:,} deleted, {moved.overruled:,} edits overruled"
    yield f"<p>{counted(entity.standing.total, 'record')}: {counts}{escape(compared_words(entity, report))}{owner}</p>"
    yield _charts(name, entity)
    yield table(
        "Each system beside what is agreed",
        ["system", "rows", "checksum", "differ", "missing", "orphans", "waiting", "since", "pending", "last complete pass"],
        [_standing(system, entity) for system in entity.standing.systems],
    )
    head = ["system", "new", "changed", "gone", "rejected", "created there", "updated there", "deleted there", "failed there"]
    rows = [[system, *moved_counts(entity.moved.systems.get(system))] for system in entity.standing.systems]
    yield table("What moved: seen in each system, and written to it", head, [row for row in rows if any(row[1:])])
    rows = [[one.system, one.record, one.key, differing_words(one), moment(one.since)] for one in entity.differing[:LISTED]]
    yield table("What differs", ["system", "record", "row", "fields", "since"], rows, entity.differences)
    rows = [
        [open_words(one), one.id, one.system, one.key, one.record, one.field, moment(one.since), _age(one.since, report), one.why]
        for one in entity.open[:LISTED]
    ]
    yield table(
        "What waits, the oldest first", ["what", "id", "system", "row", "record", "field", "since", "age", "why"], rows, len(entity.open)
    )


def _age(since: Any, report: Morning) -> str:
    return duration(max(0.0, (report.at - since).total_seconds()))


def _standing(system: str, entity: EntityMorning) -> list[Any]:
    side, compared = entity.standing.systems[system], entity.compared.get(system)
    passed = moment(side.last_complete_pass) + (" (late)" if side.late else "") + (", paused" if side.paused else "")
    if compared is None:
        why = entity.left_out.get(system)
        return [system, None, _bad(why) if why else None, None, None, None, None, None, side.pending, passed]
    total = checksum_text(entity, system)
    sums = _bad(total) if compared.agreed != compared.held else Safe(f"<code>{escape(total)}</code>") if total else None
    since = None if compared.agrees else moment(entity.differs_since.get(system))
    counts = [_bad(f"{count:,}") if count else 0 for count in (compared.differ, compared.missing, compared.extra)]
    return [system, compared.rows, sums, *counts, compared.waiting, since, side.pending, passed]


def _charts(name: str, entity: EntityMorning) -> str:
    labels = [f"{day.day:%d %b}" for day in entity.days]
    drawn = (
        ("Records moved per day", [day.moved for day in entity.days], ""),
        ("Waiting at the end of the day", [day.waiting for day in entity.days], "warn"),
        ("Not as agreed, as reported", [day.differing for day in entity.days], "warn"),
    )
    figures = "".join(
        f"<figure><figcaption>{escape(title)}</figcaption>{bars(f'{name}: {title}', labels, values, kind)}</figure>"
        for title, values, kind in drawn
        if any(values)
    )
    return f'<div class="charts">{figures}</div>' if figures else ""


def _runs(report: Morning) -> Iterator[str]:
    if not report.runs:
        return
    yield f"<h2>Runs</h2><p>{counted(len(report.runs), 'run')}: {escape(runs_words(report))}</p>"
    bad = [run for run in report.runs if run.status in BAD]
    rows = [[run.run, run.command, moment(run.started_at), duration(run.seconds), _bad(run.status), run.error] for run in bad[-LISTED:]]
    yield table("Those that did not do all of it", ["run", "command", "started", "took", "status", "why"], rows, len(bad))


def _by_hand(report: Morning) -> Iterator[str]:
    if report.review is None and not report.due_by_hand:
        return
    yield "<h2>By hand</h2>"
    rows = [[one.name, one.owner, moment(one.due_at), moment(one.last_at), minutes_text(one.minutes)] for one in report.due_by_hand]
    yield table("Due", ["process", "who", "due", "last done", "takes"], rows)
    if report.review is not None:
        yield from _review(report.review)


def _review(review: Review) -> Iterator[str]:
    rows = [[one.name, one.times, one.expected, minutes_text(one.monthly)] for one in review.processes]
    yield table("The last thirty days", ["process", "times", "expected", "a month"], rows)
    steps = [[step.process, step.number, step.do, minutes_text(step.monthly)] for step in review.worth]
    yield table("Worth automating", ["process", "step", "what", "a month"], steps)
    if steps:
        yield f"<p>Together {sum(step.monthly or 0.0 for step in review.worth):,.0f} minutes a month.</p>"


# ---------------------------------------------------------------- cells


def _text(value: Any) -> str:
    return escape(show(value) if not isinstance(value, str) else visible(value))


def _bad(text: str) -> Safe:
    return Safe(f'<span class="bad">{_text(text)}</span>')


def _marked(line: str) -> str:
    """A line as HTML, what stands between backquotes as code."""
    return _CODE.sub(r"<code>\1</code>", escape(line))
