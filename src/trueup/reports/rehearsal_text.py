"""A rehearsal for people: what would have happened, and what to look at before switching on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trueup.reports.rehearsal_facts import OUTCOME_WORDS
from trueup.reports.story_words import rule_words
from trueup.reports.table import PLAIN, counted, duration, show, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trueup.reports.rehearsal_facts import FlowFacts, MoveFacts, Rehearsal, SettledFacts
    from trueup.reports.table import Style

PACE_FROM_ROWS = 1000
"""Fewer rows tell nothing about rows a second."""
WEATHER_WORDS = {"calm": "in calm weather", "rough": "in rough weather", "storm": "in a storm"}


def rehearsal_text(found: Rehearsal, style: Style = PLAIN) -> str:
    """The report. Nobody is left without knowing what to do next."""
    blocks = [
        headline(found, style),
        _block("What was copied, every value masked", copies_table(found), style, tail=found.notes),
        _block("The first run", flow_table(found.first), style, tail=first_lines(found)),
        _block(f"The script, {WEATHER_WORDS[found.weather]}", moves_table(found), style, tail=script_lines(found)),
        _block("Where edits met", settled_table(found), style),
        _block("Held by guards", held_table(found), style),
        _block("Set aside", rejected_table(found), style),
        _block("What the systems were asked", load_table(found), style),
        _block("At the end", agreement_table(found), style, tail=[ending(found)]),
        _advice(found, style),
    ]
    return "\n\n".join(block for block in blocks if block)


Table = tuple["Sequence[str]", "list[list[Any]]"]


def _block(title: str, shown: Table, style: Style, tail: Sequence[str] = ()) -> str:
    head, rows = shown
    if not rows and not tail:
        return ""
    lines = [style.paint(title, "bold")]
    lines += [table(head, rows, style, indent="  ")] if rows else []
    return "\n".join([*lines, *(f"  {line}" for line in tail)])


def headline(found: Rehearsal, style: Style = PLAIN) -> str:
    """What it came to, in two lines."""
    sound = found.status == "done" and not found.lost and not found.duplicates
    good = "good" if sound else "warn"
    verdict = {
        "done": "Rehearsed: all copies agree at the end.",
        "held": "Rehearsed: a guard would hold the first run.",
        "partial": "Rehearsed: something needs a person before this is switched on.",
    }[found.status]
    edits = sum(found.edits.values())
    lost = "none lost" if not found.lost else f"{found.lost:,} LOST"
    made = "none made twice" if not found.duplicates else f"{found.duplicates:,} MADE TWICE"
    wrong = sum(found.troubles.values())
    return (
        f"{style.paint(verdict, good)}\n"
        f"{counted(edits, 'edit')} in {counted(len({move.round for move in found.moves}), 'round')}, {lost};"
        f" {counted(found.made, 'row')} made, {made}; {counted(wrong, 'call')} went wrong,"
        f" trueup was killed {_times(len(found.kills))}. Nothing real was written."
    )


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


def copies_table(found: Rehearsal) -> Table:
    """Each object with its rows."""
    rows = [[one.system, one.object, ", ".join(one.entities), one.rows, one.copied, one.unreadable] for one in found.copies]
    return ("system", "object", "entity", "rows there", "copied", "unreadable"), rows


def flow_table(flows: Sequence[FlowFacts]) -> Table:
    """What was read and written, by entity and system."""
    rows = [[one.entity, one.system, one.read, one.rejected, one.created, one.updated, one.deleted, one.failed] for one in flows]
    return ("entity", "system", "read", "rejected", "created", "updated", "deleted", "failed"), rows


def first_lines(found: Rehearsal) -> list[str]:
    """What else the first run left."""
    enough = sum(flow.created + flow.updated for flow in found.first) >= PACE_FROM_ROWS
    pace = f": {found.rows_per_s:,.0f} rows written a second" if enough else ""
    lines = [f"It took {duration(found.first_seconds)} on copies in memory{pace}."]
    if found.first_conflicts:
        lines.append(f"{counted(found.first_conflicts, 'value')} would wait for a person (`trueup conflicts`).")
    if found.first_parked:
        lines.append(f"{counted(found.first_parked, 'row')} could be one of several records (`trueup matches`).")
    return lines


def moves_table(found: Rehearsal) -> Table:
    """Every move of the script and what became of it."""
    rows = [[one.round, one.said, one.rows, outcome_words(one)] for one in found.moves if one.rows]
    return ("round", "what people did", "rows", "what became of it"), rows


def outcome_words(move: MoveFacts) -> str:
    """What became of the edits of one move."""
    if len(move.outcomes) == 1:
        (only,) = move.outcomes
        return OUTCOME_WORDS[only]
    return ", ".join(f"{number:,} {OUTCOME_WORDS[outcome]}" for outcome, number in move.outcomes.items())


def script_lines(found: Rehearsal) -> list[str]:
    """What the weather did meanwhile."""
    lines = [f"{counted(number, 'time')}: {name}" for name, number in found.troubles.most_common()]
    lines += [f"killed {where}, and started anew" for where in found.kills]
    return lines


def settled_table(found: Rehearsal) -> Table:
    """Each field with conflicts, and who or what settled them."""
    rows = [[one.entity, one.field, settled_words(one), one.waiting, who(one)] for one in found.settled]
    return ("entity", "field", "settled", "waiting", "who is asked"), rows


def settled_words(one: SettledFacts) -> str:
    """By which rules, and how often."""
    return "; ".join(f"{number:,} × {rule_words(rule, None) if rule != 'None' else 'ownership'}" for rule, number in one.settled.items())


def who(one: SettledFacts) -> str:
    """Who decides what waits."""
    return "" if not one.waiting else one.asks or "nobody is named"


def held_table(found: Rehearsal) -> Table:
    """What guards stopped."""
    rows = [
        [
            one.entity,
            one.system,
            one.kind,
            one.count,
            "" if one.rows is None else one.rows,
            "" if one.allowed is None else one.allowed,
            _when(one.when),
        ]
        for one in found.held
    ]
    return ("entity", "system", "what", "counted", "of rows", "allowed", "when"), rows


def rejected_table(found: Rehearsal) -> Table:
    """What could not be read or written."""
    rows = [[one.entity, one.system, one.field or "", one.count, _when(one.when), show(one.reason)] for one in found.rejected]
    return ("entity", "system", "field", "rows", "when", "reason"), rows


def _when(when: str) -> str:
    return {"first": "first run", "script": "script"}[when]


def load_table(found: Rehearsal) -> Table:
    """Calls and rows by system, and how long a first load would take."""
    rows = [
        [
            one.system,
            sum(one.calls.values()),
            one.rows_read,
            one.rows_written,
            sum(one.troubles.values()),
            "" if one.rows_per_s is None else f"{one.rows_per_s:g} rows/s",
            one.first_load_rows,
            "" if one.first_load_s is None else duration(one.first_load_s),
        ]
        for one in found.loads
    ]
    return ("system", "calls", "rows read", "rows written", "went wrong", "limit", "rows of a first load", "would take"), rows


def agreement_table(found: Rehearsal) -> Table:
    """What `verify` finds in the copies."""
    entities = found.agreement.entities if found.agreement is not None else {}
    rows = [
        [name, system, one.rows, one.differ, one.missing, one.extra, one.waiting]
        for name, entity in entities.items()
        for system, one in entity.systems.items()
    ]
    return ("entity", "system", "rows", "differ", "missing", "extra", "waiting"), rows


def ending(found: Rehearsal) -> str:
    """The verdict of the comparison."""
    if found.agrees:
        return "The copies agree; what waits for a person is counted as waiting alone."
    return "The copies differ." if found.quiet else "The copies had not come to rest."


def _advice(found: Rehearsal, style: Style) -> str:
    if not found.advice:
        return f"Nothing to change before switching on. Next: `trueup plan`, then `trueup sync`. (seed {found.seed})"
    lines = [style.paint("Before you switch this on", "bold")]
    lines += [f"  {style.paint('!', 'warn')} {line}" for line in found.advice]
    return "\n".join([*lines, f"Next: `trueup plan`, then `trueup sync`. (seed {found.seed})"])
