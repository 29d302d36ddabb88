"""How a pass is to be run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trueup.runtime.changes import MappingChanges

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import polars as pl

    from trueup.core.facts import Decision, Facts
    from trueup.model import Entity
    from trueup.runtime.hands import Hands
    from trueup.runtime.serving.lanes import Lanes
    from trueup.runtime.systems import Seat
    from trueup.runtime.tally import Tally
    from trueup.runtime.triggers import Triggers


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
    # Decides about those of `records` of which there is little to say, before that; gives the others.
    outright: Callable[[Mapping[str, Seat], pl.Series], tuple[Decision, pl.Series]] | None = None
    only: frozenset[str] | None = None  # read these systems alone; None: all of them
    away: frozenset[str] = frozenset()  # systems that are busy or do not answer: not read, not written, not missed
    known_s: float = 0.0  # systems that were ready so lately are not asked again what their objects are like
    rests: Callable[[str], bool] = lambda _system: False  # whether a system is left alone from now on, although the pass began before
    triggers: Triggers | None = None  # what is to be taken up at once; the rest of what was read waits for a sweep
    apart: bool = False  # other passes may run while this one reads; nothing was left open when it began
    heard: Callable[[str, Collection[str]], None] = lambda _system, _keys: None  # hears of the rows that are read by key
    lanes: Lanes | None = None  # lanes that outlast the pass; None: it waits for every delivery
    hands: Hands | None = None  # others who write batches of this pass; None: this process writes all of them
    notice: Callable[[Decision], None] | None = None  # hears what was decided about some records, once it is committed
    # system -> field -> its column, of another type than when it was last read, and what became of it
    retyped: Mapping[str, Mapping[str, tuple[str, str]]] = field(default_factory=dict)
    elsewhere: Callable[[Tally], None] = lambda _tally: None  # hears the same of a pass that was run by another process
    telling: frozenset[str] = frozenset()  # systems of which it is to tell the rows that moved
    older: bool = False  # the state was put back from a backup, and this is the first ordinary look since

    def reads(self, system: str) -> bool:
        """Whether this system is read as a whole, or what moved there; else at most single rows of it are."""
        return self.keys is None and (self.only is None or system in self.only)
