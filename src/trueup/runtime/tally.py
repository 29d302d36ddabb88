"""What a pass decided and which rows moved in it, counted where it is run, so that it can be told to whoever keeps the figures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trueup.core.cells import GID, KEY, SYSTEM

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from trueup.core.facts import Decision

FIRST_CONTACT = "first contact: "
MOST = 100_000
"""More rows than that are not told one by one: then nothing is said of that system."""
KINDS = frozenset({"edit", "lost", "overruled", "candidate"})


def settled_by_rule(decision: Decision) -> Counter[tuple[str, str]]:
    """Conflicts that a rule settled at once: how many by rule and system whose value won (`golden`: none of them)."""
    lines = decision.history
    found: Counter[tuple[str, str]] = Counter()
    if lines.is_empty() or "lost" not in lines["kind"].to_list():
        return found
    won: dict[tuple[int, str], str] = {}
    lost: dict[tuple[int, str], str] = {}
    for gid, name, kind, system, rule in lines.select(GID, "field", "kind", SYSTEM, "rule").rows():
        if kind == "edit":
            won[gid, name] = system or "golden"
        elif kind == "lost":
            lost[gid, name] = (rule or "").removeprefix(FIRST_CONTACT) or "accepted"
    for about, rule in lost.items():
        found[rule, won.get(about, "golden")] += 1
    return found


def rows_moved(decision: Decision, systems: Container[str]) -> dict[str, list[str]]:
    """Keys of the rows in which somebody did something, by system: edited, made or removed; of these systems alone."""
    lines = decision.history
    moved = {(gid, system) for gid, system, kind in lines.select(GID, SYSTEM, "kind").rows() if kind in KINDS and system in systems}
    born = set(decision.born.to_list())
    keys: dict[str, list[str]] = {}
    if not (moved or born or decision.removed.height):
        return keys
    for gid, system, key in decision.after.select("gid", "system", "key").rows():
        if system in systems and (gid in born or (gid, system) in moved):
            keys.setdefault(system, []).append(key)
    for system, key in decision.removed.select(SYSTEM, KEY).rows():
        if system in systems:
            keys.setdefault(system, []).append(key)
    return keys


def add_keys(known: dict[str, set[str] | None], system: str, keys: Iterable[str] | None) -> None:
    """Add rows of a system to those known; None: anything, or too much to say."""
    mine = known.setdefault(system, set())
    if mine is None:
        return
    if keys is None:
        known[system] = None
        return
    mine.update(keys)
    if len(mine) > MOST:
        known[system] = None


@dataclass
class Tally:
    """What one pass decided. `telling`: the systems of which the rows that moved are wanted; `found` are these, None: too many to say."""

    telling: frozenset[str] = frozenset()
    decided: Counter[tuple[str, str]] = field(default_factory=Counter)
    found: dict[str, set[str] | None] = field(default_factory=dict)

    def heard(self, decision: Decision) -> None:
        """Some records were decided about, and that is committed."""
        self.decided.update(settled_by_rule(decision))
        if self.telling:
            for system, keys in rows_moved(decision, self.telling).items():
                add_keys(self.found, system, keys)
