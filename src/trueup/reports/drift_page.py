"""The drift report as one HTML file to hand around: no other file, no script, readable on paper."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from trueup.reports.drift_text import DIRTY_WORDS, MATCH_HEADS, headline, percent, style_free_question
from trueup.reports.page import Safe, apart, lines, page, table, value
from trueup.reports.page import numbers as boxes
from trueup.reports.table import moment, show

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trueup.reports.drift_facts import DriftReport, EntityDrift, Pairing


def drift_page(report: DriftReport, head: str = "") -> str:
    """The page, whole."""
    body = [
        "<h1>How far the systems disagree</h1>",
        f'<p class="quiet">Measured at {moment(report.measured_at)} by trueup, by reading only: nothing was changed anywhere.</p>',
    ]
    for entity in report.entities.values():
        body += _entity(entity)
    if head:
        body.append(f'<p class="quiet">{escape(head)}</p>')
    return page("How far the systems disagree", body)


def _entity(entity: EntityDrift) -> Iterable[str]:
    yield f"<h2><bdi>{escape(entity.name)}</bdi></h2>"
    yield f"<p>{escape(headline(entity))}.</p>"
    yield from (f'<p class="warn">Left out: {escape(why)}</p>' for why in entity.left_out.values())
    yield from (f'<p class="warn">{escape(note)}</p>' for note in entity.notes)
    yield _numbers(entity)
    yield _systems(entity)
    yield _presence(entity)
    yield _fields(entity)
    yield _differences(entity)
    yield _pairings(entity, "duplicates", entity.duplicates)
    yield _pairings(entity, "ambiguous", entity.ambiguous)
    yield _dirty(entity)
    yield _decisions(entity)


def _numbers(entity: EntityDrift) -> str:
    differing = sum(drift.differing for drift in entity.fields.values())
    figures = [
        (percent(entity.agreement), "of compared values agree"),
        (f"{entity.records:,}", "different records"),
        (f"{entity.in_all:,}", "are in all systems"),
        (f"{differing:,}", "values differ"),
        (f"{sum(item.duplicates for item in entity.systems.values()):,}", "duplicate rows"),
        (f"{sum(item.count for item in entity.dirty):,}", "dirty values"),
        (f"{entity.to_decide:,}", "values nobody has a rule for"),
    ]
    return boxes(figures)


def _systems(entity: EntityDrift) -> str:
    rows = [
        [
            name,
            system.rows,
            entity.only_in(name).records,
            system.duplicates,
            system.ambiguous,
            system.refused,
            sum(item.count for item in entity.dirty if item.system == name),
        ]
        for name, system in entity.systems.items()
    ]
    return table("Systems", ["system", "rows", "only here", "duplicates", "unclear match", "rejected", "dirty values"], rows)


def _presence(entity: EntityDrift) -> str:
    rows = [
        [("only in " if len(item.systems) == 1 else "in ") + ", ".join(item.systems), item.records, lines(map(_record, item.samples))]
        for item in entity.presence
        if len(item.systems) < len(entity.systems)
    ]
    return table("Records that are not everywhere", ["where", "records", "for example"], rows)


def _record(sample: Mapping[str, Any]) -> str:
    keys = ", ".join(f"{system}:{key}" for system, key in sample["keys"].items())
    values = ", ".join(apart(show(value)) for value in sample["values"].values() if value is not None)
    return f"{apart(keys)} — {values}" if values else apart(keys)


def _fields(entity: EntityDrift) -> str:
    rows = []
    for name, drift in entity.fields.items():
        for pair in drift.pairs:
            if not pair.compared:
                continue
            share = pair.agree / pair.compared
            bar = Safe(f'<span class="bar"><i style="width:{share * 100:.1f}%"></i></span>{percent(share)}')
            missing = ", ".join(f"{count:,} in {system}" for system, count in pair.missing.items() if count)
            rows.append([name, " ↔ ".join(pair.systems), pair.compared, bar, pair.differ, pair.in_form, missing])
    head = ["field", "systems", "both hold", "agree", "differ", "of them only in form", "empty"]
    return table("Values, over the records that both systems hold", head, rows)


def _differences(entity: EntityDrift) -> str:
    rows = []
    for name, drift in entity.fields.items():
        for pair in drift.pairs:
            for sample in pair.samples:
                cells: list[Any] = [name]
                for system in pair.systems:
                    cells += [f"{system}:{sample.keys[system]}", value(sample.values[system])]
                rows.append(cells)
    return table("Examples of differences", ["field", "here", "says", "there", "says"], rows)


def _pairings(entity: EntityDrift, kind: str, found: Mapping[str, list[Pairing]]) -> str:
    rows = [[name, getattr(entity.systems[name], kind), lines(_likeness(item) for item in items)] for name, items in found.items()]
    return table(f"{kind.capitalize()}: rows that {MATCH_HEADS[kind]}", ["system", "rows", "for example"], rows)


def _likeness(item: Pairing) -> str:
    return f"{apart(item.key)} looks like {', '.join(map(apart, item.like))} of {escape(item.like_system)}"


def _dirty(entity: EntityDrift) -> str:
    rows = [
        [item.system, item.field or "(row)", DIRTY_WORDS[item.kind], item.count, lines(map(_dirty_sample, item.samples))]
        for item in entity.dirty
    ]
    return table("Dirty values", ["system", "field", "what", "values", "for example"], rows)


def _dirty_sample(sample: Mapping[str, Any]) -> str:
    place = f"{apart(str(sample['key']))}: " if sample["key"] is not None else ""
    if sample["reason"]:
        return place + escape(show(sample["reason"]))
    after = "" if sample["becomes"] is None else f" → {value(sample['becomes'])}"
    return f"{place}{value(sample['value'])}{after}"


def _decisions(entity: EntityDrift) -> str:
    rows = [
        [name, drift.differing, drift.decided_by or style_free_question(drift.to_decide)]
        for name, drift in entity.fields.items()
        if drift.differing
    ]
    return table("What a sync would decide", ["field", "records that differ", "decided by"], rows)
