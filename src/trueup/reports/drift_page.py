"""The drift report as one HTML file to hand around: no other file, no script, readable on paper."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from trueup.reports.drift_text import DIRTY_WORDS, MATCH_HEADS, headline, percent, style_free_question
from trueup.reports.table import moment, show

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trueup.reports.drift_facts import DriftReport, EntityDrift, Pairing

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2430; background: #fff; max-width: 68rem; margin: 2rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.7rem; margin: 0; }
h2 { font-size: 1.35rem; margin: 2.5rem 0 .25rem; border-top: 2px solid #d8dee8; padding-top: 1.25rem; }
h3 { font-size: 1.02rem; margin: 1.6rem 0 .4rem; }
p { margin: .3rem 0; } .quiet { color: #5b6675; } .warn { color: #9a3412; }
.numbers { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1rem 0; }
.number { border: 1px solid #d8dee8; border-radius: .5rem; padding: .6rem 1rem; min-width: 8.5rem; }
.number b { display: block; font-size: 1.6rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.number span { color: #5b6675; font-size: .85rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th { text-align: left; border-bottom: 2px solid #d8dee8; padding: .3rem .6rem; vertical-align: bottom; }
td { border-bottom: 1px solid #e8ecf2; padding: .3rem .6rem; vertical-align: top; overflow-wrap: anywhere; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.bar { display: inline-block; width: 5rem; height: .6rem; background: #f3d6cd; border-radius: .3rem; overflow: hidden;
  margin-right: .5rem; }
.bar i { display: block; height: 100%; background: #3a7d5d; }
code { font: inherit; background: #f2f4f8; border-radius: .2rem; padding: 0 .25rem; white-space: pre-wrap; }
@media print { body { margin: 0; max-width: none; font-size: 11px; } h2 { break-before: page; } h2.first { break-before: auto; }
  tr { break-inside: avoid; }
  .bar { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""


class _Safe(str):
    """Text that is HTML already."""

    __slots__ = ()


def drift_page(report: DriftReport, head: str = "") -> str:
    """The page, whole."""
    body = [
        "<h1>How far the systems disagree</h1>",
        f'<p class="quiet">Measured at {moment(report.measured_at)} by trueup, by reading only: nothing was changed anywhere.</p>',
    ]
    for number, entity in enumerate(report.entities.values()):
        body += _entity(entity, first=number == 0)
    if head:
        body.append(f'<p class="quiet">{escape(head)}</p>')
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>How far the systems disagree</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n" + "\n".join(body) + "\n</body>\n</html>\n"
    )


def _entity(entity: EntityDrift, *, first: bool) -> Iterable[str]:
    yield f"<h2{' class=first' if first else ''}>{escape(entity.name)}</h2>"
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
    numbers = [
        (percent(entity.agreement), "of compared values agree"),
        (f"{entity.records:,}", "different records"),
        (f"{entity.in_all:,}", "are in all systems"),
        (f"{differing:,}", "values differ"),
        (f"{sum(item.duplicates for item in entity.systems.values()):,}", "duplicate rows"),
        (f"{sum(item.count for item in entity.dirty):,}", "dirty values"),
        (f"{entity.to_decide:,}", "values nobody has a rule for"),
    ]
    boxes = "".join(f'<div class="number"><b>{escape(value)}</b><span>{escape(label)}</span></div>' for value, label in numbers)
    return f'<div class="numbers">{boxes}</div>'


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
    return _table("Systems", ["system", "rows", "only here", "duplicates", "unclear match", "rejected", "dirty values"], rows)


def _presence(entity: EntityDrift) -> str:
    rows = [
        [("only in " if len(item.systems) == 1 else "in ") + ", ".join(item.systems), item.records, _lines(map(_record, item.samples))]
        for item in entity.presence
        if len(item.systems) < len(entity.systems)
    ]
    return _table("Records that are not everywhere", ["where", "records", "for example"], rows)


def _record(sample: Mapping[str, Any]) -> str:
    keys = ", ".join(f"{system}:{key}" for system, key in sample["keys"].items())
    values = ", ".join(show(value) for value in sample["values"].values() if value is not None)
    return f"{escape(keys)} — {escape(values)}" if values else escape(keys)


def _fields(entity: EntityDrift) -> str:
    rows = []
    for name, drift in entity.fields.items():
        for pair in drift.pairs:
            if not pair.compared:
                continue
            share = pair.agree / pair.compared
            bar = _Safe(f'<span class="bar"><i style="width:{share * 100:.1f}%"></i></span>{percent(share)}')
            missing = ", ".join(f"{count:,} in {system}" for system, count in pair.missing.items() if count)
            rows.append([name, " ↔ ".join(pair.systems), pair.compared, bar, pair.differ, pair.in_form, missing])
    head = ["field", "systems", "both hold", "agree", "differ", "of them only in form", "empty"]
    return _table("Values, over the records that both systems hold", head, rows)


def _differences(entity: EntityDrift) -> str:
    rows = []
    for name, drift in entity.fields.items():
        for pair in drift.pairs:
            for sample in pair.samples:
                cells: list[Any] = [name]
                for system in pair.systems:
                    cells += [f"{system}:{sample.keys[system]}", _value(sample.values[system])]
                rows.append(cells)
    return _table("Examples of differences", ["field", "here", "says", "there", "says"], rows)


def _pairings(entity: EntityDrift, kind: str, found: Mapping[str, list[Pairing]]) -> str:
    rows = [[name, getattr(entity.systems[name], kind), _lines(_likeness(item) for item in items)] for name, items in found.items()]
    return _table(f"{kind.capitalize()}: rows that {MATCH_HEADS[kind]}", ["system", "rows", "for example"], rows)


def _likeness(item: Pairing) -> str:
    return f"{escape(item.key)} looks like {escape(', '.join(item.like))} of {escape(item.like_system)}"


def _dirty(entity: EntityDrift) -> str:
    rows = [
        [item.system, item.field or "(row)", DIRTY_WORDS[item.kind], item.count, _lines(map(_dirty_sample, item.samples))]
        for item in entity.dirty
    ]
    return _table("Dirty values", ["system", "field", "what", "values", "for example"], rows)


def _dirty_sample(sample: Mapping[str, Any]) -> str:
    place = f"{escape(str(sample['key']))}: " if sample["key"] is not None else ""
    if sample["reason"]:
        return place + escape(show(sample["reason"]))
    after = "" if sample["becomes"] is None else f" → {_value(sample['becomes'])}"
    return f"{place}{_value(sample['value'])}{after}"


def _decisions(entity: EntityDrift) -> str:
    rows = [
        [name, drift.differing, drift.decided_by or style_free_question(drift.to_decide)]
        for name, drift in entity.fields.items()
        if drift.differing
    ]
    return _table("What a sync would decide", ["field", "records that differ", "decided by"], rows)


def _value(value: Any) -> _Safe:
    return _Safe("<i>empty</i>" if value is None else f"<code>{escape(show(value))}</code>")


def _lines(items: Iterable[str]) -> _Safe:
    """Several texts that are HTML already, one per line."""
    return _Safe("<br>".join(items))


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    if not rows:
        return ""
    numeric = [all(isinstance(row[number], int) for row in rows) for number in range(len(head))]
    heads = "".join(f"<th{' class=n' if right else ''}>{escape(name)}</th>" for name, right in zip(head, numeric, strict=True))
    lines = "".join(
        "<tr>" + "".join(_cell(value, right=right) for value, right in zip(row, numeric, strict=True)) + "</tr>" for row in rows
    )
    return f'<h3>{escape(title)}</h3>\n<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>'


def _cell(value: Any, *, right: bool) -> str:
    if isinstance(value, _Safe):
        return f"<td>{value}</td>"
    if isinstance(value, int):
        return f"<td{' class=n' if right else ''}>{value:,}</td>"
    return f"<td>{escape(show(value))}</td>"
