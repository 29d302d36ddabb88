"""Problems found in a configuration, each at its line, and what they make pointless to check further."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trueup.config.suggest import did_you_mean, listing

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from trueup.errors import Problem
    from trueup.yamlfile import YamlDocument, YamlPath

MASKED_LENGTH = 4  # a shorter value is no secret, and masking it would garble the messages


@dataclass(slots=True)
class Report:
    """Collects problems and notes. `broken` are paths with a problem: what depends on one of them is not reported again.

    `used` is the name and value of every variable filled in: a value never appears in a problem, its name does.
    """

    document: YamlDocument
    used: Mapping[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)
    broken: set[YamlPath] = field(default_factory=set)

    def add(self, path: YamlPath, message: str, hint: str = "", *, unless: Collection[YamlPath] = ()) -> None:
        """Report a problem at `path`, unless one is known exactly there, or at or below one of the paths in `unless`."""
        if path in self.broken or any(self.is_broken(other) for other in unless):
            return
        self.problems.append(self.document.problem(path, self._masked(message), self._masked(hint)))
        self.broken.add(path)

    def also(self, path: YamlPath, message: str, hint: str = "") -> None:
        """Report a problem at `path` even where others are known: several things may be missing from one."""
        self.problems.append(self.document.problem(path, self._masked(message), self._masked(hint)))
        self.broken.add(path)

    def unknown(self, path: YamlPath, what: str, name: str, where: str, known: Collection[str]) -> None:
        """`unknown field `emial` in mapping crm: did you mean `email`?`, with the known names as hint."""
        self.add(path, f"unknown {what} `{name}` in {where}{did_you_mean(name, known)}", listing("known", known))

    def note(self, path: YamlPath, message: str, hint: str = "") -> None:
        """Note what is no error but worth a look."""
        if not self.is_broken(path):
            self.notes.append(self.document.problem(path, self._masked(message), self._masked(hint)))

    def is_broken(self, path: YamlPath) -> bool:
        """Whether a problem is known at `path` or below it."""
        return any(other[: len(path)] == path for other in self.broken)

    def line(self, path: YamlPath) -> int:
        """The line of `path` in the file."""
        return self.document.line(path)

    def _masked(self, text: str) -> str:
        for name, value in self.used.items():
            if len(value) >= MASKED_LENGTH:
                text = text.replace(value, f"${{{name}}}")
        return text
