"""What is wrong with an installation, worst first: the findings, in words and as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from trueup.reports.table import PLAIN, counted, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trueup.reports.table import Style

Level = Literal["broken", "risk", "note"]
LARGEST_TABLES = 4
_RANK = {"broken": 0, "risk": 1, "note": 2}
_COLOURS = {"broken": "bad", "risk": "warn", "note": "dim"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    level    broken: something does not work now; risk: it will, or something can be lost or read by others; note: good to know
    check    the name of the check, for programs
    message  what is so, in words of ours: names of systems, entities and files, counts, and no value of a record
    remedy   what to do; empty: nothing
    words    what somebody else said about it (a server, the operating system): it may hold anything, and stays on this machine
    """

    level: Level
    check: str
    message: str
    remedy: str = ""
    words: str = ""


@dataclass(slots=True)
class Diagnosis:
    """All findings, and the facts that were looked at on the way (counts, sizes and versions)."""

    findings: list[Finding] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def add(self, level: Level, check: str, message: str, remedy: str = "", words: str = "") -> None:
        """One more finding."""
        self.findings.append(Finding(level, check, message, remedy, words))

    @property
    def ordered(self) -> list[Finding]:
        """The findings, the most harmful first; those of one level as they were found."""
        return sorted(self.findings, key=lambda finding: _RANK[finding.level])

    @property
    def well(self) -> bool:
        """Whether there is nothing but notes."""
        return all(finding.level == "note" for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """The public form."""
        return {
            "well": self.well,
            "findings": [
                {"level": one.level, "check": one.check, "message": one.message, "words": one.words, "remedy": one.remedy}
                for one in self.ordered
            ],
            "facts": self.facts,
        }

    def as_text(self, style: Style = PLAIN) -> str:
        """For people: one paragraph a finding."""
        lines = []
        for one in self.ordered:
            said = f"{one.message}: {one.words}" if one.words else one.message
            lines.append(f"{style.paint(one.level, _COLOURS[one.level])}: {visible(said)}")
            lines += [f"  → {visible(one.remedy)}"] if one.remedy else []
        wrong = sum(one.level != "note" for one in self.findings)
        lines.append(f"{counted(wrong, 'thing')} to mend." if wrong else "Nothing is wrong with this installation.")
        lines += self._growth()
        return "\n".join(lines)

    def _growth(self) -> Iterator[str]:
        """What the state weighs and how it grows, once it is known of a day at least."""
        state = self.facts.get("state", {})
        if "days" not in state:
            return
        tables = state["tables"][:LARGEST_TABLES]
        parts = ", ".join(f"{one['table']} {_mib(one['bytes'])}" for one in tables)
        of = f" ({parts})" if parts else ""
        yield f"The state has {_mib(state['bytes'])}{of} after {state['days']:g} days: {_mib(state['bytes_per_day'])} a day."
        lately, whole = state["history_per_day_lately"], state["history_per_day"]
        yield f"Lines of history: {lately:,} a day lately, {whole:,} a day since it began."
        freed = state["compact_would_free"]
        if freed is not None and freed["lines"]:
            room = "" if freed["bytes"] is None else f", {_mib(freed['bytes'])}"
            yield f"`trueup compact` would take out about {freed['lines']:,} of them{room}."


def _mib(size: int) -> str:
    return f"{size / 1024**2:,.1f} MiB"
