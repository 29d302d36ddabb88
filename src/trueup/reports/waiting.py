"""What waits for a person, as text: failures and holds, from the values that `--json` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trueup.reports.table import PLAIN, Style, clip, show, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


EXAMPLE_CELLS = 24


def failures_text(rows: Sequence[Mapping[str, Any]], style: Style = PLAIN) -> str:
    """The list of failures; the empty text for none."""
    lines = [
        [
            row["id"],
            row["entity"],
            row["system"],
            row["key"] or ("(whole mapping)" if row["record"] is None else "(new row)"),
            "" if row["record"] is None else str(row["record"]),
            row["stage"],
            row["attempts"],
            _next_try(row),
            f"{row['field']}: {row['reason']}" if row["field"] and row["field"] not in row["reason"] else row["reason"],
        ]
        for row in rows
    ]
    head = ("id", "entity", "system", "key", "record", "stage", "attempts", "tried again", "reason")
    text = table(head, lines, style, open_end=True)
    return text and f"{text}\n\nMend the record where it is wrong; `trueup failures retry ID` tries at once, `drop ID` forgets."


def _next_try(row: Mapping[str, Any]) -> str:
    if row["next_try_at"] is not None:
        return str(row["next_try_at"])
    return "when it changes" if row["stage"] == "write" else "at each run"


def holds_text(rows: Sequence[Mapping[str, Any]], style: Style = PLAIN) -> str:
    """The list of holds; the empty text for none."""
    lines = [
        [
            row["id"],
            row["entity"],
            row["system"],
            row["kind"],
            row["counts"]["count"],
            row["counts"].get("rows", ""),
            row["limit"]["count"],
            row["since"],
            "every row vanished" if row["counts"].get("emptied") else _pattern(row["counts"].get("pattern")),
        ]
        for row in rows
    ]
    text = table(("id", "entity", "system", "kind", "counted", "of rows", "allowed", "since", ""), lines, style, open_end=True)
    return (
        text
        and f"{text}\n\n`trueup holds approve ID` lets them pass, `refuse ID` restores the rows,"
        " `leave ID` lets both sides keep what they have: each at the next sync."
    )


def _example(pattern: Mapping[str, Any]) -> str:
    """One of the edits, in brackets."""
    if not pattern.get("examples"):
        return ""
    before, after = pattern["examples"][0]
    return f" ({clip(show(before), EXAMPLE_CELLS)} → {clip(show(after), EXAMPLE_CELLS)})"


def _pattern(pattern: Mapping[str, Any] | None) -> str:
    """What the held edits have in common."""
    if pattern is None:
        return ""
    share = f"{pattern['count']:,} of {pattern['of']:,}"
    if pattern["kind"] == "blanked":
        return f"{share} edits of {pattern['field']} leave it empty"
    if pattern["kind"] == "scaled":
        return f"{share} edits of {pattern['field']} are the old value times {pattern['factor']:.4g}"
    if pattern.get("column"):
        return f"{share} edits of {pattern['field']} come from the column `{pattern['column']}`, which {pattern['form']}{_example(pattern)}"
    if pattern["kind"] == "re-typed":
        return f"{share} edits of {pattern['field']}: {pattern['form']}{_example(pattern)}; a spreadsheet does that when it saves a file"
    if pattern["kind"] == "one value":
        return f"{share} edits of {pattern['field']} make it {show(pattern['value'])}, where it differed before{_example(pattern)}"
    if pattern["kind"] == "surge":
        return f"{pattern['count']:,} edits of {pattern['field']} at once; its busiest day of the last weeks had {pattern['usual']:,}"
    if pattern["kind"] == "drip":
        day = f"{pattern['count']:,} rows deleted in 24 hours, by {pattern['passes']:,} runs"
        return f"{day}; its busiest day of the last weeks had {pattern['usual']:,}"
    return f"{share} edits go back to earlier values, as after a restored backup"
