"""The drift report as text, for a person who has never seen one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trueup.reports.table import PLAIN, all_of, counted, duration, show, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.reports.drift_facts import Dirty, DriftReport, EntityDrift, Pairing
    from trueup.reports.table import Style

SHOWN = 3
"""How many examples of each kind the text shows; the JSON and HTML forms have them all."""

DIRTY_WORDS = {
    "unreadable": "cannot be read",
    "invalid": "breaks a check",
    "reference": "points to nothing",
    "unclear": "cleaning cannot make sense of it",
    "clean": "cleaning would change it",
    "untidy": "needless spaces",
}
MATCH_HEADS = {"duplicates": "look like another row of the same system", "ambiguous": "may be one of several records"}


def percent(share: float | None) -> str:
    """A share for people: 100% only where nothing at all is missing from it; a dash for None."""
    if share is None:
        return "–"
    if 0.999 < share < 1:
        return "99.9%"
    return f"{share * 100:.1f}%".replace(".0%", "%")


def headline(entity: EntityDrift) -> str:
    """The one sentence about an entity."""
    if len(entity.systems) < 2:
        return "fewer than two systems could be read, so nothing could be compared"
    held = f"{entity.in_all:,} of {counted(entity.records, 'record')} are in {all_of(len(entity.systems), 'systems')}"
    if entity.agreement is None:
        return f"{held}; no value could be compared"
    return f"{percent(entity.agreement)} of the values compared agree; {held}"


def drift_text(report: DriftReport, style: Style = PLAIN) -> str:
    """The whole report."""
    parts = [_entity(entity, style) for entity in report.entities.values()]
    parts.append(style.paint(f"Nothing was changed anywhere. Measured in {duration(report.seconds)}.", "dim"))
    return "\n\n".join(parts)


def _entity(entity: EntityDrift, style: Style) -> str:
    good = entity.agreement == 1 and entity.in_all == entity.records
    blocks = [style.paint(f"{entity.name}: ", "bold") + style.paint(headline(entity), "good" if good else "warn")]
    blocks += [style.paint(f"  left out: {why}", "bad") for why in entity.left_out.values()]
    blocks += [style.paint(f"  note: {note}", "warn") for note in entity.notes]
    blocks.append(_systems(entity, style))
    blocks.append(_presence(entity, style))
    blocks.append(_fields(entity, style))
    blocks.append(_differences(entity, style))
    blocks.append(_pairings(entity, style, "duplicates", entity.duplicates))
    blocks.append(_pairings(entity, style, "ambiguous", entity.ambiguous))
    blocks.append(_dirty(entity, style))
    blocks.append(_decisions(entity, style))
    return "\n".join(block for block in blocks if block)


def _systems(entity: EntityDrift, style: Style) -> str:
    head = ["system", "rows", "only here", "duplicates", "unclear match", "rejected", "dirty values"]
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
    return "\n" + table(head, rows, style, indent="  ")


def _presence(entity: EntityDrift, style: Style) -> str:
    partial = [item for item in entity.presence if len(item.systems) < len(entity.systems)]
    rows = []
    for item in partial:
        examples = "; ".join(_record(sample) for sample in item.samples[:SHOWN])
        rows.append([("only in " if len(item.systems) == 1 else "in ") + ", ".join(item.systems), item.records, examples])
    return _block("Records that are not everywhere", table(["where", "records", "for example"], rows, style, indent="  "), style)


def _record(sample: Mapping[str, Any]) -> str:
    keys = ", ".join(f"{system}:{key}" for system, key in sample["keys"].items())
    values = ", ".join(show(value) for value in list(sample["values"].values())[:2] if value is not None)
    return f"{keys} ({values})" if values else keys


def _fields(entity: EntityDrift, style: Style) -> str:
    rows = []
    for name, drift in entity.fields.items():
        for pair in drift.pairs:
            if not pair.compared:
                continue
            first, second = pair.systems
            share = pair.agree / pair.compared
            row = [name, f"{first} ↔ {second}", pair.compared, pair.agree, percent(share), pair.differ, pair.in_form]
            rows.append([*row, pair.missing[first], pair.missing[second]])
    head = ["field", "systems", "compared", "agree", "share", "differ", "only in form", "empty left", "empty right"]
    return _block("Values, over the records that both systems hold", table(head, rows, style, indent="  "), style)


def _differences(entity: EntityDrift, style: Style) -> str:
    rows = []
    for name, drift in entity.fields.items():
        for pair in drift.pairs:
            first, second = pair.systems
            for sample in pair.samples[:SHOWN]:
                left, right = (f"{side}:{sample.keys[side]}" for side in (first, second))
                rows.append([name, left, show(sample.values[first]), right, show(sample.values[second])])
    return _block("Examples of differences", table(["field", "here", "says", "there", "says"], rows, style, indent="  "), style)


def _pairings(entity: EntityDrift, style: Style, kind: str, found: Mapping[str, list[Pairing]]) -> str:
    rows = []
    for name, items in found.items():
        count = getattr(entity.systems[name], kind)
        rows += [
            [name if number == 0 else "", count if number == 0 else "", item.key, ", ".join(item.like), item.like_system]
            for number, item in enumerate(items[:SHOWN])
        ]
    title = f"{kind.capitalize()}: rows that {MATCH_HEADS[kind]}"
    return _block(title, table(["system", "rows", "row", "looks like", "of"], rows, style, indent="  "), style)


def _dirty(entity: EntityDrift, style: Style) -> str:
    rows = [[item.system, item.field or "(row)", DIRTY_WORDS[item.kind], item.count, _example(item)] for item in entity.dirty]
    return _block("Dirty values", table(["system", "field", "what", "values", "for example"], rows, style, indent="  "), style)


def _example(item: Dirty) -> str:
    if not item.samples:
        return ""
    sample = item.samples[0]
    place = f"{sample['key']}: " if sample["key"] is not None else ""
    if sample["becomes"] is not None or item.kind == "clean":
        return f"{place}“{show(sample['value'])}” → “{show(sample['becomes'])}”"
    if sample["reason"]:
        return place + show(sample["reason"])
    return place + f"“{show(sample['value'])}”"


def _decisions(entity: EntityDrift, style: Style) -> str:
    rows = [
        [name, drift.differing, drift.decided_by or style_free_question(drift.to_decide)]
        for name, drift in entity.fields.items()
        if drift.differing
    ]
    text = _block("What a sync would decide", table(["field", "records that differ", "decided by"], rows, style, indent="  "), style)
    if entity.to_decide:
        advice = "Name a source of truth or a conflict rule for these fields, or give `precedence`, and fewer are left for a person."
        text += "\n  " + style.paint(advice, "dim")
    return text


def style_free_question(count: int) -> str:
    """What to say of a field that nobody owns."""
    return f"nobody yet: a person must settle {counted(count, 'record')}"


def _block(title: str, body: str, style: Style) -> str:
    return f"\n  {style.paint(title, 'bold')}\n{body}" if body else ""
