"""Which records are the same, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trueup.reports.dedupe_facts import SHOWN_GROUPS
from trueup.reports.table import PLAIN, counted, show, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trueup.reports.dedupe_facts import Duplicates, Group, Known, Likeness, Question
    from trueup.reports.table import Style


def duplicates_text(found: Duplicates, style: Style = PLAIN) -> str:
    """The report. Nobody is left without knowing what to do next."""
    lines = [*_head(found)]
    if found.groups:
        lines += ["", *_groups(found, style)]
    if found.questions:
        lines += ["", *_questions(found, style)]
    lines += ["", *_advice(found)]
    return "\n".join(lines)


def _head(found: Duplicates) -> Iterator[str]:
    where = f" with a row in {found.systems[0]}" if len(found.systems) == 1 else f" in {', '.join(found.systems)}" if found.systems else ""
    yield f"{found.entity}: {counted(found.records, 'record')}{where}, {counted(found.looked_at, 'pair')} compared"
    if found.compared:
        yield f"Compared by {', '.join(f'{name} ({kind})' for name, kind in found.compared.items())}."
    for name, why in found.left_out.items():
        yield f"Not compared: {name} ({why})."
    if found.first:
        yield "Nothing was synced yet: the systems were read for this, and rows linked by the match rules."
    if found.compared and not found.trained:
        yield "There are too few records to learn from: what is usual for such fields was taken."
    if found.waiting:
        yield f"{counted(found.waiting, 'record')} took no part: values of theirs wait for a person (`trueup conflicts`)."
    if found.parked:
        yield f"Parked before: {counted(found.parked, 'row')} (`trueup matches`)."


def _groups(found: Duplicates, style: Style) -> Iterator[str]:
    would = "became" if found.run is not None else "would become"
    several = len(found.groups) > 1
    yield (
        f"{counted(len(found.groups), 'group')} of records that are the same (at least {found.threshold:g} sure): each {would} one record,"
        f" {counted(found.fewer, 'record')} fewer"
        if several
        else f"1 group of records that are the same (at least {found.threshold:g} sure): it {would} one record"
    )
    for group in found.groups[:SHOWN_GROUPS]:
        yield ""
        yield from group_lines(group, style)
    if len(found.groups) > SHOWN_GROUPS:
        yield f"\n… and {len(found.groups) - SHOWN_GROUPS:,} more: --json and --html list all"


def group_lines(group: Group, style: Style = PLAIN) -> Iterator[str]:
    """One group: its records, why they are the same, which values stand, and which rows are duplicates."""
    yield from _records(group.records, style)
    for pair in group.pairs[:3]:
        yield f"  {_because(pair)}"
    for one in group.values:
        instead = ", ".join(show(value) for value in one.beaten)
        yield f"  {one.field}: {show(one.value)} stands ({one.why}), not {instead}"
    for system, key in group.doubles:
        yield f"  {system}:{key} is a duplicate there: it is left alone and parked"


def _records(records: Sequence[Known], style: Style) -> Iterator[str]:
    names = [name for name in records[0].values if any(one.values.get(name) is not None for one in records)]
    rows = [
        [
            str(one.record),
            ", ".join(f"{system}:{key}" for system, key in one.keys.items()),
            *(show(one.values.get(name)) if one.values.get(name) is not None else "" for name in names),
        ]
        for one in records
    ]
    yield table(["record", "rows", *names], rows, style, indent="  ", open_end=True)


def _because(pair: Likeness) -> str:
    return f"{pair.records[0]} and {pair.records[1]}: {because(pair)}"


def because(pair: Likeness) -> str:
    """Why two records are taken to be the same, or nearly so, in words."""
    said = [f"{one.field} {one.said} ({one.bits:+.0f})" for one in pair.evidence]
    words = ", ".join(said) or "no field says anything"
    rule = f"they agree in the match rule {' + '.join(pair.rule)}; " if pair.rule else ""
    return f"{sureness(pair.probability)}: {rule}{words}"


def sureness(probability: float) -> str:
    """A probability as people read it: nothing is certain."""
    return "over 0.999" if probability > 0.9995 else f"{probability:.3f}"


def _questions(found: Duplicates, style: Style) -> Iterator[str]:
    yield f"{counted(len(found.questions), 'pair')} for a person to look at (at least {found.review:g} sure)"
    for question in found.questions[:SHOWN_GROUPS]:
        yield ""
        yield from question_lines(question, style)
    if len(found.questions) > SHOWN_GROUPS:
        yield f"\n… and {len(found.questions) - SHOWN_GROUPS:,} more: --json and --html list all"


def question_lines(question: Question, style: Style = PLAIN) -> Iterator[str]:
    """One question: two records, what speaks for and against their being one, and why a person is asked."""
    yield from _records(question.records, style)
    yield f"  {because(question.pair)}"
    if question.pair.why:
        yield f"  A person is asked because {question.pair.why}."


def _advice(found: Duplicates) -> Iterator[str]:
    name = found.entity
    if not found.groups and not found.questions:
        yield "No duplicates were found."
        return
    if found.run is None:
        yield f"Nothing was changed. `trueup dedupe {name} --apply` makes each group one record, and puts the pairs among `trueup matches`."
        return
    if found.united:
        yield f"Run {found.run} took in {counted(found.united, 'record')}; the next `trueup sync` tells the systems."
    if found.doubles:
        yield f"{counted(found.doubles, 'row')} parked, in systems with another row of the same record: `trueup matches`."
    if found.asked:
        yield f"{counted(found.asked, 'new question')} among `trueup matches`."
    yield f"`trueup undo {found.run}` makes them what they were."
