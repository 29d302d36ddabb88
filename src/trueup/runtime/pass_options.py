"""How a pass is to be run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trueup.runtime.changes import MappingChanges

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trueup.core.facts import Decision, Facts
    from trueup.model import Entity
    from trueup.runtime.systems import Seat


@dataclass(frozen=True, slots=True)
class PassOptions:
    """How to run a pass. `keys` (system -> keys) makes it look at these rows only; `limit` is deliveries per system.

    `records` are golden ids whose deliveries are considered besides, although none of their rows may have moved.
    """

    plan: bool = False
    full: bool = False
    limit: int | None = None
    keys: Mapping[str, Sequence[str]] | None = None
    records: frozenset[int] = frozenset()
    every_change: bool = False  # a plan lists all changes, not only the first hundred
    changes: MappingChanges = field(
        default_factory=MappingChanges
    )  # what the configuration maps otherwise than when the shadows were written
    mute: frozenset[str] = frozenset()  # systems to which nothing is delivered (paused)
    referrers: tuple[Entity, ...] = ()  # entities that refer to this one
    # Decides about `records` in the place of the merge; nothing is read then. Told the systems that can be written to.
    ruling: Callable[[Mapping[str, Seat], Facts], Decision] | None = None
    older: bool = False  # the state was put back from a backup, and this is the first ordinary look since
