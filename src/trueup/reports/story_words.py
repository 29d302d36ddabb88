"""A record's story in sentences, for people who do not know how a merge works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trueup.core.merge import APART, FILLED, LEFT
from trueup.core.undo import RESTORED, SETTING, UNDO
from trueup.reports.table import show, visible

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.model import Entity
    from trueup.reports.record_facts import Event, FieldStory, OpenConflict, RecordView, Why

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
    "most complete": "its record was the most complete",
    "most recent": "its record was the most recent",
    "older record": "its record was there before the other",
    "the only value": "only one of the records said anything",
    "deletes: archive": "a delete archives the record",
    "deletes: propagate": "a delete there deletes the record everywhere",
    "refused by a person": "a person refused the edits of {by}",
    LEFT: "a person left both sides as they were",
    "a mapping changed": "a mapping changed, which moves no value in any system",
    "restored from a backup": "the state had been restored from a backup, and that is what the systems showed",
    "filled": "it was given what the others said",
    "write only": "{by} is only written to, so its edits do not count",
}
KINDS = {
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
    "filled": "was empty",
    "met": "found",
    "revived": "made to live again",
    "taken out": "row taken out",
    "put back": "row made again",
    "restored": "holds its own again",
    "looked at again": "no longer left apart",
    "linked": "linked by a person",
    "unlinked": "taken from this record by a person",
    "delete refused": "delete refused",
    "united": "took in another record",
    "parted": "two records again",
    "gave way": "gave way",
    "told apart": "told apart by a person",
}
STATE_WORDS = {
    "missing": "has vanished there since",
    "outside": "is outside of the mapping's filter",
    "unreadable": "cannot be read now",
    "withdrawn": "is to be taken out again",
}
_LOST = {"lost": " and lost", "candidate": ""}


def rule_words(rule: str | None, by: str | None) -> str:
    """A stored rule as a clause; one that is not known is shown as it is."""
    if rule is None:
        return "no rule was needed"
    text = rule
    prefix = ""
    if text.startswith("first contact: "):
        prefix, text = "when the systems first met, ", text.removeprefix("first contact: ")
    if text.startswith("the same record: "):
        prefix, text = "when records that are the same became one, ", text.removeprefix("the same record: ")
    if text.startswith("source of truth: "):
        return f"{text.removeprefix('source of truth: ')} is the source of truth of this field"
    return prefix + _RULES.get(text, text).format(by=by or "it")


def story_sentences(view: RecordView, story: FieldStory, entity: Entity) -> list[str]:
    """Why a field has its value, who was overruled, what is open and what waits."""
    name, field = story.field, entity.fields[story.field]
    said = [_value_sentence(view, story)]
    if story.last is not None:
        said += _last_sentences(view, story.last, story.value)
    for event in story.beaten:
        over = event.kind == RESTORED and event.system not in story.elsewhere
        if event.kind not in {APART, FILLED} and not over:
            said += [_beaten_sentence(event, field.source_of_truth), *guard_sentences(view, event)]
    if story.conflict is not None:
        said += conflict_sentences(story.conflict)
    for system, value in story.elsewhere.items():
        said += _elsewhere_sentences(view, story, entity, system, value)
    for system, waiting in story.waiting.items():
        if system not in story.elsewhere:
            said += [f"{system} is to be told: {waiting.why}.", *step_sentences(waiting.reason)]
    if story.value is None and story.origin is None and not story.beaten and story.conflict is None:
        said[0] = f"Nobody has said anything about {name} yet."
    return said


def _last_sentences(view: RecordView, last: Event, value: Any) -> list[str]:
    """What the event that made a value what it is replaced, and what a person had to do with it."""
    said = []
    if last.before is not None and last.kind not in {"resolved", UNDO}:
        said.append(f"It replaced {quoted(last.before)}.")
    said += guard_sentences(view, last)
    if last.after != value:
        said.append(f"A mapping changed since then, so that it is {quoted(value)} now.")
    return said


def _elsewhere_sentences(view: RecordView, story: FieldStory, entity: Entity, system: str, value: Any) -> list[str]:
    """Why a system holds something else than what is agreed."""
    waiting = story.waiting.get(system)
    if waiting is not None:
        return [f"{system} still holds {quoted(value)}: the delivery {waiting.why}.", *step_sentences(waiting.reason)]
    apart = _apart(story, system, value)
    if apart is not None and apart.rule == LEFT:
        run = f" in run {apart.run}" if apart.run is not None else ""
        left = f"{system} holds {quoted(value)}: a person left both as they are{run}, until either of them is edited."
        return [left, *guard_sentences(view, apart)]
    if apart is not None:
        return [f"{system} holds {quoted(value)}, and was not told when a mapping changed: `trueup verify --repair` tells it."]
    if story.conflict is not None:
        return []
    state = view.systems[system].state
    if state != "present" and state in STATE_WORDS:
        return [f"{system} held {quoted(value)} when it was last read: its row {STATE_WORDS[state]}."]
    if story.field not in entity.written(system):
        why = "it is only read" if not entity.mappings[system].writes else "its mapping cannot write this field"
        return [f"{system} holds {quoted(value)}: {why}."]
    return [f"{system} holds {quoted(value)}: that is how it shows this value."]


def _apart(story: FieldStory, system: str, value: Any) -> Event | None:
    """The line that says why a system holds a value apart; the newest, None where there is none."""
    return next((item for item in reversed(story.beaten) if (item.kind, item.system, item.before) == (APART, system, value)), None)


def step_sentences(reason: Why) -> list[str]:
    """What to do about something that waits, where that is not said already."""
    if not reason.step or reason.kind in {"conflict", "held change", "next run"}:
        return []
    return [f"Next: {reason.step}." if " " in reason.step and not reason.step.startswith("trueup ") else f"Next: `{reason.step}`."]


def _value_sentence(view: RecordView, story: FieldStory) -> str:
    value = f"{story.field} is {quoted(story.value)}"
    last = story.last
    if story.origin is None:
        return f"{story.field} has no agreed value yet."
    if last is not None and last.kind == "resolved":
        rule = (last.rule or "a person settled it").replace("a person", _person(last.who), 1)
        return f"{value}: {rule}{when(last.at)}, instead of {quoted(last.before)}."
    if last is not None and last.kind == UNDO:
        return f"{value}: {_undone(view, last)}, instead of {quoted(last.before)}."
    by = story.origin.system or "a person"
    if last is None:
        return f"{value}: it came with the record, first seen in {by}{when(story.origin.at)}."
    return f"{value}: from {by}{when(story.origin.at)}; {rule_words(last.rule, by)}."


def _undone(view: RecordView, event: Event) -> str:
    run = view.undone.get(event.run or 0, "")
    which = f"run {run.split()[1]}" if run else "an earlier run"
    return f"{_person(event.who)} undid {which}{when(event.recorded_at)} (run {event.run})"


def _person(who: str | None) -> str:
    return "a person" if who is None else f"a person ({visible(who)})"


def guard_sentences(view: RecordView, event: Event) -> list[str]:
    """What a person said about the edits or deletes among which this one was, where a guard had held them."""
    kind = "deletes" if event.field is None else "updates"
    return [
        f"A guard had held {word.kind} of {event.system} then: {_person(word.who)} {word.decision} them{when(word.at)} (hold {word.hold})."
        for word in view.decided.get((event.run or 0, event.system or ""), [])
        if word.kind == kind
    ]


def event_sentence(view: RecordView, event: Event, owner: str | None = None) -> str:
    """One line of history as a sentence, with its run."""
    run = "" if event.run is None else f" (run {event.run})"
    by = event.system or _person(event.who)
    if event.kind == UNDO:
        return f"{_undone(view, event)}: {quoted(event.before)} went back to {quoted(event.after)}."
    if event.kind == "resolved":
        rule = (event.rule or "a person settled it").replace("a person", _person(event.who), 1)
        return f"{rule}{when(event.at)}: {quoted(event.after)} instead of {quoted(event.before)}."
    if event.kind in SETTING:
        what = f"said {quoted(event.after)}" if event.before is None else f"changed it from {quoted(event.before)} to {quoted(event.after)}"
        return f"{by} {what}{when(event.at)}{run}: {rule_words(event.rule, by)}."
    return _beaten_sentence(event, owner).removesuffix(".") + f"{run}."


def record_sentences(view: RecordView) -> list[str]:
    """What happened to the record as a whole: links, deletes, rows taken out and put back."""
    said: list[str] = []
    for event in view.history:
        if event.field is not None:
            continue
        if event.kind == "united":
            run = "" if event.run is None else f" (run {event.run})"
            said.append(f"It took in another record{when(event.at)}{run}: {event.rule}.")
        elif event.kind == "parted":
            said.append(f"It is a record of its own again{when(event.at)}: a person undid that two were made one.")
        elif event.kind in {"linked", "unlinked", "told apart"} and event.rule:
            said.append(f"{event.rule.replace('a person', _person(event.who), 1)}{when(event.at)}.")
        elif event.run in view.undone:
            said.append(f"{event.system or 'The record'}: {KINDS.get(event.kind, event.kind)}, because {_undone(view, event)}.")
        else:
            said.append(_beaten_sentence(event, None))
        said += guard_sentences(view, event)
    return said


def _beaten_sentence(event: Event, owner: str | None) -> str:
    by = event.system or _person(event.who)
    why = rule_words(event.rule, (owner or OTHER) if event.kind == "lost" else by)
    if event.kind == FILLED:
        return f"{by} said nothing{when(event.at)}: {why}."
    if event.kind == "overruled":
        return f"{by} said {quoted(event.after)}{when(event.at)} and was overruled: {why}."
    if event.kind in {"lost", "candidate"}:
        return f"{by} said {quoted(event.after)}{when(event.at)}{_LOST[event.kind]}: {why}."
    return f"{by}: {KINDS.get(event.kind, event.kind)}{when(event.at)}: {why}."


def conflict_sentences(item: OpenConflict) -> list[str]:
    """What a person must settle, and how."""
    takers = [one.system for one in item.candidates if one.system]
    said = "; ".join(f"{one.system or 'the agreed value'} says {quoted(one.value)}{when(one.at)}" for one in item.candidates)
    how = f"`trueup conflicts resolve {item.id} --take {takers[0] if takers else 'SYSTEM'}`, or `--value VALUE`"
    if item.kind == "hold":
        return [
            f"A change waits for a person, because the field's `hold_if` stopped it: {said}, instead of {quoted(item.base)}.",
            f"Settle it with {how}.",
        ]
    return [f"A person must settle this: {said}; before that it was {quoted(item.base)}.", f"Settle it with {how}."]


def quoted(value: Any) -> str:
    """A value in a sentence."""
    return "nothing" if value is None else f"“{show(value)}”"


def when(at: datetime | None) -> str:
    """A moment in a sentence; empty where it is not known."""
    return "" if at is None else f" on {at:%Y-%m-%d} at {at:%H:%M:%S}Z"
