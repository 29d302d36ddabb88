"""A record's story in sentences, for people who do not know how a merge works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trueup.core.rebase import APART
from trueup.reports.table import PLAIN, moment, show, table

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.model import Field
    from trueup.reports.record_facts import Event, FieldStory, Holding, OpenConflict, RecordView
    from trueup.reports.table import Style

OTHER = "another system"
"""Who was right, where only the loser is known."""

_RULES = {
    "accepted": "nobody else had changed it, so it was accepted",
    "source of truth": "{by} is the source of truth of this field",
    "last_write_wins": "the last edit wins",
    "first_write_wins": "the first edit wins",
    "max": "the largest value wins",
    "min": "the smallest value wins",
    "merge: add": "the changes of all systems were added up",
    "add": "the changes of all systems were added up",
    "merge: union": "the lists of all systems were joined",
    "union": "the lists of all systems were joined",
    "merge: text": "the texts of all systems were merged",
    "rule": "the field's own rule decided",
    "all agree": "all systems had come to agree",
    "precedence": "it stands first in the order of precedence",
    "manual": "a person settles this field",
    "deletes: archive": "a delete archives the record",
    "deletes: propagate": "a delete there deletes the record everywhere",
    "refused by a person": "a person refused the edits of {by}",
    "a mapping changed": "a mapping changed, which moves no value in any system",
    "restored from a backup": "the state had been restored from a backup, and that is what the systems showed",
    "write only": "{by} is only written to, so its edits do not count",
}
_KINDS = {
    "edit": "changed",
    "lost": "lost",
    "candidate": "said otherwise",
    "overruled": "overruled",
    "resolved": "settled by a person",
    "undo": "put back",
    "delete": "deleted",
    "delete lost": "delete did not stand",
    "archive": "archived",
    "apart": "left as it is",
    "met": "found",
    "revived": "made to live again",
    "taken out": "row taken out",
    "put back": "row made again",
    "restored": "holds its own again",
}
_LOST = {"lost": " and lost", "candidate": ""}
_STATES = {
    "present": "",
    "missing": "vanished there, and is left alone",
    "outside": "outside of the mapping's filter",
    "unreadable": "cannot be read now",
    "withdrawn": "is to be taken out again, because its creation was undone",
    "none": "no row yet",
}


def rule_words(rule: str | None, by: str | None) -> str:
    """A stored rule as a clause; one that is not known is shown as it is."""
    if rule is None:
        return "no rule was needed"
    text = rule
    prefix = ""
    if text.startswith("first contact: "):
        prefix, text = "when the systems first met, ", text.removeprefix("first contact: ")
    if text.startswith("source of truth: "):
        return f"{text.removeprefix('source of truth: ')} is the source of truth of this field"
    return prefix + _RULES.get(text, text).format(by=by or "it")


def story_sentences(view: RecordView, story: FieldStory, field: Field) -> list[str]:
    """Why a field has its value, who was overruled, what is open and what waits."""
    name = story.field
    said = [_value_sentence(story)]
    if story.last is not None and story.last.before is not None and story.last.kind != "resolved":
        said.append(f"It replaced {_quoted(story.last.before)}.")
    if story.last is not None and story.last.after != story.value:
        said.append(f"A mapping changed since then, so that it is {_quoted(story.value)} now.")
    said += [_beaten_sentence(event, field.source_of_truth) for event in story.beaten if event.kind != APART]
    if story.conflict is not None:
        said += conflict_sentences(story.conflict)
    for system, value in story.elsewhere.items():
        waiting = story.waiting.get(system)
        if waiting is not None:
            said.append(f"{system} still holds {_quoted(value)}: the delivery {waiting.why}.")
        elif any((event.kind, event.system, event.before) == (APART, system, value) for event in story.beaten):
            said.append(f"{system} holds {_quoted(value)}, and was not told when a mapping changed: `trueup verify --repair` tells it.")
        elif story.conflict is None:
            writes = "it cannot be written there" if field.name not in view.systems[system].holds else "that is how it shows this value"
            said.append(f"{system} holds {_quoted(value)}: {writes}.")
    said += [f"{system} is to be told: {waiting.why}." for system, waiting in story.waiting.items() if system not in story.elsewhere]
    if story.value is None and story.origin is None and not story.beaten and story.conflict is None:
        return [f"Nobody has said anything about {name} yet.", *said[1:]]
    return said


def _value_sentence(story: FieldStory) -> str:
    value = f"{story.field} is {_quoted(story.value)}"
    if story.origin is None:
        return f"{story.field} has no agreed value yet."
    when = _when(story.origin.at)
    if story.last is not None and story.last.kind == "resolved":
        return f"{value}: {story.last.rule or 'a person settled it'}{_when(story.last.at)}, instead of {_quoted(story.last.before)}."
    by = story.origin.system or "a person"
    if story.last is None:
        return f"{value}: it came with the record, first seen in {by}{when}."
    return f"{value}: from {by}{when}; {rule_words(story.last.rule, by)}."


def _beaten_sentence(event: Event, owner: str | None) -> str:
    by = event.system or "a person"
    why = rule_words(event.rule, (owner or OTHER) if event.kind == "lost" else by)
    if event.kind == "overruled":
        return f"{by} said {_quoted(event.after)}{_when(event.at)} and was overruled: {why}."
    if event.kind in {"lost", "candidate"}:
        return f"{by} said {_quoted(event.after)}{_when(event.at)}{_LOST[event.kind]}: {why}."
    return f"{by}: {_KINDS.get(event.kind, event.kind)}{_when(event.at)}: {why}."


def conflict_sentences(item: OpenConflict) -> list[str]:
    """What a person must settle, and how."""
    takers = [one.system for one in item.candidates if one.system]
    said = "; ".join(f"{one.system or 'the agreed value'} says {_quoted(one.value)}{_when(one.at)}" for one in item.candidates)
    how = f"`trueup conflicts resolve {item.id} --take {takers[0] if takers else 'SYSTEM'}`, or `--value VALUE`"
    if item.kind == "hold":
        return [
            f"A change waits for a person, because the field's `hold_if` stopped it: {said}, instead of {_quoted(item.base)}.",
            f"Settle it with {how}.",
        ]
    return [f"A person must settle this: {said}; before that it was {_quoted(item.base)}.", f"Settle it with {how}."]


def explain_text(view: RecordView, stories: list[FieldStory], style: Style = PLAIN) -> str:
    """The stories of a record's fields."""
    lines = [style.paint(_title(view), "bold")]
    for story in stories:
        lines.append("")
        lines += [("  " if number else style.paint("• ", "bold")) + sentence for number, sentence in enumerate(story.sentences)]
    missing = [item for item in view.systems.values() if item.state in {"none", "missing"}]
    if missing:
        lines += ["", *[f"{item.system}: {_state(item)}." for item in missing]]
    return "\n".join(lines)


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
            _KINDS.get(event.kind, event.kind),
            event.system or "a person",
            "" if event.before is None else show(event.before),
            "" if event.after is None else show(event.after),
            rule_words(event.rule, OTHER if event.kind == "lost" else event.system),
        ]
        for event in events
    ]
    return table(["when", "run", "field", "what", "by", "before", "value", "why"], rows, style, indent="  ")


def _title(view: RecordView) -> str:
    keys = ", ".join(f"{name}:{item.key}" for name, item in view.systems.items() if item.key is not None)
    born = f"; first seen in {view.born.system}{_when(view.born.at)}" if view.born else ""
    gone = f"; deleted{_when(view.deleted_at)}" if view.deleted_at else ""
    rows = f" ({keys or 'no rows'})" if view.at is None else f" as it was agreed{_when(view.at)}"
    return f"{view.entity} {view.id}{rows}{born}{gone}"


def _state(item: Holding) -> str:
    words = _STATES[item.state]
    whole = next((waiting.why for waiting in item.waiting if waiting.field is None), None)
    return f"{words}{': ' if words else ''}{whole}" if whole else words


def _quoted(value: Any) -> str:
    return "nothing" if value is None else f"“{show(value)}”"


def _when(at: datetime | None) -> str:
    return "" if at is None else f" on {at:%Y-%m-%d} at {at:%H:%M:%S}Z"
