"""Notices in words: who is told of changes and how far, what was given up, and what `trueup notices send` did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trueup.reports.table import PLAIN, Style, counted, moment, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def subscribers_text(found: Sequence[Mapping[str, Any]], style: Style = PLAIN) -> str:
    """One row per subscriber; empty for none."""
    if not found:
        return ""
    rows = [
        [one["name"], one["to"], ", ".join(one["entities"]), one["due"], one["waiting"], one["dead"], _state(one, style)] for one in found
    ]
    return table(("subscriber", "at", "of", "due", "failed", "given up", "state"), rows, style, open_end=True)


def _state(one: Mapping[str, Any], style: Style) -> str:
    if one["since"] is None:
        return "not begun: `trueup serve`, or `trueup notices send`, begins it"
    if one["stopped"] is not None:
        return style.paint(f"stopped: {one['stopped']}", "warn")
    if one["failing_since"] is not None:
        why = f" ({one['why']})" if one["why"] else ""
        again = f"; tried again {moment(one['next_try_at'])}" if one["next_try_at"] is not None else ""
        return style.paint(f"fails since {moment(one['failing_since'])}{why}{again}", "warn")
    return "told everything" if not one["due"] else "being told"


def dead_text(found: Sequence[Mapping[str, Any]], style: Style = PLAIN) -> str:
    """One row per notice that was given up; empty for none."""
    if not found:
        return ""
    rows = [
        [one["id"], one["to"], f"{one['entity']} {one['record']}", one["attempts"], moment(one["first_at"]), one["reason"]] for one in found
    ]
    return table(("id", "subscriber", "record", "tries", "first tried", "why"), rows, style, open_end=True)


def sent_text(found: Mapping[str, Mapping[str, Any]]) -> str:
    """One line per subscriber."""
    lines = []
    for name, one in found.items():
        parts = [f"{counted(one['sent'], 'notice')} sent"]
        parts += [f"{one['due']:,} due"] if one["due"] else []
        parts += [f"{one['waiting']:,} failed, tried again later"] if one["waiting"] else []
        parts += [f"{one['dead']:,} given up"] if one["dead"] else []
        parts += [f"stopped: {one['stopped']}"] if one["stopped"] else ([one["why"]] if one["why"] else [])
        lines.append(f"{name}: {'; '.join(parts)}")
    return "\n".join(lines) or "Nobody is told of changes: the configuration has no `notices`."
