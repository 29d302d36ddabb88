"""What `check` found: problems, warnings, notes, the systems as they are, and some rows as trueup understands them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trueup.reports.table import PLAIN, Style, clip, counted, show, table, visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trueup.errors import Problem

SAMPLE_CELLS = 32
_PRECONDITIONS = {
    "native": "a write lands only where the row is as it was read",
    "read_compare": "each row is read again just before it is written",
    "none": "nothing guards a write against an edit made in the meantime",
}


@dataclass
class SystemFinding:
    """One system. `objects`: names of what can be mapped, empty where it cannot be reached (`error` says why)."""

    connector: str
    reachable: bool = False
    precondition: str = "none"
    objects: tuple[str, ...] = ()
    error: str | None = None


@dataclass
class Sample:
    """Some rows of one mapping, read through it. `rows` holds a key and one Python value per field.

    `read` rows were looked at (`whole`: that was all there is), `outside` of them are left out by the filter, `rejected` cannot be used.
    """

    entity: str
    system: str
    object: str
    fields: tuple[str, ...] = ()
    rows: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    read: int = 0
    outside: int = 0
    rejected: int = 0
    whole: bool = False


@dataclass
class Findings:
    """Everything that was found. `problems` stop something from working; `warnings` will surprise someone; `notes` are good to know."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)
    systems: dict[str, SystemFinding] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether a sync can work on everything that is configured."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """The public form; see docs/reference."""
        return {
            "ok": self.ok,
            "problems": problems_json(self.problems),
            "warnings": problems_json(self.warnings),
            "notes": problems_json(self.notes),
            "systems": {
                name: {
                    "reachable": found.reachable,
                    "precondition": found.precondition,
                    "objects": list(found.objects),
                    "connector": found.connector,
                    **({"error": found.error} if found.error else {}),
                }
                for name, found in self.systems.items()
            },
            "samples": [
                {
                    "entity": sample.entity,
                    "system": sample.system,
                    "object": sample.object,
                    "read": sample.read,
                    "outside": sample.outside,
                    "rejected": sample.rejected,
                    "whole": sample.whole,
                    "rows": [{"key": key, "fields": dict(zip(sample.fields, row, strict=True))} for key, row in sample.rows],
                }
                for sample in self.samples
            ],
        }

    def as_text(self, style: Style = PLAIN) -> str:
        """For people."""
        parts = [self._systems(style), *(_sample(sample, style) for sample in self.samples)]
        for title, found, colour in (
            ("Good to know", self.notes, "dim"),
            ("Warnings", self.warnings, "warn"),
            ("Problems", self.problems, "bad"),
        ):
            if found:
                lines = [f"  {visible(str(problem))}" for problem in found]
                parts.append("\n".join([style.paint(title, colour if colour != "dim" else "bold"), *lines]))
        if self.ok:
            tail = f", {counted(len(self.warnings), 'warning')}" if self.warnings else ""
            then = " `trueup plan` shows what a sync would do, `trueup rehearse` tries it on masked copies." if self.systems else ""
            parts.append(style.paint(f"No problems{tail}.{then}", "good"))
        return "\n\n".join(parts)

    def _systems(self, style: Style) -> str:
        rows = [
            [
                name,
                found.connector,
                "yes" if found.reachable else "NO",
                len(found.objects) if found.reachable else "",
                _PRECONDITIONS[found.precondition] if found.reachable else (found.error or ""),
            ]
            for name, found in self.systems.items()
        ]
        return table(("system", "connector", "reachable", "objects", "writes"), rows, style, open_end=True)


def problems_json(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """Problems in their public form."""
    return [
        {"file": problem.file, "line": problem.line, "path": problem.path, "message": problem.message, "hint": problem.hint}
        for problem in problems
    ]


def _sample(sample: Sample, style: Style) -> str:
    title = f"{sample.entity} from {sample.system} ({sample.object}): {'; '.join(_said(sample))}"
    rows = [[key, *(clip(show(value), SAMPLE_CELLS) for value in row)] for key, row in sample.rows]
    return "\n".join(part for part in (style.paint(title, "bold"), table(("key", *sample.fields), rows, style, indent="  ")) if part)


def _said(sample: Sample) -> Iterator[str]:
    yield counted(sample.read, "row") if sample.whole else f"the first {counted(sample.read, 'row')}"
    if sample.outside:
        yield f"{sample.outside:,} left out by the filter"
    if sample.rejected:
        yield f"{sample.rejected:,} cannot be used"
