"""A profile as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trueup.reports.profile_words import (
    clock_is_wrong,
    clock_words,
    doubled_words,
    far_out,
    looks_like,
    match_words,
    object_line,
    orphan_words,
    proposal_line,
    samples_of,
    untidy,
)
from trueup.reports.table import PLAIN, counted, duration, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trueup.reports.profile_facts import ObjectProfile, ProfileReport, SystemProfile
    from trueup.reports.table import Style

SHOWN = 3


def profile_text(report: ProfileReport, style: Style = PLAIN) -> str:
    """The whole report."""
    parts = [_system(system, style) for system in report.systems.values()]
    objects = sum(len(system.objects) for system in report.systems.values())
    parts.append(style.paint(f"{counted(objects, 'object')} looked at in {duration(report.seconds)}. Nothing was changed anywhere.", "dim"))
    return "\n\n".join(parts)


def _system(system: SystemProfile, style: Style) -> str:
    clock = style.paint(clock_words(system.clock), "warn" if clock_is_wrong(system.clock) else "dim")
    head = style.paint(f"{system.name} ({system.connector})", "bold")
    if not system.objects:
        return f"{head}: {style.paint(system.error or ('nothing could be looked at' if system.left_out else 'it holds nothing'), 'bad')}"
    return "\n".join([f"{head}: {clock}", *(_object(item, style) for item in system.objects)])


def _object(item: ObjectProfile, style: Style) -> str:
    title = f"{item.name} ({item.entity})" if item.entity else item.name
    blocks = [f"\n  {style.paint(title, 'bold')}: {object_line(item)}"]
    blocks += [style.paint(f"  {reason} ({counted(count, 'row')})", "bad") for reason, count in item.reasons]
    blocks += [style.paint(f"  {note}", "warn") for note in item.notes]
    blocks.append(_columns(item, style))
    blocks += _block("The same in several rows", _doubles(item), style)
    blocks += _block("Pointing to nothing", map(orphan_words, item.orphans), style)
    blocks += _block("Far from the others", _outliers(item), style)
    blocks += _block("What would clean it", _proposals(item), style)
    return "\n".join(block for block in blocks if block)


def _columns(item: ObjectProfile, style: Style) -> str:
    rows = [
        [column.name, column.declared, column.filled, column.empty + column.blank, column.distinct, looks_like(column), untidy(column)]
        for column in item.columns.values()
    ]
    return table(["column", "type", "filled", "empty", "different", "looks like", "untidy"], rows, style, indent="    ", open_end=True)


def _block(title: str, lines: Iterator[str] | map[str], style: Style) -> Iterator[str]:
    found = list(lines)
    if found:
        yield f"\n    {style.paint(title, 'bold')}"
        yield from (f"    {line}" for line in found)


def _doubles(item: ObjectProfile) -> Iterator[str]:
    for found in item.doubles:
        yield f"match: {match_words(found)}"
    for column in item.columns.values():
        if column.doubled is not None:
            yield f"{column.name}: {doubled_words(column.doubled)}"


def _outliers(item: ObjectProfile) -> Iterator[str]:
    for column in item.columns.values():
        if column.spread is not None and column.spread.outliers:
            yield f"{column.name}: {far_out(column.spread)}"


def _proposals(item: ObjectProfile) -> Iterator[str]:
    for column in item.columns.values():
        proposal = column.proposal
        if proposal is None:
            continue
        if proposal.clean:
            yield f"{column.name}: clean: [{', '.join(proposal.clean)}]"
            yield f"  {proposal_line(proposal)}"
            yield from (f"  {before} → {after}" for before, after in list(samples_of(proposal))[:SHOWN])
        if proposal.advice:
            yield f"{'  ' if proposal.clean else f'{column.name}: '}{proposal.advice}"
