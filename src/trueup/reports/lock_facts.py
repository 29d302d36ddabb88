"""Locks in the systems: what is locked where, how each stands, and where each field is changed; as values, as JSON and in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from trueup.reports.table import PLAIN, counted, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trueup.core.locks import ChangedWhere
    from trueup.core.rights import Loss
    from trueup.reports.table import Style

Standing = Literal["open", "locked", "unfinished", "missing", "altered", "outdated", "stranger", "leftover", "overruled", "unknown"]
"""open        nothing is locked, and it could be
locked      the lock is there, and as it was made
unfinished  a lock was begun, and may be there in part
missing     the lock that was made is gone
altered     it is not as it was made any more
outdated    it is as it was made, and the configuration says something else by now
stranger    there is a lock of which this state knows nothing
leftover    a lock was made of which the configuration says nothing any more
overruled   nothing can be locked there: edits are overruled and reported
unknown     the system cannot be asked now"""

WELL = frozenset({"open", "locked", "overruled"})
"""What needs nobody."""


@dataclass(frozen=True, slots=True)
class LockFinding:
    """One object of one system. `columns`: column -> the system where it is changed; `rows`: where rows are added and removed.

    `why` says more of some standings; `make` are the statements that lock it, none where it is locked, `remove` those that open it again;
    `passes` is what gets by. `by`: "grants" where the lock is one of rights, which `loses` says of whom they are taken; "" where nothing is
    locked, and nobody asked for one kind.
    """

    system: str
    object: str
    entities: tuple[str, ...]
    columns: Mapping[str, str]
    rows: tuple[str, ...]
    standing: Standing
    why: str = ""
    make: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    passes: tuple[str, ...] = ()
    by: str = ""
    loses: tuple[Loss, ...] = ()

    @property
    def place(self) -> str:
        """For messages."""
        return f"{self.object} in {self.system}"


@dataclass(slots=True)
class Locks:
    """What `trueup lock` shows: the objects, where each field is changed, and systems of which there is nothing to lock."""

    findings: list[LockFinding] = field(default_factory=list)
    fields: list[ChangedWhere] = field(default_factory=list)

    @property
    def well(self) -> bool:
        """Whether nothing needs a person."""
        return all(one.standing in WELL for one in self.findings)


def lock_dict(found: Locks) -> dict[str, Any]:
    """The public form."""
    return {
        "locks": [
            {
                "system": one.system,
                "object": one.object,
                "entities": list(one.entities),
                "columns": dict(one.columns),
                "rows": list(one.rows),
                "standing": one.standing,
                "why": one.why,
                "make": list(one.make),
                "remove": list(one.remove),
                "passes": list(one.passes),
                "by": one.by or None,
                "loses": [{"who": loss.who, "right": loss.right, "columns": list(loss.columns)} for loss in one.loses],
            }
            for one in found.findings
        ],
        "fields": [{"entity": one.entity, "field": one.field, "changed_in": one.system, "by": one.by} for one in found.fields],
    }


_WORDS: Mapping[str, str] = {
    "open": "not locked",
    "locked": "locked",
    "unfinished": "HALF LOCKED",
    "missing": "LOCK MISSING",
    "altered": "LOCK ALTERED",
    "outdated": "LOCK OUTDATED",
    "stranger": "LOCKED BY OTHERS",
    "leftover": "LOCK LEFT OVER",
    "overruled": "overruled",
    "unknown": "NOT KNOWN",
}
ALL_COLUMNS = "programs that write all columns of a row are refused, also where they leave the locked ones as they are"
_REMEDIES: Mapping[str, str] = {
    "unfinished": "was begun and not ended: `trueup lock {system} --apply` completes it, --remove takes it away",
    "missing": "was locked, and is open to everybody now: `trueup lock {system} --apply` locks it again",
    "altered": "has a lock that somebody altered: `trueup lock {system} --apply` makes it as it was",
    "outdated": "is locked as the configuration said before: `trueup lock {system} --apply` locks it as it says now",
    "stranger": "has a lock that this state does not know: `trueup lock {system} --apply` takes its place",
    "leftover": "is locked, and nothing of it is changed elsewhere any more: `trueup lock {system} --remove` opens it",
    "unknown": "cannot be asked",
}


def remedy(one: LockFinding) -> str:
    """What is so, and what to do; empty where nothing is to be done."""
    said = _REMEDIES.get(one.standing, "").format(system=one.system)
    return f"{said}: {one.why}" if said and one.why else said


def locks_text(found: Locks, style: Style = PLAIN, *, statements: bool = False) -> str:
    """For people: where each field is changed, what is locked, and what needs somebody."""
    blocks = []
    if found.fields:
        rows = [[one.entity, one.field, one.system or "any system", one.by or ""] for one in found.fields]
        blocks.append(table(["entity", "field", "is changed in", "by"], rows, style))
    if found.findings:
        rows = [[one.system, one.object, _listed(one), _said(one, style)] for one in found.findings]
        blocks.append(table(["system", "object", "not to be changed there", ""], rows, style, open_end=True))
    else:
        blocks.append("Nothing is to be locked: no field has a source of truth, or no other system shows it.")
    needs = [f"{style.paint('!', 'warn')} {one.place} {said}" for one in found.findings if (said := remedy(one))]
    if needs:
        blocks.append("\n".join(needs))
    if statements:
        blocks += [_statements(one, style) for one in found.findings if one.make or one.remove]
    elif any(one.standing == "open" for one in found.findings):
        blocks.append("`trueup lock --show` shows the statements that would lock it, `trueup lock --apply` carries them out.")
    return "\n\n".join(blocks)


def changed_text(done: Sequence[tuple[LockFinding, str]], style: Style = PLAIN) -> str:
    """What became of each object that was to be locked or opened; empty words: done."""
    lines = []
    for one, problem in done:
        what = "locked" if one.standing == "locked" else "open"
        lines.append(f"{style.paint('!', 'warn')} {one.place}: {problem}" if problem else f"{one.place}: {what}{_of(one)}")
    return "\n".join(lines)


def _of(one: LockFinding) -> str:
    return f" ({_listed(one)})" if one.standing == "locked" else " to everybody again"


def _listed(one: LockFinding) -> str:
    listed = ", ".join(one.columns)
    return f"{listed}; rows" if one.rows and listed else listed or "rows"


def _said(one: LockFinding, style: Style) -> str:
    said = _WORDS[one.standing]
    if one.standing in WELL:
        by = f" by {one.by}" if one.standing == "locked" and one.by else ""
        return f"{said}{by}: {one.why}" if one.why else f"{said}{by}"
    return style.paint(said, "warn")


def _lost(loss: Loss) -> str:
    said = f"{loss.who} loses {loss.right}"
    return f"{said} of {', '.join(loss.columns)}" if loss.columns else said


def _statements(one: LockFinding, style: Style) -> str:
    lines = [style.paint(f"-- {one.place}: {counted(len(one.columns), 'column')}{' and its rows' if one.rows else ''}", "dim")]
    lines += [style.paint(f"-- {_lost(loss)}", "dim") for loss in one.loses if one.make]
    lines += [style.paint(f"-- mind: {ALL_COLUMNS}", "dim")] if one.loses and one.make and one.columns else []
    lines += [f"{statement};" for statement in one.make]
    lines += [style.paint(f"-- gets by: {what}", "dim") for what in one.passes]
    lines += [style.paint("-- to open it again", "dim"), *(f"{statement};" for statement in one.remove)]
    return "\n".join(lines)
