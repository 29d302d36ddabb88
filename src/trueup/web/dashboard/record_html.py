"""A record as HTML: what is agreed beside what each system holds, what waits and why, and what happened to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trueup.reports.page import Safe
from trueup.reports.story_words import KINDS, OTHER, record_sentences, rule_words, step_sentences
from trueup.web.dashboard.markup import joined, link, pill, quiet, table, value, when, words

if TYPE_CHECKING:
    from trueup.reports.record_facts import Event, FieldStory, Holding, Origin, RecordView

EVENTS_SHOWN = 200
STATES = {
    "missing": ("vanished there", "bad"), "outside": ("outside of the filter", "warn"), "unreadable": ("cannot be read now", "bad"),
    "withdrawn": ("is to be taken out", "warn"),
}  # fmt: skip


def side_by_side(view: RecordView, *, only: str | None = None, without: str | None = None) -> str:
    """Fields down, the agreed value and each system across. `only` one field, or all `without` one."""
    present = {name: item for name, item in view.systems.items() if item.key is not None}
    open_ = {item.field for item in view.conflicts}
    rows: list[list[Any]] = []
    for name in view.fields:
        if name == without or (only is not None and name != only):
            continue
        origin = view.origin.get(name)
        agreed = joined(
            (
                value(view.golden.get(name)) if name in view.golden else quiet("not agreed yet"),
                pill("frozen", "warn") if name in open_ else "",
            )
        )
        rows.append([words(name), agreed, _origin(origin), *(_held(item, name, view.golden.get(name)) for item in present.values())])
    return table("Fields", ("field", "agreed", "from", *present), rows, "Nothing is known of this record.")


def rows_of(view: RecordView) -> str:
    """Its row in each system, and what that system is still to be told."""
    rows = []
    for name, item in view.systems.items():
        state = pill(*STATES[item.state]) if item.state in STATES else pill("no row yet") if item.key is None else pill("there", "good")
        waits = [
            f"<div>{joined((words(one.field or 'the row'), words(one.why), quiet(words(' '.join(step_sentences(one.reason))))))}</div>"
            for one in item.waiting
        ]
        rows.append(
            [words(name), quiet("–") if item.key is None else value(item.key), state, Safe("".join(waits)) or quiet("nothing waits")]
        )
    return table("Rows", ("system", "key", "row", "what waits"), rows)


def stories_html(stories: list[FieldStory], view: RecordView) -> str:
    """Why each value is what it is, in sentences."""
    parts = [
        f"<details><summary><strong>{words(story.field)}</strong> {value(story.value)}</summary>{_sentences(story.sentences)}</details>"
        for story in stories
    ]
    about = record_sentences(view)
    return "".join(parts) + (_sentences(about[-20:]) if about else "")


def _sentences(said: list[str]) -> str:
    return "".join(f"<p>{words(one)}</p>" for one in said)


def history_rows(events: list[Event]) -> list[list[Any]]:
    """The newest events first, as rows of: when, run, field, what, by, before, after, why."""
    return [
        [
            when(event.at or event.recorded_at),
            "" if event.run is None else link(str(event.run), "runs", event.run),
            words(event.field or "(record)"),
            words(KINDS.get(event.kind, event.kind)),
            words(event.who or event.system or "a person"),
            "" if event.before is None else value(event.before),
            "" if event.after is None else value(event.after),
            words(rule_words(event.rule, OTHER if event.kind == "lost" else event.system)),
        ]
        for event in reversed(events[-EVENTS_SHOWN:])
    ]


HISTORY = ("when", "run", "field", "what", "by", "before", "value", "why")


def _origin(origin: Origin | None) -> Safe:
    if origin is None:
        return quiet("–")
    return joined((words(origin.system or "a person"), quiet(when(origin.at)) if origin.at is not None else ""))


def _held(item: Holding, name: str, agreed: Any) -> Safe:
    if name not in item.holds:
        return quiet("–")
    return quiet("the same") if item.holds[name] == agreed else value(item.holds[name])
