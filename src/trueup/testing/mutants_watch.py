"""Lies about watching."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, cast

from trueup.connectors.watching import Hints
from trueup.errors import SystemUnreachableError
from trueup.testing.mutants_base import Lie, lie

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trueup.connectors.watching import Lag, Watch, Watching, Way
    from trueup.model import ObjectSpec


class FalseWatch:
    """A watch that tells the truth; lies change one of its methods."""

    def __init__(self, inner: Watch, liar: Lie, objects: Sequence[ObjectSpec], name: str) -> None:
        """Stand before a watch."""
        self.inner = inner
        self.liar = liar
        self.objects = objects
        self.name = name

    @property
    def way(self) -> Way:
        """See watching.Watch."""
        return self.inner.way

    @property
    def fresh(self) -> frozenset[int]:
        """See watching.Watch."""
        return self.inner.fresh

    @property
    def position(self) -> str | None:
        """See watching.Watch."""
        return self.inner.position

    def wait(self, timeout_s: float) -> Hints | None:
        """See watching.Watch."""
        return self.inner.wait(timeout_s)

    def confirm(self, position: str) -> None:
        """See watching.Watch."""
        self.inner.confirm(position)

    def wake(self) -> None:
        """See watching.Watch."""
        self.inner.wake()

    def lag(self) -> Lag:
        """See watching.Watch."""
        return self.inner.lag()

    def close(self) -> None:
        """See watching.Watch."""
        self.inner.close()


class WatchLie(Lie):
    """A connector whose watches are of the class `lies`."""

    lies: ClassVar[type[FalseWatch]] = FalseWatch

    def watch(self, objects: Sequence[ObjectSpec], *, name: str, since: str | None = None) -> Watch:
        """See watching.Watching."""
        return self.lies(cast("Watching", self.inner).watch(objects, name=name, since=since), self, objects, name)


class _Mute(FalseWatch):
    def wait(self, timeout_s: float) -> Hints | None:
        """See watching.Watch."""
        hints = super().wait(timeout_s)
        return None if hints is None else replace(hints, keys={})


@lie("a_change_is_told", "changes_are_told_by_key", "what_was_not_confirmed_is_told_again")
class TellsNothing(WatchLie):
    """Changes are not told."""

    lies = _Mute


class _Living(FalseWatch):
    def wait(self, timeout_s: float) -> Hints | None:
        """See watching.Watch."""
        hints = super().wait(timeout_s)
        if hints is None:
            return None
        kept = {}
        for number, keys in hints.keys.items():
            there = set(self.liar._all(self.objects[number]).get_column("__key").to_list())  # noqa: SLF001 - of its own kind
            kept[number] = tuple(key for key in keys or () if key in there)
        return replace(hints, keys=kept)


@lie("a_changed_key_tells_both", "changes_are_told_by_key")
class TellsOfTheLivingOnly(WatchLie):
    """Only keys of rows that are there are told."""

    lies = _Living


class _Hasty(FalseWatch):
    def wait(self, timeout_s: float) -> Hints | None:
        """See watching.Watch."""
        time.sleep(min(timeout_s, 0.1))
        return Hints({0: ("k1",)}, self.position)


@lie("nothing_is_told_before_commit")
class TellsTooEarly(WatchLie):
    """A row is told before it is committed."""

    lies = _Hasty


class _Deaf(FalseWatch):
    def confirm(self, position: str) -> None:
        """See watching.Watch."""


@lie("what_was_confirmed_is_not_told_again")
class ForgetsConfirmations(WatchLie):
    """What was confirmed is not kept, and watching begins where it began at first."""

    lies = _Deaf
    began: ClassVar[dict[str, str | None]] = {}

    def watch(self, objects: Sequence[ObjectSpec], *, name: str, since: str | None = None) -> Watch:
        """See watching.Watching."""
        watch = super().watch(objects, name=name, since=self.began.get(name, since))
        self.began.setdefault(name, watch.position)
        return watch


class _Eager(FalseWatch):
    def wait(self, timeout_s: float) -> Hints | None:
        """See watching.Watch."""
        hints = super().wait(timeout_s)
        if hints is not None and hints.position is not None:
            ConfirmsUnasked.told[self.name] = hints.position
            self.confirm(hints.position)
        return hints


@lie("what_was_not_confirmed_is_told_again")
class ConfirmsUnasked(WatchLie):
    """What was told counts as confirmed."""

    lies = _Eager
    told: ClassVar[dict[str, str]] = {}

    def watch(self, objects: Sequence[ObjectSpec], *, name: str, since: str | None = None) -> Watch:
        """See watching.Watching."""
        return super().watch(objects, name=name, since=self.told.get(name, since))


class _Stale(FalseWatch):
    @property
    def fresh(self) -> frozenset[int]:
        """See watching.Watch."""
        return frozenset()


@lie("what_is_not_told_is_fresh")
class NothingIsFresh(WatchLie):
    """It claims to tell what happened before it began."""

    lies = _Stale


class _Gathering(FalseWatch):
    def wait(self, timeout_s: float) -> Hints | None:
        """See watching.Watch."""
        gathered: dict[str, None] = {}
        while (hints := super().wait(timeout_s)) is not None:
            gathered |= dict.fromkeys(hints.keys.get(0) or ())
        return Hints({0: tuple(gathered)}) if gathered else None


@lie("a_large_transaction_is_told_in_parts")
class TellsAllAtOnce(WatchLie):
    """All keys are told at once, however many there are."""

    lies = _Gathering


class _Slow(FalseWatch):
    def wait(self, timeout_s: float) -> Hints | None:
        """See watching.Watch."""
        time.sleep(2.2)
        return super().wait(timeout_s)


@lie("a_wait_ends_in_time")
class WaitsTooLong(WatchLie):
    """A wait takes longer than it may."""

    lies = _Slow


class _Sleepy(FalseWatch):
    def wake(self) -> None:
        """See watching.Watch."""


@lie("wake_ends_a_wait")
class SleepsOn(WatchLie):
    """Nothing ends a wait but its time."""

    lies = _Sleepy


class _Fragile(FalseWatch):
    closed = False

    def close(self) -> None:
        """See watching.Watch."""
        super().close()
        if self.closed:
            raise SystemUnreachableError("it is closed already", hint="a lie")
        self.closed = True


@lie("a_watch_closes_twice")
class ClosesOnce(WatchLie):
    """The second close fails."""

    lies = _Fragile


@lie("unwatch_leaves_nothing", applies=lambda world: world.traits.watch_remembered)
class LeavesThingsBehind(WatchLie):
    """What was made in the system stays there."""

    def unwatch(self, *, name: str) -> None:
        """See watching.Watching."""
        del name
