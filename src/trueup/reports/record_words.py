"""One record on a page, for people: what is agreed, who holds what, what waits, and its history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trueup.reports.story_words import KINDS, OTHER, conflict_sentences, event_sentence, record_sentences, rule_words, step_sentences, when
from trueup.reports.table import PLAIN, moment, show, table

if TYPE_CHECKING:
    from trueup.reports.record_facts import Event, FieldStory, Holding, RecordView
    from trueup.reports.table import Style

CHAIN_SHOWN = 20
"""So many of the newest events are told where one field is asked for."""
_STATES = {
    "present": "",
    "missing": "vanished there, and is left alone",
    "outside": "outside of the mapping's filter",
    "unreadable": "cannot be read now",
    "withdrawn": "is to be taken out again, because its creation was undone",
    "none": "no row yet",
}


def explain_text(view: RecordView, stories: list[FieldStory], style: Style = PLAIN, *, chain: bool = False) -> str:
    """The stories of a record's fields; `chain`: with everything that happened to them before."""
    lines = [style.paint(_title(view), "bold")]
    for story in stories:
        lines.append("")
        lines += [("  " if number else style.paint("• ", "bold")) + sentence for number, sentence in enumerate(story.sentences)]
        if story.expected is not None:
            lines += ["", style.paint("What was expected", "bold"), *(f"  {sentence}" for sentence in story.expected.sentences)]
        if chain and len(story.chain) > 1:
            lines += ["", style.paint("What happened to it", "bold"), *_chain(view, story)]
    rows = [line for item in view.systems.values() for line in _row_lines(item)]
    about = record_sentences(view)
    if rows:
        lines += ["", *rows]
    if about:
        lines += ["", style.paint("The record", "bold"), *(f"  {sentence}" for sentence in about[-CHAIN_SHOWN:])]
    return "\n".join(lines)


def _chain(view: RecordView, story: FieldStory) -> list[str]:
    left = len(story.chain) - CHAIN_SHOWN
    more = [f"  … {left:,} before that: `trueup explain … --json` has all of them"] if left > 0 else []
    return [*more, *(f"  {event_sentence(view, event)}" for event in story.chain[-CHAIN_SHOWN:])]


def _row_lines(item: Holding) -> list[str]:
    """What is to be said of a row as a whole, and what to do about it."""
    whole = next((waiting for waiting in item.waiting if waiting.field is None), None)
    if whole is None and item.state not in {"none", "missing"}:
        return []
    return [f"{item.system}: {_state(item)}.", *([] if whole is None else (f"  {line}" for line in step_sentences(whole.reason)))]


def record_text(view: RecordView, style: Style = PLAIN) -> str:
    """One page about a record."""
    blocks = [style.paint(_title(view), "bold"), "", _golden_table(view, style)]
    notes = []
    for item in view.systems.values():
        state = _state(item)
        if state:
            notes.append(f"  {item.system}: {state}")
        notes += [f"  {item.system}: {waiting.field} {waiting.why}" for waiting in item.waiting if waiting.field is not None]
    if notes:
        blocks += ["", style.paint("Waiting", "bold"), *notes]
    for asked in view.conflicts:
        title = f"Conflict {asked.id} about {asked.field}"
        blocks += ["", style.paint(title, "warn"), *[f"  {line}" for line in conflict_sentences(asked)]]
    if view.history:
        blocks += ["", style.paint("History", "bold"), _history_table(view.history, style)]
    return "\n".join(blocks)


def _golden_table(view: RecordView, style: Style) -> str:
    present = {name: item for name, item in view.systems.items() if item.key is not None}
    known = {*view.golden, *(name for item in present.values() for name in item.holds)}
    names = [name for name in view.fields if name in known]
    head = ["field", "agreed value", "from", "since", *(f"{name} {item.key}" for name, item in present.items())]
    rows = []
    for name in names:
        origin = view.origin.get(name)
        value = view.golden.get(name)
        held = [
            "" if name not in item.holds else ("same" if item.holds[name] == value else show(item.holds[name])) for item in present.values()
        ]
        by = ("a person" if origin.system is None else origin.system) if origin else ""
        rows.append([name, show(value) if name in view.golden else "(open)", by, moment(origin.at) if origin else "", *held])
    return table(head, rows, style) or "(no values)"


def _history_table(events: list[Event], style: Style) -> str:
    rows = [
        [
            moment(event.at or event.recorded_at),
            "" if event.run is None else str(event.run),
            event.field or "(record)",
            KINDS.get(event.kind, event.kind),
            event.system or event.who or "a person",
            "" if event.before is None else show(event.before),
            "" if event.after is None else show(event.after),
            rule_words(event.rule, OTHER if event.kind == "lost" else event.system),
        ]
        for event in events
    ]
    return table(["when", "run", "field", "what", "by", "before", "value", "why"], rows, style, indent="  ")


def _title(view: RecordView) -> str:
    keys = ", ".join(f"{name}:{item.key}" for name, item in view.systems.items() if item.key is not None)
    born = f"; first seen in {view.born.system}{when(view.born.at)}" if view.born else ""
    gone = f"; deleted{when(view.deleted_at)}" if view.deleted_at else ""
    rows = f" ({keys or 'no rows'})" if view.at is None else f" as it was agreed{when(view.at)}"
    return f"{view.entity} {view.id}{rows}{born}{gone}"


def _state(item: Holding) -> str:
    words = _STATES[item.state]
    whole = next((waiting.why for waiting in item.waiting if waiting.field is None), None)
    return f"{words}{': ' if words else ''}{whole}" if whole else words
