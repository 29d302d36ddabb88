"""What is wrong with an installation, worst first: the findings, in words and as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from trueup.reports.table import PLAIN, counted, visible

if TYPE_CHECKING:
    from trueup.reports.table import Style

Level = Literal["broken", "risk", "note"]
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
        return "\n".join(lines)
